"""The mux server over real sockets, with a decider that the test holds in its hands."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import socket
import struct
import termios
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from pysaslauthd.model import AuthRequest, Outcome, Peer, Reason
from pysaslauthd.server import listener
from pysaslauthd.server.mux import _READ_SIZE, ARRIVAL_SECONDS, LINGER_SECONDS, MuxServer
from pysaslauthd.wire import mux
from rig.clock import Clock
from server.loop import on_a_loop

FOUR = mux.encode_request(AuthRequest(b"penguin", b"penguin-pass", b"smtp", b"hoge.cxm"))
FIVE = FOUR + b"\x00\x0e192.0.2.1;4567"
WRONG = mux.encode_request(AuthRequest(b"penguin", b"wrong", b"smtp", b"hoge.cxm"))
DOWN = mux.encode_request(AuthRequest(b"penguin", b"down", b"smtp", b"hoge.cxm"))
FAULT = mux.encode_request(AuthRequest(b"penguin", b"fault", b"smtp", b"hoge.cxm"))
LATER = mux.encode_request(AuthRequest(b"penguin", b"later", b"smtp", b"hoge.cxm"))
OVERSIZED = mux.encode_request(AuthRequest(b"penguin", b"x" * 65535, b"y" * 65535, b"z" * 65535))
ACCEPTED = Outcome(Reason.OK)
REASONS = {b"penguin-pass": Reason.OK, b"down": Reason.DIRECTORY_DOWN}


class Decider:
    """Decides at once by password, except for ``later``: the test calls what is in ``waiting``."""

    def __init__(self) -> None:
        self.requests: list[AuthRequest] = []
        self.waiting: list[Callable[[Outcome], None]] = []
        self.asked = asyncio.Event()

    def authenticate(self, request: AuthRequest, then: Callable[[Outcome], None]) -> None:
        self.requests.append(request)
        if request.password == b"fault":
            raise RuntimeError
        if request.password == b"later":
            self.waiting.append(then)
            self.asked.set()
        else:
            then(Outcome(REASONS.get(request.password, Reason.WRONG_PASSWORD)))


class Rig:
    def __init__(self, server: MuxServer, decider: Decider, path: Path) -> None:
        self.server = server
        self.decider = decider
        self.path = path

    def connect(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX)
        client.setblocking(False)
        client.connect(str(self.path))
        return client

    async def ask(self, data: bytes) -> bytes:
        """Everything that comes back until the server closes."""
        with self.connect() as client:
            await send(client, data)
            return await everything(client)

    async def closed_all(self) -> None:
        while self.server.open_connections:  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0)


@asynccontextmanager
async def serving(folder: Path, **options: Any) -> AsyncIterator[Rig]:
    decider = Decider()
    path = folder / "mux"
    server = MuxServer(decider, listener.bind(str(path)), **options)
    server.start()
    yield Rig(server, decider, path)
    await server.stop(0)
    assert server.open_connections == 0


async def send(client: socket.socket, data: bytes) -> None:
    await asyncio.get_running_loop().sock_sendall(client, data)


async def everything(client: socket.socket) -> bytes:
    heard = b""
    while data := await asyncio.get_running_loop().sock_recv(client, 65536):
        heard += data
    return heard


async def readable(client: socket.socket) -> None:
    came = asyncio.Event()
    asyncio.get_running_loop().add_reader(client, came.set)
    await came.wait()
    asyncio.get_running_loop().remove_reader(client)


async def taken(client: socket.socket) -> None:
    """Until the server has read all that was sent (unix(7), SIOCOUTQ)."""
    while struct.unpack("i", fcntl.ioctl(client, termios.TIOCOUTQ, bytes(4)))[0]:  # noqa: ASYNC110 - the kernel tells nobody
        await asyncio.sleep(0)


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


ME = f"process {os.getpid()} (uid {os.geteuid()})"


@on_a_loop
async def test_right_and_wrong_passwords_are_answered_with_two_letters(tmp_path: Path) -> None:
    async with serving(tmp_path) as rig:
        assert await rig.ask(FOUR) == b"\x00\x02OK"
        assert await rig.ask(WRONG) == b"\x00\x02NO"
        assert rig.server.served == 2
        assert rig.server.open_connections == 0


@on_a_loop
async def test_what_nobody_knows_is_a_close_without_an_answer(tmp_path: Path) -> None:
    async with serving(tmp_path) as rig:
        assert await rig.ask(DOWN) == b""
        assert rig.server.served == 1


@on_a_loop
async def test_what_nobody_knows_is_a_no_if_so_wished(tmp_path: Path) -> None:
    async with serving(tmp_path, unavailable="no") as rig:
        assert await rig.ask(DOWN) == b"\x00\x02NO"


@on_a_loop
async def test_a_request_says_all_that_is_known(tmp_path: Path) -> None:
    async with serving(tmp_path) as rig:
        await rig.ask(FOUR)
        await rig.ask(FIVE)
        me = Peer(os.getpid(), os.geteuid(), os.getegid())
        four = AuthRequest(b"penguin", b"penguin-pass", b"smtp", b"hoge.cxm", door="mux", peer=me)
        assert rig.decider.requests == [four, four._replace(remote=b"192.0.2.1;4567")]


@pytest.mark.parametrize("size", range(1, len(FIVE)))
@on_a_loop
async def test_a_request_in_two_pieces_is_served(tmp_path: Path, size: int) -> None:
    async with serving(tmp_path) as rig:
        with rig.connect() as client:
            await send(client, FIVE[:size])
            await taken(client)
            if size == len(FOUR):
                # Four strings whole in one piece are a whole request: this client is not waited for.
                await rig.closed_all()
            else:
                await send(client, FIVE[size:])
            assert await everything(client) == mux.OK
        await rig.closed_all()
        assert len(rig.decider.requests) == 1


@on_a_loop
async def test_five_strings_octet_by_octet_are_served_and_no_send_fails(tmp_path: Path) -> None:
    async with serving(tmp_path) as rig:
        with rig.connect() as client:
            for octet in FIVE:
                await send(client, bytes([octet]))
                await taken(client)
            assert await everything(client) == mux.OK
        await rig.closed_all()


@on_a_loop
async def test_octets_after_the_request_do_not_cost_the_client_its_answer(tmp_path: Path) -> None:
    async with serving(tmp_path) as rig:
        for more in (b"\x00", b"\x00\x05x", b"x" * 100_000):
            assert await rig.ask(FIVE + more) == mux.OK


@on_a_loop
async def test_as_much_as_libsasl2_can_send_is_served_whole(tmp_path: Path) -> None:
    async with serving(tmp_path) as rig:
        password = b"x" * (8192 - 8 - 7)
        data = mux.encode_request(AuthRequest(b"penguin", password))
        assert await rig.ask(data) == mux.NO
        assert rig.decider.requests[0].password == password


@on_a_loop
async def test_octets_after_a_request_that_fills_the_read_do_not_cost_the_client_its_answer(tmp_path: Path) -> None:
    without = len(mux.encode_request(AuthRequest(b"penguin", b"")))
    data = mux.encode_request(AuthRequest(b"penguin", b"x" * (_READ_SIZE - without)))
    assert len(data) == _READ_SIZE
    async with serving(tmp_path) as rig:
        for more in (b"", b"\x00\x05x", b"x" * 100_000):
            assert await rig.ask(data + more) == mux.NO
        assert len(rig.decider.requests) == 3


@on_a_loop
async def test_an_oversized_request_gets_its_no_and_a_log_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(tmp_path) as rig:
        assert await rig.ask(OVERSIZED) == mux.NO
        await rig.closed_all()
        assert rig.decider.requests == []
    assert messages(caplog) == [
        f"{tmp_path}/mux: {ME}: a request is refused: request of 65546 octets or more, the limit is {mux.MAX_REQUEST}"
    ]


@on_a_loop
async def test_a_client_that_goes_without_its_early_answer_harms_nobody(tmp_path: Path) -> None:
    async with serving(tmp_path) as rig:
        with rig.connect() as client:
            await send(client, OVERSIZED[:20])
            await send(client, OVERSIZED[20:])
            await readable(client)
        await rig.closed_all()
        assert await rig.ask(FOUR) == mux.OK


@on_a_loop
async def test_a_client_that_never_stops_sending_is_cut_off(tmp_path: Path) -> None:
    async with serving(tmp_path) as rig:
        with rig.connect() as client:
            with pytest.raises((BrokenPipeError, ConnectionResetError)):
                await send(client, b"\xff" * (mux.LARGEST_ANNOUNCED + 10_000_000))
            await rig.closed_all()


@on_a_loop
async def test_a_client_that_stays_after_an_early_answer_is_cut_off(tmp_path: Path) -> None:
    async with serving(tmp_path, linger_seconds=0.01) as rig:
        with rig.connect() as client:
            await send(client, FIVE[:-1])
            assert await everything(client) == mux.OK
            await rig.closed_all()
            with pytest.raises(BrokenPipeError):
                client.send(b"7")


@pytest.mark.parametrize("size", [0, 1, 10, len(FOUR) - 1])
@on_a_loop
async def test_a_request_that_does_not_arrive_in_time_is_closed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, size: int
) -> None:
    caplog.set_level(logging.INFO)
    async with serving(tmp_path, arrival_seconds=0.01) as rig:
        assert await rig.ask(FOUR[:size]) == b""
        assert rig.decider.requests == []
        assert rig.server.open_connections == 0
    assert messages(caplog) == [f"{tmp_path}/mux: {ME}: no whole request within 0.01 s"]


@on_a_loop
async def test_dripping_octets_do_not_extend_the_deadline(tmp_path: Path) -> None:
    async with serving(tmp_path, arrival_seconds=0.02) as rig:
        with rig.connect() as client:

            async def drip() -> None:
                while True:
                    client.send(b" ")
                    await taken(client)
                    await asyncio.sleep(0.001)

            with pytest.raises(BrokenPipeError):
                await drip()


@on_a_loop
async def test_a_request_broken_off_is_forgotten_without_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with serving(tmp_path) as rig:
        for size in (0, 1, len(FOUR) - 1):
            with rig.connect() as client:
                await send(client, FOUR[:size])
                await taken(client)
                client.shutdown(socket.SHUT_WR)
                assert await everything(client) == b""
        await rig.closed_all()
        assert rig.decider.requests == []
        assert rig.server.served == 0
    assert messages(caplog) == []


@on_a_loop
async def test_a_client_that_ends_its_side_still_gets_its_answer(tmp_path: Path) -> None:
    async with serving(tmp_path) as rig:
        with rig.connect() as client:
            await send(client, LATER)
            client.shutdown(socket.SHUT_WR)
            await rig.decider.asked.wait()
            rig.decider.waiting.pop()(ACCEPTED)
            assert await everything(client) == mux.OK


@on_a_loop
async def test_a_client_gone_before_its_answer_harms_nobody(tmp_path: Path) -> None:
    async with serving(tmp_path) as rig:
        for data in (LATER, LATER + b"\x00"):
            rig.decider.asked.clear()
            with rig.connect() as client:
                await send(client, data)
                await rig.decider.asked.wait()
            assert rig.server.open_connections == 1
            rig.decider.waiting.pop()(ACCEPTED)
            assert rig.server.open_connections == 0
        assert await rig.ask(FOUR) == mux.OK


@on_a_loop
async def test_a_client_gone_before_it_was_accepted_harms_nobody(tmp_path: Path) -> None:
    async with serving(tmp_path) as rig:
        for data in (b"", FOUR[:9], FOUR, OVERSIZED[:20_000]):
            with rig.connect() as client:
                client.send(data)
        assert await rig.ask(FOUR) == mux.OK
        await rig.closed_all()


@on_a_loop
async def test_a_waiting_request_holds_up_no_other(tmp_path: Path) -> None:
    clock = Clock()
    async with serving(tmp_path) as rig:
        with rig.connect() as slow:
            await send(slow, LATER[:9])
            await taken(slow)
            await send(slow, LATER[9:])
            await rig.decider.asked.wait()
            with rig.connect() as silent:
                assert await rig.ask(FOUR) == mux.OK
                assert await rig.ask(WRONG) == mux.NO
                # When the silent one's time is up, that of the slow one would be too, if it still ran.
                clock.move(ARRIVAL_SECONDS)
                assert await everything(silent) == b""
            assert rig.server.open_connections == 1
            rig.decider.waiting.pop()(ACCEPTED)
            assert await everything(slow) == mux.OK


@on_a_loop
async def test_hundreds_at_once_each_get_their_own_answer(tmp_path: Path) -> None:
    async with serving(tmp_path) as rig:
        expected = {FOUR: mux.OK, FIVE: mux.OK, WRONG: mux.NO, DOWN: b"", OVERSIZED: mux.NO, FOUR[:-1]: b""}
        asked = list(expected) * 50

        async def ask(data: bytes) -> bytes:
            with rig.connect() as client:
                await send(client, data[:20])
                await send(client, data[20:])
                if data == FOUR[:-1]:
                    client.shutdown(socket.SHUT_WR)
                return await everything(client)

        answers = await asyncio.gather(*map(ask, asked))
        assert answers == [expected[data] for data in asked]
        await rig.closed_all()


@on_a_loop
async def test_a_fault_in_deciding_keeps_nobody_elses_answer_back(tmp_path: Path) -> None:
    async with serving(tmp_path) as rig:
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        with rig.connect() as before, rig.connect() as faulty:
            for client, data in ((before, FOUR), (faulty, FAULT)):
                client.send(data)
            assert await everything(before) == mux.OK
            assert await rig.ask(FOUR) == mux.OK


async def asked_later(rig: Rig, *clients: socket.socket) -> list[Callable[[Outcome], None]]:
    """What answers these clients, once the decider has been asked for each."""
    for client in clients:
        await send(client, LATER)
    while len(rig.decider.waiting) < len(clients):
        rig.decider.asked.clear()
        await rig.decider.asked.wait()
    return rig.decider.waiting


@pytest.mark.parametrize("stopping", [False, True])
@on_a_loop
async def test_the_answers_of_one_turn_leave_together_when_it_ends(tmp_path: Path, stopping: bool) -> None:
    async with serving(tmp_path) as rig:
        with rig.connect() as one, rig.connect() as other:
            for then in await asked_later(rig, one, other):
                then(ACCEPTED)
            with pytest.raises(BlockingIOError):
                one.recv(1)
            if stopping:
                await rig.server.stop(0)
            assert [await everything(client) for client in (one, other)] == [mux.OK] * 2


@on_a_loop
async def test_the_answer_of_who_is_alone_leaves_at_once(tmp_path: Path) -> None:
    async with serving(tmp_path) as rig:
        with rig.connect() as alone:
            [then] = await asked_later(rig, alone)
            then(ACCEPTED)
            assert alone.recv(len(mux.OK)) == mux.OK


class Unreadable(socket.socket):
    """Linux resets no connection to which nothing was sent, but memory may lack, or a policy forbid to read."""

    def recv(self, *_: int) -> bytes:
        raise PermissionError


@on_a_loop
async def test_a_connection_that_cannot_be_read_ends_and_the_one_beside_it_is_served(tmp_path: Path) -> None:
    async with serving(tmp_path) as rig:
        (client, served), (other, unreadable) = socket.socketpair(), socket.socketpair()
        with client, other:
            client.send(FOUR)
            rig.server._serve([Unreadable(fileno=unreadable.detach()), served])
            for one, heard in ((client, mux.OK), (other, b"")):
                one.setblocking(False)
                assert await everything(one) == heard


@on_a_loop
async def test_past_the_bound_connections_are_closed_at_once(tmp_path: Path) -> None:
    async with serving(tmp_path, max_connections=2) as rig:
        with rig.connect() as one, rig.connect() as two, rig.connect() as third:
            assert await everything(third) == b""
            for client in (one, two):
                await send(client, FOUR)
                assert await everything(client) == mux.OK
        assert await rig.ask(FOUR) == mux.OK


@on_a_loop
async def test_stop_waits_for_the_answers_under_way(tmp_path: Path) -> None:
    async with serving(tmp_path) as rig:
        with rig.connect() as client:
            await send(client, LATER)
            await rig.decider.asked.wait()
            stop = asyncio.ensure_future(rig.server.stop(10))
            await asyncio.sleep(0)
            assert not rig.path.exists()
            rig.decider.waiting.pop()(ACCEPTED)
            await stop
            assert await everything(client) == mux.OK


@on_a_loop
async def test_stop_gives_up_after_its_time_and_a_late_answer_is_harmless(tmp_path: Path) -> None:
    async with serving(tmp_path) as rig:
        with rig.connect() as client:
            await send(client, LATER)
            await rig.decider.asked.wait()
            await rig.server.stop(0.01)
            assert rig.server.open_connections == 0
            assert await everything(client) == b""
            rig.decider.waiting.pop()(ACCEPTED)


@on_a_loop
async def test_stop_serves_who_has_connected_and_who_is_still_sending(tmp_path: Path) -> None:
    async with serving(tmp_path) as rig:
        with rig.connect() as early, rig.connect() as half:
            await send(half, FOUR[:9])
            await taken(half)
            await send(early, FOUR)
            with rig.connect() as just_now:
                await send(just_now, FOUR)
                stop = asyncio.ensure_future(rig.server.stop(10))
                await asyncio.sleep(0)
                await send(half, FOUR[9:])
                assert [await everything(client) for client in (early, half, just_now)] == [mux.OK] * 3
        await stop


@on_a_loop
async def test_stop_does_not_wait_long_for_the_silent(tmp_path: Path) -> None:
    async with serving(tmp_path, arrival_seconds=1000, linger_seconds=0.01) as rig:
        with rig.connect() as silent, rig.connect() as half:
            await send(half, FOUR[:9])
            await taken(half)
            await rig.server.stop(1000)
            assert [await everything(client) for client in (silent, half)] == [b"", b""]


@on_a_loop
async def test_stop_does_not_wait_long_for_a_client_that_drips(tmp_path: Path) -> None:
    clock = Clock()
    async with serving(tmp_path) as rig:
        with rig.connect() as client:
            await send(client, b" ")
            await taken(client)
            stop = asyncio.ensure_future(rig.server.stop(1000))
            await asyncio.sleep(0)
            clock.move(LINGER_SECONDS * 0.6)
            await send(client, b" ")
            await taken(client)
            clock.move(LINGER_SECONDS * 0.6)
            await stop
            assert await everything(client) == b""


@on_a_loop
async def test_an_oversized_request_gets_its_no_even_at_the_stop(tmp_path: Path) -> None:
    async with serving(tmp_path) as rig:
        with rig.connect() as client:
            await send(client, OVERSIZED[:1])
            await taken(client)
            stop = asyncio.ensure_future(rig.server.stop(1000))
            await asyncio.sleep(0)
            await send(client, OVERSIZED[1:])
            assert await everything(client) == mux.NO
        await stop
        assert rig.decider.requests == []
