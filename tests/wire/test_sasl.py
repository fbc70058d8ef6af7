from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysaslauthd.wire.sasl import MECHANISMS, Challenge, Credentials, Failure, Step, begin

PENGUIN = Credentials(b"penguin", b"s3cret")


def challenge(step: Step) -> Challenge:
    assert isinstance(step, Challenge)
    return step


def test_plain_with_an_initial_response_gives_the_credentials() -> None:
    assert begin(b"PLAIN", b"\0penguin\0s3cret") == PENGUIN


def test_plain_without_an_initial_response_asks_with_an_empty_challenge() -> None:
    asked = challenge(begin(b"PLAIN", None))
    assert asked.data == b""
    assert asked.respond(b"\0penguin\0s3cret") == PENGUIN


def test_plain_takes_an_authzid_that_equals_the_authcid() -> None:
    assert begin(b"PLAIN", b"penguin\0penguin\0s3cret") == PENGUIN


@pytest.mark.parametrize("authzid", [b"root", b"Penguin", b"penguin "])
def test_plain_refuses_any_other_authzid(authzid: bytes) -> None:
    assert isinstance(begin(b"PLAIN", authzid + b"\0penguin\0s3cret"), Failure)


@pytest.mark.parametrize(
    "message", [b"", b"penguin", b"\0penguin", b"penguin\0s3cret", b"\0penguin\0s3\0cret", b"\0penguin\0s3cret\0"]
)
def test_plain_wants_exactly_two_nuls(message: bytes) -> None:
    assert isinstance(begin(b"PLAIN", message), Failure)


@pytest.mark.parametrize("name", [b"plain", b"Plain", b"PLAIN"])
def test_a_mechanism_may_be_named_in_any_case(name: bytes) -> None:
    assert begin(name, b"\0penguin\0s3cret") == PENGUIN


@pytest.mark.parametrize("initial", [None, b""])
def test_login_asks_for_the_name_and_the_password(initial: bytes | None) -> None:
    name = challenge(begin(b"LOGIN", initial))
    assert name.data == b"Username:"
    password = challenge(name.respond(b"penguin"))
    assert password.data == b"Password:"
    assert password.respond(b"s3cret") == PENGUIN


def test_login_takes_the_name_from_an_initial_response() -> None:
    password = challenge(begin(b"LOGIN", b"penguin"))
    assert password.data == b"Password:"
    assert password.respond(b"s3cret") == PENGUIN


def test_login_refuses_nul_in_the_name_and_in_the_password() -> None:
    assert isinstance(begin(b"LOGIN", b"pen\0guin"), Failure)
    assert isinstance(challenge(begin(b"LOGIN", None)).respond(b"\0"), Failure)
    assert isinstance(challenge(begin(b"LOGIN", b"penguin")).respond(b"s3\0cret"), Failure)


def test_empty_values_are_not_judged_here() -> None:
    assert begin(b"PLAIN", b"\0\0") == Credentials(b"", b"")
    assert challenge(begin(b"LOGIN", b"penguin")).respond(b"") == Credentials(b"penguin", b"")


@pytest.mark.parametrize("name", [b"", b"CRAM-MD5", b"PLAIN ", b"\xff"])
def test_another_mechanism_fails(name: bytes) -> None:
    assert begin(name, None) == Failure("unsupported mechanism")


def test_no_repr_shows_the_password() -> None:
    assert "s3cret" not in repr(PENGUIN) + str(PENGUIN)
    assert "penguin" in repr(PENGUIN)


def test_passwords_are_neither_cut_nor_normalised() -> None:
    password = " *()\\é\r\n".encode() + b"\xff" + b"x" * 10_000
    assert begin(b"PLAIN", b"\0penguin\0" + password) == Credentials(b"penguin", password)


@given(st.sampled_from(MECHANISMS), st.none() | st.binary(), st.lists(st.binary()))
def test_any_bytes_end_the_exchange_or_wait_for_more(
    mechanism: bytes, initial: bytes | None, responses: list[bytes]
) -> None:
    step = begin(mechanism, initial)
    for response in responses:
        if not isinstance(step, Challenge):
            break
        step = step.respond(response)
    if isinstance(step, Credentials):
        assert b"\0" not in step.login + step.password
