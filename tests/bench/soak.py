"""The command that ``scripts/soak`` runs: one daemon under load for long, in the middle of it faults without end.

Two real servers, slapd behind a network that meddles and 389 DS by TLS; 5 % wrong passwords; a cache of two seconds, so
that both it and the directory answer; clients that say nothing, half of something, or nonsense. What must hold: no
wrong answer, none after the deadline, nobody turned away while a server works, and in the end as much memory and as
many descriptors as after the first faults, whose crowd and TLS take some.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import click

from bench.peers import resident_mb
from rig import Authority, Daemon, DirectoryServer, Ds389, Slapd, article
from rig.daemon import ROOT
from rig.meddler import WAYS, Meddler
from rig.programs import folder
from rig.volley import Login, login

SECONDS = 600
CLIENTS = 32
PAUSE = 0.05
"""Seconds between two logins of one client."""
BROKEN = 16
"""Clients that do not do as they should."""
PEOPLE = 200
WRONG = 0.05
DEADLINE = 4.0
LATE = 0.5
"""Seconds past the deadline from which an answer is late: the clients and the servers share the daemon's machine."""
RECOVERED = 2.0
"""Seconds after a fault from which every login must be served."""
GROWTH_MB = 4.0
PAGE = ROOT / "docs" / "reliability.md"
_TABLE = re.compile(r"(?<=<!-- soak -->\n).*(?=<!-- end of soak -->)", re.DOTALL)
PHASES = ("calm", "faults", "more faults", "calm again")


class Phase:
    """What was seen in one part of the time."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.answers: Counter[bytes | None] = Counter()
        self.mistaken: list[Login] = []
        self.late: list[Login] = []
        self.times: list[float] = []
        self.faults: Counter[str] = Counter()
        self.turned_away = 0
        """Logins closed without an answer although a server worked."""
        self.memory = 0.0
        self.descriptors = 0

    def add(self, seen: Login, *, served: bool) -> None:
        """Count a login; ``served``: whether a server has worked all the time."""
        self.answers[seen.answer] += 1
        self.times.append(seen.seconds)
        if seen.mistaken:
            self.mistaken.append(seen)
        if seen.seconds > DEADLINE + LATE:
            self.late.append(seen)
        if served and seen.answer is None:
            self.turned_away += 1

    def row(self) -> str:
        """Of the table."""
        times = sorted(self.times) or [0.0]
        p50, p99 = (times[int(len(times) * share)] * 1000 for share in (0.5, 0.99))
        cells = [
            self.name,
            f"{len(self.times):,}",
            f"{self.answers[b'OK']:,}",
            f"{self.answers[b'NO']:,}",
            f"{self.answers[None]:,}",
            str(self.turned_away),
            str(len(self.mistaken)),
            str(len(self.late)),
            f"{p50:.0f} / {p99:.0f} / {times[-1] * 1000:.0f} ms",
            f"{self.memory:.1f} MB",
            str(self.descriptors),
        ]
        return f"| {' | '.join(cells)} |"


class World(NamedTuple):
    """The daemon, its servers, and what meddles between them."""

    daemon: Daemon
    first: DirectoryServer
    second: DirectoryServer
    meddler: Meddler

    @property
    def descriptors(self) -> int:
        """Open descriptors of the daemon."""
        return len(os.listdir(f"/proc/{self.daemon.program.pid}/fd"))


class Soak:
    """One run."""

    def __init__(self, world: World, seconds: float, chance: random.Random) -> None:
        self._world = world
        self._seconds = seconds
        self._chance = chance
        self.phases = [Phase(name) for name in PHASES]
        self._phase = self.phases[0]
        self._outage = False
        """Whether neither server may be working."""
        self._whole_since = float("-inf")

    async def run(self) -> None:
        """All phases, each a quarter of the time."""
        # TLS takes some MB the first time, which the memory to compare with should hold.
        self._world.meddler.meddle("refuse")
        for number in range(PEOPLE):
            await login(self._world.daemon.mux, f"u{number}", right=True)
        self._world.meddler.meddle("pass")
        await asyncio.sleep(RECOVERED)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._client()) for _ in range(CLIENTS)]
            tasks += [group.create_task(self._broken_client()) for _ in range(BROKEN)]
            for phase in self.phases:
                self._phase = phase
                until = time.monotonic() + self._seconds / len(self.phases)
                if "faults" in phase.name:
                    await self._faults(until)
                await asyncio.sleep(max(0.0, until - time.monotonic()))
                phase.memory, phase.descriptors = resident_mb(self._world.daemon.program.pid), self._world.descriptors
            for task in tasks:
                task.cancel()

    async def _client(self) -> None:
        while True:
            user = f"u{self._chance.randrange(PEOPLE)}"
            phase, outage_before = self._phase, self._outage
            began = time.monotonic()
            try:
                seen = await login(self._world.daemon.mux, user, right=self._chance.random() >= WRONG)
            except (BlockingIOError, ConnectionError):  # the backlog is full: no daemon was asked
                await asyncio.sleep(PAUSE)
                continue
            whole = not outage_before and not self._outage and began - self._whole_since > RECOVERED
            phase.add(seen, served=whole)
            await asyncio.sleep(PAUSE * self._chance.uniform(0.5, 1.5))

    async def _broken_client(self) -> None:
        """Connects, and says too little, too much, or what means nothing."""
        while True:
            nonsense = self._chance.choice([b"", b"\0", b"\0\x07peng", self._chance.randbytes(40), b"\xff" * 20_000])
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_unix_connection(self._world.daemon.mux)
                try:
                    writer.write(nonsense)
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(self._chance.uniform(0, 5)):
                            while await reader.read(4096):
                                pass
                finally:
                    writer.close()
            await asyncio.sleep(0.1)

    # -- faults

    async def _faults(self, until: float) -> None:
        world = self._world
        alone: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
            "first killed": (world.first.program.kill, world.first.start),
            "first hung": (world.first.pause, world.first.resume),
            "first stopped": (world.first.stop, world.first.start),
            "second killed": (world.second.program.kill, world.second.start),
            "second hung": (world.second.pause, world.second.resume),
            **{f"network: {way}": self._meddling(way) for way in WAYS},
        }
        both: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
            "both killed": (self._both(lambda each: each.program.kill()), self._both(lambda each: each.start())),
            "both hung": (self._both(lambda each: each.pause()), self._both(lambda each: each.resume())),
        }
        while time.monotonic() < until:
            outage = self._chance.random() < 0.2
            name, (begin, end) = self._chance.choice([*(both if outage else alone).items()])
            self._phase.faults[name] += 1
            self._outage = outage
            await asyncio.to_thread(begin)
            await asyncio.sleep(self._chance.uniform(0.2, 4))
            await asyncio.to_thread(end)
            # The background finds the server again after 1, 2, 4 ... s; a fault of the other one before that would
            # leave none that is known to work.
            self._outage = False
            self._whole_since = time.monotonic()
            await asyncio.sleep(self._chance.uniform(0.5, 4))

    def _meddling(self, way: str) -> tuple[Callable[[], object], Callable[[], object]]:
        return lambda: self._world.meddler.meddle(way), lambda: self._world.meddler.meddle("pass")

    def _both(self, do: Callable[[DirectoryServer], object]) -> Callable[[], object]:
        return lambda: [do(each) for each in (self._world.first, self._world.second)]


def problems(soak: Soak, log: str) -> list[str]:
    """What did not hold; a line each."""
    _, before, _, after = soak.phases
    found = []
    for phase in soak.phases:
        found += [f"{phase.name}: wrong answer: {seen}" for seen in phase.mistaken[:5]]
        found += [f"{phase.name}: late: {seen}" for seen in phase.late[:5]]
        if phase.turned_away:
            found.append(f"{phase.name}: {phase.turned_away} logins closed without an answer")
    if after.memory > before.memory + GROWTH_MB:
        found.append(f"memory grew from {before.memory:.1f} to {after.memory:.1f} MB")
    if after.descriptors > before.descriptors + BROKEN + CLIENTS:
        found.append(f"descriptors grew from {before.descriptors} to {after.descriptors}")
    if "internal error" in log:
        found.append("the log tells of an internal error")
    return found


def table(soak: Soak, seconds: float) -> str:
    """The results, in Markdown."""
    faults = soak.phases[1].faults + soak.phases[2].faults
    head = [
        "phase",
        "logins",
        "OK",
        "NO",
        "closed",
        "of these while a server worked",
        "wrong answers",
        "late",
        "median / 99 % / longest",
        "memory",
        "descriptors",
    ]
    lines = [
        f"{seconds:.0f} s; {faults.total()} faults: "
        + ", ".join(f"{name} {count}" for name, count in sorted(faults.items()))
        + ".",
        "",
        f"| {' | '.join(head)} |",
        f"|{' --- |' * len(head)}",
        *(phase.row() for phase in soak.phases),
    ]
    return "\n".join(lines)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--seconds", type=click.FloatRange(4), default=SECONDS, show_default=True, help="For the whole run.")
@click.option("--seed", type=int, help="Of the faults and the logins, to see a run again.")
@click.option("--write", is_flag=True, help="Write the table into docs/reliability.md.")
@click.pass_context
def main(context: click.Context, *, seconds: float, seed: int | None, write: bool) -> None:
    """Keep a daemon under load, with faults in the middle half of the time. The exit status is 1 where something that
    must hold does not."""
    seed = random.randrange(2**32) if seed is None else seed
    click.echo(f"seed {seed}")
    with (
        folder("authority") as path,
        Slapd(authority := Authority(path), users=PEOPLE) as first,
        Ds389(authority, users=PEOPLE) as second,
        Meddler(first.port) as meddler,
    ):
        conf = article(first, "bind", ldap_servers=f"{meddler.uri} {second.ldaps_uri}")
        conf["ldap_tls_cacert_file"] = str(authority.certificate)
        with Daemon.running(conf, "-c", "-t", "2") as daemon:
            soak = Soak(World(daemon, first, second, meddler), seconds, random.Random(seed))
            asyncio.run(soak.run())
            log = daemon.log
    result = table(soak, seconds)
    click.echo(result)
    found = problems(soak, log)
    for line in found:
        click.echo(line)
    if write:
        _write(PAGE, result)
    context.exit(1 if found else 0)


def _write(page: Path, result: str) -> None:
    text, times = _TABLE.subn(lambda _: f"\n{result}\n\n", page.read_text())
    assert times == 1, f"{page.name}: the marks of the table are not there"
    page.write_text(text)


if __name__ == "__main__":
    main(prog_name="scripts/soak")
