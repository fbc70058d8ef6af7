"""What one reading of the configuration makes: directories, mechanism, authenticator."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Executor
from typing import NamedTuple

from pysaslauthd.auth import Authenticator, Mechanism, Report, Then
from pysaslauthd.cache import Cache
from pysaslauthd.config import DaemonSettings, LdapSettings, Loaded
from pysaslauthd.config.options import DaemonOptions
from pysaslauthd.daemon.carried import carried_over
from pysaslauthd.daemon.directories import Directories
from pysaslauthd.daemon.watches import Watches
from pysaslauthd.directory.measured import MeasuredDirectory
from pysaslauthd.directory.servers import Servers
from pysaslauthd.errors import ConfigError
from pysaslauthd.mechanisms.ldap import LdapMechanism
from pysaslauthd.mechanisms.realms import Nobody, RealmMechanism
from pysaslauthd.metrics import Metrics
from pysaslauthd.model import AuthRequest
from pysaslauthd.throttle import Throttle

logger = logging.getLogger(__name__)

_THROTTLE = ("failure_delay", "free_failures", "free_failures_per_address", "failure_memory", "trusted_networks")


class Generation(NamedTuple):
    """All that hangs on the configuration. A reload makes another one beside it."""

    loaded: Loaded
    directories: Directories
    authenticator: Authenticator
    cache: Cache | None
    throttle: Throttle | None
    watches: Watches


class Current:
    """What the doors ask: the newest generation's authenticator. What an older one was asked, it still answers."""

    authenticate: Callable[[AuthRequest, Then], None]
    """See :meth:`Authenticator.authenticate`, which it is: another call would be one more for every login."""

    def __init__(self, generation: Generation) -> None:
        self.replace(generation)

    def replace(self, generation: Generation) -> None:
        """Ask this one from now on."""
        self.generation = generation
        self.authenticate = generation.authenticator.authenticate


class Builder:
    """Makes generations. ``options`` and ``threads`` are the same for all.

    :param threads: where password hashes that take long are checked.
    :param report: told of each login.
    :param metrics: where the directory's operations are counted.
    """

    def __init__(self, options: DaemonOptions, threads: Executor, report: Report, metrics: Metrics) -> None:
        self._options = options
        self._threads = threads
        self._report = report
        self._metrics = metrics

    async def directories(self, loaded: Loaded) -> Directories:
        """The configuration's directories, not started; see :meth:`Directories.make`."""
        return await Directories.make(loaded, self._options.threads, self._threads, self._metrics.operation)

    def build(self, loaded: Loaded, directories: Directories, before: Generation | None = None) -> Generation:
        """A generation around directories. From the one before it takes what is still true: see :func:`carried_over`.

        Needs the running event loop.

        :raises ConfigError: a filter that the directory cannot be asked.
        """
        own = loaded.daemon
        mechanism = self._mechanism(loaded, directories)
        cache, throttle = None, _throttle(own)
        if before is not None:
            if before.cache is not None:
                cache = carried_over(before.cache, before.loaded, loaded)
            if _only(before.loaded.daemon, _THROTTLE) == _only(own, _THROTTLE):
                throttle = before.throttle
        if cache is None:
            cache = self._cache(own)
        authenticator = Authenticator(
            mechanism,
            self._report,
            cache=cache,
            throttle=throttle,
            default_realm=loaded.settings.default_realm.encode(),
            append_realm=self._options.append_realm,
            deadline=own.login_deadline,
            max_questions=own.max_pending_logins,
        )
        watches = Watches.make(loaded, directories, cache)
        return Generation(loaded, directories, authenticator, cache, throttle, watches)

    def _mechanism(self, loaded: Loaded, directories: Directories) -> Mechanism:
        def of(settings: LdapSettings, realm: str = "") -> Mechanism:
            directory = directories.of(settings)
            # Servers count their own operations.
            measured = directory if isinstance(directory, Servers) else MeasuredDirectory(directory, self._metrics)
            mechanism = LdapMechanism(settings, measured, self._threads, name=realm)
            for key, query in mechanism.queries.items():
                try:
                    directory.prepare(query)
                except ValueError as error:
                    where = f" (realm {realm})" if realm else ""
                    raise ConfigError(f"{error}{where}", file=str(self._options.config), key=key) from None
            return mechanism

        if not loaded.daemon.realm_config:
            return of(loaded.settings)
        return RealmMechanism(
            {name: of(realm.settings, realm.name) for name, realm in loaded.realms.items()},
            of(loaded.settings) if loaded.daemon.serves_unlisted else Nobody(),
        )

    def _cache(self, own: DaemonSettings) -> Cache | None:
        options = self._options
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


def _only(own: DaemonSettings, names: tuple[str, ...]) -> list[object]:
    return [getattr(own, name) for name in names]
