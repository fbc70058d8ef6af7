"""What a directory, a network and clients can do wrong, done to the whole daemon.

Whatever it is: no wrong OK, no wrong NO, every login answered or closed within the deadline, and the first login after
it is served.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from rig import Authority, Daemon, DirectoryServer, Ds389, Slapd, article, faults, people
from rig.fake_ldap import FakeLdap
from rig.meddler import SLOW, WAYS, Meddler
from rig.needs import need
from rig.programs import free_port, wait_until
from rig.volley import Login, check, volley

DEADLINE = 3.0
SLACK = 2.0
"""Seconds past the deadline that a busy machine may take to tell."""
KEYS = {"login_deadline": f"{DEADLINE:g}", "ldap_connect_timeout": "1", "failure_delay": "0"}
"""Quicker than by default, so that the tests are; and no refusal is delayed, which is another matter."""
METHODS = ["custom", "bind"]


@pytest.fixture(autouse=True)
def _programs() -> None:
    need("slapd", "slapadd", "ldapmodify")


def at_once(daemon: Daemon, count: int = 24) -> list[Login]:
    """Logins at once, a third of them with a wrong password; none gets a wrong answer or a late one."""
    logins = volley(daemon.mux, count, wrong_every=3)
    check(logins, DEADLINE + SLACK)
    return logins


def served(logins: list[Login]) -> bool:
    return all(login.answer is not None for login in logins)


def right_away(daemon: Daemon) -> None:
    """The first login is served, and a wrong password is told from the right one."""
    assert daemon.ask(people.PENGUIN, people.PENGUIN_PASSWORD) == b"OK"
    assert daemon.ask(people.PENGUIN, "wrong") == b"NO"


# -- the network


@pytest.mark.parametrize("method", METHODS)
def test_the_network_does_its_worst_to_the_only_server(slapd: Slapd, method: str) -> None:
    with Meddler(slapd.port) as meddler:
        conf = article(slapd, method, ldap_servers=meddler.uri, **KEYS)
        with Daemon.running(conf) as daemon:
            right_away(daemon)
            assert served(at_once(daemon))
            for way in WAYS:
                meddler.meddle(way)
                logins = at_once(daemon)
                if way not in ("silent", "drip", "half"):  # where some answers may come through
                    assert not any(login.answer for login in logins), way
                meddler.meddle("pass")
                right_away(daemon)
            assert "internal error" not in daemon.log


@pytest.mark.parametrize("method", METHODS)
def test_the_network_does_its_worst_to_the_first_of_two_servers_and_nobody_notices(slapd: Slapd, method: str) -> None:
    with Meddler(slapd.port) as meddler:
        conf = article(slapd, method, ldap_servers=f"{meddler.uri} {slapd.uri}", **KEYS)
        with Daemon.running(conf) as daemon:
            for way in WAYS:
                right_away(daemon)
                meddler.meddle(way)
                assert served(at_once(daemon)), way  # within one time-out of the first, which the second outlasts
                logins = at_once(daemon)
                assert served(logins), way
                if way in ("stall", "refuse"):  # by now it is known to be down, and asked no more
                    assert min(login.seconds for login in logins) < 1, way
                meddler.meddle("pass")
            assert "internal error" not in daemon.log


def test_the_network_changes_its_mind_all_the_time(slapd: Slapd) -> None:
    done = threading.Event()

    def meddle() -> None:
        while not done.is_set():
            for way in (*WAYS, "pass"):
                meddler.meddle(way)
                done.wait(0.07)

    with Meddler(slapd.port) as meddler:
        conf = article(slapd, "bind", ldap_servers=f"{meddler.uri} {slapd.uri}", **KEYS)
        with Daemon.running(conf) as daemon:
            meddling = threading.Thread(target=meddle)
            meddling.start()
            try:
                for _ in range(12):
                    at_once(daemon)
            finally:
                done.set()
                meddling.join()
            meddler.meddle("pass")
            right_away(daemon)
            assert "internal error" not in daemon.log


def test_answers_that_drip_are_not_waited_for_until_the_time_out(slapd: Slapd) -> None:
    with (
        Meddler(slapd.port) as meddler,
        Daemon.running(article(slapd, "bind", ldap_servers=meddler.uri)) as daemon,
    ):
        right_away(daemon)
        meddler.meddle("drip")
        logins = volley(daemon.mux, 24)
        assert {login.answer for login in logins} == {None}
        assert daemon.logged("an answer was not whole after 1 s")
        assert "no answer within" not in daemon.log
        meddler.meddle("pass")
        # Whatever connection was begun meanwhile is given up first.
        wait_until(lambda: daemon.ask(people.PENGUIN, people.PENGUIN_PASSWORD) == b"OK", "the server")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("restart", "answer"), [("yes", b"OK"), ("no", None)])
def test_a_request_whose_connection_breaks_is_asked_once_more_if_ldap_restart_says_so(
    method: str, restart: str, answer: bytes | None
) -> None:
    conf = {
        "ldap_search_base": people.PEOPLE,
        "ldap_filter": "(mail=%U@%d)",
        "ldap_auth_method": method,
        "ldap_restart": restart,
    }
    with FakeLdap() as server, Daemon.running({**conf, "ldap_servers": server.uri}) as daemon:
        right_away(daemon)
        operation = "bind" if method == "bind" else "search"
        server.fault(operation, faults.close)
        asked = len(server.wait_for(operation))
        assert daemon.ask(people.PENGUIN, people.PENGUIN_PASSWORD) == answer
        assert len(server.wait_for(operation)) - asked == (2 if answer else 1)
        right_away(daemon)


# -- real servers


def kill(server: DirectoryServer) -> None:
    server.program.kill()


Fault = tuple[Callable[[DirectoryServer], None], Callable[[DirectoryServer], None]]
FAULTS: dict[str, Fault] = {
    "SIGSTOP": (DirectoryServer.pause, DirectoryServer.resume),
    "SIGKILL": (kill, DirectoryServer.start),
    "stop": (DirectoryServer.stop, DirectoryServer.start),
}


@pytest.fixture(params=[Slapd, Ds389])
def own(request: pytest.FixtureRequest, authority: Authority) -> Iterator[DirectoryServer]:
    """A server of the test's own, to be stopped."""
    if request.param is Ds389:
        need("ns-slapd", "certutil", "pk12util", "ldapmodify", "ldapsearch")
    with request.param(authority) as server:
        yield server


@pytest.mark.parametrize("method", METHODS)
def test_the_only_server_hangs_dies_and_stops(own: DirectoryServer, method: str) -> None:
    with Daemon.running(article(own, method, **KEYS)) as daemon:
        right_away(daemon)
        for name, (lose, find) in FAULTS.items():
            lose(own)
            assert not any(login.answer for login in at_once(daemon)), name
            find(own)
            right_away(daemon)
        assert "internal error" not in daemon.log


def test_the_first_of_two_servers_hangs_dies_and_stops_and_nobody_notices(own: DirectoryServer, slapd: Slapd) -> None:
    conf = article(own, "bind", ldap_servers=f"{own.ldaps_uri} {slapd.uri}", **KEYS)
    conf["ldap_tls_cacert_file"] = str(own.authority.certificate)
    with Daemon.running(conf) as daemon:
        for times, (name, (lose, find)) in enumerate(FAULTS.items(), 1):
            right_away(daemon)
            lose(own)
            for _ in range(2):
                assert served(at_once(daemon)), name
            assert daemon.log.count("directory server failed: ") == times
            find(own)
            wait_until(lambda: daemon.log.count("server is back") == times, "the preferred server")  # noqa: B023 - called before the loop goes on
        assert "internal error" not in daemon.log


def test_a_server_dies_while_it_is_asked(own: DirectoryServer) -> None:
    with Daemon.running(article(own, "bind", **KEYS)) as daemon:
        right_away(daemon)
        killing = threading.Timer(0.02, own.program.kill)
        killing.start()
        at_once(daemon, 300)
        killing.join()
        own.start()
        right_away(daemon)


def test_it_starts_without_any_server_and_serves_once_there_is_one(own: DirectoryServer) -> None:
    own.stop()
    with Daemon.running(article(own, "custom", **KEYS)) as daemon:
        assert daemon.ask(people.PENGUIN, people.PENGUIN_PASSWORD) is None
        own.start()
        right_away(daemon)


# -- what goes on meanwhile


def test_cached_logins_are_as_quick_as_ever_while_the_directory_hangs(authority: Authority) -> None:
    with Slapd(authority) as own, Daemon.running(article(own, "custom", **KEYS), "-c") as daemon:
        assert {login.answer for login in volley(daemon.mux, 20)} == {b"OK"}
        own.pause()
        hanging = threading.Thread(target=lambda: volley(daemon.mux, 100, wrong_every=1))
        hanging.start()
        cached = volley(daemon.mux, 20)
        assert {login.answer for login in cached} == {b"OK"}
        assert hanging.is_alive()
        own.resume()
        hanging.join()
        right_away(daemon)


def test_clients_that_say_nothing_keep_nobody_out_while_the_directory_hangs(authority: Authority) -> None:
    with Slapd(authority) as own, Daemon.running(article(own, "bind", **KEYS)) as daemon, ExitStack() as open_:
        for number in range(200):
            client = open_.enter_context(socket.socket(socket.AF_UNIX))
            client.connect(str(daemon.mux))
            client.sendall(b"\x00\x07peng"[: number % 7])
        own.pause()
        assert not any(login.answer for login in at_once(daemon))
        own.resume()
        right_away(daemon)


# -- a slow directory


@pytest.fixture(scope="module")
def crowd(authority: Authority) -> Iterator[Slapd]:
    """A server with so many people that no two logins at once ask the same."""
    with Slapd(authority, users=200) as server:
        yield server


def test_a_directory_that_takes_its_time_serves_two_hundred_at_once(crowd: Slapd) -> None:
    with Meddler(crowd.port) as meddler:
        meddler.meddle("slow")
        conf = article(crowd, "custom", ldap_servers=meddler.uri, login_deadline="20", failure_delay="0")
        with Daemon.running(conf) as daemon:
            right_away(daemon)
            logins = volley(daemon.mux, 200, people=200, wrong_every=10)
            check(logins, 20)
            assert served(logins)
            assert max(login.seconds for login in logins) < 200 * SLOW / 5  # a fifth of one after the other


def test_who_cannot_be_served_in_time_by_so_few_binds_is_told_early(crowd: Slapd) -> None:
    with Meddler(crowd.port) as meddler:
        meddler.meddle("slow")
        conf = article(crowd, "bind", ldap_servers=meddler.uri, login_deadline="4", failure_delay="0")
        with Daemon.running(conf, "-n", "5", "-V") as daemon:
            right_away(daemon)
            logins = volley(daemon.mux, 200, people=200, wrong_every=10)
            check(logins, 4 + SLACK)
            told = sorted(login.seconds for login in logins if login.answer is None)
            in_time = sum(login.answer is not None for login in logins)
            assert in_time >= 3 / SLOW * 5 * 0.3  # five at a time, for three of the four seconds
            assert told
            assert told[len(told) // 2] < 3
            assert daemon.logged("overloaded")
            right_away(daemon)


# -- time-outs


def test_ldap_timeout_is_the_most_that_an_answer_may_take(slapd: Slapd) -> None:
    with Meddler(slapd.port) as meddler:
        conf = article(slapd, "custom", ldap_servers=meddler.uri, ldap_timeout="1", **KEYS)
        with Daemon.running(conf) as daemon:
            right_away(daemon)
            meddler.meddle("stall")
            began = time.monotonic()
            assert daemon.ask(people.PENGUIN, people.PENGUIN_PASSWORD) is None
            assert time.monotonic() - began > 0.9
            assert daemon.logged("no answer within 1 s")


def test_a_server_that_cannot_be_connected_to_costs_the_connect_time_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        conf = {
            "ldap_servers": f"ldap://127.0.0.1:{deaf.getsockname()[1]} ldap://127.0.0.1:{free_port()}",
            "ldap_bind_dn": people.SERVICE_DN,
            "ldap_password": people.SERVICE_PASSWORD,
            "ldap_search_base": people.PEOPLE,
            **KEYS,
            "ldap_connect_timeout": "0.3",
        }
        with Daemon.running(conf) as daemon:
            assert daemon.ask(people.PENGUIN, people.PENGUIN_PASSWORD) is None
            assert daemon.logged("not connected within 0.3 s")
            assert daemon.logged("[reason=directory-down]")
