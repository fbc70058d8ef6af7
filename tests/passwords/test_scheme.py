from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysaslauthd.errors import StoredPasswordError
from pysaslauthd.model import Reason
from pysaslauthd.passwords.scheme import decode


@given(st.binary())
def test_base64_decodes_with_and_without_padding(data: bytes) -> None:
    text = base64.b64encode(data)
    assert decode("SSHA", text) == data
    assert decode("SSHA", text.rstrip(b"=")) == data
    assert decode("SSHA", text + b"\n") == data


@pytest.mark.parametrize(
    "text",
    [
        b"A",
        b"QUJDA",
        b"=",
        b"==",
        b"====",
        b"QQ===",
        b"QUI==",
        b"QUJD=",
        b"QUJD==",
        b"QUJD====",
        b"Q=Q=",
        b"QQ==QQ==",
        b"QU JD",
        b" QUJD",
        b"QU\nJD",
        b"QUJD\n\n",
        b"QUJD\r\n",
        b"QUJD\0",
        b"QUJ.",
        b"QUJ-",
        b"QUJ_",
        b"QUJ\xc4",
    ],
)
def test_what_is_not_base64_is_refused(text: bytes) -> None:
    with pytest.raises(StoredPasswordError) as raised:
        decode("SSHA", text)
    assert (raised.value.reason, raised.value.scheme) == (Reason.MALFORMED_HASH, "SSHA")


@given(st.binary())
def test_any_bytes_decode_or_are_a_malformed_hash(text: bytes) -> None:
    try:
        decoded = decode("SSHA", text)
    except StoredPasswordError:
        return
    assert base64.b64decode(text.rstrip(b"\n") + b"==") == decoded
