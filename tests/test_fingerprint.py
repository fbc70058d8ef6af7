from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pysaslauthd.fingerprint import fingerprints

FINGERPRINT = fingerprints()


def test_two_processes_never_agree() -> None:
    assert fingerprints()(b"a", b"b") != fingerprints()(b"a", b"b")


@given(st.binary(max_size=8), st.binary(max_size=8), st.binary(max_size=8), st.binary(max_size=8))
def test_it_is_equal_exactly_where_key_and_password_are(key: bytes, password: bytes, key2: bytes, other: bytes) -> None:
    assert (FINGERPRINT(key, password) == FINGERPRINT(key2, other)) == ((key, password) == (key2, other))


def test_no_octet_moves_between_key_and_password() -> None:
    assert FINGERPRINT(b"a", b"bc") not in (
        FINGERPRINT(b"ab", b"c"),
        FINGERPRINT(b"", b"abc"),
        FINGERPRINT(b"1:a", b"bc"),
    )
    assert len(FINGERPRINT(b"", b"")) == 32
