from __future__ import annotations

import contextlib
import re
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysaslauthd import config
from pysaslauthd.config import keys

# The table of saslauthd 2.1.28's manual for LDAP, and lak.c's aliases.
ORIGINAL = {
    "ldap_servers": "ldap://localhost/",
    "ldap_auth_method": "bind",
    "ldap_bind_dn": "",
    "ldap_password": "",
    "ldap_version": "3",
    "ldap_search_base": "",
    "ldap_filter": "(uid=%u)",
    "ldap_scope": "sub",
    "ldap_deref": "never",
    "ldap_password_attr": "userPassword",
    "ldap_default_realm": "",
    "ldap_size_limit": "1",
    "ldap_time_limit": "5",
    "ldap_timeout": "5",
    "ldap_referrals": "no",
    "ldap_restart": "yes",
    "ldap_start_tls": "no",
    "ldap_tls_check_peer": "yes",
    "ldap_tls_cacert_file": "",
    "ldap_tls_cacert_dir": "",
    "ldap_tls_ciphers": "",
    "ldap_tls_cert": "",
    "ldap_tls_key": "",
    "ldap_use_sasl": "no",
    "ldap_mech": "",
    "ldap_id": "",
    "ldap_authz_id": "",
    "ldap_realm": "",
    "ldap_sasl_secprops": "",
    "ldap_group_dn": "",
    "ldap_group_attr": "uniqueMember",
    "ldap_group_match_method": "attr",
    "ldap_group_filter": "",
    "ldap_group_search_base": "",
    "ldap_group_scope": "sub",
    "ldap_debug": "0",
}
ALIASES = {
    "ldap_bind_pw": "ldap_password",
    "ldap_default_domain": "ldap_default_realm",
    "ldap_sasl_mech": "ldap_mech",
    "ldap_sasl_authc_id": "ldap_id",
    "ldap_sasl_authz_id": "ldap_authz_id",
    "ldap_sasl_realm": "ldap_realm",
}


def test_every_key_and_default_of_the_original_is_there() -> None:
    assert {name: key.default for name, key in config.KEYS.items() if name in ORIGINAL} == ORIGINAL


def test_the_aliases_are_the_originals() -> None:
    assert {alias: name for name, key in config.KEYS.items() for alias in key.aliases} == ALIASES


@pytest.mark.parametrize("name", config.KEYS)
def test_every_key_tells_its_meaning_and_its_parser_accepts_its_default(name: str) -> None:
    key = config.KEYS[name]
    assert re.fullmatch(r"[A-Z].{10,}\.", key.meaning), key.meaning
    assert key.kind.values
    settings = config.LdapSettings() if name.startswith("ldap_") else config.DaemonSettings()
    assert key.kind.read(key.default.encode()) == getattr(settings, name.removeprefix("ldap_"))


def test_a_field_is_a_key_and_nothing_else() -> None:
    names = [f"ldap_{each.name}" for each in fields(config.LdapSettings)]
    names += [each.name for each in fields(config.DaemonSettings)]
    assert names == list(config.KEYS)
    assert [name for name, key in config.KEYS.items() if key.secret] == ["ldap_password"]


@pytest.mark.parametrize(
    "name",
    ["ldap_time_limit", "ldap_timeout", "ldap_connect_timeout", "ldap_hash_limit", "login_deadline", "cache_stale"],
)
def test_a_duration_has_a_unit(name: str) -> None:
    assert config.KEYS[name].unit in ("seconds", "milliseconds")


@pytest.mark.parametrize(
    ("word", "value"),
    [
        *((word, True) for word in ("yes", "on", "true", "1", "Yes", "ON", "yes \t")),
        *((word, False) for word in ("no", "off", "false", "0", "NO", "False")),
    ],
)
def test_a_switch_is_read_in_any_case(word: str, value: bool) -> None:
    assert keys.SWITCH.read(word.encode()) is value


@pytest.mark.parametrize(
    ("kind", "word", "says"),
    [
        (keys.SWITCH, "maybe", "'maybe' is not a switch; write yes or no"),
        (keys.SWITCH, "yes # really", "not a switch"),
        (keys.integer(0, 9), "10", "'10' is not a whole number from 0 to 9"),
        (keys.integer(0, 9), "-1", "not a whole number"),
        (keys.integer(0, 9), "1.5", "not a whole number"),
        (keys.integer(0, 9), "9" * 5000, "…'"),
        (keys.integer(0, 9), "٣", "not a whole number"),
        (keys.seconds(0.5, 9), "0", "'0' is not a number from 0.5 to 9"),
        (keys.seconds(0.5, 9), "1e0", "not a number"),
        (keys.seconds(0.5, 9), "nan", "not a number"),
        (keys.seconds(0.5, 9), "2s", "not a number"),
        (keys.choice("sub", "one"), "subtree", "'subtree' is none of sub, one"),
        (keys.PATH, "ca.pem", "'ca.pem' is not an absolute path"),
        (keys.ATTRIBUTE, "user password", "not the name of an attribute"),
        (keys.TEMPLATE, "(uid=%x)", "%x is not a token"),
        (keys.TEMPLATE, "uid=%", "% is not a token"),
        (keys.CIPHERS, "SECURE256:-VERS-ALL", "OpenSSL knows no cipher in 'SECURE256:-VERS-ALL'"),
    ],
)
def test_a_bad_value_says_what_is_wrong(kind: config.Kind[Any], word: str, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        kind.read(word.encode())


@pytest.mark.parametrize(
    ("kind", "word", "value"),
    [
        (keys.integer(0, 9), "9", 9),
        (keys.seconds(0.5, 9), "0.5", 0.5),
        (keys.seconds(0.5, 9), "9", 9.0),
        (keys.choice("sub", "one"), "One ", "one"),
        (keys.PATH, "/etc/ssl/ca.pem", "/etc/ssl/ca.pem"),
        (keys.ATTRIBUTE, "2.5.4.35;binary", "2.5.4.35;binary"),
        (keys.TEMPLATE, "%%%u%U%d%1%9%s%r%R%D", "%%%u%U%d%1%9%s%r%R%D"),
        (keys.CIPHERS, "HIGH:!aNULL", "HIGH:!aNULL"),
        (keys.TEXT, "hoge.cxm \t", "hoge.cxm"),
        (keys.SECRET, "a b \t", b"a b \t"),
    ],
)
def test_a_good_value_is_read(kind: config.Kind[Any], word: str, value: object) -> None:
    assert kind.read(word.encode()) == value


ALL_KINDS = {id(key.kind): key.kind for key in config.KEYS.values()}.values()


@given(st.sampled_from(list(ALL_KINDS)), st.binary())
def test_any_bytes_give_a_value_or_value_error(kind: config.Kind[Any], value: bytes) -> None:
    with contextlib.suppress(ValueError):
        kind.read(value)
