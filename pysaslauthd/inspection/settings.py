"""The steps that ask nobody: the configuration's files, and who can reach the socket."""

from __future__ import annotations

import grp
import os
import re
import shlex
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from pysaslauthd.config import Loaded, load
from pysaslauthd.config.source import printable
from pysaslauthd.errors import ConfigError
from pysaslauthd.inspection.step import Result, Step

DENIED = "run this as root or as the daemon's user"
"""What a person does who may not read what the daemon reads."""

_GROUPS = ("sasl", "saslauth")
"""Who may pass the run directory, by the distributions: Debian's group, then Red Hat's."""


def configuration(path: str) -> tuple[Loaded | None, list[Step]]:
    """What a file and those of its realms say, None where they cannot be used, and the steps: one for each doubt."""
    started = time.perf_counter()
    try:
        loaded = load(path, denied=DENIED)
    except ConfigError as error:
        took = (time.perf_counter() - started) * 1000
        where = f"line {error.line}: " if error.line else ""
        return None, [
            Step(error.file or path, error.key or "syntax", Result.ERROR, where + error.reason, milliseconds=took)
        ]
    took = (time.perf_counter() - started) * 1000
    steps = [Step(path, "syntax", Result.OK, "every value can be used", milliseconds=took), *_doubts(path, loaded)]
    if not loaded.daemon.serves_unlisted:
        steps.append(Step(path, "realms", Result.OK, "others than those with a file of their own are refused"))
    for realm in loaded.realms.values():
        steps += [Step(realm.file, "syntax", Result.OK, f"for the realm {realm.name}"), *_doubts(realm.file, loaded)]
    return loaded, steps


def _doubts(path: str, loaded: Loaded) -> list[Step]:
    """A step for each doubt about a file."""
    about = [warning for warning in loaded.warnings if warning.startswith(f"{printable(path)}:")]
    return [_doubt(path, each) for each in about] or [Step(path, "settings", Result.OK, "nothing to warn of")]


def _doubt(path: str, warning: str) -> Step:
    """A warning of the configuration, ``file:line: key: text``, as a step. The text says what to do."""
    match = re.fullmatch(r"(?:(\d+):|) ?(?:(\w+): )?(.*)", warning.removeprefix(f"{printable(path)}:"), re.DOTALL)
    line, key, text = match.groups() if match else ("", "", warning)
    return Step(path, key or "syntax", Result.WARNING, f"line {line}: {text}" if line else text)


def socket(run_dir: Path) -> Step:
    """Whether every user of this machine can ask the mux socket, and so try passwords."""
    path = run_dir / "mux"
    subject, what = str(path), "who can ask"
    try:
        status = os.stat(path)
        closed = next((folder for folder in _folders(path) if not os.stat(folder).st_mode & stat.S_IXOTH), None)
    except FileNotFoundError:
        return Step(subject, what, Result.SKIPPED, "it is not there: no daemon is running, or -m is another one")
    except OSError as error:
        return Step(subject, what, Result.SKIPPED, f"{error.strerror}; root can look")
    if not stat.S_ISSOCK(status.st_mode):
        return Step(subject, what, Result.ERROR, "it is not a socket", "remove it, and start the daemon again")
    if closed is None and status.st_mode & stat.S_IWOTH:
        found = "every user of this machine: each can try passwords here"
        return Step(subject, what, Result.WARNING, found, _closing(run_dir))
    keeper = closed or path
    return Step(subject, what, Result.OK, f"its owner and group {_group(os.stat(keeper).st_gid)} ({keeper})")


def _closing(run_dir: Path) -> str:
    """How to let the mail server alone into the run directory."""
    folder = shlex.quote(str(run_dir))
    group = next(filter(_exists, _GROUPS), None)
    close = f"chgrp {group or _GROUPS[0]} {folder} && chmod 710 {folder}"
    if group:
        return f"give the folder to the group {group}, which the mail server's user must be in: {close}"
    return (
        f"make a group for the mail server's user, USER, and give it the folder:"
        f" groupadd -r {_GROUPS[0]} && usermod -aG {_GROUPS[0]} USER && {close}"
    )


def _exists(group: str) -> bool:
    try:
        grp.getgrnam(group)
    except KeyError:
        return False
    return True


def _folders(path: Path) -> Iterator[Path]:
    """The folders that must be passed to reach a file, as the kernel walks."""
    yield from path.resolve().parents


def _group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)
