"""The systemd units, judged by systemd's own tools."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from integration.conftest import need

UNITS = Path(__file__).parents[2] / "systemd"


@pytest.fixture
def units(tmp_path: Path) -> list[Path]:
    """Copies that name a program which is there."""
    need("systemd-analyze")
    copies = []
    for unit in (UNITS / "pysaslauthd.service", *UNITS.glob("*.socket")):
        copies.append(tmp_path / unit.name)
        text = unit.read_text()
        copies[-1].write_text(re.sub(r"^(Exec\w+)=pysaslauth\w+ ", r"\1=/bin/true ", text, flags=re.MULTILINE))
    return copies


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def test_systemd_understands_every_line(units: list[Path]) -> None:
    found = analyze("verify", *units)
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")


def test_the_service_is_exposed_at_most_1_3(units: list[Path]) -> None:
    found = analyze("security", "--offline=true", "--threshold=13", "--no-pager", units[0])
    assert found.returncode == 0, found.stdout[-200:] + found.stderr
