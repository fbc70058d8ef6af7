from __future__ import annotations

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from passwords.values import PASSWORD
from pysaslauthd.errors import StoredPasswordError
from pysaslauthd.model import Reason
from pysaslauthd.passwords import argon2, parse

STORED = b"{ARGON2}$argon2i$v=19$m=1024,t=2,p=1$8uJB1IXlTBEmFPBCotC7cA$ILJrivY+OttQ7+v0eFf15IuLXVyyHlYZT6ufngrjZpM"
# From the tests of the reference implementation: password "password", salt "somesalt".
REFERENCE = [
    b"$argon2i$m=256,t=2,p=1$c29tZXNhbHQ$/U3YPXYsSb3q9XxHvc0MLxur+GP960kN9j7emXX8zwY",
    b"$argon2i$v=19$m=256,t=2,p=1$c29tZXNhbHQ$iekCn0Y3spW+sCcFanM2xBT63UP2sghkUoHLIUpWRS8",
    b"$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
    b"$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc",
]


def reason(stored: bytes) -> Reason:
    with pytest.raises(StoredPasswordError) as caught:
        parse(stored)
    return caught.value.reason


@pytest.mark.parametrize("value", REFERENCE)
def test_the_reference_vectors_match(value: bytes) -> None:
    verify = parse(b"{ARGON2}" + value).verify
    assert verify(b"password")
    assert not verify(b"differentpassword")


@pytest.mark.parametrize(
    "value",
    [
        STORED[8:].replace(b"argon2i", b"argon2x"),
        STORED[8:].replace(b"argon2i", b"ARGON2i"),
        STORED[8:].replace(b"v=19", b"v=17"),
        STORED[8:].replace(b"t=2", b"t=0"),
        STORED[8:].replace(b"p=1", b"p=0"),
        STORED[8:].replace(b"m=1024", b"m=7"),
        STORED[8:].replace(b"m=1024", b"m=-1"),
        STORED[8:].replace(b"m=1024", b"m=01024"),
        STORED[8:].replace(b"m=1024,t=2", b"t=2,m=1024"),
        STORED[8:].replace(b"8uJB1IXlTBEmFPBCotC7cA", b"c2FsdA"),
        STORED[8:].replace(b"8uJB1IXlTBEmFPBCotC7cA", b""),
        STORED[8:].replace(b"8uJB1IXlTBEmFPBCotC7cA", b"8uJB1IXlTBEmFPBCotC7c"),
        STORED[8:] + b"A==",
        STORED[8:-23],
    ],
)
def test_what_argon2_never_writes_is_malformed(value: bytes) -> None:
    assert value != STORED[8:]
    assert reason(b"{ARGON2}" + value) is Reason.MALFORMED_HASH


@given(end=st.integers(-21, -1), change=st.binary(min_size=1, max_size=3))
@settings(max_examples=20)
def test_a_tag_cut_or_lengthened_does_not_match(end: int, change: bytes) -> None:
    for stored in (STORED[:end], STORED[:end] + b"AAAA"):
        try:
            found = parse(stored)
        except StoredPasswordError:
            continue
        assert not found.verify(PASSWORD)


@given(password=st.binary(max_size=100))
@settings(max_examples=20)
def test_verifying_raises_nothing_whatever_the_password(password: bytes) -> None:
    assert parse(STORED).verify(password) is (password == PASSWORD)


def test_a_nul_is_part_of_the_password() -> None:
    assert not parse(STORED).verify(PASSWORD + b"\0")


def test_without_argon2_cffi_the_scheme_is_unsupported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "argon2.low_level", None)
    argon2._verifier.cache_clear()
    try:
        with pytest.raises(StoredPasswordError) as caught:
            parse(STORED)
        assert caught.value.reason is Reason.HASH_UNSUPPORTED
        assert caught.value.detail == "scheme ARGON2, needs argon2-cffi (pip install pysaslauthd[argon2])"
        assert reason(b"{ARGON2}x") is Reason.MALFORMED_HASH
    finally:
        argon2._verifier.cache_clear()
