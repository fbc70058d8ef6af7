"""Many logins at once over a mux socket, each with its answer and how long that took."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from rig.mux import request


class Login(NamedTuple):
    """One login and what came of it."""

    user: str
    right: bool
    """Whether the password was right."""
    answer: bytes | None
    """OK, NO, or None for a connection that was closed without an answer."""
    seconds: float

    @property
    def mistaken(self) -> bool:
        """Whether it is an answer, and a wrong one."""
        return self.answer not in (None, b"OK" if self.right else b"NO")


def volley(mux: Path, count: int, *, people: int = 20, wrong_every: int = 0, patience: float = 60.0) -> list[Login]:
    """Log in ``count`` times at once, as u0, u1, …; every ``wrong_every``-th time with a wrong password."""

    async def together() -> list[Login]:
        logins = (
            login(mux, f"u{number % people}", right=not wrong_every or number % wrong_every != 0)
            for number in range(count)
        )
        async with asyncio.timeout(patience):
            return await asyncio.gather(*logins)

    return asyncio.run(together())


async def login(mux: Path, user: str, *, right: bool) -> Login:
    """Log in once."""
    began = time.monotonic()
    reader, writer = await asyncio.open_unix_connection(mux)
    try:
        writer.write(request(f"{user}@hoge.cxm", f"{user}-pass" if right else "wrong", "smtp", ""))
        received = b""
        try:
            while piece := await reader.read(4096):
                received += piece
        except ConnectionResetError:
            assert not received
    finally:
        writer.close()
    assert not received or len(received) == 2 + int.from_bytes(received[:2]), f"not one counted string: {received!r}"
    return Login(user, right, received[2:] or None, time.monotonic() - began)


def check(logins: Iterable[Login], deadline: float) -> None:
    """No wrong answer, none after the deadline."""
    for login in logins:
        assert not login.mistaken, login
        assert login.seconds < deadline, login
