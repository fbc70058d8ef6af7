"""The keys that start with ``ldap_``: one field each. To add a key, add a field."""

# ruff: noqa: RUF009 - key() declares a field, as dataclasses.field() does

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from typing import Literal

from pysaslauthd.config.keys import (
    ATTRIBUTE,
    CIPHERS,
    PATH,
    SECRET,
    SECRET_PATH,
    SWITCH,
    TEMPLATE,
    TEXT,
    choice,
    integer,
    key,
    keys_of,
    seconds,
)
from pysaslauthd.config.uri import SERVERS, ServerUri

Scope = Literal["sub", "one", "base"]
Deref = Literal["search", "find", "always", "never"]
GroupMatch = Literal["attr", "filter", "memberof"]
MustChange = Literal["refuse", "accept"]

_MAX_INT = 2**31 - 1
"""maxInt of RFC 4511 section 4.1.1."""

_DAY = 86400.0


class AuthMethod(enum.StrEnum):
    """How a password is checked."""

    BIND = "bind"
    CUSTOM = "custom"
    FASTBIND = "fastbind"


@dataclass(frozen=True, slots=True, kw_only=True)
class LdapSettings:
    """What /etc/saslauthd.conf says about LDAP; ``repr`` leaves the password out.

    A field's name is its key without ``ldap_``. As :func:`pysaslauthd.config.parse` gives them, the values
    agree with each other: filters have their parentheses, bind with SASL has become fastbind,
    ``group_search_base`` is filled in.
    """

    servers: tuple[ServerUri, ...] = key(
        SERVERS,
        "ldap://localhost/",
        "The servers to ask, the preferred one first; a DN without a host, as in ldap:///dc=hoge,dc=cxm, stands for the"
        " servers that DNS names for its domain.",
    )
    auth_method: AuthMethod = key(
        choice(*AuthMethod),
        "bind",
        "How a password is checked: bind finds the user's entry and binds as it, custom finds the entry and compares"
        " its password attribute, fastbind binds as the DN that ldap_filter gives.",
    )
    bind_dn: str = key(TEXT, "", "The DN of the service account that searches; none searches anonymously.")
    password: bytes = key(
        SECRET, "", "The password of ldap_bind_dn, or of ldap_id.", aliases=("ldap_bind_pw",), secret=True
    )
    password_file: str = key(
        SECRET_PATH,
        "",
        "A file that holds the password in place of ldap_password; one line end at its end is taken off.",
    )
    version: int = key(integer(2, 3), "3", "The version of the LDAP protocol; SASL and StartTLS need 3.")
    search_base: str = key(TEMPLATE, "", "Where the search for the user's entry starts.")
    filter: str = key(
        TEMPLATE, "(uid=%u)", "The filter that finds the user's one entry; for fastbind, the user's DN instead."
    )
    scope: Scope = key(
        choice("sub", "one", "base"),
        "sub",
        "How deep the search for the user's entry goes: the whole subtree, one level, or the base entry alone.",
    )
    deref: Deref = key(
        choice("search", "find", "always", "never"), "never", "When the server follows aliases during a search."
    )
    password_attr: str = key(ATTRIBUTE, "userPassword", "The attribute that custom compares the password with.")
    hash_limit: int = key(
        integer(1, 60_000),
        "1000",
        "The time that checking one stored hash may cost; a hash with more rounds is not tried.",
        unit="milliseconds",
    )
    account_state: bool = key(
        SWITCH,
        "yes",
        "Whether custom refuses locked, expired and not yet valid accounts as a bind would, and custom and bind those"
        " whose shadowExpire is over.",
    )
    must_change: MustChange = key(
        choice("refuse", "accept"),
        "refuse",
        "What becomes of a right password that its owner must change before anything else.",
    )
    default_realm: str = key(TEXT, "", "The realm of a request that names none.", aliases=("ldap_default_domain",))
    size_limit: int = key(
        integer(0, _MAX_INT), "1", "The most entries the search for the user may return; 0 sets no limit."
    )
    time_limit: int = key(
        integer(0, _MAX_INT), "5", "How long the server may work on a search; 0 sets no limit.", unit="seconds"
    )
    timeout: float = key(
        seconds(0.01, _DAY),
        "5",
        "How long to wait for an answer of the server at most; less where login_deadline would leave no time to ask the"
        " next one.",
        unit="seconds",
    )
    connect_timeout: float = key(
        seconds(0.01, _DAY),
        "2",
        "How long to wait for a connection to the server at most, TLS included; less as for ldap_timeout.",
        unit="seconds",
    )
    referrals: bool = key(SWITCH, "no", "Whether to follow referrals to other servers.")
    restart: bool = key(SWITCH, "yes", "Whether a request is asked once more when its connection is lost.")
    start_tls: bool = key(SWITCH, "no", "Whether TLS is begun on each connection by StartTLS.")
    tls_check_peer: bool = key(SWITCH, "yes", "Whether the server's certificate and name are verified.")
    tls_cacert_file: str = key(PATH, "", "A PEM file of the authorities to trust; none trusts the system's.")
    tls_cacert_dir: str = key(
        PATH, "", "A folder of the authorities to trust, one PEM file each, named by openssl-rehash(1)."
    )
    tls_ciphers: str = key(CIPHERS, "", "The ciphers allowed up to TLS 1.2; none allows Python's choice.")
    tls_cert: str = key(PATH, "", "A PEM file of the client's own certificate.")
    tls_key: str = key(SECRET_PATH, "", "A PEM file of the private key that belongs to ldap_tls_cert, not encrypted.")
    use_sasl: bool = key(SWITCH, "no", "Whether binds use SASL in place of DN and password; makes bind fastbind.")
    mech: str = key(
        TEXT, "", "The SASL mechanism of the bind: PLAIN, or with custom EXTERNAL.", aliases=("ldap_sasl_mech",)
    )
    id: str = key(TEXT, "", "The SASL identity of the service account.", aliases=("ldap_sasl_authc_id",))
    authz_id: str = key(
        TEXT, "", "The SASL identity that the service account acts for.", aliases=("ldap_sasl_authz_id",)
    )
    realm: str = key(
        TEXT, "", "The SASL realm of the service account; PLAIN and EXTERNAL have none.", aliases=("ldap_sasl_realm",)
    )
    sasl_secprops: str = key(TEXT, "", "Security properties that the SASL mechanism must have, by commas.")
    group_dn: str = key(
        TEMPLATE, "", "The group that the user must be in, where ldap_group_match_method is attr or memberof."
    )
    group_attr: str = key(
        ATTRIBUTE,
        "uniqueMember",
        "The attribute of the group that holds its members' DNs; for memberof, the attribute of the user that holds"
        " the groups' DNs, by default memberOf.",
    )
    group_match_method: GroupMatch = key(
        choice("attr", "filter", "memberof"),
        "attr",
        "How membership is checked: attr compares ldap_group_attr of ldap_group_dn with the user's DN, filter"
        " searches with ldap_group_filter, memberof looks for ldap_group_dn in the user's own entry.",
    )
    group_filter: str = key(
        TEMPLATE, "", "The filter that finds a group of the user, where ldap_group_match_method is filter."
    )
    group_search_base: str = key(
        TEMPLATE, "", "Where the search for the user's group starts; none means ldap_search_base."
    )
    group_scope: Scope = key(choice("sub", "one", "base"), "sub", "How deep the search for the user's group goes.")
    watch: bool = key(
        SWITCH,
        "no",
        "Whether the directory is to tell of changes, so that a cached login ends as soon as the user's entry or group"
        " changes; needs persistent search (389 DS) or content synchronisation (OpenLDAP's syncprov).",
    )
    watch_grace: float = key(
        seconds(1, 3600),
        "10",
        "How long a cached login is still accepted without asking while the directory does not tell of changes.",
        unit="seconds",
    )
    debug: int = key(integer(-1, _MAX_INT), "0", "The trace of libldap, which is not used here.")

    @property
    def embedded(self) -> bool:
        """Whether an LDIF file is searched in place of a server."""
        return self.servers[0].scheme == "ldif"

    @property
    def checks_group(self) -> bool:
        """Whether a user must be in a group."""
        return bool(self.group_dn or self.group_filter)

    @property
    def uses_tls(self) -> bool:
        """Whether TLS is begun to any server, at once or by StartTLS."""
        return any(server.scheme == "ldaps" for server in self.servers) or (self.start_tls and not self.embedded)

    @property
    def connections(self) -> LdapSettings:
        """The same without what hangs on single questions: settings with equal ones can share their connections."""
        return replace(
            self,
            auth_method=AuthMethod.BIND,
            search_base="",
            filter="",
            scope="sub",
            deref="never",
            password_attr="",
            hash_limit=0,
            account_state=True,
            must_change="refuse",
            default_realm="",
            size_limit=0,
            time_limit=0,
            group_dn="",
            group_attr="",
            group_match_method="attr",
            group_filter="",
            group_search_base="",
            group_scope="sub",
            watch=False,
            watch_grace=0.0,
            debug=0,
        )

    def encrypts(self, server: ServerUri) -> bool:
        """Whether what is sent to the server can be read by nobody on the way; true of UNIX sockets and files."""
        return server.scheme != "ldap" or self.start_tls


KEYS = keys_of(LdapSettings, "ldap_")
"""Every key by its name, in the order of declaration."""
