from __future__ import annotations

import logging
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysaslauthd import log
from pysaslauthd.model import AuthRequest, Outcome, Peer, Reason, Verdict, identify

PENGUIN = AuthRequest(b"penguin", b"penguin-pass", b"smtp", b"hoge.cxm")


class Lines(log.LineHandler):
    """Keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[tuple[int, str]] = []

    def _write(self, level: int, line: str) -> bool:
        self.written.append((level, line))
        return True


@pytest.fixture
def tidy() -> Iterator[None]:
    """Puts the process's loggers back."""
    root, package = logging.getLogger(), logging.getLogger("pysaslauthd")
    before = root.handlers[:], root.level, package.level
    yield
    root.handlers[:], root.level, package.level = before[0], before[1], before[2]


@pytest.fixture
def lines(tidy: None) -> Lines:
    lines = Lines()
    log.setup([lines], verbose=True)
    return lines


@pytest.fixture
def syslogd(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "log"))
        receiver.settimeout(5)
        yield receiver


def line_of(lines: Lines, request: AuthRequest, outcome: Outcome, milliseconds: float = 1.25) -> str:
    log.log_outcome(request, identify(request), outcome, milliseconds)
    return lines.written.pop()[1]


def test_a_wrong_password_has_saslauthds_line_and_says_more_behind_it(lines: Lines) -> None:
    assert line_of(lines, PENGUIN, Outcome(Reason.WRONG_PASSWORD)) == (
        "do_auth         : auth failure: [user=penguin] [service=smtp] [realm=hoge.cxm] [mech=ldap]"
        " [reason=wrong-password] [door=mux] [ms=1.2]"
    )


def test_all_that_is_known_of_a_failure_is_in_its_line(lines: Lines) -> None:
    request = PENGUIN._replace(
        remote=b"192.0.2.1", door="dovecot", peer=Peer(321, 107, 113), local=b"::1", secured=True, session=b"Zx[0"
    )
    outcome = Outcome(Reason.UNKNOWN_SCHEME, detail="WHIRLPOOL", dn=b"uid=penguin", server="ldap://ds1/", cached=True)
    assert line_of(lines, request, outcome) == (
        "do_auth         : auth failure: [user=penguin] [service=smtp] [realm=hoge.cxm] [remote=192.0.2.1]"
        " [local=::1] [secured=yes] [session=Zx\\x5b0] [mech=ldap] [reason=unknown-scheme] [cached=yes]"
        " [detail=WHIRLPOOL] [server=ldap://ds1/] [door=dovecot] [pid=321] [uid=107] [ms=1.2]"
    )
    assert "[secured=no]" in line_of(lines, request._replace(secured=False), outcome)


def test_an_outage_is_not_called_a_failure_of_the_login(lines: Lines) -> None:
    line = line_of(lines, PENGUIN, Outcome(Reason.DIRECTORY_DOWN))
    assert "auth unavailable: [user=penguin]" in line
    assert "failure" not in line


@pytest.mark.parametrize(
    ("reason", "level"),
    [
        (Reason.OK, logging.DEBUG),
        (Reason.WRONG_PASSWORD, logging.INFO),
        (Reason.DIRECTORY_DOWN, logging.WARNING),
    ],
)
def test_each_verdict_has_its_level(lines: Lines, reason: Reason, level: int) -> None:
    log.log_outcome(PENGUIN, identify(PENGUIN), Outcome(reason), 1)
    assert lines.written[0][0] == level


def test_an_accepted_login_is_logged_only_when_verbose(tidy: None) -> None:
    lines = Lines()
    log.setup([lines], verbose=False)
    log.log_outcome(PENGUIN, identify(PENGUIN), Outcome(Reason.OK), 1)
    assert not lines.written
    log.setup([lines], verbose=True)
    log.log_outcome(PENGUIN, identify(PENGUIN), Outcome(Reason.OK, cached=True), 0.25)
    assert lines.written[0][1] == (
        "do_auth         : auth success (cached): [user=penguin] [service=smtp] [realm=hoge.cxm] [mech=ldap]"
        " [door=mux] [ms=0.2]"
    )


def test_a_client_cannot_forge_a_field_or_a_line(lines: Lines) -> None:
    evil = b"x] [remote=192.0.2.9]\nJan  1 00:00:00 host saslauthd[1]: \x1b[2J\\x41\xc3\xa9"
    line = line_of(lines, AuthRequest(evil, b"p"), Outcome(Reason.UNKNOWN_USER))
    assert "[user=x\\x5d \\x5bremote=192.0.2.9\\x5d\\x0aJan  1 00:00:00 host saslauthd\\x5b1\\x5d: " in line
    assert "\\x1b\\x5b2J\\x5cx41\\xc3\\xa9]" in line


def test_a_directorys_message_is_escaped_too(lines: Lines) -> None:
    line = line_of(lines, PENGUIN, Outcome(Reason.DIRECTORY_REFUSED, detail="bad]\n[reason=ok \ud800é"))
    assert "[detail=bad\\x5d\\x0a\\x5breason=ok \\x5cud800\\xc3\\xa9]" in line


@given(
    st.binary(max_size=600),
    st.binary(max_size=600),
    st.binary(max_size=600),
    st.text(max_size=600),
    st.sampled_from(Reason),
)
def test_any_login_gives_one_bounded_line_whose_brackets_are_ours(
    login: bytes, realm: bytes, remote: bytes, detail: str, reason: Reason
) -> None:
    request = AuthRequest(login, b"s3cret-and-never-shown", b"imap", realm, remote)
    lines = Lines()
    record = logging.LogRecord("pysaslauthd.logins", logging.INFO, "", 0, event(request, reason, detail), (), None)
    lines.emit(record)
    [(_, line)] = lines.written
    assert len(line) < 2000
    assert line.isascii()
    assert line.isprintable()
    assert b"s3cret-and-never-shown".decode() not in line
    fields = re.findall(r"\[(\w+)=([^\[\]]*)\]", line)
    assert line.count("[") == line.count("]") == len(fields)
    names = ["user", "service", "realm", *(["remote"] if remote else []), "mech"]
    names += ["reason"] if reason is not Reason.OK else []
    names += ["detail"] if detail else []
    assert [name for name, _ in fields] == [*names, "door", "ms"]


def event(request: AuthRequest, reason: Reason, detail: str) -> log.LoginEvent:
    return log.LoginEvent(
        reason=reason,
        user=request.login,
        service=request.service,
        realm=request.realm,
        remote=request.remote,
        detail=detail,
        server="",
        cached=False,
        door="mux",
        peer=None,
        milliseconds=1,
    )


@pytest.mark.parametrize("reason", Reason)
def test_the_word_of_the_line_follows_the_verdict(reason: Reason) -> None:
    words = {Verdict.ACCEPTED: "success", Verdict.REJECTED: "failure", Verdict.UNAVAILABLE: "unavailable"}
    assert f": auth {words[reason.verdict]}: [" in str(event(PENGUIN, reason, ""))


def test_a_long_field_is_cut_and_says_so() -> None:
    assert log.escape(b"a" * 256) == "a" * 256
    assert log.escape(b"a" * 257) == "a" * 253 + "..."
    for start in range(4):
        cut = log.escape(b"a" * start + b"\x00" * 300)
        assert len(cut) <= 256
        assert re.fullmatch(r"a*(\\x00)+\.\.\.", cut)


def test_a_traceback_is_one_line_that_ends_with_the_exception(lines: Lines) -> None:
    def fail() -> None:
        raise ValueError("first\nsecond\x07é")

    try:
        fail()
    except ValueError:
        logging.getLogger("pysaslauthd.daemon").exception("broken")
    [(level, line)] = lines.written
    assert level == logging.ERROR
    assert line.startswith("broken | Traceback (most recent call last): | ")
    assert line.endswith("ValueError: first | second\\x07\\xe9")


def test_a_long_line_keeps_its_two_ends() -> None:
    line = log.one_line("start" + "x" * 9000 + "end")
    assert len(line) == 4000
    assert line.startswith("start")
    assert line.endswith("end")


def test_only_warnings_of_other_packages_are_logged(lines: Lines) -> None:
    logging.getLogger("asyncio").debug("Using selector")
    logging.getLogger("asyncio").warning("slow callback")
    assert [line for _, line in lines.written] == ["slow callback"]


def test_syslog_gets_the_line_as_glibc_would_send_it(tidy: None, syslogd: socket.socket) -> None:
    handler = log.SyslogHandler(syslogd.getsockname())
    log.setup([handler], verbose=False)
    log.log_outcome(PENGUIN, identify(PENGUIN), Outcome(Reason.WRONG_PASSWORD), 1)
    data = syslogd.recv(8192).decode()
    start = (
        rf"<38>[A-Z][a-z]{{2}} [ 123]\d \d\d:\d\d:\d\d saslauthd\[{os.getpid()}\]: do_auth         : auth failure: \["
    )
    assert re.match(start, data)
    log.log_outcome(PENGUIN, identify(PENGUIN), Outcome(Reason.DIRECTORY_DOWN), 1)
    assert syslogd.recv(8192).startswith(b"<36>")
    handler.close()


def test_a_full_syslog_never_holds_the_daemon_up_and_the_loss_is_told(tidy: None, syslogd: socket.socket) -> None:
    handler = log.SyslogHandler(syslogd.getsockname())
    log.setup([handler], verbose=False)
    logger = logging.getLogger("pysaslauthd")
    sent = 0
    while not handler.lost:
        logger.warning("line %d", sent)
        sent += 1
        assert sent < 10_000
    logger.warning("lost as well")
    assert handler.lost == 2
    for expected in range(sent - 1):
        assert syslogd.recv(8192).endswith(b"line %d" % expected)
    logger.warning("again")
    assert syslogd.recv(8192).endswith(b"]: 2 log lines were lost: nobody took them")
    assert syslogd.recv(8192).endswith(b"]: again")
    logger.warning("and on")
    assert syslogd.recv(8192).endswith(b"]: and on")
    handler.close()


def test_without_a_syslog_daemon_lines_are_counted_until_it_is_there(tidy: None, tmp_path: Path) -> None:
    handler = log.SyslogHandler(str(tmp_path / "log"))
    log.setup([handler], verbose=False)
    logger = logging.getLogger("pysaslauthd")
    logger.warning("nobody hears this")
    assert handler.lost == 1
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "log"))
        logger.warning("heard")
        assert receiver.recv(8192).endswith(b"1 log lines were lost: nobody took them")
        assert receiver.recv(8192).endswith(b"heard")
    handler.close()


def test_a_restarted_syslog_daemon_misses_nothing(tidy: None, tmp_path: Path) -> None:
    path = tmp_path / "log"
    handler = log.SyslogHandler(str(path))
    log.setup([handler], verbose=False)
    for life in range(2):
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
            receiver.bind(str(path))
            logging.getLogger("pysaslauthd").warning("life %d", life)
            assert receiver.recv(8192).endswith(b"life %d" % life)
    assert handler.lost == 0
    handler.close()


def test_standard_error_gets_the_same_line_without_the_time(tidy: None) -> None:
    reader, writer = os.pipe()
    log.setup([log.StderrHandler(writer)], verbose=False)
    log.log_outcome(PENGUIN, identify(PENGUIN), Outcome(Reason.WRONG_PASSWORD), 1)
    line = os.read(reader, 4096).decode()
    assert line.startswith(f"saslauthd[{os.getpid()}]: do_auth         : auth failure: [user=penguin]")
    assert line.endswith("]\n")
    os.close(reader)
    os.close(writer)


def test_the_journal_gets_the_priority_and_not_the_name(tidy: None) -> None:
    reader, writer = os.pipe()
    log.setup([log.StderrHandler(writer, journal=True)], verbose=True)
    logger = logging.getLogger("pysaslauthd")
    for level in (logging.CRITICAL, logging.ERROR, logging.WARNING, logging.INFO, logging.DEBUG):
        logger.log(level, "hello")
    assert os.read(reader, 4096) == b"<2>hello\n<3>hello\n<4>hello\n<6>hello\n<7>hello\n"
    os.close(reader)
    os.close(writer)


def test_a_reader_of_standard_error_that_stopped_holds_nothing_up(tidy: None) -> None:
    reader, writer = os.pipe()
    handler = log.StderrHandler(writer)
    log.setup([handler], verbose=False)
    for _ in range(100):
        logging.getLogger("pysaslauthd").warning("x" * 3000)
    assert handler.lost > 0
    assert os.get_blocking(writer)
    os.close(reader)
    logging.getLogger("pysaslauthd").warning("nobody there any more")
    os.close(writer)
    logging.getLogger("pysaslauthd").warning("not even open")


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
