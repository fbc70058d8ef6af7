"""The tutorial's commands, taken out of its page, and a machine to run them on as they stand.

Each block of the page has a marker: ``<!-- run -->`` or ``<!-- run: status N -->`` for commands, ``<!-- output -->``
for lines that the commands before it have printed, ``<!-- not run: NAME -->`` for commands that the tests cannot run.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Self

from rig.docs import DOCS
from rig.programs import folder

_BLOCK = re.compile(r"^(?:<!-- (?P<mark>[^\n]*) -->\n)?```\w+\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
_MARKS = {"run", "output", "not run"}
_NUMBER = re.compile(r"\d+(?:\.\d+)?(?= ms)")
_BLANKS = re.compile(" +")

# Other mounts, other ports, other processes, all of which end with the first.
_UNSHARE = ["unshare", "--mount", "--net", "--pid", "--fork", "--mount-proc", "--kill-child"]
_SETUP = """\
ip link set lo up
for path in /etc /var/spool/postfix; do
    mkdir -p "$1$path"
    cp -a "$path/." "$1$path"
    mount --bind "$1$path" "$path"
done
for path in /run /var/log /var/lib/dirsrv /var/lib/postfix /dev/shm; do mount -t tmpfs -o mode=755 tmpfs "$path"; done
chmod 1777 /dev/shm
mkdir -p /run/lock /run/dirsrv /var/log/dirsrv
chown dirsrv: /run/dirsrv /var/log/dirsrv /var/lib/dirsrv
chown postfix: /var/lib/postfix
cd "$1"
echo ready
while read -r step; do
    bash -e "$step" </dev/null >"$step.out" 2>&1 && status=0 || status=$?
    echo "$status"
done
"""
# What dscreate and the page ask of systemd about the directory, and no more.
_SYSTEMCTL = """\
#!/bin/sh
pid=/run/dirsrv/slapd-mail.pid
case "$*" in
"enable dirsrv@mail") ;;
"is-active --quiet dirsrv@mail")
    [ -e $pid ] && kill -0 "$(cat $pid)" ;;
"start dirsrv@mail")
    "$0" is-active --quiet dirsrv@mail && exit
    ns-slapd -D /etc/dirsrv/slapd-mail -i $pid
    until ldapwhoami -x -H ldap://127.0.0.1/; do sleep 0.05; done ;;
"stop dirsrv@mail")
    old=$(cat $pid)
    kill "$old"
    while kill -0 "$old"; do sleep 0.05; done ;;
*)
    echo "systemctl $*: not here" >&2
    exit 1 ;;
esac
"""
_PROGRAM = """\
#!/bin/sh
PYTHONPATH={root} exec {python} -c 'import sys; from pysaslauthd.cli.{module} import main; sys.exit(main())' "$@"
"""
_PROGRAMS = {"pysaslauthd": "daemon", "testpysaslauthd": "probe", "pysaslauthctl": "control"}
_SECONDS = 60.0
"""Longest time for a block."""


class Step(NamedTuple):
    """A block of the page: its marker's word (``run``, ``output``, ``not run``), what follows the colon, its text."""

    mark: str
    argument: str
    text: str


def steps(page: str) -> list[Step]:
    """The blocks of a page below docs, in order. One without a marker is an AssertionError."""
    found = []
    for block in _BLOCK.finditer((DOCS / page).read_text()):
        mark, _, argument = (block["mark"] or "").partition(": ")
        assert mark in _MARKS, f"{page}: a block with the marker {mark!r}:\n{block['text']}"
        found.append(Step(mark, argument, block["text"]))
    return found


def lacking(shown: str, printed: str) -> list[str]:
    """The lines shown that were not printed, in this order; milliseconds and the width of columns may differ."""
    heard = iter([_form(line) for line in printed.splitlines()])
    return [line for line in shown.splitlines() if _form(line) not in heard]


def _form(line: str) -> str:
    return _BLANKS.sub(" ", _NUMBER.sub("0", line)).strip()


class Machine:
    """A machine for the tutorial: this one's programs, and files, ports and processes of its own. Needs root."""

    def __init__(self, path: Path, process: subprocess.Popen[str]) -> None:
        self._path = path
        self._process = process
        self._count = 0

    @classmethod
    @contextmanager
    def running(cls) -> Iterator[Self]:
        """Make it, and end all that runs on it when the context ends."""
        with folder("tutorial") as path:
            programs = path / "bin"
            programs.mkdir()
            for name, module in _PROGRAMS.items():
                text = _PROGRAM.format(root=DOCS.parent, python=sys.executable, module=module)
                _executable(programs / name, text)
            _executable(programs / "systemctl", _SYSTEMCTL)
            search = f"{programs}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
            with (
                (path / "log").open("w") as log,
                subprocess.Popen(
                    [*_UNSHARE, "bash", "-ec", _SETUP, "setup", str(path)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                    env={"PATH": search, "LANG": "C.UTF-8"},
                ) as process,
            ):
                try:
                    machine = cls(path, process)
                    assert machine._heard() == "ready", (path / "log").read_text()
                    yield machine
                finally:
                    process.kill()  # and with it, by --kill-child, all else

    def run(self, commands: str) -> tuple[int, str]:
        """Run commands as a script that ends at the first failure; exit status and output."""
        assert self._process.stdin is not None
        self._count += 1
        script = self._path / f"step{self._count}"
        script.write_text(commands)
        self._process.stdin.write(f"{script}\n")
        self._process.stdin.flush()
        return int(self._heard()), script.with_name(f"{script.name}.out").read_text(errors="replace")

    def _heard(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


def _executable(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)
