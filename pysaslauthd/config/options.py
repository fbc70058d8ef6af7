"""What the command line says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pysaslauthd.config.endpoint import Endpoint
from pysaslauthd.config.sockets import SocketPlace

_SLOT = 6 * 96
"""Bytes of a slot of saslauthd's cache: 6 buckets of 96 bytes (cyrus-sasl 2.1.28 on 64 bits, its cache.h)."""
_DEFAULT_SLOTS = 1711


@dataclass(frozen=True, slots=True)
class DaemonOptions:
    """The daemon's command line, checked; every default is saslauthd's, and it has no Dovecot socket."""

    config: Path = Path("/etc/saslauthd.conf")
    """``-O``: the configuration file, absolute."""
    run_dir: Path = Path("/var/run/saslauthd")
    """``-m``: the folder of the socket and of the pid file, absolute."""
    threads: int = 5
    """``-n``: user binds under way at once; 0 sets no bound of its own."""
    cache: bool = False
    """``-c``: whether accepted logins are remembered."""
    cache_size: int | None = None
    """``-s``: kilobytes that saslauthd's cache would take, at least 1; None is saslauthd's default, no whole number."""
    cache_lifetime: int = 28800
    """``-t``: seconds that an accepted login is remembered, at least 1."""
    append_realm: bool = False
    """``-r``: the login becomes ``login@realm``."""
    verbose: bool = False
    """``-V``, ``-d``: accepted logins are logged too."""
    foreground: bool = False
    """``-f``, ``-d``: stay attached, and log to standard error."""
    log_format: Literal["classic", "json"] = "classic"
    """The form of the log's lines."""
    metrics: Endpoint | None = None
    """Where Prometheus may scrape; None is nowhere."""
    unavailable: Literal["close", "no"] = "close"
    """What a mux client is told when no directory could be asked: nothing, or NO like saslauthd."""
    mux_sockets: tuple[SocketPlace, ...] = ()
    """Mux sockets beside the one in ``run_dir``."""
    dovecot_sockets: tuple[SocketPlace, ...] = ()
    """Sockets that speak Dovecot's auth protocol."""
    dovecot_unavailable: Literal["auto", "close", "fail"] = "auto"
    """What a Dovecot client is told then: the connection ends, ``FAIL … code=temp_fail``, or what it understands."""

    @property
    def twice(self) -> str:
        """A socket's path that is given more than once; empty for none."""
        own = [str(self.mux_path), str(self.control_path)]
        paths = own + [place.path for place in self.mux_sockets + self.dovecot_sockets]
        paths += [self.metrics.path] if isinstance(self.metrics, SocketPlace) else []
        return next((path for path in paths if paths.count(path) > 1), "")

    @property
    def mux_path(self) -> Path:
        """The mux socket."""
        return self.run_dir / "mux"

    @property
    def control_path(self) -> Path:
        """The control socket."""
        return self.run_dir / "control"

    @property
    def pid_path(self) -> Path:
        """The pid file."""
        return self.run_dir / "saslauthd.pid"

    @property
    def cache_entries(self) -> int:
        """Entries that saslauthd's cache would hold: 10,938 for 1024 kB, 10,266 for its default.

        Its hash table has six buckets a slot, and of slots the next odd prime above what fits into the size.
        """
        if self.cache_size is None:
            return 6 * _DEFAULT_SLOTS
        slots = max(3, self.cache_size * 1024 // _SLOT + 1)
        while not _is_prime(slots):
            slots += 1
        return 6 * slots


def _is_prime(number: int) -> bool:
    return all(number % divisor for divisor in range(2, int(number**0.5) + 1))
