"""How a watch is, for those who tell of it."""

from __future__ import annotations

from typing import NamedTuple


class WatchState(NamedTuple):
    """How the watch over one server is, or over a file.

    ``how`` is how changes are told, empty before that is known. ``seconds`` is how long ``watching`` has been so,
    ``error`` why it is not, ``changes`` how many have been told, ``losses`` how often it was lost.
    """

    server: str
    watching: bool
    how: str
    seconds: float
    error: str = ""
    changes: int = 0
    losses: int = 0


class RealmWatch(NamedTuple):
    """How the watch over a realm's directory is; ``realm`` is empty for the main file's.

    ``covered`` is whether every change is told now, so that cached logins last for their lifetime.
    """

    realm: str
    covered: bool
    servers: list[WatchState]
