"""Delays at random, which show what depends on who is first: before an event loop waits, and before a thread begins."""

from __future__ import annotations

import random
import selectors
import threading
import time
from typing import Any

WAITS = (0.1, 0.06)
"""The share of a loop's waits that come late, and the most seconds that each does."""
BEGINS = (0.5, 0.25)
"""The same of threads that begin."""

_SELECT, _RUN = selectors.DefaultSelector.select, threading.Thread.run


def shake(seed: str) -> None:
    """Do so in this process from now on.

    :param seed: gives the delays, and whose loops have them: the first thread's, that of all others, or both. What
        becomes of them hangs on the machine, too: the same seed does not always show the same.
    """
    chance = random.Random(seed)
    whose = chance.choice(("first", "others", "both"))

    def late(share: float, longest: float) -> None:
        if chance.random() < share:
            time.sleep(chance.uniform(0, longest))

    def select(self: selectors.DefaultSelector, timeout: float | None = None) -> Any:
        if whose in ("both", "first" if threading.current_thread() is threading.main_thread() else "others"):
            late(*WAITS)
        return _SELECT(self, timeout)

    def run(self: threading.Thread) -> None:
        late(*BEGINS)
        _RUN(self)

    selectors.DefaultSelector.select = select  # type: ignore[method-assign]  # of all loops
    threading.Thread.run = run  # type: ignore[method-assign]  # of all threads
