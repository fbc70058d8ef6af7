"""The Dovecot socket asked by the programs it is for: ``doveadm auth test`` and a real Postfix.

The decisions are the test's own, so that only the protocol is on trial.
"""

from __future__ import annotations

import asyncio
import os
import smtplib
import subprocess
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from integration.conftest import need
from pysaslauthd.model import AuthRequest, Outcome, Reason
from pysaslauthd.server import listener
from pysaslauthd.server.dovecot import DovecotServer
from pysaslauthd.wire.dovecot_session import Unavailable
from rig.people import PENGUIN, PENGUIN_PASSWORD
from rig.postfix import Postfix
from rig.programs import find, folder

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
            assert started.wait(5), "the socket does not listen"
            yield
        finally:
            loop.call_soon_threadsafe(stopping.set)
            thread.join(10)
            loop.close()


@pytest.fixture
def door() -> Door:
    return Door()


# doveadm


@pytest.fixture
def path() -> Iterator[Path]:
    need("doveadm")
    with folder("dovecot") as made:
        (made / "mini.conf").write_text("protocols = none\nssl = no\nbase_dir = /nonexistent\nlog_path = /dev/stderr\n")
        yield made / "auth"


def doveadm(path: Path, user: str, password: str) -> tuple[int, str]:
    """Exit status and output of ``doveadm auth test``."""
    command = [find("doveadm"), "-c", str(path.with_name("mini.conf")), "auth", "test", "-a", str(path)]
    done = subprocess.run(
        [*command, "-x", "service=smtp", "-x", "rip=192.0.2.7", "-x", "rport=49152", user, password],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout


def test_doveadm_hears_ok(path: Path, door: Door) -> None:
    with door.open(path):
        status, output = doveadm(path, PENGUIN, PENGUIN_PASSWORD)
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
    # Dovecot 2.3 prints the code and goes on to say 77; later ones say 75.
    assert "code=temp_fail" in output or status == 75, output
    assert status in (75, 77), output


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
    need("postfix", "swaks")
    with Postfix.running() as running:
        yield running


@pytest.fixture
def served(postfix: Postfix, door: Door) -> Iterator[Postfix]:
    """Postfix with the door open where it looks for it."""
    with door.open(postfix.dovecot):
        yield postfix


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_postfix_lets_the_right_password_in_and_no_other(served: Postfix, door: Door, mechanism: str) -> None:
    port = served.ports.dovecot
    assert served.login(port, PENGUIN, PENGUIN_PASSWORD, mechanism).code == 235
    assert served.login(port, PENGUIN, "wrong", mechanism) == (
        535,
        "5.7.8 Error: authentication failed: Invalid user name or password",
    )
    assert {request.login for request in door.requests} == {PENGUIN.encode()}
    assert {request.service for request in door.requests} == {b"smtp"}
    assert {request.remote for request in door.requests} == {b"127.0.0.1"}


def test_postfix_says_454_while_nobody_knows_and_lets_in_afterwards(served: Postfix, door: Door) -> None:
    port = served.ports.dovecot
    door.down = True
    assert served.login(port, PENGUIN, PENGUIN_PASSWORD).code == 454
    assert served.login(port, PENGUIN, "wrong", "LOGIN").code == 454
    door.down = False
    assert served.login(port, PENGUIN, PENGUIN_PASSWORD, "LOGIN").code == 235
    assert served.login(port, PENGUIN, "wrong").code == 535


def test_postfix_does_not_notice_a_restart(postfix: Postfix, door: Door) -> None:
    for _ in range(2):
        with door.open(postfix.dovecot):
            assert postfix.login(postfix.ports.dovecot, PENGUIN, PENGUIN_PASSWORD).code == 235


def plain(password: str) -> str:
    return b64encode(f"\0{PENGUIN}\0{password}".encode()).decode()


def test_postfix_goes_on_after_a_person_broke_off(served: Postfix, door: Door) -> None:
    with smtplib.SMTP("127.0.0.1", served.ports.dovecot, timeout=10) as smtp:
        smtp.ehlo()
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
    with smtplib.SMTP("127.0.0.1", served.ports.dovecot, timeout=10) as smtp:
        smtp.ehlo()
        name, password = (b64encode(word.encode()).decode() for word in (PENGUIN, PENGUIN_PASSWORD))
        assert smtp.docmd("AUTH", f"LOGIN {name}") == (334, b"UGFzc3dvcmQ6")
        assert smtp.docmd(password)[0] == 235


def test_postfix_passes_on_a_long_password(served: Postfix, door: Door) -> None:
    password = "x" * 8000
    with smtplib.SMTP("127.0.0.1", served.ports.dovecot, timeout=10) as smtp:
        smtp.ehlo()
        assert smtp.docmd("AUTH", "PLAIN")[0] == 334
        assert smtp.docmd(plain(password))[0] == 535
    assert [request.password for request in door.requests] == [password.encode()]
