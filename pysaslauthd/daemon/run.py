"""The life of the daemon: start, serve, stop."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from pysaslauthd import privileges
from pysaslauthd.auth import Authenticator
from pysaslauthd.cache import Cache
from pysaslauthd.config import DaemonSettings, LdapSettings, Loaded
from pysaslauthd.config.options import DaemonOptions
from pysaslauthd.daemon.doors import open_doors
from pysaslauthd.directory.interface import Directory
from pysaslauthd.directory.ldif import LdifDirectory
from pysaslauthd.directory.servers import Servers
from pysaslauthd.errors import PysaslauthdError
from pysaslauthd.flow import future
from pysaslauthd.log import log_outcome
from pysaslauthd.mechanisms import visibility
from pysaslauthd.mechanisms.ldap import LdapMechanism
from pysaslauthd.server.dovecot import DovecotServer
from pysaslauthd.server.mux import MuxServer
from pysaslauthd.systemd import Inherited, Notifier, listening_sockets, watchdog_interval
from pysaslauthd.throttle import Throttle

logger = logging.getLogger(__name__)

STOP_GRACE = 1.0
"""Seconds past the deadline of what is in flight at the stop; then its connection is closed."""


def serve(options: DaemonOptions, loaded: Loaded, *, ready: Callable[[], None]) -> None:
    """Run the daemon until SIGTERM or SIGINT; a second one kills.

    :param ready: called once, when the sockets accept.
    :raises StartError: a socket cannot be had.
    :raises ConfigError: a part refuses its settings.
    """
    privileges.lock_memory()
    inherited = listening_sockets(os.environ, os.getpid())
    asyncio.run(_run(options, loaded.settings, loaded.daemon, inherited, ready))


async def _run(
    options: DaemonOptions,
    settings: LdapSettings,
    own: DaemonSettings,
    inherited: tuple[Inherited, ...],
    ready: Callable[[], None],
) -> None:
    stopping = asyncio.Event()
    _stop_on_signals(stopping)
    notifier = Notifier.from_environ(os.environ)

    # Hashes that take long leave the GIL alone, so a thread for each core is enough.
    threads = ThreadPoolExecutor(os.cpu_count() or 1, "hash")
    directory = _directory(settings, options, own.login_deadline)
    authenticator = Authenticator(
        LdapMechanism(settings, directory, threads),
        lambda request, identity, outcome, seconds: log_outcome(request, identity, outcome, seconds * 1000),
        cache=_cache(options, own),
        throttle=_throttle(own),
        default_realm=settings.default_realm.encode(),
        append_realm=options.append_realm,
        deadline=own.login_deadline,
        max_questions=own.max_pending_logins,
    )
    doors = open_doors(options, inherited)
    servers = [
        MuxServer(
            authenticator,
            door,
            unavailable=options.unavailable,
            max_connections=own.max_connections,
            arrival_seconds=own.request_timeout,
        )
        if kind == "mux"
        else DovecotServer(
            authenticator,
            door,
            unavailable=options.dovecot_unavailable,
            default_realm=settings.default_realm.encode(),
            max_connections=own.max_connections,
        )
        for kind, door in doors
    ]
    privileges.raise_descriptor_limit(len(doors) * own.max_connections)
    # All that needs root has been had: the sockets, the pid file, the configuration and its secrets.
    try:
        _give_up_root(options, own)
    except PysaslauthdError:
        for _, door in doors:
            door.stop()
        raise

    directory.start()
    for server in servers:
        server.start()
    watchdog = asyncio.create_task(_watchdog(notifier))
    looking = asyncio.create_task(_look(settings, directory))
    ready()
    notifier.ready()
    logger.info("serving %s", ", ".join(f"{kind} {door.path}" for kind, door in doors))

    await stopping.wait()
    # First no new requests, then the answers in flight, then what they are asked of.
    notifier.stopping()
    looking.cancel()
    await asyncio.gather(*(server.stop(own.login_deadline + STOP_GRACE) for server in servers))
    await directory.stop()
    watchdog.cancel()
    threads.shutdown(wait=False, cancel_futures=True)
    logger.info("stopped")


def _cache(options: DaemonOptions, own: DaemonSettings) -> Cache | None:
    if options.cache:
        return Cache(options.cache_entries, options.cache_lifetime, stale=own.cache_stale)
    if own.cache_stale:
        logger.warning("cache_stale has no effect: there is no cache without -c")
    return None


def _throttle(own: DaemonSettings) -> Throttle | None:
    if not own.failure_delay:
        return None
    return Throttle(
        longest=own.failure_delay,
        free=own.free_failures,
        free_per_address=own.free_failures_per_address,
        memory=own.failure_memory,
        trusted=own.trusted_networks,
    )


def _give_up_root(options: DaemonOptions, own: DaemonSettings) -> None:
    if own.user:
        privileges.become(privileges.account(own.user, own.group))
    elif os.geteuid() == 0:
        logger.warning("running as root: let it become a user without privileges, see user in %s", options.config)
    privileges.forbid_core_dumps()


def _directory(settings: LdapSettings, options: DaemonOptions, deadline: float) -> Directory:
    if settings.embedded:
        return LdifDirectory(settings.servers[0].path)
    return Servers(settings, timeout=min(settings.timeout, deadline), binds=options.threads)


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


async def _look(settings: LdapSettings, directory: Directory) -> None:
    """Say whether the service account sees which accounts are locked. The start does not wait for it."""
    if visibility.looked_for(settings):
        seen, text = await future(visibility.look(settings, directory))
        logger.log(logging.WARNING if seen is False else logging.INFO, "account state: %s", text)


async def _watchdog(notifier: Notifier) -> None:
    """Tell systemd that the event loop turns, for as long as it does."""
    interval = watchdog_interval(os.environ, os.getpid())
    while interval is not None:
        notifier.watchdog()
        await asyncio.sleep(interval)
