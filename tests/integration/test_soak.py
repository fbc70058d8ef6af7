"""The soak's command, for some seconds."""

from __future__ import annotations

from bench.soak import main
from click.testing import CliRunner

from rig.needs import need


def test_a_short_soak_finds_nothing_wrong() -> None:
    need("slapd", "slapadd", "ldapmodify", "ns-slapd", "certutil", "pk12util")
    ran = CliRunner().invoke(main, ["--seconds", "8", "--seed", "7"])
    assert ran.exit_code == 0, ran.output
    assert ran.output.count("| calm") == 2
