"""The command that ``scripts/soak`` runs: one daemon under load for long, in the middle of it faults without end.

Two real servers, slapd behind a network that meddles and 389 DS by TLS; 5 % wrong passwords; a cache of two seconds, so
that both it and the directory answer; clients that say nothing, half of something, or nonsense. What must hold: no
wrong answer, none after the deadline, nobody turned away while a server works, as many descriptors in the end as in the
beginning, memory that does not grow while faults go on, and little more of it in the end than in the beginning.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import click

from bench.outcome import Phase, problems, table
from bench.peers import resident_mb
from rig import Authority, Daemon, DirectoryServer, Ds389, Slapd, article
from rig.daemon import ROOT
from rig.meddler import WAYS, Meddler
from rig.programs import folder
from rig.volley import login

SECONDS = 600
CLIENTS = 32
PAUSE = 0.05
"""Seconds between two logins of one client."""
BROKEN = 16
"""Clients that do not do as they should."""
PEOPLE = 200
WRONG = 0.05
BEAT = 0.1
"""Seconds between two looks at the clock, which tell when the machine itself stood still."""
STALL = 0.5
"""Seconds of standing still that may look to the daemon like a server that hangs."""
RECOVERED = 2.0
"""Seconds after a fault from which every login must be served."""
PAGE = ROOT / "docs" / "reliability.md"
_TABLE = re.compile(r"(?<=<!-- soak -->\n).*(?=<!-- end of soak -->)", re.DOTALL)
PHASES = ("calm", "faults", "more faults", "calm again")


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
        self._stood = 0.0
        """Seconds for which the machine has stood still."""
        self._stalled = float("-inf")
        """When it last did so for long."""

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
            tasks += [group.create_task(self._measure()), group.create_task(self._watch_the_clock())]
            for phase in self.phases:
                self._phase = phase
                until = time.monotonic() + self._seconds / len(self.phases)
                if "faults" in phase.name:
                    await self._faults(until)
                await asyncio.sleep(max(0.0, until - time.monotonic()))
                phase.descriptors = self._world.descriptors
            for task in tasks:
                task.cancel()

    async def _measure(self) -> None:
        while True:
            self._phase.memory.append(resident_mb(self._world.daemon.program.pid))
            await asyncio.sleep(0.5)

    async def _watch_the_clock(self) -> None:
        while True:
            began = time.monotonic()
            await asyncio.sleep(BEAT)
            now = time.monotonic()
            self._stood += max(0.0, now - began - 2 * BEAT)
            if now - began - BEAT > STALL:
                self._stalled = now

    async def _client(self) -> None:
        while True:
            user = f"u{self._chance.randrange(PEOPLE)}"
            phase, outage_before, stood = self._phase, self._outage, self._stood
            began = time.monotonic()
            try:
                seen = await login(self._world.daemon.mux, user, right=self._chance.random() >= WRONG)
            except (BlockingIOError, ConnectionError):  # the backlog is full: no daemon was asked
                await asyncio.sleep(PAUSE)
                continue
            whole = not outage_before and not self._outage and began - self._whole_since > RECOVERED
            stalled = began - self._stalled < RECOVERED
            phase.add(seen, served=whole, stood=self._stood - stood, stalled=stalled)
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
    result = table(soak.phases, seconds)
    click.echo(result)
    found = problems(soak.phases, seconds, log)
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
