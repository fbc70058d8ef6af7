"""What is measured on this daemon alone: its start, and its memory over a million logins."""

from __future__ import annotations

import os
import signal
import socket
import statistics
import subprocess
import time
from typing import NamedTuple

from click import echo

from bench import peers, work
from bench.peers import Setting
from bench.tools import Tools
from rig import Daemon, Slapd
from rig.daemon import ENVIRONMENT
from rig.programs import folder
from rig.saslauthd import conf_text

_BATCH = 100_000


class Memory(NamedTuple):
    """Memory over many logins."""

    resident_mb: dict[int, float]
    """After so many logins."""
    growth_mb: float
    """From ``GROWTH_FROM`` logins to the end."""
    faults: int


def start_seconds(uri: str, rounds: int) -> float:
    """Median time from the start of the process to its ``READY=1`` (sd_notify(3))."""
    taken = []
    with folder("start") as path, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        (path / "saslauthd.conf").write_text(conf_text(peers.conf(Setting("custom", True, uri))))
        manager.bind(str(path / "notify"))
        manager.settimeout(10)
        conf_file, run_dir = str(path / "saslauthd.conf"), str(path)
        command = [Daemon.python, "-m", "pysaslauthd", "-O", conf_file, "-m", run_dir, "-c"]
        # A service has the environment of its own only; what watches the tests costs time.
        env = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": ENVIRONMENT["PYTHONPATH"],
            "NOTIFY_SOCKET": str(path / "notify"),
        }
        for _ in range(rounds):
            began = time.monotonic()
            with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
                while b"READY=1" not in manager.recv(4096):
                    pass
                taken.append(time.monotonic() - began)
                process.send_signal(signal.SIGTERM)
    return statistics.median(taken)


def memory(tools: Tools, server: Slapd, logins: int = work.MEMORY_LOGINS) -> Memory:
    """Log in people of a large directory in random order, the cache being full all the time."""
    resident: dict[int, float] = {}
    faults = 0
    with peers.ours(Setting("custom", True, f"{server.uri}/")) as (peer, _):
        for batch in range(logins // _BATCH):
            seen = tools.load(peer.protocol, peer.socket, in_flight=64, logins=_BATCH, shuffle=batch)
            faults += seen.faults
            resident[(batch + 1) * _BATCH] = peers.resident_mb(peer.pid)
            echo(f"-- {(batch + 1) * _BATCH} logins: {resident[(batch + 1) * _BATCH]:.1f} MB", err=True)
    last = resident[max(resident)]
    return Memory(resident, last - resident.get(work.GROWTH_FROM, last), faults)
