"""What can be asked of the running daemon through its control socket (docs/reference/control.md)."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from pysaslauthd import __version__
from pysaslauthd.config.options import DaemonOptions
from pysaslauthd.config.source import printable
from pysaslauthd.daemon.doors import Doors
from pysaslauthd.daemon.generation import Current, Generation
from pysaslauthd.daemon.reload import Reloader
from pysaslauthd.directory.interface import ServerState
from pysaslauthd.directory.watch_state import RealmWatch
from pysaslauthd.errors import CommandError, PysaslauthdError
from pysaslauthd.log import LEVELS, escape, level, set_level
from pysaslauthd.metrics import Metrics
from pysaslauthd.model import Verdict
from pysaslauthd.pace import Pace
from pysaslauthd.wire.control import Request, bytes_of

logger = logging.getLogger(__name__)

MAX_NAMED = 50
"""Delayed users, and addresses, that a status names; how many there are it tells in any case."""

Arguments = Mapping[str, Any]


class Commands:
    """Carries out commands."""

    def __init__(
        self,
        options: DaemonOptions,
        current: Current,
        doors: Doors,
        metrics: Metrics,
        pace: Pace,
        reloader: Reloader,
    ) -> None:
        self._options = options
        self._current = current
        self._doors = doors
        self._metrics = metrics
        self._pace = pace
        self._reloader = reloader
        self._loop = asyncio.get_running_loop()
        self._started = self._loop.time()
        self._commands: dict[str, tuple[frozenset[str], Callable[[Arguments], Awaitable[Mapping[str, Any]]]]] = {
            "status": (frozenset(), self._status),
            "ping": (frozenset({"directory"}), self._ping),
            "flush": (frozenset({"users", "realm"}), self._flush),
            "reload": (frozenset(), self._reload),
            "log-level": (frozenset({"level"}), self._log_level),
        }

    async def answer(self, request: Request) -> Mapping[str, Any]:
        """The reply to a request.

        :raises CommandError: it cannot be carried out.
        """
        if request.command not in self._commands:
            raise CommandError("unknown-command", f"commands are {', '.join(self._commands)}")
        known, carry_out = self._commands[request.command]
        unknown = request.arguments.keys() - known
        if unknown:
            raise CommandError("bad-request", f"{request.command} has no member {printable(min(unknown))}")
        return await carry_out(request.arguments)

    async def _ping(self, arguments: Arguments) -> Mapping[str, Any]:
        wanted = arguments.get("directory", False)
        if not isinstance(wanted, bool):
            raise CommandError("bad-request", "directory is true or false")
        unreachable = self._current.generation.directories.unreachable()
        if wanted and unreachable:
            raise CommandError("failed", "; ".join(_why_not(state) for state in unreachable))
        return {"version": __version__}

    async def _flush(self, arguments: Arguments) -> Mapping[str, Any]:
        users, realm = arguments.get("users"), arguments.get("realm", "")
        authenticator = self._current.generation.authenticator
        if not isinstance(realm, str):
            raise CommandError("bad-request", "realm is a string")
        if users is None:
            flushed = authenticator.flush_all()
            logger.info("flush: the whole cache, %d entries", flushed)
        elif isinstance(users, list) and users and all(isinstance(user, str) and user for user in users):
            names = [bytes_of(user) for user in users]
            flushed = sum(authenticator.flush(name, bytes_of(realm)) for name in names)
            logger.info("flush: %s: %d entries", " ".join(map(escape, names)), flushed)
        else:
            raise CommandError("bad-request", "users is a list of logins; without it, everybody is meant")
        return {"flushed": flushed}

    async def _reload(self, _: Arguments) -> Mapping[str, Any]:
        try:
            reloaded = await self._reloader.reload()
        except PysaslauthdError as error:
            raise CommandError("failed", f"{error}; the running configuration stays") from error
        return {
            "configuration": str(self._options.config),
            "cache_kept": reloaded.cache_kept,
            "remarks": reloaded.remarks,
        }

    async def _log_level(self, arguments: Arguments) -> Mapping[str, Any]:
        before, wanted = level(), next((each for each in LEVELS if each == arguments.get("level")), None)
        if wanted is None:
            raise CommandError("bad-request", f"level is one of {', '.join(LEVELS)}")
        set_level(wanted)
        logger.info("log level: %s", wanted)
        return {"level": wanted, "before": before}

    async def _status(self, _: Arguments) -> Mapping[str, Any]:
        now = self._loop.time()
        generation, reloader, metrics = self._current.generation, self._reloader, self._metrics
        pace = self._pace.now()
        verdicts = dict.fromkeys((verdict.value for verdict in Verdict), 0)
        reasons: Counter[str] = Counter()
        for _door, reason, count in metrics.logins():
            verdicts[reason.verdict.value] += count
            reasons[reason.value] += count
        return {
            "version": __version__,
            "pid": os.getpid(),
            "uptime_seconds": round(now - self._started, 3),
            "configuration": {
                "file": str(self._options.config),
                "loaded_seconds_ago": round(now - reloader.at, 3),
                "reloads": reloader.count,
                "failed_reloads": reloader.failed,
                "error": reloader.error,
            },
            "logins": {
                **verdicts,
                "reasons": {reason: count for reason, count in sorted(reasons.items()) if count},
                "per_second": round(pace.per_second, 3),
                "median_ms": _milliseconds(pace.median),
                "p99_ms": _milliseconds(pace.p99),
                "pending": generation.authenticator.pending,
            },
            "cache": _cache(generation, metrics),
            "directory": [_server(state) for state in generation.directories.states()],
            "watch": [_watch(state) for state in generation.watches.states()],
            "doors": [state._asdict() for state in self._doors.states()],
            "delayed": _delayed(generation),
            "log_level": level(),
        }


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)


def _cache(generation: Generation, metrics: Metrics) -> Mapping[str, Any] | None:
    if generation.cache is None:
        return None
    hits, asked = metrics.cache_hits, metrics.cache_hits + metrics.cache_misses
    return {
        "entries": len(generation.cache),
        "max_entries": generation.cache.most,
        "hits": hits,
        "hit_rate": round(hits / asked, 4) if asked else None,
    }


def _server(state: ServerState) -> Mapping[str, Any]:
    return {
        **state._asdict(),
        "seconds": round(state.seconds, 3),
        "error": printable(state.error),
    }


def _watch(state: RealmWatch) -> Mapping[str, Any]:
    servers = [
        {**each._asdict(), "seconds": round(each.seconds, 3), "error": printable(each.error)} for each in state.servers
    ]
    return {**state._asdict(), "servers": servers}


def _why_not(state: ServerState) -> str:
    if state.up is None:
        return f"{state.server}: not tried yet"
    return printable(state.error or f"{state.server}: down")


def _delayed(generation: Generation) -> Mapping[str, Any]:
    if generation.throttle is None:
        return {"now": 0, "users": 0, "addresses": 0, "named_users": [], "named_addresses": []}
    users, addresses = generation.throttle.delayed()
    return {
        "now": generation.authenticator.held_back,
        "users": len(users),
        "addresses": len(addresses),
        "named_users": [escape(user) for user in users[-MAX_NAMED:]],
        "named_addresses": addresses[-MAX_NAMED:],
    }
