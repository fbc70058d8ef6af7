from __future__ import annotations

import binascii
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysaslauthd.errors import ProtocolError
from pysaslauthd.model import Reason, Verdict
from pysaslauthd.wire.dovecot import (
    MAX_NAME,
    Auth,
    Cancel,
    Cont,
    Cpid,
    Version,
    bad_base64,
    can_be_told,
    cancelled,
    challenge,
    decode,
    final,
    greeting,
    no_such_request,
    parse,
    refusal,
    unescape,
)

LARGEST = 2**32 - 1


def test_the_greeting_has_these_lines_in_this_order() -> None:
    assert greeting(26734, 1, "9ff10860aa2049630db0b5d3e07ca14b") == (
        b"VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nMECH\tLOGIN\tplaintext\nSPID\t26734\nCUID\t1\n"
        b"COOKIE\t9ff10860aa2049630db0b5d3e07ca14b\nDONE\n"
    )


def test_every_line_of_a_client_is_understood() -> None:
    assert parse(b"VERSION\t1\t0") == Version(0)
    assert parse(b"CPID\t26731") == Cpid(26731)
    assert parse(b"CONT\t7\tcGVuZ3Vpbg==") == Cont(7, b"cGVuZ3Vpbg==")
    assert parse(b"CONT\t7\t") == Cont(7, b"")
    assert parse(b"CANCEL\t%d" % LARGEST) == Cancel(LARGEST)
    assert parse(b"AUTH\t1\tPLAIN\tservice=smtp\tnologin\tlip=127.0.0.1\trip=192.0.2.7\tresp=AGE=") == Auth(
        1, b"PLAIN", b"AGE=", b"smtp", b"192.0.2.7", b"127.0.0.1"
    )


def test_every_parameter_that_matters_is_kept() -> None:
    line = parse(
        b"AUTH\t9\tlogin\tprotocol=imap\tfinal-resp-ok\tsecured=tls\tsession=a\x01tb\tlip=::1\trip=2001:db8::7\t"
        b"lport=993\trport=49152\treal_rip=192.0.2.1\tno-penalty\tlocal_name=mail.hoge.cxm\tclient_id=x"
    )
    assert line == Auth(9, b"login", None, b"imap", b"2001:db8::7", b"::1", secured=True, session=b"a\tb")


@pytest.mark.parametrize(
    "parameter",
    [
        b"rip=",
        b"rip=NULL",
        b"rip",
        b"rip=192.0.2.7:25",
        b"rip=\xff",
        b"rip=192.0.2",
        b"rip=192.0.2.7%eth0",
        b"rip=192.0.2.7\x010",
        b"rip=%eth0",
        b"rip=fe80::1%\x01t",
        b"lip=NULL",
        b"rport=junk",
        b"",
        b"=",
        b"unheard-of=1",
    ],
)
def test_junk_in_a_parameter_is_passed_over(parameter: bytes) -> None:
    assert parse(b"AUTH\t1\tPLAIN\t" + parameter) == Auth(1, b"PLAIN", None)


def test_an_address_may_have_a_zone() -> None:
    line = parse(b"AUTH\t1\tPLAIN\trip=fe80::1%eth0")
    assert isinstance(line, Auth)
    assert line.remote == b"fe80::1%eth0"


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\t",
        b"HELLO",
        b"auth\t1\tPLAIN",
        b"GET / HTTP/1.1\r",
        b"CACHE-FLUSH\t1\tpenguin",
        b"VERSION",
        b"VERSION\t1",
        b"VERSION\t2\t0",
        b"VERSION\t1\tx",
        b"VERSION\t1\t-1",
        b"CPID",
        b"CPID\t",
        b"CPID\t0",
        b"CPID\t1\r",
        b"AUTH",
        b"AUTH\t1",
        b"AUTH\t0\tPLAIN",
        b"AUTH\t4294967296\tPLAIN",
        b"AUTH\t" + b"1" * 10_000 + b"\tPLAIN",
        b"AUTH\t+1\tPLAIN",
        b"AUTH\t1_0\tPLAIN",
        b"AUTH\t\xd9\xa1\tPLAIN",
        b"CONT\t1",
        b"CONT\t\t",
        b"CANCEL",
        b"CANCEL\tx",
    ],
)
def test_a_line_that_no_client_sends_raises(line: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse(line)


def test_no_error_or_repr_shows_a_response() -> None:
    with pytest.raises(ProtocolError) as caught:
        parse(b"CONTT\t1\tczNjcmV0")
    assert "czNjcmV0" not in str(caught.value)
    assert "czNjcmV0" not in repr(parse(b"CONT\t1\tczNjcmV0"))
    assert "czNjcmV0" not in repr(parse(b"AUTH\t1\tPLAIN\tresp=czNjcmV0"))


def test_escapes_stand_for_what_cannot_stand_for_itself() -> None:
    assert unescape(b"\x010\x011\x01t\x01r\x01n") == b"\0\1\t\r\n"
    assert unescape(b"a\x01xb\x01") == b"axb"
    assert unescape(b"\x0111") == b"\x011"


@pytest.mark.parametrize("text", [b"", b"QQ==", b"AHBlbmd1aW4AczNjcmV0"])
def test_base64_is_decoded(text: bytes) -> None:
    assert decode(text) == binascii.a2b_base64(text)


@pytest.mark.parametrize("text", [b"Q", b"QQ", b"QQ=", b"QQ==\n", b"QQ==QQ==", b"=", b"Q Q==", b"QQ-=", b"\xff", b"*"])
def test_what_is_not_base64_raises(text: bytes) -> None:
    with pytest.raises(binascii.Error):
        decode(text)


@pytest.mark.parametrize(
    ("reason", "reply"),
    [
        (Reason.OK, b"OK\t1\tuser=penguin\n"),
        (Reason.WRONG_PASSWORD, b"FAIL\t1\tuser=penguin\treason=Invalid user name or password\n"),
        (Reason.LOCKED, b"\tuser_disabled\tcode=user_disabled\n"),
        (Reason.EXPIRED, b"\tpass_expired\tcode=pass_expired\n"),
        (Reason.NOT_IN_GROUP, b"\tauthz\tcode=authz_fail\n"),
        (
            Reason.DIRECTORY_DOWN,
            b"FAIL\t1\tuser=penguin\treason=Temporary authentication failure\ttemp\tcode=temp_fail\n",
        ),
    ],
)
def test_a_reason_has_its_reply(reason: Reason, reply: bytes) -> None:
    assert final(1, b"penguin", reason).endswith(reply)


@pytest.mark.parametrize("reason", Reason)
def test_the_person_learns_no_more_than_the_verdict(reason: Reason) -> None:
    told = {field for field in final(1, b"penguin", reason).rstrip().split(b"\t") if field.startswith(b"reason=")}
    assert len(told) == (0 if reason.verdict is Verdict.ACCEPTED else 1)
    if reason.verdict is Verdict.REJECTED:
        assert told <= set(refusal(1).rstrip().split(b"\t"))


def test_every_reply_fits_into_what_the_clients_read() -> None:
    login = b"x" * MAX_NAME
    replies = [final(LARGEST, login, reason) for reason in Reason]
    replies += [challenge(LARGEST, b"Username:"), cancelled(LARGEST), refusal(LARGEST), no_such_request(LARGEST)]
    replies += [bad_base64(LARGEST, "continued")]
    for reply in replies:
        assert len(reply) < 8192
        assert reply.count(b"\t") < 8
        assert reply.count(b"\n") == 1
        assert reply.endswith(b"\n")


def test_an_empty_challenge_keeps_its_tab() -> None:
    assert challenge(7, b"") == b"CONT\t7\t\n"


@pytest.mark.parametrize("login", [b"a\tb", b"a\nb", b"a\0", b"\1", b"\x1f", b"\x7f", b"x" * (MAX_NAME + 1)])
def test_a_login_that_clients_would_misread_is_known(login: bytes) -> None:
    assert not can_be_told(login)


@pytest.mark.parametrize("login", [b"", b"penguin@hoge.cxm", "pingüin ".encode(), b"\xff\x80", b"x" * MAX_NAME])
def test_any_other_login_can_be_told(login: bytes) -> None:
    assert can_be_told(login)


LINES = st.lists(
    st.sampled_from([b"AUTH", b"CONT", b"CANCEL", b"VERSION", b"CPID", b"1", b"PLAIN", b"rip=", b"rport=", b"resp="])
    | st.binary(max_size=9)
).map(b"\t".join)


@given(st.binary() | LINES)
def test_any_bytes_are_a_line_or_raise(line: bytes) -> None:
    with suppress(ProtocolError):
        parse(line)
