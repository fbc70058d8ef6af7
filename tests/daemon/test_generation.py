"""What a reload carries over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from pysaslauthd import config
from pysaslauthd.config import Loaded
from pysaslauthd.config.options import DaemonOptions
from pysaslauthd.daemon.generation import Builder, Generation
from pysaslauthd.metrics import Metrics

CONF = """\
ldap_servers: ldap://127.0.0.1/
ldap_bind_dn: cn=userretriever,dc=hoge,dc=cxm
ldap_password: password
ldap_search_base: ou=People,dc=hoge,dc=cxm
ldap_filter: (&(objectclass=mailRecipient)(mail=%U@%d))
ldap_auth_method: custom
"""


def loaded(**keys: str) -> Loaded:
    lines = dict(line.split(": ", 1) for line in CONF.splitlines()) | keys
    return config.parse("".join(f"{name}: {value}\n" for name, value in lines.items()).encode(), "saslauthd.conf")


def generations(*configurations: Loaded, cache: bool = True) -> list[Generation]:
    made: list[Generation] = []

    async def make() -> None:
        with ThreadPoolExecutor(1) as threads:
            builder = Builder(DaemonOptions(cache=cache), threads, lambda *_: None, Metrics())
            for each in configurations:
                made.append(builder.build(each, await builder.directories(each), made[-1] if made else None))

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
    assert before.directories is not after.directories


def test_without_a_cache_a_stale_time_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    (generation,) = generations(loaded(cache_stale="60"), cache=False)
    assert generation.cache is None
    assert caplog.messages == ["cache_stale has no effect: there is no cache without -c"]
