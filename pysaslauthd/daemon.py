"""The daemon: builds the parts, starts them in order, stops them in order. The only place where they meet."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from pysaslauthd.auth import DEADLINE, Authenticator
from pysaslauthd.cache import Cache
from pysaslauthd.config import LdapSettings
from pysaslauthd.config.options import DaemonOptions
from pysaslauthd.directory.interface import Directory
from pysaslauthd.directory.ldif import LdifDirectory
from pysaslauthd.directory.servers import Servers
from pysaslauthd.log import log_outcome
from pysaslauthd.mechanisms.ldap import LdapMechanism
from pysaslauthd.server import listener
from pysaslauthd.server.mux import MuxServer
from pysaslauthd.systemd import Inherited, Notifier, listening_sockets, watchdog_interval

logger = logging.getLogger(__name__)

STOP_SECONDS = DEADLINE + 1.0
"""What is in flight at the stop has its own deadline; one second more, then its connection is closed."""


def serve(options: DaemonOptions, settings: LdapSettings, *, ready: Callable[[], None]) -> None:
    """Run the daemon until SIGTERM or SIGINT; a second one kills.

    :param ready: called once, when the socket accepts.
    :raises StartError: the socket cannot be had.
    :raises ConfigError: a part refuses its settings.
    """
    inherited = listening_sockets(os.environ, os.getpid())
    asyncio.run(_run(options, settings, inherited, ready))


async def _run(
    options: DaemonOptions, settings: LdapSettings, inherited: tuple[Inherited, ...], ready: Callable[[], None]
) -> None:
    stopping = asyncio.Event()
    _stop_on_signals(stopping)
    notifier = Notifier.from_environ(os.environ)

    # Hashes that take long leave the GIL alone, so a thread for each core is enough.
    threads = ThreadPoolExecutor(os.cpu_count() or 1, "hash")
    directory = _directory(settings, options)
    authenticator = Authenticator(
        LdapMechanism(settings, directory, threads),
        lambda request, identity, outcome, seconds: log_outcome(request, identity, outcome, seconds * 1000),
        cache=Cache(options.cache_entries, options.cache_lifetime) if options.cache else None,
        default_realm=settings.default_realm.encode(),
        append_realm=options.append_realm,
    )
    listeners = [listener.adopt(socket.socket.detach()) for socket in inherited] or [
        listener.bind(str(options.mux_path))
    ]
    servers = [MuxServer(authenticator, each, unavailable=options.unavailable) for each in listeners]

    directory.start()
    for server in servers:
        server.start()
    watchdog = asyncio.create_task(_watchdog(notifier))
    ready()
    notifier.ready()
    logger.info("serving %s", " ".join(each.path for each in listeners))

    await stopping.wait()
    # First no new requests, then the answers in flight, then what they are asked of.
    notifier.stopping()
    await asyncio.gather(*(server.stop(STOP_SECONDS) for server in servers))
    await directory.stop()
    watchdog.cancel()
    threads.shutdown(wait=False, cancel_futures=True)
    logger.info("stopped")


def _directory(settings: LdapSettings, options: DaemonOptions) -> Directory:
    if settings.embedded:
        return LdifDirectory(settings.servers[0].path)
    return Servers(settings, timeout=min(settings.timeout, DEADLINE), binds=options.threads)


def _stop_on_signals(stopping: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()

    def stop(number: signal.Signals) -> None:
        logger.info("%s: stopping; a second one kills", number.name)
        stopping.set()
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(each)
            signal.signal(each, signal.SIG_DFL)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)


async def _watchdog(notifier: Notifier) -> None:
    """Tell systemd that the event loop turns, for as long as it does."""
    interval = watchdog_interval(os.environ, os.getpid())
    while interval is not None:
        notifier.watchdog()
        await asyncio.sleep(interval)
