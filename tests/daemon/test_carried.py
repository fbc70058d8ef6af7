"""What of the cache outlives a reload."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from pysaslauthd import config
from pysaslauthd.cache import Cache, Origin
from pysaslauthd.config import KEYS, LdapSettings, Loaded
from pysaslauthd.config.reader import read, read_realm
from pysaslauthd.config.source import Realm
from pysaslauthd.daemon.carried import carried_over, same_answers

CONF = """\
ldap_servers: ldap://127.0.0.1/
ldap_bind_dn: cn=userretriever,dc=hoge,dc=cxm
ldap_password: password
ldap_search_base: ou=People,dc=hoge,dc=cxm
ldap_filter: (&(objectclass=mailRecipient)(mail=%U@%d))
ldap_auth_method: custom
"""

HARMLESS = {
    "ldap_password": "other",
    "ldap_password_file": None,
    "ldap_timeout": "1",
    "ldap_connect_timeout": "1",
    "ldap_time_limit": "1",
    "ldap_restart": "no",
    "ldap_debug": "1",
    "ldap_tls_cert": None,
    "ldap_tls_key": None,
    "ldap_tls_ciphers": "HIGH",
}
"""Keys whose change leaves every answer what it was, and another value of each; None where it takes files."""

DECIDING = {
    "ldap_servers": "ldap://127.0.0.2/",
    "ldap_bind_dn": "cn=other,dc=hoge,dc=cxm",
    "ldap_search_base": "dc=hoge,dc=cxm",
    "ldap_filter": "(mail=%u)",
    "ldap_auth_method": "bind",
    "ldap_default_realm": "hoge.cxm",
    "ldap_scope": "one",
    "ldap_password_attr": "mailPassword",
    "ldap_group_dn": "cn=staff,dc=hoge,dc=cxm",
    "ldap_tls_check_peer": "no",
    "ldap_size_limit": "2",
    "ldap_deref": "always",
}
"""Some of those whose change may change an answer."""


def settings(**keys: str) -> LdapSettings:
    lines = dict(line.split(": ", 1) for line in CONF.splitlines()) | keys
    return config.parse("".join(f"{name}: {value}\n" for name, value in lines.items()).encode(), "f").settings


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, value in HARMLESS.items() if value is not None])
def test_a_change_of_no_consequence_leaves_the_answers_as_they_are(key: str, value: str) -> None:
    assert settings(**{key: value}) != settings()
    assert same_answers(settings(), settings(**{key: value}))


@pytest.mark.parametrize(("key", "value"), DECIDING.items())
def test_a_change_of_other_keys_may_change_an_answer(key: str, value: str) -> None:
    assert not same_answers(settings(), settings(**{key: value}))
    assert not same_answers(settings(**{key: value}), settings())


def test_the_keys_named_here_exist() -> None:
    assert {*HARMLESS, *DECIDING} <= set(KEYS)


def test_an_ldif_file_may_give_other_answers_always() -> None:
    file = settings(ldap_servers="ldif:///people.ldif")
    assert not same_answers(file, file)


def loaded(*lines: str, realms: Mapping[str, str] | None = None) -> Loaded:
    """The article's configuration with realms, whose files have each that text; none: without realms."""
    folder = [] if realms is None else ["realm_config: /realms.d"]
    main = read("\n".join([CONF, *folder, *lines]).encode(), "f")
    files = {
        name.lower().encode(): Realm(name, f"/{name}.conf", read_realm(text.encode(), name, main)[0])
        for name, text in (realms or {}).items()
    }
    return Loaded(main.settings, main.daemon, (), files)


LOGINS = (b"a@hoge.cxm", b"b@HOGE.CXM", b"a@two.cxm", b"a@other.cxm", b"nobody")


def left(before: Loaded, after: Loaded) -> set[bytes] | None:
    """Of logins of some realms, those that are still cached; None where the cache is not kept."""
    cache = Cache(100, 1000)
    for login in LOGINS:
        cache.store(login, b"pw", Origin(login), cache.moment())
    kept = carried_over(cache, before, after)
    assert kept in (None, cache)
    return None if kept is None else {login for login in LOGINS if kept.holds(login, b"pw")}


OTHER = "ldap_filter: (uid=%U)"
HOGE, TWO, REST = {b"a@hoge.cxm", b"b@HOGE.CXM"}, {b"a@two.cxm"}, {b"a@other.cxm", b"nobody"}


def test_without_a_change_all_is_kept() -> None:
    assert left(loaded(), loaded()) == HOGE | TWO | REST
    both = {"hoge.cxm": OTHER, "two.cxm": ""}
    assert left(loaded(realms=both), loaded("login_deadline: 3", realms=both)) == HOGE | TWO | REST
    refusing = loaded("realm_unlisted: refuse", realms=both)
    assert left(refusing, refusing) == HOGE | TWO | REST


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({}, {"hoge.cxm": ""}, TWO | REST),
        ({"hoge.cxm": ""}, {}, TWO | REST),
        ({"Hoge.CXM": ""}, {"hoge.cxm": ""}, HOGE | TWO | REST),
        ({"hoge.cxm": "", "two.cxm": ""}, {"hoge.cxm": OTHER, "two.cxm": ""}, TWO | REST),
        ({"hoge.cxm": "", "two.cxm": ""}, {"hoge.cxm": "ldap_timeout: 1", "two.cxm": ""}, HOGE | TWO | REST),
        ({"hoge.cxm": "", "two.cxm": ""}, {"hoge.cxm": ""}, HOGE | REST),
    ],
)
def test_only_realms_that_changed_are_forgotten(
    before: dict[str, str], after: dict[str, str], expected: set[bytes]
) -> None:
    assert left(loaded(realms=before), loaded(realms=after)) == expected


def test_a_change_of_the_main_file_is_one_of_all_that_do_not_override_it() -> None:
    realms = {"hoge.cxm": OTHER, "two.cxm": ""}
    assert left(loaded(realms=realms), loaded("ldap_filter: (mail=%u)", realms=realms)) == HOGE
    assert left(loaded(realms=realms), loaded("ldap_scope: one", realms=realms)) is None


def test_who_is_refused_from_now_on_is_forgotten() -> None:
    realms = {"hoge.cxm": OTHER}
    open_, closed = loaded(realms=realms), loaded("realm_unlisted: refuse", realms=realms)
    assert left(open_, closed) == HOGE
    assert left(closed, open_) == HOGE


def test_what_the_cache_is_made_for_empties_it() -> None:
    assert left(loaded(), loaded("cache_stale: 60")) is None
    assert left(loaded(), loaded(realms={})) is None
    assert left(loaded(realms={}), loaded()) is None
