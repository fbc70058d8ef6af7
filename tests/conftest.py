"""Settings of all tests."""

from __future__ import annotations

import faulthandler
import os
from collections.abc import Generator

import hypothesis
import pytest

from rig.needs import need_root
from rig.shake import shake

# A busy machine is no fault of an example.
hypothesis.settings.register_profile("pysaslauthd", deadline=None)
hypothesis.settings.load_profile("pysaslauthd")


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--shake``: CONTRIBUTING.md says what for."""
    parser.addoption("--shake", metavar="SEED", help="delay event loops and threads at random")


def pytest_configure(config: pytest.Config) -> None:
    """Each process of pytest has its own delays."""
    if seed := config.getoption("--shake"):
        shake(f"{seed} {os.environ.get('PYTEST_XDIST_WORKER', '')}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Nothing is left out where CI=true."""
    report = yield
    if report.skipped and os.environ.get("CI") == "true":
        assert isinstance(report.longrepr, tuple)  # file, line, reason
        report.outcome, report.longrepr = "failed", f"left out, though CI=true: {report.longrepr[2]}"
    return report


@pytest.fixture
def root() -> None:
    """The test needs root."""
    need_root()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The integration tests, which mostly wait, before those that fill the gaps."""
    items.sort(key=lambda item: "integration" not in item.path.parts)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    """A thread that does not end hangs the run no longer than a test may."""
    faulthandler.dump_traceback_later(60, exit=True)
