"""The configuration read anew while logins go on."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path
from typing import NamedTuple

from pysaslauthd.config import DaemonSettings, load
from pysaslauthd.config.options import DaemonOptions
from pysaslauthd.config.source import printable
from pysaslauthd.daemon.doors import Doors
from pysaslauthd.daemon.generation import Builder, Current, Generation
from pysaslauthd.errors import PysaslauthdError
from pysaslauthd.flow import future
from pysaslauthd.mechanisms import visibility
from pysaslauthd.systemd import Notifier, credentials_directory

logger = logging.getLogger(__name__)

_AT_START = ("user", "group", "max_connections", "request_timeout")
"""Keys that are looked at when the sockets are made."""


class Reloaded(NamedTuple):
    """What a reload did. ``remarks`` are the configuration's warnings, and what a reload cannot change."""

    cache_kept: bool
    remarks: list[str]


class Reloader:
    """Replaces the current generation by one of the configuration as it is now.

    ``count`` and ``failed`` tell how often that went well and not, ``error`` why it did not the last time (empty once
    it did), ``at`` when the running configuration was loaded, on the event loop's clock.
    """

    def __init__(
        self, options: DaemonOptions, builder: Builder, current: Current, doors: Doors, notifier: Notifier
    ) -> None:
        self.count = 0
        self.failed = 0
        self.error = ""
        self._options = options
        self._builder = builder
        self._current = current
        self._doors = doors
        self._notifier = notifier
        self._loop = asyncio.get_running_loop()
        self.at = self._loop.time()
        self._at_start = current.generation.loaded.daemon
        self._one_at_a_time = asyncio.Lock()
        self._wanted = False
        self._requests: set[asyncio.Task[None]] = set()
        self._retiring: set[asyncio.Task[None]] = set()
        self._looking: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Connect to the current generation's directories, and see what can be seen there."""
        if self._looking is not None:
            self._looking.cancel()
        generation = self._current.generation
        generation.directories.start()
        generation.watches.start()
        self._looking = self._loop.create_task(_look(generation))

    def request(self) -> None:
        """Reload soon (SIGHUP). Any number of requests before it begins are one."""
        if not self._wanted:
            self._wanted = True
            request = self._loop.create_task(self._on_request())
            self._requests.add(request)
            request.add_done_callback(self._requests.discard)

    async def _on_request(self) -> None:
        async with self._one_at_a_time:
            self._wanted = False  # what is asked for from here on wants what the files hold then
            try:
                await self._reload()
            except PysaslauthdError as error:
                logger.debug("SIGHUP: %s", type(error).__name__)  # told already
            except Exception:  # pragma: no cover - a fault of this program's own
                logger.exception("internal error; not reloaded, the running configuration stays")

    async def reload(self) -> Reloaded:
        """Reload now.

        :raises PysaslauthdError: the configuration, or a file that it names, cannot be used. What runs goes on.
        """
        async with self._one_at_a_time:
            return await self._reload()

    async def _reload(self) -> Reloaded:
        self._notifier.reloading()
        try:
            return await self._replace()
        except PysaslauthdError as error:
            self._fail(printable(str(error)))
            raise
        finally:
            self._notifier.ready()

    def _fail(self, error: str) -> None:
        self.failed += 1
        self.error = error
        logger.error("not reloaded, the running configuration stays: %s", error)

    async def _replace(self) -> Reloaded:
        before = self._current.generation
        loaded = await asyncio.to_thread(load, str(self._options.config))  # from disks that may be slow
        after = self._builder.build(loaded, await self._builder.directories(loaded), before)
        self._current.replace(after)
        self.begin()
        self._doors.use(loaded.settings)
        retiring = self._loop.create_task(_retire(before))
        self._retiring.add(retiring)
        retiring.add_done_callback(self._retiring.discard)
        self.count += 1
        self.error = ""
        self.at = self._loop.time()
        kept = before.cache is not None and after.cache is before.cache
        remarks = [*loaded.warnings, *_unchanged(self._at_start, loaded.daemon), *_credential(self._options.config)]
        for remark in remarks:
            logger.warning("%s", remark)
        emptied = before.cache is not None and not kept
        logger.info("reloaded %s%s", self._options.config, "; the cache is empty" if emptied else "")
        return Reloaded(kept, remarks)

    async def stop(self) -> None:
        """Break off a reload, and close what the generations have open."""
        under_way = {*self._requests, *([self._looking] if self._looking is not None else [])}
        for task in under_way:
            task.cancel()
        if under_way or self._retiring:  # pragma: no branch - the start has called begin()
            await asyncio.wait(under_way | self._retiring)
        await self._current.generation.watches.stop()
        await self._current.generation.directories.stop()


async def _retire(generation: Generation) -> None:
    """Close a generation's directories once they have answered all that they were asked."""
    await generation.watches.stop()
    # Each question has a deadline, so that this ends.
    await generation.authenticator.idle()
    await generation.directories.stop()


async def _look(generation: Generation) -> None:
    """Say of each realm whether its service account sees which accounts are locked. Nothing waits for it."""
    for realm, settings in generation.loaded.parts():
        if visibility.looked_for(settings):
            seen, text = await future(visibility.look(settings, generation.directories.of(settings)))
            whose = f"account state of {realm}" if realm else "account state"
            logger.log(logging.WARNING if seen is False else logging.INFO, "%s: %s", whose, text)


def _unchanged(before: DaemonSettings, after: DaemonSettings) -> list[str]:
    changed = [name for name in _AT_START if getattr(before, name) != getattr(after, name)]
    return [f"{name}: the change takes effect with a restart" for name in changed]


def _credential(config: Path) -> list[str]:
    credentials = credentials_directory(os.environ)
    if credentials is None or credentials not in config.parents:
        return []
    made = f"{config} is the copy that systemd made at the start (LoadCredential=)"
    return [f"{made}: a change of the file that it was made of takes effect with a restart"]
