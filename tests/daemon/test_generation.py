"""What a reload carries over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from pysaslauthd import config
from pysaslauthd.config import KEYS, Loaded
from pysaslauthd.config.options import DaemonOptions
from pysaslauthd.daemon.generation import Builder, Generation, same_answers
from pysaslauthd.metrics import Metrics

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
    "login_deadline": "2",
    "request_timeout": "2",
    "max_connections": "7",
    "max_pending_logins": "7",
    "failure_delay": "1",
    "free_failures": "1",
    "free_failures_per_address": "1",
    "failure_memory": "1",
    "trusted_networks": "192.0.2.0/24",
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
    "cache_stale": "60",
}
"""Some of those whose change may change an answer."""


def loaded(**keys: str) -> Loaded:
    lines = dict(line.split(": ", 1) for line in CONF.splitlines()) | keys
    return config.parse("".join(f"{name}: {value}\n" for name, value in lines.items()).encode(), "saslauthd.conf")


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, value in HARMLESS.items() if value is not None])
def test_a_change_of_no_consequence_keeps_the_cache(key: str, value: str) -> None:
    assert loaded(**{key: value}) != loaded()
    assert same_answers(loaded(), loaded(**{key: value}))


@pytest.mark.parametrize(("key", "value"), DECIDING.items())
def test_a_change_that_may_change_an_answer_empties_it(key: str, value: str) -> None:
    assert not same_answers(loaded(), loaded(**{key: value}))
    assert not same_answers(loaded(**{key: value}), loaded())


def test_the_keys_named_here_exist() -> None:
    assert {*HARMLESS, *DECIDING} <= set(KEYS)


def test_with_an_ldif_file_it_is_emptied_always() -> None:
    file = loaded(ldap_servers="ldif:///people.ldif")
    assert not same_answers(file, file)


def generations(*configurations: Loaded, cache: bool = True) -> list[Generation]:
    made: list[Generation] = []

    async def make() -> None:
        with ThreadPoolExecutor(1) as threads:
            builder = Builder(DaemonOptions(cache=cache), threads, lambda *_: None, Metrics())
            for each in configurations:
                made.append(builder.build(each, builder.directory(each), made[-1] if made else None))

    asyncio.run(make())
    return made


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        ({}, ("cache", "throttle")),
        ({"ldap_timeout": "1"}, ("cache", "throttle")),
        ({"ldap_filter": "(mail=%u)"}, ("throttle",)),
        ({"free_failures": "1"}, ("cache",)),
        ({"failure_delay": "0"}, ("cache",)),
    ],
)
def test_cache_and_throttle_go_over_where_they_are_still_true(change: dict[str, str], kept: tuple[str, ...]) -> None:
    before, after = generations(loaded(), loaded(**change))
    same: dict[str, Callable[[Generation], object]] = {"cache": lambda g: g.cache, "throttle": lambda g: g.throttle}
    assert tuple(name for name, part in same.items() if part(before) is part(after)) == kept
    assert before.directory is not after.directory


def test_without_a_cache_a_stale_time_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    (generation,) = generations(loaded(cache_stale="60"), cache=False)
    assert generation.cache is None
    assert caplog.messages == ["cache_stale has no effect: there is no cache without -c"]
