"""What one reading of the configuration makes: directory, mechanism, authenticator."""

from __future__ import annotations

import logging
from concurrent.futures import Executor
from dataclasses import replace
from typing import NamedTuple

from pysaslauthd.auth import Authenticator, Report, Then
from pysaslauthd.cache import Cache
from pysaslauthd.config import DaemonSettings, LdapSettings, Loaded
from pysaslauthd.config.options import DaemonOptions
from pysaslauthd.directory.ldif import LdifDirectory
from pysaslauthd.directory.measured import MeasuredDirectory
from pysaslauthd.directory.servers import Servers
from pysaslauthd.mechanisms.ldap import LdapMechanism
from pysaslauthd.metrics import Metrics
from pysaslauthd.model import AuthRequest
from pysaslauthd.throttle import Throttle

logger = logging.getLogger(__name__)

_THROTTLE = ("failure_delay", "free_failures", "free_failures_per_address", "failure_memory", "trusted_networks")


class Generation(NamedTuple):
    """All that hangs on the configuration. A reload makes another one beside it."""

    loaded: Loaded
    directory: Servers | LdifDirectory
    authenticator: Authenticator
    cache: Cache | None
    throttle: Throttle | None


class Current:
    """What the doors ask: the newest generation's authenticator. What an older one was asked, it still answers."""

    def __init__(self, generation: Generation) -> None:
        self.generation = generation

    def authenticate(self, request: AuthRequest, then: Then) -> None:
        """See :meth:`Authenticator.authenticate`."""
        self.generation.authenticator.authenticate(request, then)


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

    def directory(self, loaded: Loaded) -> Servers | LdifDirectory:
        """The configuration's directory, not started. An LDIF file is read here and now, which may be done in a thread.

        :raises ConfigError: the TLS files cannot be used, or the file is not LDIF.
        :raises StartError: the file cannot be read.
        """
        settings = loaded.settings
        if settings.embedded:
            return LdifDirectory(settings.servers[0].path)
        return Servers(settings, deadline=loaded.daemon.login_deadline, binds=self._options.threads)

    def build(self, loaded: Loaded, directory: Servers | LdifDirectory, before: Generation | None = None) -> Generation:
        """A generation around a directory. From the one before it takes what is still true: see :func:`same_answers`.

        Needs the running event loop.
        """
        settings, own = loaded.settings, loaded.daemon
        cache, throttle = self._cache(own), _throttle(own)
        if before is not None:
            if same_answers(before.loaded, loaded):
                cache = before.cache
            if _only(before.loaded.daemon, _THROTTLE) == _only(own, _THROTTLE):
                throttle = before.throttle
        authenticator = Authenticator(
            LdapMechanism(settings, MeasuredDirectory(directory, self._metrics), self._threads),
            self._report,
            cache=cache,
            throttle=throttle,
            default_realm=settings.default_realm.encode(),
            append_realm=self._options.append_realm,
            deadline=own.login_deadline,
            max_questions=own.max_pending_logins,
        )
        return Generation(loaded, directory, authenticator, cache, throttle)

    def _cache(self, own: DaemonSettings) -> Cache | None:
        options = self._options
        if options.cache:
            return Cache(options.cache_entries, options.cache_lifetime, stale=own.cache_stale)
        if own.cache_stale:
            logger.warning("cache_stale has no effect: there is no cache without -c")
        return None


def same_answers(before: Loaded, after: Loaded) -> bool:
    """Whether what was accepted under one configuration would be under the other, so that its cache can be kept.

    True where they differ at most in how long something is waited for, in the service account's password, and in the
    names of files of TLS keys: whatever else differs may mean other people or other passwords. An LDIF file is asked
    anew in any case; that costs nothing.
    """
    if before.settings.embedded or after.settings.embedded:
        return False
    if before.daemon.cache_stale != after.daemon.cache_stale:  # the cache is made for one
        return False
    return _answering(before.settings) == _answering(after.settings)


def _answering(settings: LdapSettings) -> LdapSettings:
    return replace(
        settings,
        password=b"",
        password_file="",
        tls_cert="",
        tls_key="",
        tls_ciphers="",
        timeout=0.0,
        connect_timeout=0.0,
        time_limit=0,
        restart=True,
        debug=0,
    )


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
