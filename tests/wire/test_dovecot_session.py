from __future__ import annotations

import binascii
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from pysaslauthd.model import AuthRequest, Outcome, Peer, Reason
from pysaslauthd.wire.dovecot import MAX_LINE, MAX_NAME
from pysaslauthd.wire.dovecot_session import (
    CONT_TIMEOUT,
    MAX_DECIDING,
    MAX_WAITING,
    Ask,
    Close,
    Event,
    Send,
    Session,
    Unavailable,
)

OK = Outcome(Reason.OK)
WRONG = Outcome(Reason.WRONG_PASSWORD)
DOWN = Outcome(Reason.DIRECTORY_DOWN)
PEER = Peer(26731, 103, 106)
GOOD = b"AHBlbmd1aW4AczNjcmV0"  # penguin, s3cret
PLAIN = b"AUTH\t%d\tPLAIN\tservice=smtp\tnologin\tlip=127.0.0.1\trip=127.0.0.1\tresp=" + GOOD + b"\n"


def session(minor: int | None = 0, unavailable: Unavailable = "auto", default_realm: bytes = b"") -> Session:
    made = Session(pid=26734, cuid=1, cookie="0" * 32, peer=PEER, unavailable=unavailable, default_realm=default_realm)
    if minor is not None:
        assert made.receive(b"VERSION\t1\t%d\nCPID\t26731\n" % minor, 0.0) == []
    return made


def sent(events: list[Event]) -> bytes:
    assert all(isinstance(event, Send) for event in events), events
    return b"".join(event.data for event in events if isinstance(event, Send))


def asked(events: list[Event]) -> Ask:
    (event,) = events
    assert isinstance(event, Ask)
    return event


def broken(events: list[Event]) -> str:
    (event,) = events
    assert isinstance(event, Close)
    return event.reason


def base64(data: bytes) -> bytes:
    return binascii.b2a_base64(data, newline=False)


def decide(events: list[Event], to: Session) -> bytes:
    """What goes out when each login is decided at once: s3cret is right."""
    out = b""
    for event in events:
        if isinstance(event, Send):
            out += event.data
        elif isinstance(event, Ask):
            out += to.answer(event, OK if event.request.password == b"s3cret" else WRONG)
    return out


FAILED = b"\treason=Invalid user name or password\n"
PARAMETERS = b"service=smtp\tnologin\tlip=127.0.0.1\trip=127.0.0.1"
POSTFIX = [
    (b"VERSION\t1\t0\nCPID\t26731\n", b""),
    (b"AUTH\t1\tPLAIN\t" + PARAMETERS + b"\tresp=AHBlbmd1aW4AczNjcmV0\n", b"OK\t1\tuser=penguin\n"),
    (b"AUTH\t2\tLOGIN\t" + PARAMETERS + b"\n", b"CONT\t2\tVXNlcm5hbWU6\n"),
    (b"CONT\t2\tcGVuZ3Vpbg==\n", b"CONT\t2\tUGFzc3dvcmQ6\n"),
    (b"CONT\t2\tczNjcmV0\n", b"OK\t2\tuser=penguin\n"),
    (b"AUTH\t3\tPLAIN\t" + PARAMETERS + b"\tresp=AHBlbmd1aW4Ad3Jvbmc=\n", b"FAIL\t3\tuser=penguin" + FAILED),
    (b"AUTH\t7\tPLAIN\t" + PARAMETERS + b"\n", b"CONT\t7\t\n"),
    (b"CONT\t7\tAHBlbmd1aW4AczNjcmV0\n", b"OK\t7\tuser=penguin\n"),
]
EXIM = [
    (
        b"VERSION\t1\t0\nCPID\t6809\nAUTH\t1\tPLAIN\tservice=smtp\trip=127.0.0.3\tlip=NULL\tnologin\tresp=\n",
        b"CONT\t1\t\n",
    ),
    (b"CONT\t1\tAHBlbmd1aW4AczNjcmV0\n", b"OK\t1\tuser=penguin\n"),
]


@pytest.mark.parametrize("transcript", [POSTFIX, EXIM])
def test_the_clients_conversations_go_as_they_should(transcript: list[tuple[bytes, bytes]]) -> None:
    one = session(None)
    for said, answered in transcript:
        assert decide(one.receive(said, 0.0), one) == answered


@pytest.mark.parametrize("transcript", [POSTFIX, EXIM])
def test_byte_by_byte_comes_to_the_same(transcript: list[tuple[bytes, bytes]]) -> None:
    one = session(None)
    out = b""
    for said, _ in transcript:
        for byte in said:
            out += decide(one.receive(bytes([byte]), 0.0), one)
    assert out == b"".join(answered for _, answered in transcript)


@given(st.lists(st.integers(0, sum(len(said) for said, _ in POSTFIX))))
def test_any_pieces_come_to_the_same(cuts: list[int]) -> None:
    one = session(None)
    said = b"".join(said for said, _ in POSTFIX)
    places = [0, *sorted(cuts), len(said)]
    out = b"".join(decide(one.receive(said[start:end], 0.0), one) for start, end in pairwise(places))
    assert out == b"".join(answered for _, answered in POSTFIX)


def test_a_request_carries_what_the_client_said() -> None:
    ask = asked(session().receive(PLAIN % 1, 0.0))
    assert ask.request == AuthRequest(
        b"penguin", b"s3cret", b"smtp", b"", b"127.0.0.1", "dovecot", PEER, local=b"127.0.0.1", secured=False
    )
    assert "s3cret" not in repr(ask)
    assert GOOD.decode() not in repr(ask)


def test_a_request_tells_tls_and_session() -> None:
    said = b"AUTH\t1\tPLAIN\tservice=imap\tsecured\tsession=Zx0\tresp=" + GOOD + b"\n"
    request = asked(session().receive(said, 0.0)).request
    assert (request.service, request.secured, request.session) == (b"imap", True, b"Zx0")


def test_a_default_realm_gives_a_person_one_name() -> None:
    one = session(default_realm=b"hoge.cxm")
    for login, name in (b"penguin", b"penguin@hoge.cxm"), (b"penguin@zoo.cxm", b"penguin@zoo.cxm"):
        said = b"AUTH\t1\tPLAIN\tresp=" + base64(b"\0" + login + b"\0s3cret") + b"\n"
        ask = asked(one.receive(said, 0.0))
        assert ask.request.login == login
        assert one.answer(ask, OK) == b"OK\t1\tuser=" + name + b"\n"


def test_answers_go_in_any_order_and_an_id_may_come_again_after_its_answer() -> None:
    one = session()
    first, second = (asked(one.receive(PLAIN % number, 0.0)) for number in (1, 2))
    assert one.answer(second, OK) == b"OK\t2\tuser=penguin\n"
    again = asked(one.receive(PLAIN % 2, 0.0))
    assert one.answer(first, WRONG).startswith(b"FAIL\t1\tuser=penguin\t")
    assert one.answer(again, OK) == b"OK\t2\tuser=penguin\n"
    assert one.answer(again, OK) == b""


def test_the_whole_of_a_long_password_arrives() -> None:
    password = (bytes(range(1, 256)) * 48)[:9000]
    one = session()
    one.receive(b"AUTH\t1\tPLAIN\n", 0.0)
    said = base64(b"\0penguin\0" + password)
    assert 12000 < len(said) <= 12288
    assert asked(one.receive(b"CONT\t1\t%b\n" % said, 0.0)).request.password == password


# Temporary failures


def test_a_client_of_minor_0_sees_the_end_in_place_of_a_temporary_failure() -> None:
    one = session()
    ask = asked(one.receive(PLAIN % 1, 0.0))
    assert one.answer(ask, DOWN) == b""
    assert one.closed


def test_the_others_are_answered_before_the_end() -> None:
    one = session()
    first, second, third = (asked(one.receive(PLAIN % number, 0.0)) for number in (1, 2, 3))
    assert sent(one.receive(b"AUTH\t4\tLOGIN\n", 0.0)) == b"CONT\t4\tVXNlcm5hbWU6\n"
    assert one.answer(second, DOWN) == b""
    assert not one.closed
    assert one.receive(PLAIN % 5 + b"CONT\t4\tcGVuZ3Vpbg==\n", 0.0) == []
    assert one.answer(first, OK) == b"OK\t1\tuser=penguin\n"
    assert not one.closed
    assert one.answer(third, DOWN) == b""
    assert one.closed


@pytest.mark.parametrize(
    ("minor", "unavailable", "closes"),
    [
        (0, "auto", True),
        (1, "auto", False),
        (2, "auto", False),
        (0, "fail", False),
        (0, "close", True),
        (2, "close", True),
    ],
)
def test_the_minor_version_or_the_setting_says_how_unavailable_is_told(
    minor: int, unavailable: Unavailable, closes: bool
) -> None:
    one = session(minor, unavailable)
    ask = asked(one.receive(PLAIN % 1, 0.0))
    reply = b"FAIL\t1\tuser=penguin\treason=Temporary authentication failure\ttemp\tcode=temp_fail\n"
    assert one.answer(ask, DOWN) == (b"" if closes else reply)
    assert one.closed is closes


def test_a_stop_lets_what_is_under_way_be_answered() -> None:
    one = session()
    ask = asked(one.receive(PLAIN % 1, 0.0))
    one.drain()
    assert not one.closed
    assert one.receive(PLAIN % 2, 0.0) == []
    assert one.answer(ask, OK) == b"OK\t1\tuser=penguin\n"
    assert one.closed


def test_a_stop_without_anything_under_way_closes_at_once() -> None:
    one = session()
    one.receive(b"AUTH\t1\tLOGIN\n", 0.0)
    one.drain()
    assert one.closed


# Responses


@pytest.mark.parametrize(
    ("minor", "response", "reply"),
    [
        (0, b"", b"CONT\t1\t\n"),
        (0, b"\tresp", b"CONT\t1\t\n"),
        (0, b"\tresp=", b"CONT\t1\t\n"),
        (1, b"\tresp=", b"CONT\t1\t\n"),
        (2, b"", b"CONT\t1\t\n"),
        (2, b"\tresp=", b"FAIL\t1" + FAILED),
        (0, b"\tresp==", b"FAIL\t1" + FAILED),
    ],
)
def test_the_minor_version_says_whether_an_empty_response_is_one(minor: int, response: bytes, reply: bytes) -> None:
    assert sent(session(minor).receive(b"AUTH\t1\tPLAIN" + response + b"\n", 0.0)) == reply


@pytest.mark.parametrize("response", [b"\tresp=", b"\tresp=="])
def test_login_takes_an_empty_response_for_none(response: bytes) -> None:
    assert sent(session(3).receive(b"AUTH\t1\tLOGIN" + response + b"\n", 0.0)) == b"CONT\t1\tVXNlcm5hbWU6\n"


def test_login_takes_the_name_from_an_initial_response() -> None:
    one = session()
    assert sent(one.receive(b"AUTH\t1\tlogin\tresp=cGVuZ3Vpbg==\n", 0.0)) == b"CONT\t1\tUGFzc3dvcmQ6\n"
    assert asked(one.receive(b"CONT\t1\tczNjcmV0\n", 0.0)).request.login == b"penguin"


def test_bad_base64_fails_and_the_connection_stays() -> None:
    one = session()
    assert sent(one.receive(b"AUTH\t1\tPLAIN\tresp=*\n", 0.0)) == (
        b"FAIL\t1\tcode=invalid_base64\treason=Invalid base64 data in initial response\n"
    )
    one.receive(b"AUTH\t1\tPLAIN\n", 0.0)
    assert sent(one.receive(b"CONT\t1\tA\n", 0.0)) == (
        b"FAIL\t1\tcode=invalid_base64\treason=Invalid base64 data in continued response\n"
    )
    asked(one.receive(PLAIN % 1, 0.0))


@pytest.mark.parametrize(
    "message",
    [b"penguin", b"root\0penguin\0s3cret", b"\0pen\x01guin\0s3cret", b"\0" + b"x" * (MAX_NAME + 1) + b"\0s3cret"],
)
def test_a_message_without_a_usable_login_fails_without_a_name(message: bytes) -> None:
    one = session()
    (event,) = one.receive(b"AUTH\t1\tPLAIN\tresp=%b\n" % base64(message), 0.0)
    assert isinstance(event, Send)
    assert event.data == b"FAIL\t1" + FAILED
    assert event.refused
    asked(one.receive(PLAIN % 1, 0.0))


def test_an_unknown_mechanism_fails() -> None:
    assert session().receive(b"AUTH\t1\tCRAM-MD5\n", 0.0) == [Send(b"FAIL\t1" + FAILED, "unsupported mechanism")]


def test_a_refusal_names_whom_it_hit() -> None:
    (event,) = session().receive(b"AUTH\t1\tCRAM-MD5\trip=192.0.2.7\n", 0.0)
    assert event == Send(b"FAIL\t1" + FAILED, "unsupported mechanism (remote 192.0.2.7)")


# Requests that end early


def test_a_cont_without_a_request_fails() -> None:
    reply = b"FAIL\t5\treason=Authentication request timed out\n"
    assert sent(session().receive(b"CONT\t5\tcGVuZ3Vpbg==\n", 0.0)) == reply


def test_a_cont_without_a_challenge_is_the_requests_end() -> None:
    one = session()
    ask = asked(one.receive(PLAIN % 1, 0.0))
    assert sent(one.receive(b"CONT\t1\tcGVuZ3Vpbg==\n", 0.0)) == b"FAIL\t1" + FAILED
    assert one.answer(ask, OK) == b""


def test_an_exchange_is_forgotten_150_seconds_after_its_last_challenge() -> None:
    late = b"FAIL\t%d\treason=Authentication request timed out\n"
    one = session()
    one.receive(b"AUTH\t1\tLOGIN\nAUTH\t2\tLOGIN\n", 0.0)
    assert sent(one.receive(b"CONT\t1\tcGVuZ3Vpbg==\n", 100.0)) == b"CONT\t1\tUGFzc3dvcmQ6\n"
    assert sent(one.receive(b"CONT\t2\tcGVuZ3Vpbg==\n", CONT_TIMEOUT)) == late % 2
    asked(one.receive(b"CONT\t1\tczNjcmV0\n", 100.0 + CONT_TIMEOUT - 0.1))
    one.receive(b"AUTH\t3\tLOGIN\n", 300.0)
    assert sent(one.receive(b"AUTH\t3\tLOGIN\n", 450.0)) == b"CONT\t3\tVXNlcm5hbWU6\n"


@pytest.mark.parametrize(("minor", "reply"), [(0, b""), (3, b""), (4, b"CANCELLED\t1\n")])
def test_a_cancelled_request_gets_no_other_answer(minor: int, reply: bytes) -> None:
    one = session(minor)
    ask = asked(one.receive(PLAIN % 1, 0.0))
    assert sent(one.receive(b"CANCEL\t1\n", 0.0)) == reply
    again = asked(one.receive(PLAIN % 1, 0.0))
    assert one.answer(ask, OK) == b""
    assert one.answer(again, WRONG).startswith(b"FAIL\t1\t")
    assert sent(one.receive(b"AUTH\t1\tLOGIN\nCANCEL\t1\n", 0.0)) == b"CONT\t1\tVXNlcm5hbWU6\n" + reply


def test_past_its_bound_the_oldest_exchange_makes_room() -> None:
    one = session()
    for number in range(1, MAX_WAITING + 2):
        one.receive(b"AUTH\t%d\tLOGIN\n" % number, 0.0)
    assert sent(one.receive(b"CONT\t1\tcGVuZ3Vpbg==\n", 0.0)).startswith(b"FAIL\t1\t")
    assert sent(one.receive(b"CONT\t2\tcGVuZ3Vpbg==\n", 0.0)) == b"CONT\t2\tUGFzc3dvcmQ6\n"


@pytest.mark.parametrize("minor", [0, 2])
def test_past_its_bound_a_login_is_unavailable(minor: int) -> None:
    one = session(minor)
    asks = [asked(one.receive(PLAIN % number, 0.0)) for number in range(1, MAX_DECIDING + 1)]
    (event,) = one.receive(PLAIN % (MAX_DECIDING + 1), 0.0)
    assert isinstance(event, Send)
    assert event.refused
    assert (b"code=temp_fail" in event.data) is (minor > 0)
    assert all(one.answer(ask, OK) for ask in asks)
    assert one.closed is (minor == 0)


# The end


@pytest.mark.parametrize(
    "said",
    [
        b"CPID\t1\n",
        b"AUTH\t1\tPLAIN\n",
        b"VERSION\t2\t0\n",
        b"VERSION\t1\t0\nVERSION\t1\t0\n",
        b"VERSION\t1\t0\nAUTH\t1\tPLAIN\n",
        b"VERSION\t1\t0\nCPID\t0\n",
        b"VERSION\t1\t0\nCPID\t1\nCPID\t1\n",
        b"\n",
    ],
)
def test_another_handshake_is_the_end(said: bytes) -> None:
    one = session(None)
    assert broken(one.receive(said, 0.0))
    assert one.closed


@pytest.mark.parametrize("said", [b"AUTH\t0\tPLAIN\n", b"QUIT\n", PLAIN % 7, b"VERSION\t1\t0\n", b"x" * MAX_LINE])
def test_a_broken_line_is_the_end_of_all_requests(said: bytes) -> None:
    one = session()
    ask = asked(one.receive(PLAIN % 7, 0.0))
    assert broken(one.receive(said, 0.0))
    assert one.closed
    assert one.answer(ask, OK) == b""
    assert one.receive(PLAIN % 8, 0.0) == []


def test_the_lines_before_a_broken_one_still_count() -> None:
    events = session().receive(b"AUTH\t1\tLOGIN\nAUTH\t1\tLOGIN\nAUTH\t2\tLOGIN\n", 0.0)
    assert events == [Send(b"CONT\t1\tVXNlcm5hbWU6\n"), Close("AUTH with the id of a pending request")]


def test_the_longest_line_is_taken_and_no_longer_one() -> None:
    line = b"AUTH\t1\tLOGIN\tx="
    line += b"x" * (MAX_LINE - len(line) - 1)
    assert sent(session().receive(line + b"\n", 0.0)).startswith(b"CONT")
    one = session()
    assert one.receive(line, 0.0) == []
    assert sent(one.receive(b"\n", 0.0)).startswith(b"CONT")
    for pieces in [line + b"x\n"], [line + b"x"], [line, b"x"]:
        one = session()
        assert broken([event for piece in pieces for event in one.receive(piece, 0.0)])


# Whatever comes

IDS = st.integers(1, 2)
OUTCOMES = st.sampled_from([OK, WRONG, DOWN])


class Conversation(RuleBasedStateMachine):
    """A client that keeps the protocol, seen from its side: an id is idle, challenged, or waits for its answer."""

    def __init__(self) -> None:
        super().__init__()
        self.state: dict[int, str] = {}
        self.asks: list[Ask] = []
        self.live: dict[int, Ask] = {}
        self.now = 0.0
        self.draining = False

    @initialize(minor=st.integers(0, 4), unavailable=st.sampled_from(["auto", "close", "fail"]))
    def connect(self, minor: int, unavailable: Unavailable) -> None:
        self.minor = minor
        self.one = session(minor, unavailable)

    def say(self, line: bytes, number: int) -> None:
        events = self.one.receive(line, self.now)
        if self.draining:
            assert events == []
            return
        self.state[number] = "unanswered"
        for event in events:
            if isinstance(event, Ask):
                self.asks.append(event)
                self.live[number] = event
            else:
                assert isinstance(event, Send)
                self.hear(event.data, number)

    def hear(self, data: bytes, number: int) -> None:
        assert self.state.get(number) == "unanswered", "a second answer"
        word, heard, *_ = data.rstrip(b"\n").split(b"\t")
        assert int(heard) == number
        assert data.count(b"\n") == 1
        self.state[number] = "challenged" if word == b"CONT" else "idle"

    @rule(
        number=IDS,
        mechanism=st.sampled_from([b"PLAIN", b"LOGIN", *[b"PLAIN\tresp=" + GOOD] * 3, b"X", b"LOGIN\tresp=*"]),
    )
    def auth(self, number: int, mechanism: bytes) -> None:
        if self.state.get(number, "idle") == "idle":
            self.say(b"AUTH\t%d\t%b\n" % (number, mechanism), number)

    @rule(number=IDS, response=st.sampled_from([GOOD, b"cGVuZ3Vpbg==", b"*", b""]))
    def cont(self, number: int, response: bytes) -> None:
        if not self.draining:
            self.live.pop(number, None)
        self.say(b"CONT\t%d\t%b\n" % (number, response), number)

    @rule(number=IDS)
    def cancel(self, number: int) -> None:
        self.say(b"CANCEL\t%d\n" % number, number)
        if not self.draining:
            self.live.pop(number, None)
            assert self.state[number] == ("idle" if self.minor >= 4 else "unanswered")
            self.state[number] = "idle"

    @precondition(lambda self: self.asks)
    @rule(index=st.integers(0, 2), outcome=OUTCOMES)
    def decide(self, index: int, outcome: Outcome) -> None:
        ask = self.asks.pop(index % len(self.asks))
        reply = self.one.answer(ask, outcome)
        if self.live.get(ask.id) is not ask:
            assert reply == b""
        elif reply:
            del self.live[ask.id]
            self.hear(reply, ask.id)
        else:
            del self.live[ask.id]
            assert outcome is DOWN
            self.draining = True

    @rule(seconds=st.sampled_from([1.0, CONT_TIMEOUT]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        if seconds == CONT_TIMEOUT:
            self.state = {number: "idle" if was == "challenged" else was for number, was in self.state.items()}

    def teardown(self) -> None:
        while self.asks:
            self.decide(0, OK)
        assert self.one.closed is self.draining
        if not self.draining:
            assert "unanswered" not in self.state.values()


TestConversation = Conversation.TestCase
TestConversation.settings = settings(max_examples=200, stateful_step_count=30, deadline=None)


LINES = st.sampled_from(
    [
        b"VERSION\t1\t0\nCPID\t1\n",
        b"VERSION\t1\t4\nCPID\t1\n",
        *(b"AUTH\t%d\tLOGIN\n" % number for number in (1, 2)),
        *(PLAIN % number for number in (1, 2, 3)),
        *(b"CONT\t%d\tcGVuZ3Vpbg==\n" % number for number in (1, 2)),
        b"CANCEL\t1\n",
        b"AUTH\t1\tPLAIN\tresp=*\n",
    ]
)


@given(st.lists(LINES | st.binary(max_size=12)).map(b"".join), st.lists(st.integers(0, 400)), st.lists(OUTCOMES))
def test_any_bytes_in_any_pieces_come_to_the_same_and_raise_nothing(
    said: bytes, cuts: list[int], outcomes: list[Outcome]
) -> None:
    def events(*places: int) -> list[Event]:
        one = session(None)
        seen = [
            event
            for start, end in zip((0, *places), (*places, len(said)), strict=True)
            for event in one.receive(said[start:end], 0.0)
        ]
        assert one.closed is any(isinstance(event, Close) for event in seen)
        asks = [event for event in seen if isinstance(event, Ask)]
        for ask, outcome in zip(asks, outcomes, strict=False):
            was_closed = one.closed
            reply = one.answer(ask, outcome)
            assert not (was_closed and reply)
            assert one.answer(ask, outcome) == b""
        return seen

    assert events() == events(*sorted(cuts))
