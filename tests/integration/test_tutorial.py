"""The tutorial, command by command, on a machine of its own; and that its translation says the same."""

from __future__ import annotations

import pytest

from rig.needs import need, need_root
from rig.tutorial import Machine, lacking, steps

PAGE, JAPANESE = "tutorial.md", "ja/tutorial.md"
# What cannot be run here, and what is done in its place.
NOT_RUN = {
    # The packages are installed already. Debian's script would have asked for the name, and started Postfix.
    "packages": "postconf -e myhostname=mail.hoge.cxm inet_interfaces=127.0.0.1; postfix start",
    # It needs the network. The package under test is in the PATH already; installing it is scripts/demo's to try.
    "install": "pysaslauthd --version",
    # There is no systemd. These are the units' sockets; user and sandbox are left out. The units have their own tests.
    "service": "pysaslauthd -c --dovecot-socket /var/spool/postfix/private/auth:mode=0660,owner=postfix,group=postfix",
}


def test_every_command_of_the_tutorial_does_what_the_page_says() -> None:
    need_root()
    need("ns-slapd", "ldapmodify", "ldapsearch", "ldapwhoami", "postfix", "swaks", "ip")
    with Machine.running() as machine:
        printed = ""
        for mark, argument, text in steps(PAGE):
            if mark == "output":
                assert lacking(text, printed) == [], printed
                continue
            status, printed = machine.run(NOT_RUN[argument] if mark == "not run" else text)
            wanted = int(argument.removeprefix("status ")) if mark == "run" and argument else 0
            assert status == wanted, f"{text}\n{printed}"


def test_what_is_not_run_is_listed_here_with_its_reason() -> None:
    assert [step.argument for step in steps(PAGE) if step.mark == "not run"] == [*NOT_RUN]


def test_both_languages_have_the_same_commands() -> None:
    assert steps(JAPANESE) == steps(PAGE)


@pytest.mark.parametrize(
    ("shown", "missing"),
    [
        ("users 1.6 ms  found\n", []),
        ("users 1.6 ms  lost\n", ["users 1.6 ms  lost"]),
        ("syntax\nusers 2 ms found\n", ["users 2 ms found"]),
    ],
)
def test_a_line_that_was_not_printed_there_is_found(shown: str, missing: list[str]) -> None:
    assert lacking(shown, "  users   17.25 ms  found\n  syntax\n") == missing
