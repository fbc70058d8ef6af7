"""Where a login's microseconds go: py-spy's samples of the daemon under load, put together by stage.

A sample is a stack with the line of source that runs in each frame. Its stage is that of the innermost frame
which one of the patterns below describes; calls into the kernel and C belong to the line that makes them.
"""

from __future__ import annotations

import linecache
import re
import shutil
import subprocess
import sysconfig
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from bench.peers import OURS, Peer, cpu_seconds
from bench.rounds import once
from bench.tools import Tools
from bench.work import Row
from rig.daemon import ROOT
from rig.programs import folder

_SAMPLES = 500
"""A second: the process stops for each, so more would measure the profiler."""

# File and function, then the line of source; the first that fits.
_STAGES = tuple(
    (title, re.compile(where), re.compile(line))
    for title, where, line in (
        ("client: accept", "server/listener", r"accept\(|SocketType\("),
        ("client: receive", "server/mux", r"\.recv\("),
        ("client: receive", "server/listener", "getsockopt|unpack"),
        ("client: reply", "server/mux", r"\.send\("),
        ("client: close", "server/mux", r"_connection\.close\("),
        ("client: parse the request", "wire/(mux|dovecot)", ""),
        ("client: connections, deadlines", "server/", ""),
        ("log the outcome", "pysaslauthd/log|/logging/|metrics", ""),
        ("identity", "pysaslauthd/model", ""),
        ("cache", "pysaslauthd/(cache|cachetools)|/cachetools/", ""),
        ("policy", "pysaslauthd/(auth|throttle)", ""),
        ("password check", "pysaslauthd/passwords|hmac|hashlib|base64", ""),
        ("mechanism", "pysaslauthd/mechanisms", ""),
        ("LDAP: encode the request", "wire/ldap/request|directory/template", ""),
        ("LDAP: decode the answer", "wire/ldap/(response|shape)|/ldap3/|/pyasn1/", ""),
        ("LDAP: send", "directory/connection", r"\.(write|send)\("),
        ("LDAP: send", "asyncio/selector_events.*write|asyncio/selector_events:send", ""),
        ("LDAP: receive", "asyncio/selector_events.*(read_ready|recv)", r"\.recv\("),
        ("LDAP: connections, timers", "directory/", ""),
        ("resume the flow", "pysaslauthd/flow", ""),
        ("event loop", "asyncio/|selectors", ""),
    )
)
_FRAME = re.compile(r"(?P<function>.*) \((?P<file>.*):(?P<line>\d+)\)")


class Profile(NamedTuple):
    """CPU time of a login by stage, in microseconds, the largest first."""

    stages: dict[str, float]
    cpu_us: float
    """Of the whole login, measured without the profiler."""
    samples: int


def py_spy() -> str | None:
    """Path of py-spy, of this environment or the search path."""
    return shutil.which("py-spy", path=sysconfig.get_path("scripts")) or shutil.which("py-spy")


def profile(tools: Tools, peer: Peer, row: Row, seconds: float) -> Profile:
    """Sample one daemon for so long under the load of a row.

    :raises RuntimeError: py-spy is not here, or may not look at the process.
    """
    assert peer.name == OURS
    command = py_spy()
    if command is None:
        raise RuntimeError("py-spy is not installed; scripts/bench installs it")
    plain = once(tools, peer, row, seconds)
    with folder("py-spy") as path:
        options = ["-d", str(max(1, round(seconds))), "-r", str(_SAMPLES), "-f", "raw", "--full-filenames"]
        spying = subprocess.Popen(
            [command, "record", "-p", str(peer.pid), "-o", path / "stacks", *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        # It takes a moment to begin, and says nothing when it has.
        tools.load(peer.protocol, peer.socket, in_flight=row.in_flight, seconds=seconds + 1)
        _, said = spying.communicate(timeout=60)
        if spying.returncode:
            raise RuntimeError(f"py-spy: {said.strip()}")
        return put_together((path / "stacks").read_text(), plain.cpu_us)


def put_together(stacks: str, cpu_us: float) -> Profile:
    """Samples in the raw format of py-spy (``outer;…;inner count``) as shares of the CPU time."""
    counted: Counter[str] = Counter()
    for line in stacks.splitlines():
        stack, _, count = line.rpartition(" ")
        counted[_stage(stack.split(";"))] += int(count)
    samples = sum(counted.values())
    return Profile({title: count / samples * cpu_us for title, count in counted.most_common()}, cpu_us, samples)


def _stage(stack: list[str]) -> str:
    for frame in reversed(stack):
        found = _FRAME.fullmatch(frame)
        if found is None:
            continue
        file, number = found["file"], int(found["line"])
        where = f"{_short(file)}:{found['function']}"
        line = linecache.getline(file, number)
        for title, place, text in _STAGES:
            if place.search(where) and text.search(line):
                return title
    return "other"


def _short(file: str) -> str:
    """A path without the folders of this machine, whose names could look like a stage."""
    path = Path(file)
    if path.is_relative_to(ROOT / "pysaslauthd"):
        return str(path.relative_to(ROOT))
    library = sysconfig.get_path("stdlib")
    return "/" + str(path.relative_to(library)) if path.is_relative_to(library) else file


class Point(NamedTuple):
    """One point of a sweep."""

    value: int
    rate: float
    cpu_us: float


def point(tools: Tools, peer: Peer, value: int, *, in_flight: int = 16, people: int = 0, seconds: float) -> Point:
    """Rate and cost of one daemon with one thing changed, which is ``value``; nobody's password is wrong."""
    before = cpu_seconds(peer.pid)
    load = tools.load(peer.protocol, peer.socket, in_flight=in_flight, people=people, seconds=seconds, wrong=0)
    return Point(value, load.rate, (cpu_seconds(peer.pid) - before) / max(1, load.answered) * 1e6)
