"""Accepted logins, remembered for a while: one entry per person, in memory only."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import cachetools

from pysaslauthd.fingerprint import fingerprints
from pysaslauthd.freshness import Changes, Coverage, Moment

UNUSED_NAMES = 1024
"""Names of entries that have gone from the cache for other reasons than a change, kept before they are sorted out;
beside as many as there are entries."""


class Origin(NamedTuple):
    """Whose login an entry remembers, and what it hangs on."""

    address: bytes
    """``user@domain``, as :attr:`pysaslauthd.model.Identity.address` makes it."""
    names: Sequence[bytes] = ()
    """Under which a watch tells of the directory's entries, see :class:`pysaslauthd.model.Outcome`."""
    directory: str = ""
    """Which directory, where there are several."""


class _Entry(NamedTuple):
    """One flat tuple: with its key and its place in the order it takes about 500 bytes."""

    fingerprint: bytes
    until: float
    asked: float
    coverage: Coverage
    address: bytes
    names: Sequence[bytes]


class Cache:
    """Remembers for ``lifetime`` that a password was accepted.

    A wrong password neither evicts nor changes an entry. A hit does not renew the lifetime. Beyond ``entries``
    the least recently used goes. What has ended goes then too, or with the first login that is remembered after another
    lifetime.

    :param entries: at most so many persons.
    :param lifetime: seconds.
    :param stale: seconds after that for which an entry is still kept for :meth:`holds_stale`.
    :param clock: seconds, monotonic.
    """

    def __init__(
        self,
        entries: int,
        lifetime: float,
        *,
        stale: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        # Of cachetools' caches not the one with lifetimes of its own: a second order takes as much memory again.
        self._entries: cachetools.LRUCache[bytes, _Entry] = cachetools.LRUCache(entries)
        self._tidied = clock()
        self._lifetime = lifetime
        self._stale = stale
        self._fingerprint = fingerprints()
        self._changes = Changes()
        self._keys: dict[bytes, set[bytes]] = {}
        self._uncovered = Coverage(clock=clock)
        self._coverages: dict[str, Coverage] = {}
        self._may_fall_due = False

    # -- logins

    def holds(self, key: bytes, password: bytes) -> bool:
        """Whether this very password was accepted for this key within the lifetime, and that is to be trusted."""
        try:
            kept = self._entries[key]  # not get(), which looks twice
        except KeyError:
            return False
        return (
            self._clock() < kept.until
            and kept.coverage.trusts(kept.asked)
            and hmac.compare_digest(kept.fingerprint, self._fingerprint(key, password))
        )

    def due(self, key: bytes) -> bool:
        """Whether what is held should be checked behind the scenes."""
        if not self._may_fall_due:
            return False
        kept = self._entries.get(key)
        return kept is not None and self._clock() - kept.asked >= kept.coverage.check_after

    def holds_stale(self, key: bytes, password: bytes) -> bool:
        """Whether it was accepted and trusted until no more than ``stale`` seconds ago."""
        kept = self._entries.get(key)
        return (
            kept is not None
            and self._clock() < min(kept.until, kept.coverage.lapsed(kept.asked)) + self._stale
            and hmac.compare_digest(kept.fingerprint, self._fingerprint(key, password))
        )

    def moment(self) -> Moment:
        """To be taken when the directory is asked, for :meth:`store`."""
        return Moment(self._clock(), self._changes.number)

    def store(self, key: bytes, password: bytes, origin: Origin, asked: Moment) -> None:
        """Remember an accepted password in place of the key's last one; the lifetime begins now.

        What has changed, or was dropped, since it was asked is not remembered.
        """
        if self._changes.since(asked, origin.names):
            return
        coverage = self._coverages.get(origin.directory, self._uncovered)
        until = min(self._clock() + self._lifetime, asked.at + coverage.longest(origin.names))
        self._entries[key] = _Entry(
            self._fingerprint(key, password), until, asked.at, coverage, origin.address, origin.names
        )
        if self._clock() - self._tidied >= self._lifetime + self._stale:
            self._let_go()
        for name in origin.names:
            self._keys.setdefault(name, set()).add(key)
        if len(self._keys) > UNUSED_NAMES + 3 * len(self._entries):
            self._sort_out_names()

    def forget(self, key: bytes, password: bytes) -> None:
        """Forget this very password, if it is the one remembered: it has been refused since."""
        kept = self._entries.get(key)
        if kept is not None and hmac.compare_digest(kept.fingerprint, self._fingerprint(key, password)):
            self._entries.pop(key, None)

    def drop(self, whose: Callable[[bytes], bool]) -> int:
        """Forget every entry of such an address; how many there were. Looks at all of them: some 0.5 µs each."""
        self._changes.note_any()
        return self._drop([key for key in self._entries if whose(self._peek(key).address)])

    # -- changes

    def cover(self, directory: str, coverage: Coverage) -> Watched:
        """Trust a directory's answers as far as ``coverage`` says from now on; what its watch is to tell."""
        self._coverages[directory] = coverage
        self._may_fall_due = self._may_fall_due or coverage.revalidates
        return Watched(self, coverage)

    def changed(self, names: Sequence[bytes]) -> int:
        """Forget all that hangs on the entries of these names; how many there were."""
        self._changes.note(names)
        keys = self._keys
        return sum(self._drop(keys.pop(name)) for name in names if name in keys)

    def changed_below(self, base: bytes) -> int:
        """Forget all that hangs on entries below the one of this name; how many there were. Looks at all names."""
        self._changes.note_any()
        end = b"," + base
        return sum(self._drop(self._keys.pop(name)) for name in list(self._keys) if name.endswith(end))

    @property
    def most(self) -> int:
        """Entries that there can be."""
        return int(self._entries.maxsize)

    def __len__(self) -> int:
        self._let_go()
        return len(self._entries)

    def _peek(self, key: bytes) -> _Entry:
        """An entry, without using it."""
        return cachetools.Cache.__getitem__(self._entries, key)

    def _let_go(self) -> None:
        """Of all that has ended; some 0.2 µs each."""
        self._tidied = self._clock()
        ended = self._tidied - self._stale
        for key in [key for key in self._entries if self._peek(key).until <= ended]:
            del self._entries[key]

    def _drop(self, keys: Iterable[bytes]) -> int:
        ended = self._clock() - self._stale
        dropped = [self._entries.pop(key, None) for key in keys]
        return sum(kept is not None and ended < kept.until for kept in dropped)

    def _sort_out_names(self) -> None:
        self._keys = {}
        for key in self._entries:
            for name in self._peek(key).names:
                self._keys.setdefault(name, set()).add(key)


class Watched:
    """What a watch tells of one directory; made by :meth:`Cache.cover`."""

    def __init__(self, cache: Cache, coverage: Coverage) -> None:
        self._cache = cache
        self._coverage = coverage

    def changed(self, names: Sequence[bytes]) -> int:
        """These entries have changed; how many cached logins hung on them."""
        return self._cache.changed(names)

    def changed_below(self, base: bytes) -> int:
        """So have all entries below this one."""
        return self._cache.changed_below(base)

    def changed_any(self) -> None:
        """So may have any entry."""
        self._coverage.distrust()

    def watched(self) -> None:
        """From now on every change will be told; before, one may have been missed."""
        self._coverage.watched()

    def lost(self) -> None:
        """From now on changes may be missed."""
        self._coverage.lost()

    def unwatchable(self) -> bool:
        """No change will ever be told. Whether checks take the watch's place (:meth:`Cache.due`)."""
        return self._coverage.unwatchable()
