"""The systemd units, judged by systemd's own tools."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from rig.needs import need

UNITS = Path(__file__).parents[2] / "systemd"
DROP_INS = "pysaslauthd.service.d"


@pytest.fixture
def units(tmp_path: Path) -> list[Path]:
    """Copies that name a program which is there."""
    need("systemd-analyze")
    copies = []
    for unit in (UNITS / "pysaslauthd.service", UNITS / "pysaslauthd@.service", *UNITS.glob("*.socket")):
        copies.append(tmp_path / unit.name)
        text = unit.read_text()
        copies[-1].write_text(re.sub(r"^(Exec\w+)=pysaslauth\w+ ", r"\1=/bin/true ", text, flags=re.MULTILINE))
    shutil.copytree(UNITS / DROP_INS, tmp_path / DROP_INS)
    shutil.copytree(UNITS / DROP_INS, tmp_path / "pysaslauthd@.service.d")
    return copies


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def test_what_systemd_does_not_understand_is_found(units: list[Path]) -> None:
    (units[0].parent / "pysaslauthd@.service.d" / "wrong.conf").write_text("[Service]\nLoadCredentials=a:/b\n")
    assert "LoadCredentials" in analyze("verify", units[1]).stderr


def test_systemd_understands_every_line(units: list[Path]) -> None:
    found = analyze("verify", *units)
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")


@pytest.mark.parametrize("number", [0, 1])
def test_a_service_is_exposed_at_most_1_3(number: int, units: list[Path]) -> None:
    assert units[number].suffix == ".service"
    found = analyze("security", "--offline=true", "--threshold=13", "--no-pager", units[number])
    assert found.returncode == 0, found.stdout[-200:] + found.stderr
