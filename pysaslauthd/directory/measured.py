"""A directory whose operations are timed, from what a login asks to what it gets: failover and waiting included."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import TypeVar

from pysaslauthd.directory.interface import Bound, Directory, Found, Query
from pysaslauthd.flow import Flow
from pysaslauthd.metrics import Metrics, Operation
from pysaslauthd.model import Identity

T = TypeVar("T")


class MeasuredDirectory:
    """Another :class:`~pysaslauthd.directory.interface.Directory`, its operations counted in ``metrics``.

    LDAP servers count their own, which spares a coroutine for every login.

    :param clock: seconds.
    """

    def __init__(self, directory: Directory, metrics: Metrics, clock: Callable[[], float] = perf_counter) -> None:
        self._directory = directory
        self._count = metrics.operation
        self._clock = clock

    def search(self, query: Query, identity: Identity, dn: bytes = b"") -> Flow[Found]:
        """See the interface."""
        return self._timed("search", self._directory.search(query, identity, dn))

    def compare(self, dn: bytes, attribute: str, value: bytes) -> Flow[bool]:
        """See the interface."""
        return self._timed("compare", self._directory.compare(dn, attribute, value))

    def bind(self, dn: bytes, password: bytes) -> Flow[Bound]:
        """See the interface."""
        return self._timed("bind", self._directory.bind(dn, password))

    def bind_plain(self, authcid: bytes, password: bytes) -> Flow[Bound]:
        """See the interface."""
        return self._timed("bind", self._directory.bind_plain(authcid, password))

    async def _timed(self, operation: Operation, asked: Flow[T]) -> T:
        began = self._clock()
        answered = False
        try:
            answer = await asked
            answered = True
        finally:
            self._count(operation, self._clock() - began, answered)
        return answer
