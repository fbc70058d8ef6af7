"""The Dovecot socket asked by the programs it is for: ``doveadm auth test`` and a real Postfix.

The decisions are the test's own, so that only the protocol is on trial.
"""

from __future__ import annotations

import asyncio
import os
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from integration.mail_servers import POSTFIX
from pysaslauthd.model import AuthRequest, Outcome, Reason
from pysaslauthd.server import listener
from pysaslauthd.server.dovecot import DovecotServer
from pysaslauthd.wire.dovecot_session import Unavailable
from rig.docs import snippet
from rig.dovecot import doveadm
from rig.needs import need, need_root
from rig.people import PENGUIN, PENGUIN_PASSWORD
from rig.postfix import Postfix, Smtpd
from rig.programs import folder

SLOW_SECONDS = 0.3


class Door:
    """A Dovecot socket on a thread of its own, in front of one person.

    Passwords beginning with ``slow`` are decided late, all while ``down`` is set are UNAVAILABLE.
    """

    def __init__(self) -> None:
        self.requests: list[AuthRequest] = []
        self.down = False

    def authenticate(self, request: AuthRequest, then: Callable[[Outcome], None]) -> None:
        self.requests.append(request)
        right = (request.login, request.password) == (PENGUIN.encode(), PENGUIN_PASSWORD.encode())
        reason = Reason.DIRECTORY_DOWN if self.down else Reason.OK if right else Reason.WRONG_PASSWORD
        if request.password.startswith(b"slow"):
            asyncio.get_running_loop().call_later(SLOW_SECONDS, then, Outcome(reason))
        else:
            then(Outcome(reason))

    @contextmanager
    def open(self, path: Path, unavailable: Unavailable = "auto") -> Iterator[None]:
        """Serve on this socket while the context lasts."""
        started = threading.Event()
        loop = asyncio.new_event_loop()
        stopping = asyncio.Event()

        async def serve() -> None:
            server = DovecotServer(self, listener.bind(str(path)), unavailable=unavailable)
            server.start()
            started.set()
            await stopping.wait()
            await server.stop(5)

        thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
        thread.start()
        try:
            assert started.wait(60), "the socket does not listen"
            yield
        finally:
            loop.call_soon_threadsafe(stopping.set)
            thread.join(60)
            loop.close()


@pytest.fixture
def door() -> Door:
    return Door()


# doveadm


@pytest.fixture
def path() -> Iterator[Path]:
    need("doveadm")
    with folder("dovecot") as made:
        yield made / "auth"


def test_doveadm_hears_ok(path: Path, door: Door) -> None:
    with door.open(path):
        status, output = doveadm(path, PENGUIN, PENGUIN_PASSWORD, "rip=192.0.2.7", "rport=49152")
    assert (status, f"user={PENGUIN}" in output) == (0, True), output
    (request,) = door.requests
    assert request.service == b"smtp"
    assert request.remote == b"192.0.2.7"
    assert request.peer is not None
    assert request.peer.uid == os.getuid()


def test_doveadm_hears_that_a_password_is_wrong(path: Path, door: Door) -> None:
    with door.open(path):
        status, output = doveadm(path, PENGUIN, "wrong")
    assert (status, "temp_fail" in output) == (77, False), output


def test_doveadm_hears_that_nobody_knows(path: Path, door: Door) -> None:
    door.down = True
    with door.open(path):
        status, output = doveadm(path, PENGUIN, PENGUIN_PASSWORD)
    # Dovecot 2.3 prints the code, and ends with 77 all the same.
    assert (status, "code=temp_fail" in output) == (77, True), output


def test_doveadm_takes_the_end_of_the_connection_for_a_temporary_failure(path: Path, door: Door) -> None:
    door.down = True
    with door.open(path, "close"):
        status, output = doveadm(path, PENGUIN, PENGUIN_PASSWORD)
    assert status == 75, output


def test_doveadm_gets_an_answer_that_takes_its_time(path: Path, door: Door) -> None:
    with door.open(path):
        assert doveadm(path, PENGUIN, "slow")[0] == 77


# Postfix


@pytest.fixture(scope="module")
def postfix() -> Iterator[Postfix]:
    need_root()
    need("postfix", "swaks")
    with Postfix.running(lambda _: {"dovecot": Smtpd(snippet(POSTFIX, "dovecot main.cf"))}) as running:
        yield running


@pytest.fixture
def served(postfix: Postfix, door: Door) -> Iterator[Postfix]:
    """Postfix with the door open where it looks for it."""
    with door.open(postfix.folder / "spool/private/auth"):
        yield postfix


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_postfix_lets_the_right_password_in_and_no_other(served: Postfix, door: Door, mechanism: str) -> None:
    assert served.swaks("dovecot", PENGUIN, PENGUIN_PASSWORD, mechanism).code == 235
    assert served.swaks("dovecot", PENGUIN, "wrong", mechanism) == (
        535,
        "5.7.8 Error: authentication failed: Invalid user name or password",
    )
    assert {request.login for request in door.requests} == {PENGUIN.encode()}
    assert {request.service for request in door.requests} == {b"smtp"}
    assert {request.remote for request in door.requests} == {b"127.0.0.1"}


def test_postfix_says_454_while_nobody_knows_and_lets_in_afterwards(served: Postfix, door: Door) -> None:
    door.down = True
    assert served.swaks("dovecot", PENGUIN, PENGUIN_PASSWORD).code == 454
    assert served.swaks("dovecot", PENGUIN, "wrong", "LOGIN").code == 454
    door.down = False
    assert served.swaks("dovecot", PENGUIN, PENGUIN_PASSWORD, "LOGIN").code == 235
    assert served.swaks("dovecot", PENGUIN, "wrong").code == 535


def test_postfix_does_not_notice_a_restart(postfix: Postfix, door: Door) -> None:
    for _ in range(2):
        with door.open(postfix.folder / "spool/private/auth"):
            assert postfix.swaks("dovecot", PENGUIN, PENGUIN_PASSWORD).code == 235


def plain(password: str) -> str:
    return b64encode(f"\0{PENGUIN}\0{password}".encode()).decode()


def test_postfix_goes_on_after_a_person_broke_off(served: Postfix, door: Door) -> None:
    with served.smtp("dovecot") as smtp:
        assert smtp.docmd("AUTH", "LOGIN") == (334, b"VXNlcm5hbWU6")
        assert smtp.docmd("*")[0] == 501
        assert smtp.docmd("AUTH", "PLAIN") == (334, b"")
        assert smtp.docmd("*")[0] == 501
        assert smtp.docmd("AUTH", "PLAIN =")[0] == 535
        assert smtp.docmd("AUTH", "PLAIN *")[0] == 535
        assert smtp.docmd("AUTH", "CRAM-MD5")[0] == 535
        assert smtp.docmd("AUTH", "PLAIN " + plain("slow"))[0] == 535
        assert smtp.docmd("AUTH", "PLAIN")[0] == 334
        assert smtp.docmd(plain(PENGUIN_PASSWORD))[0] == 235
    assert len(door.requests) == 2


def test_postfix_takes_a_login_with_the_name_up_front(served: Postfix) -> None:
    with served.smtp("dovecot") as smtp:
        name, password = (b64encode(word.encode()).decode() for word in (PENGUIN, PENGUIN_PASSWORD))
        assert smtp.docmd("AUTH", f"LOGIN {name}") == (334, b"UGFzc3dvcmQ6")
        assert smtp.docmd(password)[0] == 235


def test_postfix_passes_on_a_long_password(served: Postfix, door: Door) -> None:
    password = "x" * 8000
    with served.smtp("dovecot") as smtp:
        assert smtp.docmd("AUTH", "PLAIN")[0] == 334
        assert smtp.docmd(plain(password))[0] == 535
    assert [request.password for request in door.requests] == [password.encode()]
