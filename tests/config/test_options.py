from __future__ import annotations

from pathlib import Path

import pytest

from pysaslauthd.config.options import DaemonOptions


@pytest.mark.parametrize(
    ("kilobytes", "buckets"),
    [(1, 18), (100, 1074), (962, 10326), (1024, 10938), (1025, 10938), (4096, 43698), (65536, 699186), (None, 10266)],
)
def test_the_cache_holds_what_saslauthd_says_of_its_own(kilobytes: int | None, buckets: int) -> None:
    # "cache table: N buckets" of saslauthd 2.1.28 -d -c -s KILOBYTES
    assert DaemonOptions(cache_size=kilobytes).cache_entries == buckets


def test_the_defaults_are_saslauthds() -> None:
    options = DaemonOptions()
    assert options.mux_path == Path("/var/run/saslauthd/mux")
    assert options.pid_path == Path("/var/run/saslauthd/saslauthd.pid")
    assert options.config == Path("/etc/saslauthd.conf")
    assert (options.threads, options.cache, options.cache_lifetime) == (5, False, 28800)
