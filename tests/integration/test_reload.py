"""Reloads under load: every login gets its answer, and the right one."""

from __future__ import annotations

import json
import signal
import threading
from collections import Counter
from typing import Self

import pytest

from pysaslauthd.cli import control
from rig import Daemon, DirectoryServer, article, faults, people
from rig.fake_ldap import FakeLdap
from rig.programs import wait_until
from rig.saslauthd import conf_text

RELOADS = 20
CLIENTS = 8
VARIANTS: list[dict[str, str]] = [{}, {"ldap_timeout": "3"}, {"ldap_filter": "(&(objectclass=mailRecipient)(mail=%u))"}]
"""Configurations with the same answers: the second keeps the cache, the third empties it."""


class Load:
    """Clients that log in one after the other, each right and wrong in turn, until told to stop."""

    def __init__(self, daemon: Daemon) -> None:
        self.answers: Counter[tuple[bool, bytes | None]] = Counter()
        self._daemon = daemon
        self._stopping = threading.Event()
        self._counting = threading.Lock()
        self._clients = [threading.Thread(target=self._log_in, args=(number,)) for number in range(CLIENTS)]

    def __enter__(self) -> Self:
        for client in self._clients:
            client.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for client in self._clients:
            client.join()

    def wait(self, count: int) -> None:
        """Wait until there have been so many logins more."""
        enough = self.answers.total() + count
        wait_until(lambda: self.answers.total() >= enough, f"{enough} logins")

    def _log_in(self, number: int) -> None:
        turn = 0
        while not self._stopping.is_set():
            turn += 1
            user, right = f"u{(number + turn) % 20}", turn % 2 == 0
            try:
                answer = self._daemon.ask(f"{user}@hoge.cxm", f"{user}-pass" if right else f"wrong-{number}-{turn}")
            except OSError as error:
                answer = str(error).encode()
            with self._counting:
                self.answers[right, answer] += 1


def wait_for_reload(daemon: Daemon, count: int) -> None:
    wait_until(lambda: daemon.log.count(": reloaded ") == count, f"{count} reloads in the log")


@pytest.mark.parametrize(("method", "flags"), [("custom", []), ("custom", ["-c"]), ("bind", [])])
def test_no_login_is_lost_or_answered_wrongly(
    server: DirectoryServer, method: str, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    quick = {"failure_delay": "0", "login_deadline": "20"}
    with Daemon.running(article(server, method, **quick), *flags) as daemon:
        reloads = 0
        with Load(daemon) as load:
            for turn in range(RELOADS):
                load.wait(50)
                if turn == RELOADS // 2:
                    daemon.conf.write_text("ldap_servers: nonsense\n")
                    assert control.main(["reload", "-m", str(daemon.folder)]) == 1
                    continue
                daemon.conf.write_text(conf_text({**article(server, method, **quick), **VARIANTS[turn % 3]}))
                reloads += 1
                if turn % 2:
                    daemon.program.signal(signal.SIGHUP)
                    wait_for_reload(daemon, reloads)
                else:
                    assert control.main(["reload", "-m", str(daemon.folder)]) == 0
        assert load.answers.keys() == {(True, b"OK"), (False, b"NO")}, load.answers
        assert load.answers.total() >= 50 * RELOADS
        capsys.readouterr()
        assert control.main(["status", "--json", "-m", str(daemon.folder)]) == 0
        status = json.loads(capsys.readouterr().out)
        logins, configuration = status["logins"], status["configuration"]
        assert (logins["accepted"], logins["rejected"]) == (load.answers[True, b"OK"], load.answers[False, b"NO"])
        assert (logins["unavailable"], configuration["reloads"], configuration["failed_reloads"]) == (0, RELOADS - 1, 1)


def conf(server: FakeLdap) -> dict[str, str]:
    return {
        "ldap_servers": server.uri,
        "ldap_search_base": people.PEOPLE,
        "ldap_filter": "(mail=%U@%d)",
        "ldap_auth_method": "bind",
    }


def test_what_is_in_flight_is_answered_by_whom_it_was_asked_of() -> None:
    with FakeLdap() as before, FakeLdap() as after, Daemon.running(conf(before)) as daemon:
        before.fault("search", faults.hold)
        answers: list[bytes | None] = []
        asking = threading.Thread(target=lambda: answers.append(daemon.ask(people.PENGUIN, people.PENGUIN_PASSWORD)))
        asking.start()
        before.wait_for("search", 1)
        daemon.conf.write_text(conf_text(conf(after)))
        assert control.main(["reload", "-m", str(daemon.folder)]) == 0
        assert daemon.ask(people.PENGUIN, people.PENGUIN_PASSWORD) == b"OK"
        assert answers == []
        before.release()
        asking.join(60)
        assert answers == [b"OK"]
        before.wait_closed()
        assert [request.operation for request in before.requests].count("search") == 1
