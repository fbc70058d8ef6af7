"""Which realms are watched, and how far what is cached of them is trusted."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pysaslauthd.cache import Cache, Origin
from pysaslauthd.config import Loaded
from pysaslauthd.daemon.carried import same_answers
from pysaslauthd.daemon.directories import Directories
from pysaslauthd.daemon.watches import Watches
from pysaslauthd.directory import ldif_file
from pysaslauthd.directory.watch_state import RealmWatch
from rig import people

from .test_carried import loaded
from .test_generation import generations

NAMES = (b"uid=penguin",)
NO_THREADS = ThreadPoolExecutor(1)
"""Starts none where nothing is done in them."""


def made(configuration: Loaded, check: Callable[[Watches, Cache], None]) -> None:
    async def main() -> None:
        directories = await Directories.make(configuration, 1, NO_THREADS)
        cache = Cache(10, 1000)
        watches = Watches.make(configuration, directories, cache)
        check(watches, cache)
        await watches.stop()
        await directories.stop()

    asyncio.run(main())


def test_each_realm_that_wants_one_has_a_watch_of_its_own() -> None:
    def check(watches: Watches, _: Cache) -> None:
        assert [(watch.realm, watch.covered) for watch in watches.states()] == [("a.cxm", False)]

    made(loaded(realms={"a.cxm": "ldap_watch: yes", "b.cxm": ""}), check)


def test_without_a_cache_they_have_no_effect_which_is_said(caplog: pytest.LogCaptureFixture) -> None:
    (generation,) = generations(loaded("ldap_watch: yes", "cache_revalidate: 60"), cache=False)
    assert generation.watches.states() == []
    assert "ldap_watch has no effect: there is no cache without -c" in caplog.text
    assert "cache_revalidate has no effect: there is no cache without -c" in caplog.text


def test_between_two_watches_a_change_may_be_missed_so_that_no_cache_goes_over() -> None:
    watched, plain = loaded("ldap_watch: yes"), loaded()
    assert not same_answers(watched.settings, watched.settings)
    assert not same_answers(watched.settings, plain.settings)
    before, after = generations(watched, watched)
    assert before.cache is not after.cache
    before, after = generations(plain, loaded("cache_revalidate: 60"))
    assert before.cache is not after.cache


def test_a_file_that_is_read_again_ends_what_was_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ldif_file, "LOOK_EVERY_WATCHED", 0.01)
    file = tmp_path / "people.ldif"
    file.write_text(people.tree())
    file.chmod(0o600)

    async def main() -> None:
        configuration = loaded(f"ldap_servers: ldif://{file}", "ldap_watch: yes")
        threads = ThreadPoolExecutor(1)
        directories = await Directories.make(configuration, 1, threads)
        cache = Cache(10, 1000)
        watches = Watches.make(configuration, directories, cache)
        directories.start()
        watches.start()
        try:
            cache.store(b"penguin", b"x", Origin(b"", NAMES), cache.moment())
            assert cache.holds(b"penguin", b"x")
            (tmp_path / "new").write_text(people.tree(1))
            os.chmod(tmp_path / "new", 0o600)
            (tmp_path / "new").rename(file)
            async with asyncio.timeout(60):
                while not watches.states()[0].servers[0].changes:  # noqa: ASYNC110 - nothing else tells of it
                    await asyncio.sleep(0.01)
            assert not cache.holds(b"penguin", b"x")
            (state,) = watches.states()
            assert isinstance(state, RealmWatch)
            assert state.covered
            assert (state.servers[0].how, state.servers[0].watching) == ("file", True)
        finally:
            await watches.stop()
            await directories.stop()
            threads.shutdown()

    asyncio.run(main())
