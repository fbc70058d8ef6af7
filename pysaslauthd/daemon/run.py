"""The life of the daemon: start, serve, stop."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from pysaslauthd import privileges
from pysaslauthd.config import DaemonSettings, Loaded
from pysaslauthd.config.options import DaemonOptions
from pysaslauthd.daemon.commands import Commands
from pysaslauthd.daemon.doors import Doors
from pysaslauthd.daemon.generation import Builder, Current
from pysaslauthd.daemon.reload import Reloader
from pysaslauthd.daemon.scrape import scrape_server
from pysaslauthd.errors import PysaslauthdError, StartError
from pysaslauthd.log import is_logged, log_outcome
from pysaslauthd.metrics import Metrics
from pysaslauthd.model import AuthRequest, Identity, Outcome
from pysaslauthd.pace import Pace
from pysaslauthd.server import listener
from pysaslauthd.server.control import ControlServer
from pysaslauthd.server.listener import Listener
from pysaslauthd.systemd import Inherited, Notifier, listening_sockets, watchdog_interval

logger = logging.getLogger(__name__)

STOP_GRACE = 1.0
"""Seconds past the deadline of what is in flight at the stop; then its connection is closed."""

COLLECT_AFTER = 2_000
"""Objects made and not yet gone after which Python's garbage collector looks for cycles. Logins leave none, but 64 of
them under way are more objects than its default, 700, and to look each time takes a fifteenth of the time of a login.
What fails to connect leaves some, which should go soon: with 20,000 the process grows by 7 MB as servers come and go.
"""


def serve(options: DaemonOptions, loaded: Loaded, *, ready: Callable[[], None]) -> None:
    """Run the daemon until SIGTERM or SIGINT; a second one kills. SIGHUP reloads.

    :param ready: called once, when the sockets accept.
    :raises StartError: a socket cannot be had.
    :raises ConfigError: a part refuses its settings.
    """
    privileges.give_back_memory()
    privileges.lock_memory()
    if hasattr(gc, "set_threshold"):  # pragma: no branch - PyPy has another collector
        gc.set_threshold(COLLECT_AFTER)
    inherited = listening_sockets(os.environ, os.getpid())
    asyncio.run(_run(options, loaded, inherited, ready))


async def _run(
    options: DaemonOptions, loaded: Loaded, inherited: tuple[Inherited, ...], ready: Callable[[], None]
) -> None:
    stopping = asyncio.Event()
    _stop_on_signals(stopping)
    notifier = Notifier.from_environ(os.environ)
    metrics, pace = Metrics(), Pace()

    def report(request: AuthRequest, identity: Identity, outcome: Outcome, seconds: float) -> None:
        metrics.login(request.door, outcome, seconds)
        pace.login(seconds)
        if is_logged(outcome):
            settings = current.generation.loaded.of(identity.domain)
            log_outcome(request, identity, outcome, seconds * 1000, method=settings.auth_method if settings else "")

    # Hashes that take long leave the GIL alone, so a thread for each core is enough.
    threads = ThreadPoolExecutor(os.cpu_count() or 1, "hash")
    builder = Builder(options, threads, report, metrics)
    directories = await builder.directories(loaded)
    current = Current(builder.build(loaded, directories))
    doors = Doors(current, options, loaded, inherited)
    privileges.raise_descriptor_limit(len(doors) * loaded.daemon.max_connections + directories.connections)
    # All that needs root has been had after this: the sockets, the pid file, the configuration and its secrets.
    controlling = scraped = None
    try:
        controlling = _control_listener(options, loaded.daemon)
        scraped = scrape_server(options.metrics, metrics, current, doors) if options.metrics else None
        _give_up_root(options, loaded.daemon)
    except PysaslauthdError:
        doors.give_up()
        if controlling is not None:
            controlling.stop()
        if scraped is not None:
            scraped.give_up()
        raise
    reloader = Reloader(options, builder, current, doors, notifier)
    commands = Commands(options, current, doors, metrics, pace, reloader)
    control = ControlServer(controlling, commands.answer, frozenset({0, os.geteuid()})) if controlling else None

    reloader.begin()
    doors.start()
    if control is not None:
        control.start()
    if scraped is not None:
        await scraped.start()
    watchdog = asyncio.create_task(_watchdog(notifier))
    ready()
    notifier.ready()
    _reload_on_signal(reloader)
    logger.info("serving %s", doors)

    await stopping.wait()
    # First no new requests, then the answers in flight, then what they are asked of.
    notifier.stopping()
    asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if control is not None:
        await control.stop()
    await doors.stop(current.generation.loaded.daemon.login_deadline + STOP_GRACE)
    await reloader.stop()
    if scraped is not None:
        await scraped.stop()
    watchdog.cancel()
    threads.shutdown(wait=False, cancel_futures=True)
    logger.info("stopped")


def _control_listener(options: DaemonOptions, own: DaemonSettings) -> Listener | None:
    """The control socket: for the daemon's user alone, who it may yet have to become; root needs no leave.

    No login needs it: where it cannot be made, which the log tells, the daemon serves without.
    """
    owner = group = -1
    if own.user and os.geteuid() == 0:
        account = privileges.account(own.user, own.group)
        owner, group = account.uid, account.gid
    try:
        return listener.bind(str(options.control_path), mode=0o600, owner=owner, group=group)
    except StartError as error:
        logger.warning("pysaslauthctl cannot speak to this daemon: %s", error)
        return None


def _give_up_root(options: DaemonOptions, own: DaemonSettings) -> None:
    if own.user:
        privileges.become(privileges.account(own.user, own.group))
    elif os.geteuid() == 0:
        logger.warning("running as root: let it become a user without privileges, see user in %s", options.config)
    privileges.forbid_core_dumps()


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


def _reload_on_signal(reloader: Reloader) -> None:
    """Reload on SIGHUP, also on one that came while it was blocked."""
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reloader.request)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})


async def _watchdog(notifier: Notifier) -> None:
    """Tell systemd that the event loop turns, for as long as it does."""
    interval = watchdog_interval(os.environ, os.getpid())
    while interval is not None:
        notifier.watchdog()
        await asyncio.sleep(interval)
