"""Which settings share a directory."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

import pytest

from pysaslauthd.daemon.directories import Directories
from pysaslauthd.directory.interface import Bound
from pysaslauthd.errors import DirectoryRefused
from pysaslauthd.flow import future
from rig import people

from .test_carried import loaded

SLOW = "{PBKDF2-SHA256}100000$UB8VRVY8Gtik4hZCmDcMCfdBhp0tCaCr$ih5UK+9LzhvTzbzNmN1hEJ3COG9n4msdIA1YGTFbjSU="
"""By estimate 30 ms; of another password."""


@pytest.fixture
def threads() -> Iterator[Executor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "people.ldif"
    path.write_text(people.person("slow", SLOW))
    path.chmod(0o600)
    return path


def test_a_file_s_binds_go_by_the_hash_limit_of_the_realm_that_asks(file: Path, threads: Executor) -> None:
    realms = {"a.cxm": "ldap_hash_limit: 1", "b.cxm": "ldap_scope: one", "c.cxm": ""}
    configuration = loaded(f"ldap_servers: ldif://{file}", realms=realms)

    async def main() -> None:
        directories = await Directories.make(configuration, 1, threads)
        strict, *patient = [directories.of(settings) for name, settings in configuration.parts() if name]
        assert len(list(directories.parts)) == 2
        assert patient[0] is patient[1] is not strict
        bind = people.dn("slow").encode(), b"wrong"
        with pytest.raises(DirectoryRefused, match="hash-too-costly"):
            await future(strict.bind(*bind))
        assert await future(patient[0].bind(*bind)) == Bound(49)
        await directories.stop()

    asyncio.run(main())
