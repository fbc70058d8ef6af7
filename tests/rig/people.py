"""Who lives in the test directories: the article's tree, and as many more users as a test wants."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rig.directory import DirectoryServer

SUFFIX = "dc=hoge,dc=cxm"
PEOPLE = f"ou=People,{SUFFIX}"
SERVICE_DN = f"cn=userretriever,{SUFFIX}"
SERVICE_PASSWORD = "password"
PENGUIN = "penguin@hoge.cxm"
PENGUIN_DN = f"uid=penguin,{PEOPLE}"
PENGUIN_PASSWORD = "penguin-pass"


def ssha(password: str | bytes) -> str:
    """A {SSHA} value with an 8-byte salt."""
    salt = os.urandom(8)
    digest = hashlib.sha1(password.encode() if isinstance(password, str) else password)
    digest.update(salt)
    return "{SSHA}" + base64.b64encode(digest.digest() + salt).decode()


def dn(uid: str) -> str:
    """DN of a person by uid; the uid must need no escaping."""
    return f"uid={uid},{PEOPLE}"


def person(uid: str, stored: str | bytes | Sequence[str | bytes] | None = None, *, more: str = "") -> str:
    """LDIF of one person, mail ``uid@hoge.cxm``.

    :param stored: userPassword, one value or several, as the server shall keep it; None: {SSHA} of ``uid-pass``.
    :param more: further LDIF lines, each with its newline.
    """
    values = [ssha(f"{uid}-pass")] if stored is None else [stored] if isinstance(stored, str | bytes) else stored
    passwords = "".join(f"userPassword:: {_base64(value)}\n" for value in values)
    return (
        f"dn: {dn(uid)}\nobjectClass: inetOrgPerson\nobjectClass: mailRecipient\nuid: {uid}\ncn: {uid}\nsn: {uid}\n"
        f"mail: {uid}@hoge.cxm\n{passwords}{more}\n"
    )


def tree(users: int = 0) -> str:
    """LDIF of the article's tree: suffix, service account, ou=People, penguin, then u0 to u(users-1)."""
    top = (
        f"dn: {SUFFIX}\nobjectClass: domain\ndc: hoge\n\n"
        f"dn: {SERVICE_DN}\nobjectClass: organizationalRole\nobjectClass: simpleSecurityObject\ncn: userretriever\n"
        f"userPassword:: {_base64(ssha(SERVICE_PASSWORD))}\n\n"
        f"dn: {PEOPLE}\nobjectClass: organizationalUnit\nou: People\n\n"
    )
    return top + person("penguin") + "".join(person(f"u{number}") for number in range(users))


def article(server: DirectoryServer, method: str = "custom", **keys: str) -> dict[str, str]:
    """The article's saslauthd.conf for a server, as key to value; ``keys`` replace or add."""
    return {
        "ldap_servers": server.uri,
        "ldap_bind_dn": SERVICE_DN,
        "ldap_password": SERVICE_PASSWORD,
        "ldap_search_base": PEOPLE,
        "ldap_filter": "(&(objectclass=mailRecipient)(mail=%U@%d))",
        "ldap_auth_method": method,
        **keys,
    }


def file_article(method: str = "custom", **keys: str) -> dict[str, str]:
    """The same for an LDIF file, ``people.ldif`` in the daemon's folder."""
    return {
        "ldap_servers": "ldif://{folder}/people.ldif",
        "ldap_search_base": PEOPLE,
        "ldap_filter": "(&(objectclass=mailRecipient)(mail=%U@%d))",
        "ldap_auth_method": method,
        **keys,
    }


def _base64(value: str | bytes) -> str:
    return base64.b64encode(value.encode() if isinstance(value, str) else value).decode()
