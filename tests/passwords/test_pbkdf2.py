from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysaslauthd.errors import StoredPasswordError
from pysaslauthd.model import Reason
from pysaslauthd.passwords import parse

NAMES = {"PBKDF2": "sha1", "PBKDF2-SHA1": "sha1", "PBKDF2-SHA256": "sha256", "PBKDF2-SHA512": "sha512"}


def standard(data: bytes) -> bytes:
    return base64.b64encode(data)


def adapted(data: bytes) -> bytes:
    return base64.b64encode(data, b"./").rstrip(b"=")


def malformed(stored: bytes) -> bool:
    with pytest.raises(StoredPasswordError) as caught:
        parse(stored)
    return caught.value.reason is Reason.MALFORMED_HASH


@given(
    name=st.sampled_from(list(NAMES)),
    password=st.binary(),
    salt=st.binary(min_size=1),
    wrong=st.binary(),
    iterations=st.integers(1, 9),
    encode=st.sampled_from([standard, adapted]),
)
def test_both_kinds_of_base64_are_read(
    name: str, password: bytes, salt: bytes, wrong: bytes, iterations: int, encode: Callable[[bytes], bytes]
) -> None:
    key = hashlib.pbkdf2_hmac(NAMES[name], password, salt, iterations)
    found = parse(b"{%b}%d$%b$%b" % (name.encode(), iterations, encode(salt), encode(key)))
    assert found.scheme == name
    assert found.verify(password)
    # HMAC pads a short key with NULs and hashes a long one: RFC 2104 section 2.
    if wrong.rstrip(b"\0") != password.rstrip(b"\0") and max(len(wrong), len(password)) <= 64:
        assert not found.verify(wrong)


@pytest.mark.parametrize(
    "value",
    [
        b"0$c2FsdA$" + b"A" * 27,
        b"01$c2FsdA$" + b"A" * 27,
        b"-1$c2FsdA$" + b"A" * 27,
        b"+1$c2FsdA$" + b"A" * 27,
        b" 1$c2FsdA$" + b"A" * 27,
        b"1_0$c2FsdA$" + b"A" * 27,
        b"1e3$c2FsdA$" + b"A" * 27,
        b"1000$$" + b"A" * 27,
        b"1000$c2FsdA$",
        b"1000$c2FsdA$AA==",
        b"1000$c2FsdA$" + b"A" * 26,
        b"1000$c2FsdA$" + b"A" * 28,
        b"1000$c2FsdA$" + b"A" * 27 + b"$",
        b"$1000$c2FsdA$" + b"A" * 27,
        b"1$c2FsdA$1000$" + b"A" * 27,
        b"1000$c2F*dA$" + b"A" * 27,
    ],
)
def test_a_text_that_breaks_the_format_is_malformed(value: bytes) -> None:
    assert malformed(b"{PBKDF2-SHA1}" + value)


def test_a_key_of_another_digest_is_malformed() -> None:
    assert malformed(b"{PBKDF2-SHA256}1000$c2FsdA$" + b"A" * 27)
    assert malformed(b"{PBKDF2-SHA1}1000$c2FsdA$" + b"A" * 43)


def test_the_binary_form_has_324_bytes() -> None:
    salt, key = bytes(64), hashlib.pbkdf2_hmac("sha256", b"secret", bytes(64), 3, 256)
    value = b"\0\0\0\3" + salt + key
    assert parse(b"{PBKDF2_SHA256}" + base64.b64encode(value)).verify(b"secret")
    for wrong in (value[:-1], value + b"x", value[4:], value[:36], bytes(4) + value[4:]):
        assert malformed(b"{PBKDF2_SHA256}" + base64.b64encode(wrong))


@pytest.mark.parametrize("place", [0, 31, 32, 255])
def test_every_byte_of_the_binary_key_counts(place: int) -> None:
    key = bytearray(hashlib.pbkdf2_hmac("sha256", b"secret", bytes(64), 1, 256))
    key[place] ^= 1
    assert not parse(b"{PBKDF2_SHA256}" + base64.b64encode(b"\0\0\0\1" + bytes(64) + key)).verify(b"secret")


def test_the_binary_form_costs_eight_blocks() -> None:
    def form(iterations: int) -> bytes:
        return b"{PBKDF2_SHA256}" + base64.b64encode(iterations.to_bytes(4, "big") + bytes(320))

    parse(form(400_000))
    with pytest.raises(StoredPasswordError) as caught:
        parse(form(500_000))
    assert caught.value.reason is Reason.HASH_TOO_COSTLY


def test_few_iterations_are_quick() -> None:
    assert not parse(b"{PBKDF2}500$c2FsdA$" + b"A" * 27).slow
    assert parse(b"{PBKDF2}1000$c2FsdA$" + b"A" * 27).slow
