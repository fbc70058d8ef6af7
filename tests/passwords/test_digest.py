from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysaslauthd.errors import StoredPasswordError
from pysaslauthd.model import Reason
from pysaslauthd.passwords import parse

ALGORITHMS = {"MD5": "md5", "SHA": "sha1", "SHA256": "sha256", "SHA384": "sha384", "SHA512": "sha512"}


def hashed(algorithm: str, password: bytes, salt: bytes = b"") -> bytes:
    return base64.b64encode(hashlib.new(algorithm, password + salt).digest() + salt)


def malformed(stored: bytes) -> bool:
    with pytest.raises(StoredPasswordError) as caught:
        parse(stored)
    return caught.value.reason is Reason.MALFORMED_HASH


@given(name=st.sampled_from(list(ALGORITHMS)), password=st.binary(), salt=st.binary(min_size=1), wrong=st.binary())
def test_a_salted_digest_matches_its_password_alone(name: str, password: bytes, salt: bytes, wrong: bytes) -> None:
    text = hashed(ALGORITHMS[name], password, salt)
    for value in (text, text.rstrip(b"=")):
        verify = parse(b"{S%b}%b" % (name.encode(), value)).verify
        assert verify(password)
        assert verify(wrong) is (wrong == password)
        assert not verify(password + salt)


@given(name=st.sampled_from(list(ALGORITHMS)), password=st.binary(), wrong=st.binary())
def test_a_plain_digest_matches_its_password_alone(name: str, password: bytes, wrong: bytes) -> None:
    verify = parse(b"{%b}%b" % (name.encode(), hashed(ALGORITHMS[name], password))).verify
    assert verify(password)
    assert verify(wrong) is (wrong == password)


@pytest.mark.parametrize("bits", [256, 384, 512])
def test_sha_2_is_also_spelled_with_a_hyphen(bits: int) -> None:
    found = parse(b"{SHA-%d}%b" % (bits, hashed(f"sha{bits}", b"secret")))
    assert found.scheme == f"SHA-{bits}"
    assert found.verify(b"secret")
    found = parse(b"{ssha-%d}%b" % (bits, hashed(f"sha{bits}", b"secret", b"salt")))
    assert found.scheme == f"SSHA-{bits}"
    assert found.verify(b"secret")


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_salted_digest_without_salt_is_malformed(name: str) -> None:
    assert malformed(b"{S%b}%b" % (name.encode(), hashed(ALGORITHMS[name], b"secret")))


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_plain_digest_with_salt_is_malformed(name: str) -> None:
    assert malformed(b"{%b}%b" % (name.encode(), hashed(ALGORITHMS[name], b"secret", b"s")))


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_digest_cut_before_encoding_is_malformed(name: str) -> None:
    digest = hashlib.new(ALGORITHMS[name], b"secret").digest()
    for size in range(len(digest)):
        assert malformed(b"{%b}%b" % (name.encode(), base64.b64encode(digest[:size])))
        assert malformed(b"{S%b}%b" % (name.encode(), base64.b64encode(digest[:size])))


def test_a_digest_of_another_size_is_malformed() -> None:
    assert malformed(b"{SHA512}" + hashed("sha256", b"secret"))
    assert malformed(b"{SHA256}" + hashed("sha512", b"secret"))


def test_nul_is_a_character_of_a_password_like_any_other() -> None:
    verify = parse(b"{SSHA}" + hashed("sha1", b"penguin\0pass", b"salt")).verify
    assert verify(b"penguin\0pass")
    assert not verify(b"penguin")
