from __future__ import annotations

import json
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from pysaslauthd import log
from pysaslauthd.model import Outcome, Peer, Reason, identify

from .lines import PENGUIN


def test_the_journal_is_known_by_the_descriptor_that_systemd_named(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        found = os.fstat(file.fileno())
        stream = f"{found.st_dev}:{found.st_ino}"
        assert log.leads_to_journal({"JOURNAL_STREAM": stream}, file.fileno())
        # A shell may have redirected standard error since.
        assert not log.leads_to_journal({"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino + 1}"}, file.fileno())
        assert not log.leads_to_journal({}, file.fileno())
        fd = file.fileno()
    assert not log.leads_to_journal({"JOURNAL_STREAM": stream}, fd)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "journal"))
        receiver.settimeout(60)
        yield receiver


def entry(journal: socket.socket) -> dict[str, str]:
    data = journal.recv(65536).decode("ascii")
    assert data.endswith("\n")
    return dict(line.split("=", 1) for line in data.splitlines())


def test_a_login_in_the_journal_has_its_line_and_each_of_its_fields(tidy: None, journal: socket.socket) -> None:
    handler = log.JournalHandler(journal.getsockname())
    log.setup([handler], verbose=False)
    request = PENGUIN._replace(
        login=b"penguin\nPRIORITY=0", remote=b"192.0.2.7", secured=True, peer=Peer(321, 107, 113)
    )
    log.log_outcome(request, identify(request), Outcome(Reason.WRONG_PASSWORD), 1.25, method="bind")
    found = entry(journal)
    assert found.pop("MESSAGE").startswith(
        "do_auth         : auth failure: [user=penguin\\x0aPRIORITY=0] [service=smtp]"
    )
    assert found == {
        "PRIORITY": "6",
        "SYSLOG_FACILITY": "4",
        "SYSLOG_IDENTIFIER": "saslauthd",
        "SYSLOG_PID": str(os.getpid()),
        "PYSASLAUTHD_VERDICT": "rejected",
        "PYSASLAUTHD_REASON": "wrong-password",
        "PYSASLAUTHD_USER": "penguin\\x0aPRIORITY=0",
        "PYSASLAUTHD_IDENTITY": "penguin\\x0aPRIORITY=0@hoge.cxm",
        "PYSASLAUTHD_SERVICE": "smtp",
        "PYSASLAUTHD_REALM": "hoge.cxm",
        "PYSASLAUTHD_DOOR": "mux",
        "PYSASLAUTHD_CACHED": "no",
        "PYSASLAUTHD_MS": "1.25",
        "PYSASLAUTHD_REMOTE": "192.0.2.7",
        "PYSASLAUTHD_METHOD": "bind",
        "PYSASLAUTHD_SECURED": "yes",
        "PYSASLAUTHD_CLIENT_PID": "321",
        "PYSASLAUTHD_CLIENT_UID": "107",
    }
    handler.close()


def test_any_other_record_in_the_journal_has_its_line_and_priority(tidy: None, journal: socket.socket) -> None:
    handler = log.JournalHandler(journal.getsockname(), form="json")
    log.setup([handler], verbose=False)
    logging.getLogger("pysaslauthd").error("two\nlines")
    found = entry(journal)
    assert json.loads(found.pop("MESSAGE"))["message"] == "two | lines"
    assert found.pop("PRIORITY") == "3"
    assert found.keys() == {"SYSLOG_FACILITY", "SYSLOG_IDENTIFIER", "SYSLOG_PID"}
    handler.close()


def test_a_journal_that_takes_nothing_holds_nothing_up(tidy: None, journal: socket.socket) -> None:
    handler = log.JournalHandler(journal.getsockname())
    log.setup([handler], verbose=False)
    for number in range(10_000):
        logging.getLogger("pysaslauthd").warning("%s", f"line {number}")
        if handler.lost:
            break
    assert log.lost() == handler.lost == 1
    handler.close()
