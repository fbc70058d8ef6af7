from __future__ import annotations

import logging
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysaslauthd import log
from pysaslauthd.model import AuthRequest, Outcome, Peer, Reason, Verdict, identify

from .lines import PENGUIN, Lines, event, line_of


def test_a_wrong_password_has_saslauthds_line_and_says_more_behind_it(lines: Lines) -> None:
    assert line_of(lines, PENGUIN, Outcome(Reason.WRONG_PASSWORD)) == (
        "do_auth         : auth failure: [user=penguin] [service=smtp] [realm=hoge.cxm] [mech=ldap]"
        " [reason=wrong-password] [identity=penguin@hoge.cxm] [method=custom] [door=mux] [ms=1.2]"
    )


def test_all_that_is_known_of_a_failure_is_in_its_line(lines: Lines) -> None:
    request = PENGUIN._replace(
        remote=b"192.0.2.1", door="dovecot", peer=Peer(321, 107, 113), local=b"::1", secured=True, session=b"Zx[0"
    )
    outcome = Outcome(Reason.UNKNOWN_SCHEME, detail="WHIRLPOOL", dn=b"uid=penguin", server="ldap://ds1/", cached=True)
    assert line_of(lines, request, outcome) == (
        "do_auth         : auth failure: [user=penguin] [service=smtp] [realm=hoge.cxm] [remote=192.0.2.1]"
        " [local=::1] [secured=yes] [session=Zx\\x5b0] [mech=ldap] [reason=unknown-scheme] [cached=yes]"
        " [detail=WHIRLPOOL] [identity=penguin@hoge.cxm] [method=custom]"
        " [server=ldap://ds1/] [door=dovecot] [pid=321] [uid=107] [ms=1.2]"
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
        " [identity=penguin@hoge.cxm] [door=mux] [ms=0.2]"
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
    assert len(line) < 2500
    assert line.isascii()
    assert line.isprintable()
    assert b"s3cret-and-never-shown".decode() not in line
    fields = re.findall(r"\[(\w+)=([^\[\]]*)\]", line)
    assert line.count("[") == line.count("]") == len(fields)
    names = ["user", "service", "realm", *(["remote"] if remote else []), "mech"]
    names += ["reason"] if reason is not Reason.OK else []
    names += ["detail"] if detail else []
    names += ["identity"] if identify(request).address != login else []
    assert [name for name, _ in fields] == [*names, "method", "door", "ms"]


@pytest.mark.parametrize("reason", Reason)
def test_the_word_of_the_line_follows_the_verdict(reason: Reason) -> None:
    words = {Verdict.ACCEPTED: "success", Verdict.REJECTED: "failure", Verdict.UNAVAILABLE: "unavailable"}
    assert f": auth {words[reason.verdict]}: [" in str(event(PENGUIN, reason, ""))


def test_the_fields_hold_what_the_line_holds_and_no_more_than_is_known() -> None:
    bare = event(AuthRequest(b"penguin", b"p", b"smtp"), Reason.WRONG_PASSWORD, "")
    assert bare.fields() == {
        "verdict": "rejected",
        "reason": "wrong-password",
        "user": "penguin",
        "identity": "penguin",
        "service": "smtp",
        "realm": "",
        "door": "mux",
        "cached": False,
        "ms": 1,
        "method": "custom",
    }
    whole = bare._replace(
        remote=b"192.0.2.7;4567",
        local=b"::1",
        session=b"Zx[0",
        secured=False,
        server="ldap://ds1/",
        detail="é",
        peer=Peer(321, 107, 113),
        repeated=5,
    )
    assert {name: value for name, value in whole.fields().items() if name not in bare.fields()} == {
        "remote": "192.0.2.7;4567",
        "local": "::1",
        "session": "Zx\\x5b0",
        "secured": False,
        "server": "ldap://ds1/",
        "detail": "\\xc3\\xa9",
        "client_pid": 321,
        "client_uid": 107,
        "repeated": 5,
    }
    assert str(whole).endswith("[door=mux] [pid=321] [uid=107] [ms=1.0] [repeated=5]")
    assert whole.host == b"192.0.2.7"
