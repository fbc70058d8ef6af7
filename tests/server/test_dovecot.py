"""The Dovecot socket's shell, over real sockets, with a decider that the test holds in its hands."""

from __future__ import annotations

import asyncio
import binascii
import fcntl
import logging
import os
import re
import socket
import struct
import termios
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from pysaslauthd.model import AuthRequest, Outcome, Peer, Reason
from pysaslauthd.server import dovecot, listener
from pysaslauthd.server.dovecot import DovecotServer
from rig.clock import Clock

HELLO = b"VERSION\t1\t0\nCPID\t26731\n"
OUTCOMES = {b"s3cret": Reason.OK, b"down": Reason.DIRECTORY_DOWN}


class Decider:
    """Decides at once by password, except for ``later``: the test calls what is in ``waiting``."""

    def __init__(self) -> None:
        self.requests: list[AuthRequest] = []
        self.waiting: list[Callable[[Outcome], None]] = []
        self.asked = asyncio.Event()

    def authenticate(self, request: AuthRequest, then: Callable[[Outcome], None]) -> None:
        self.requests.append(request)
        if request.password == b"later":
            self.waiting.append(then)
            self.asked.set()
        else:
            then(Outcome(OUTCOMES.get(request.password, Reason.WRONG_PASSWORD)))

    async def wait_for(self, count: int) -> None:
        while len(self.waiting) < count:
            self.asked.clear()
            await self.asked.wait()


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.greeting = b""

    def say(self, data: bytes) -> None:
        self.writer.write(data)

    @property
    def unread(self) -> int:
        """Octets that have come and have not been read by the event loop yet (unix(7), SIOCINQ)."""
        link: socket.socket = self.writer.get_extra_info("socket")
        (octets,) = struct.unpack("i", fcntl.ioctl(link.fileno(), termios.FIONREAD, bytes(4)))
        return int(octets)

    async def hear(self) -> bytes:
        return await self.reader.readline()

    async def hear_the_end(self) -> bytes:
        try:
            return await self.reader.read()
        except ConnectionResetError:
            return b""


class Room:
    """A server on a socket, and its clients."""

    def __init__(self, path: Path, server: DovecotServer, decider: Decider) -> None:
        self.path = path
        self.server = server
        self.decider = decider
        self.clients: list[Client] = []

    async def client(self, hello: bytes = HELLO) -> Client:
        client = Client(*await asyncio.open_unix_connection(str(self.path)))
        self.clients.append(client)
        client.greeting = await client.reader.readuntil(b"\nDONE\n")
        client.say(hello)
        return client

    async def empty(self) -> None:
        """Return once the server has no connection left; it has no event for that, so look again and again."""
        while self.server.open_connections:  # noqa: ASYNC110 - as said
            await asyncio.sleep(0)


@asynccontextmanager
async def room(path: Path) -> AsyncIterator[Room]:
    decider = Decider()
    server = DovecotServer(decider, listener.bind(str(path)))
    server.start()
    made = Room(path, server, decider)
    try:
        yield made
    finally:
        await server.stop(0)
        for client in made.clients:
            client.writer.close()
    assert server.open_connections == 0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "auth"


def play(path: Path, scene: Callable[[Room], Awaitable[None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(60), room(path) as made:
            await scene(made)

    asyncio.run(run())


def login(number: int, response: bytes) -> bytes:
    return b"AUTH\t%d\tPLAIN\tservice=smtp\tnologin\tlip=127.0.0.1\trip=192.0.2.7\tresp=%b\n" % (number, response)


GOOD = b"AHBlbmd1aW4AczNjcmV0"
WRONG = b"AHBlbmd1aW4Ad3Jvbmc="
LATER = b"AHBlbmd1aW4AbGF0ZXI="
DOWN = b"AHBlbmd1aW4AZG93bg=="
LONG = binascii.b2a_base64(b"\0" + b"x" * 1000 + b"\0wrong", newline=False)

GREETING = re.compile(
    rb"VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nMECH\tLOGIN\tplaintext\n"
    rb"SPID\t(\d+)\nCUID\t(\d+)\nCOOKIE\t([0-9a-f]{32})\nDONE\n"
)


def test_every_connection_is_greeted_with_its_own_numbers(path: Path) -> None:
    async def scene(here: Room) -> None:
        greetings = [(await here.client()).greeting for _ in range(2)]
        (pid, cuid, cookie), (pid2, cuid2, cookie2) = (match for each in greetings for match in GREETING.findall(each))
        assert int(pid) == int(pid2) == os.getpid()
        assert cuid != cuid2
        assert cookie != cookie2

    play(path, scene)


def test_logins_are_decided_over_one_connection(path: Path) -> None:
    async def scene(here: Room) -> None:
        client = await here.client()
        client.say(login(1, GOOD))
        assert await client.hear() == b"OK\t1\tuser=penguin\n"
        client.say(login(2, WRONG))
        assert (await client.hear()).startswith(b"FAIL\t2\tuser=penguin\t")
        client.say(b"AUTH\t3\tLOGIN\tservice=smtp\n")
        assert await client.hear() == b"CONT\t3\tVXNlcm5hbWU6\n"
        client.say(b"CONT\t3\tcGVuZ3Vpbg==\n")
        assert await client.hear() == b"CONT\t3\tUGFzc3dvcmQ6\n"
        client.say(b"CONT\t3\tczNjcmV0\n")
        assert await client.hear() == b"OK\t3\tuser=penguin\n"

    play(path, scene)


def test_a_request_names_the_person_and_the_process(path: Path) -> None:
    async def scene(here: Room) -> None:
        client = await here.client()
        client.say(login(1, GOOD))
        await client.hear()
        (request,) = here.decider.requests
        peer = Peer(os.getpid(), os.getuid(), os.getgid())
        assert request == AuthRequest(
            b"penguin", b"s3cret", b"smtp", b"", b"192.0.2.7", "dovecot", peer, b"127.0.0.1", secured=False
        )

    play(path, scene)


def test_a_slow_login_holds_up_no_other(path: Path) -> None:
    async def scene(here: Room) -> None:
        client = await here.client()
        client.say(login(1, LATER) + login(2, LATER) + login(3, GOOD))
        assert await client.hear() == b"OK\t3\tuser=penguin\n"
        await here.decider.wait_for(2)
        here.decider.waiting[1](Outcome(Reason.OK))
        assert await client.hear() == b"OK\t2\tuser=penguin\n"
        here.decider.waiting[0](Outcome(Reason.OK))
        assert await client.hear() == b"OK\t1\tuser=penguin\n"

    play(path, scene)


def test_the_answers_of_one_turn_leave_together_when_it_ends(path: Path) -> None:
    async def scene(here: Room) -> None:
        one, other = await here.client(), await here.client()
        one.say(login(1, LATER) + login(2, LATER))
        other.say(login(1, LATER))
        await here.decider.wait_for(3)
        for then in here.decider.waiting:
            then(Outcome(Reason.OK))
        assert [one.unread, other.unread] == [0, 0]
        assert {await one.hear(), await one.hear()} == {b"OK\t1\tuser=penguin\n", b"OK\t2\tuser=penguin\n"}
        assert await other.hear() == b"OK\t1\tuser=penguin\n"

    play(path, scene)


def test_the_answer_of_who_is_alone_leaves_at_once(path: Path) -> None:
    async def scene(here: Room) -> None:
        client = await here.client()
        client.say(login(1, LATER))
        await here.decider.wait_for(1)
        here.decider.waiting[0](Outcome(Reason.OK))
        assert client.unread == len(b"OK\t1\tuser=penguin\n")

    play(path, scene)


def test_a_connection_that_is_given_up_closes_once_its_answers_of_the_turn_are_sent(path: Path) -> None:
    async def scene(here: Room) -> None:
        client, _ = await here.client(), await here.client()
        client.say(login(1, LATER) + login(2, LATER))
        await here.decider.wait_for(2)
        here.decider.waiting[0](Outcome(Reason.OK))
        here.decider.waiting[1](Outcome(Reason.DIRECTORY_DOWN))
        assert await client.hear_the_end() == b"OK\t1\tuser=penguin\n"

    play(path, scene)


def test_unavailable_ends_the_connection_after_the_others_answers(path: Path) -> None:
    async def scene(here: Room) -> None:
        client, other = await here.client(), await here.client()
        client.say(login(1, LATER) + login(2, DOWN))
        await here.decider.wait_for(1)
        here.decider.waiting[0](Outcome(Reason.OK))
        assert await client.hear_the_end() == b"OK\t1\tuser=penguin\n"
        other.say(login(1, GOOD))
        assert await other.hear() == b"OK\t1\tuser=penguin\n"

    play(path, scene)


def test_unavailable_is_a_reply_to_newer_clients(path: Path) -> None:
    async def scene(here: Room) -> None:
        client = await here.client(b"VERSION\t1\t2\nCPID\t1\n")
        client.say(login(1, DOWN))
        assert (await client.hear()).endswith(b"\ttemp\tcode=temp_fail\n")
        client.say(login(1, GOOD))
        assert await client.hear() == b"OK\t1\tuser=penguin\n"

    play(path, scene)


def test_a_broken_client_is_disconnected_and_named_in_the_log(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scene(here: Room) -> None:
        client = await here.client()
        client.say(b"AHBlbmd1aW4AczNjcmV0\n")
        assert await client.hear_the_end() == b""

    play(path, scene)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == (
        f"{path}: process {os.getpid()} (uid {os.getuid()}): closing the connection: unknown command"
    )


def test_a_refusal_is_logged_with_its_reason(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def scene(here: Room) -> None:
        client = await here.client()
        client.say(b"AUTH\t1\tGSSAPI\n")
        assert (await client.hear()).startswith(b"FAIL\t1\t")

    play(path, scene)
    assert caplog.messages[-1].endswith("a request is refused: unsupported mechanism")


def test_a_client_that_does_not_read_is_disconnected(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scene(here: Room) -> None:
        client = await here.client()
        client.reader._transport.pause_reading()  # type: ignore[attr-defined]  # no public way to stop reading
        client.say(b"".join(login(number, LONG) for number in range(1, 900)))
        await here.empty()

    play(path, scene)
    assert caplog.messages[-1].endswith("its replies are not read")


def test_last_replies_are_given_a_moment_to_be_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dovecot, "MAX_UNREAD", 10_000_000)

    async def scene(here: Room) -> None:
        clock = Clock()
        mute, reader = await here.client(), await here.client()
        mute.reader._transport.pause_reading()  # type: ignore[attr-defined]  # no public way to stop reading
        for client in mute, reader:
            client.say(b"".join(login(number, LONG) for number in range(1, 900)))
            client.say(login(900, DOWN))
        assert (await reader.hear_the_end()).count(b"\n") == 899
        while here.server.open_connections > 1:  # noqa: ASYNC110 - as in empty()
            await asyncio.sleep(0)
        assert here.server.open_connections == 1
        clock.move(dovecot.FLUSH_SECONDS)
        await here.empty()

    play(path, scene)


def test_a_client_that_only_listens_on_still_gets_its_answer(path: Path) -> None:
    async def scene(here: Room) -> None:
        client = await here.client()
        client.say(login(1, LATER))
        client.writer.write_eof()
        await here.decider.wait_for(1)
        here.decider.waiting[0](Outcome(Reason.OK))
        assert await client.hear_the_end() == b"OK\t1\tuser=penguin\n"

    play(path, scene)


def test_an_answer_to_a_client_that_has_gone_is_dropped(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scene(here: Room) -> None:
        client, aborting = await here.client(), await here.client()
        client.say(login(1, LATER) + login(2, LATER))
        aborting.say(login(1, LATER))
        await here.decider.wait_for(3)
        client.writer.close()
        aborting.writer.transport.abort()
        await client.writer.wait_closed()
        for then in here.decider.waiting:
            then(Outcome(Reason.OK))
        await here.empty()

    play(path, scene)
    assert not caplog.records


def test_a_stop_answers_what_was_asked_and_closes(path: Path) -> None:
    async def scene(here: Room) -> None:
        busy, idle = await here.client(), await here.client()
        busy.say(login(1, LATER))
        await here.decider.wait_for(1)
        stopping = asyncio.create_task(here.server.stop(5))
        assert await idle.hear_the_end() == b""
        assert not os.path.exists(path)  # noqa: ASYNC240 - a look at a local folder
        here.decider.waiting[0](Outcome(Reason.OK))
        assert await busy.hear_the_end() == b"OK\t1\tuser=penguin\n"
        await stopping

    play(path, scene)


def test_a_stop_does_not_wait_for_ever(path: Path) -> None:
    async def scene(here: Room) -> None:
        client = await here.client()
        client.say(login(1, LATER))
        await here.decider.wait_for(1)
        await here.server.stop(0.01)
        assert await client.hear_the_end() == b""
        here.decider.waiting[0](Outcome(Reason.OK))

    play(path, scene)


def test_a_stop_right_after_a_connect_ends_cleanly(path: Path) -> None:
    async def scene(here: Room) -> None:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            await here.server.stop(5)
            assert client.recv(1) == b""

    play(path, scene)
