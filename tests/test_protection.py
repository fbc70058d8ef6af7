"""The whole daemon against those who ask too much, and what it gives up before it serves."""

from __future__ import annotations

import pwd
import resource
import select
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from rig import Daemon, people
from rig.daemon import ENVIRONMENT
from rig.dovecot import ask
from rig.mux import ask_mux, request
from rig.programs import Program, folder, wait_until
from rig.saslauthd import conf_text

RIGHT = people.PENGUIN, people.PENGUIN_PASSWORD
CONF = people.file_article()


@contextmanager
def running(*flags: str, **keys: object) -> Iterator[Daemon]:
    conf = {**CONF, **{key: str(value) for key, value in keys.items()}}
    with Daemon.running(conf, *flags, files={"people.ldif": people.tree(2)}) as daemon:
        yield daemon


def connected(mux: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(60)
    client.connect(str(mux))
    return client


def _accepted(daemon: Daemon) -> bool:
    with suppress(ConnectionError):  # closed over the request, which nobody has read
        return daemon.ask(*RIGHT) == b"OK"
    return False


def seconds(door: Callable[[str], object], password: str) -> float:
    """How long the answer takes."""
    began = time.monotonic()
    door(password)
    return time.monotonic() - began


# Load


def test_past_the_bound_of_connections_new_ones_are_closed_at_once_and_places_come_back() -> None:
    with running(max_connections=3) as daemon, ExitStack() as stack:
        silent = [stack.enter_context(connected(daemon.mux)) for _ in range(3)]
        with connected(daemon.mux) as client:
            assert client.recv(1) == b""
        assert daemon.logged("3 connections are open; closing new ones")
        silent[0].close()
        wait_until(lambda: _accepted(daemon), "a login in the place of the client that left")


def test_a_client_that_says_nothing_is_disconnected_in_time() -> None:
    with running(request_timeout=1) as daemon, connected(daemon.mux) as client:
        client.sendall(request(*RIGHT)[:5])
        assert client.recv(1) == b""
        assert daemon.logged("no whole request within 1 s")


def test_with_a_hung_directory_a_login_ends_at_the_deadline_and_past_the_bound_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as hung:
        keys = {"ldap_servers": f"ldap://127.0.0.1:{hung.getsockname()[1]}/", "ldap_auth_method": "bind"}
        with running(**keys, login_deadline=5, max_pending_logins=2) as daemon, ExitStack() as stack:
            waiting = [stack.enter_context(connected(daemon.mux)) for _ in range(3)]
            for number, client in enumerate(waiting):
                client.sendall(request(f"user{number}@hoge.cxm", "x", "smtp", ""))
            (refused,) = select.select(waiting, [], [], 60)[0]
            assert daemon.logged("[reason=overloaded]")
            waiting.remove(refused)
            assert select.select(waiting, [], [], 0)[0] == []
            assert [client.recv(1) for client in (refused, *waiting)] == [b""] * 3
            assert daemon.logged("no answer within 4.5 s")


def test_the_limit_of_descriptors_is_raised() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        with running() as daemon:
            limits = Path(f"/proc/{daemon.program.pid}/limits").read_text()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    (line,) = [line for line in limits.splitlines() if line.startswith("Max open files")]
    assert int(line.split()[3]) >= hard


# Guessing


def test_a_guesser_is_slowed_down_at_both_doors_and_who_knows_the_password_is_not() -> None:
    keys = {"free_failures": 3, "failure_delay": 3, "ldap_default_realm": "hoge.cxm"}
    with running("-V", "--dovecot-socket", "{folder}/auth", **keys) as daemon:
        user, right = RIGHT
        doors: tuple[Callable[[str], object], ...] = (
            lambda password: daemon.ask(user, password),
            lambda password: ask(daemon.folder / "auth", user, password),
        )
        for number, door in enumerate((*doors, doors[0])):
            assert door(f"guess {number}") not in (b"OK", None)
        assert "delayed" not in daemon.log
        for number, door in enumerate((*doors, doors[0])):
            assert seconds(door, f"another {number}") > 0.2 * 2**number
        said = "many wrong passwords for [user=penguin@hoge.cxm]: refusals are delayed from now on"
        assert daemon.log.count(said) == 1
        wait_until(lambda: daemon.log.count("[reason=wrong-password]") == 6, "each refusal in the log")
        for door in doors:
            assert seconds(door, right) < 1.9  # and another refusal would take 2 s
        wait_until(lambda: daemon.log.count("auth success") == 2, "both logins in the log")


# Root


@pytest.mark.usefixtures("root")
def test_started_as_root_it_serves_as_nobody_and_leaves_nothing_behind() -> None:
    nobody = pwd.getpwnam("nobody")
    with folder("nobody") as at:
        (at / "people.ldif").write_text(people.tree(2))
        conf = at / "saslauthd.conf"
        conf.touch(0o600)
        conf.write_text(conf_text({**CONF, "user": "nobody"}).replace("{folder}", str(at)))
        run_dir = at / "run"
        program = Program(
            [sys.executable, "-m", "pysaslauthd", "-f", "-V", "-O", conf, "-m", run_dir],
            log=at / "log",
            ready=lambda: ": serving " in program.log,
            env=ENVIRONMENT,
        )
        program.start()
        try:
            status = Path(f"/proc/{program.pid}/status").read_text()
            assert f"Uid:\t{nobody.pw_uid}\t{nobody.pw_uid}\t{nobody.pw_uid}\t{nobody.pw_uid}\n" in status
            assert f"Gid:\t{nobody.pw_gid}\t{nobody.pw_gid}\t{nobody.pw_gid}\t{nobody.pw_gid}\n" in status
            assert "CapPrm:\t0000000000000000\n" in status
            assert Path(f"/proc/{program.pid}/mem").stat().st_uid == 0, "its user's other processes see its memory"
            limits = Path(f"/proc/{program.pid}/limits").read_text()
            assert any(line.split()[:6] == ["Max", "core", "file", "size", "0", "0"] for line in limits.splitlines())
            assert (run_dir.stat().st_uid, run_dir.stat().st_mode & 0o777) == (nobody.pw_uid, 0o755)

            assert ask_mux(run_dir / "mux", request(*RIGHT, "smtp", "")) == b"OK"
            assert ask_mux(run_dir / "mux", request(RIGHT[0], "wrong", "smtp", "")) == b"NO"
            assert "running as root" not in program.log
        finally:
            status_at_end = program.stop()
        assert (status_at_end, list(run_dir.iterdir())) == (0, [])
        assert "Traceback" not in program.log
        assert "cannot" not in program.log


@pytest.mark.usefixtures("root")
def test_root_that_stays_root_is_a_warning() -> None:
    with running() as daemon:
        said = f"running as root: let it become a user without privileges, see user in {daemon.conf}"
        assert daemon.log.count(said) == 1


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"user": "no-such-user"}, "user: no-such-user: there is no such user"),
        ({"user": "root"}, "root has every privilege"),
        ({"user": "nobody", "group": "no-such-group"}, "no-such-group: there is no such group"),
    ],
)
def test_whom_it_cannot_become_ends_the_start(keys: dict[str, str], says: str) -> None:
    with pytest.raises(Exception, match=says), running(**keys):
        pytest.fail("it started")


def test_a_lifetime_to_prolong_needs_a_cache() -> None:
    with running(cache_stale=60) as daemon:
        assert daemon.log.count("cache_stale has no effect: there is no cache without -c") == 1
    with running("-c", cache_stale=60) as daemon:
        assert "cache_stale" not in daemon.log
