"""Time that passes when a test says so: what hangs on it cannot hang on how busy the machine is."""

from __future__ import annotations

import asyncio

import pytest

STANDS = 100.0
"""Seconds after which it leaps, so that the limit on the whole test ends one that would wait for ever."""


class Clock:
    """The running loop's time, standing still until it is moved. Made before what looks at the time."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        real = loop.time
        self.now = began = real()
        pytest.MonkeyPatch().setattr(loop, "time", lambda: self.now + (real() - began) // STANDS * 1e6)

    def move(self, seconds: float) -> None:
        """What is due then happens in the loop's next turn."""
        self.now += seconds
