"""The real servers, each started once for all tests of a process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rig import Authority, DirectoryServer, Ds389, Slapd
from rig.needs import need
from rig.programs import folder


@pytest.fixture(scope="session", autouse=True)
def probes() -> None:
    """Every integration test asks with the real probe or compares with the original."""
    need("testsaslauthd", "saslauthd")


@pytest.fixture(scope="session")
def authority() -> Iterator[Authority]:
    """The CA that both directory servers' certificates come from."""
    need("openssl")
    with folder("authority") as path:
        yield Authority(path)


@pytest.fixture(scope="session")
def wrong_authority() -> Iterator[Authority]:
    """A CA that signed nothing."""
    need("openssl")
    with folder("wrong") as path:
        yield Authority(path, "Wrong CA")


@pytest.fixture(scope="session")
def slapd(authority: Authority) -> Iterator[Slapd]:
    """The shared slapd. Add people of your own to change them; for stop and pause start your own."""
    need("slapd", "slapadd", "ldapmodify", "ldapsearch")
    with Slapd(authority) as server:
        yield server


@pytest.fixture(scope="session")
def ds389(authority: Authority) -> Iterator[Ds389]:
    """The shared 389 DS; the same rules."""
    need("ns-slapd", "certutil", "pk12util", "ldapmodify", "ldapsearch")
    with Ds389(authority) as server:
        yield server


@pytest.fixture(params=["slapd", "ds389"])
def server(request: pytest.FixtureRequest) -> DirectoryServer:
    """Each shared directory server in turn."""
    found = request.getfixturevalue(request.param)
    assert isinstance(found, DirectoryServer)
    return found
