"""The demo: people in an LDIF file, a daemon in front of it, and what it answers to whom."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import shlex
import sys
import tempfile
import time
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from pysaslauthd.cli.demo_daemon import Daemon, Signals
from pysaslauthd.cli.terminal import say

READ_AGAIN_SECONDS = 10.0
"""Longest time for a changed LDIF file to be read; it is looked at once a second, and taken at the second look."""

_PENGUIN = "penguin@hoge.cxm"
_PASSWORD = "penguin-pass"
_NEW_PASSWORD = "new-penguin-pass"
_OK, _NO, _CLOSED = "OK", "NO", "closed without an answer"
_LONGEST_PASSWORD = 16
_ROW = "  {:<18}{:<10}{:<18}{:>8}  {}"


class Login(NamedTuple):
    """A login to try, and what must come of it: the answer, and the reason that the log gives."""

    login: str
    password: str
    answer: str
    reason: str = ""
    realm: str = ""


Sections = Iterable[tuple[str, Iterable[Login]]]


def run(*, keep: bool) -> int:
    """Show it all; the exit status: 0, or 1 if an answer was not the expected one.

    :param keep: leave the daemon running until a signal comes.
    :raises click.ClickException: the daemon does not start or answer.
    :raises KeyboardInterrupt: a signal came before.
    """
    started = time.monotonic()
    with Signals() as signals, tempfile.TemporaryDirectory(prefix="pysaslauthd-demo-") as name:
        folder = Path(name)
        people, config = folder / "people.ldif", folder / "saslauthd.conf"
        _write(people, _shipped("people.ldif"))
        _write(config, _config(f"ldif://{quote(str(people))}"))
        with Daemon(signals, folder / "run", config, "-c") as daemon:
            say(f"The people in {people}, asked through {daemon.mux}")
            table = _Table()
            for title, logins in _sections(people):
                table.show(title, daemon, logins)
            _change_password(table, daemon, people)
            _without_directory(table, signals, folder)
            say()
            if table.unexpected:
                say(f"{table.unexpected} of {table.rows} answers are not the expected ones.", fg="red")
            else:
                seconds = time.monotonic() - started
                say(f"All {table.rows} answers are the expected ones; {seconds:.1f} s in all.", fg="green")
            if keep:
                _keep(daemon, people)
    return 1 if table.unexpected else 0


def _sections(people: Path) -> Sections:
    return {
        "The right password, first asked of the directory, then remembered": [
            Login(_PENGUIN, _PASSWORD, _OK),
            Login(_PENGUIN, _PASSWORD, _OK, "cached"),
        ],
        "One person, however the name is typed": [
            Login(_PENGUIN, _PASSWORD, _OK, "cached"),
            Login("penguin", _PASSWORD, _OK, "cached", realm="hoge.cxm"),
            Login(_PENGUIN, _PASSWORD, _OK, "cached", realm="hoge.cxm"),
            Login("penguin", _PASSWORD, _OK, "cached"),
        ],
        "A wrong password, nobody of that name, no password": [
            Login(_PENGUIN, "wrong-pass", _NO, "wrong-password"),
            Login("nobody@hoge.cxm", _PASSWORD, _NO, "unknown-user"),
            Login(_PENGUIN, "", _NO, "empty-password"),
        ],
        "Another kind of hash; the stored hash itself is no password": [
            Login("emperor@hoge.cxm", "emperor-pass", _OK),
            Login("emperor@hoge.cxm", _stored(people.read_text(), "emperor"), _NO, "wrong-password"),
        ],
    }.items()


def _change_password(table: _Table, daemon: Daemon, people: Path) -> None:
    text = people.read_text()
    changed = time.monotonic()
    people.write_text(text.replace(_stored(text, "penguin"), _ssha512(_NEW_PASSWORD)))
    daemon.wait_for("read again", READ_AGAIN_SECONDS)
    title = f"A new password written into {people.name}, noticed after {time.monotonic() - changed:.1f} s"
    logins = [
        Login(_PENGUIN, _NEW_PASSWORD, _OK),
        Login(_PENGUIN, _PASSWORD, _NO, "wrong-password"),
    ]
    table.show(title, daemon, logins)


def _without_directory(table: _Table, signals: Signals, folder: Path) -> None:
    config = folder / "no-directory.conf"
    _write(config, _config(f"ldapi://{quote(str(folder / 'ldapi'), safe='')}"))
    with Daemon(signals, folder / "no-directory", config) as daemon:
        title = "No directory to ask: nobody is told that the password is wrong"
        table.show(title, daemon, [Login(_PENGUIN, _PASSWORD, _CLOSED, "directory-down")])


def _keep(daemon: Daemon, people: Path) -> None:
    beside = Path(sys.executable).with_name("testpysaslauthd")
    probe = [
        str(beside) if beside.exists() else beside.name,
        "-u",
        _PENGUIN,
        "-p",
        _NEW_PASSWORD,
        "-f",
        str(daemon.mux),
    ]
    say()
    say("The daemon goes on until Ctrl-C. From another terminal, ask it:")
    say(f"  {shlex.join(probe)}")
    say(f"or change {people}. Its log:")
    try:
        while True:
            say(f"  {daemon.line()}")
    except KeyboardInterrupt:
        say()


class _Table:
    """Prints logins and their answers; counts them, and those that are not what they should be."""

    def __init__(self) -> None:
        self.rows = 0
        self.unexpected = 0
        say(_ROW.format("login", "realm", "password", "time", "answer (reason in the log)"), dim=True)

    def show(self, title: str, daemon: Daemon, logins: Iterable[Login]) -> None:
        say()
        say(title, bold=True)
        for each in logins:
            answer = daemon.ask(each.login, each.password, each.realm)
            shown = _shown(_CLOSED if answer.reply is None else answer.reply, answer.reason)
            expected = _shown(each.answer, each.reason)
            style = {}
            self.rows += 1
            if shown != expected:
                self.unexpected += 1
                shown += f", expected {expected}"
                style = {"fg": "red"}
            took = f"{answer.milliseconds:.1f} ms"
            say(_ROW.format(each.login, each.realm, _short(each.password), took, shown), **style)


def _shown(reply: str, reason: str) -> str:
    return f"{reply} ({reason})" if reason else reply


def _short(password: str) -> str:
    if len(password) > _LONGEST_PASSWORD:
        return password[: _LONGEST_PASSWORD - 3] + "..."
    return password or "(empty)"


def _shipped(name: str) -> str:
    return (files("pysaslauthd") / "demo" / name).read_text(encoding="utf-8")


def _config(servers: str) -> str:
    return re.sub("(?m)^ldap_servers:.*$", f"ldap_servers: {servers}", _shipped("saslauthd.conf"))


def _stored(ldif: str, uid: str) -> str:
    """A person's userPassword in the shipped people.ldif, which has one on one line for each."""
    found = re.search(f"(?m)^uid: {uid}\n(?:.+\n)*userPassword: (.*)$", ldif)
    assert found is not None, uid  # noqa: S101 - the file is the package's own
    return found[1]


def _ssha512(password: str) -> str:
    salt = secrets.token_bytes(8)
    digest = hashlib.sha512(password.encode() + salt).digest()
    return "{SSHA512}" + base64.b64encode(digest + salt).decode()


def _write(path: Path, text: str) -> None:
    path.touch(0o600)
    path.write_text(text)
