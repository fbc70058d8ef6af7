from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passwords.values import DIRECTORY_SERVER, HASHES, LIBXCRYPT, OPENLDAP, OTHERS, PASSWORD
from pysaslauthd.errors import StoredPasswordError
from pysaslauthd.model import Reason, Verdict
from pysaslauthd.passwords import StoredPassword, parse

ALL = (*DIRECTORY_SERVER, *OPENLDAP, *OTHERS, *LIBXCRYPT)
SCHEMES = sorted({re.match(rb"\{(.*?)\}", value)[1].upper() for value in HASHES})  # type: ignore[index]  # all match


def attempt(stored: bytes, max_ms: float = 1000) -> StoredPassword | StoredPasswordError:
    try:
        return parse(stored, max_ms=max_ms)
    except StoredPasswordError as error:
        return error


def refused(stored: bytes) -> tuple[Reason, str]:
    with pytest.raises(StoredPasswordError) as caught:
        parse(stored)
    return caught.value.reason, caught.value.scheme


@pytest.mark.parametrize("stored", ALL)
def test_a_real_value_lets_its_password_in_and_no_other(stored: bytes) -> None:
    verify = parse(stored).verify
    assert verify(PASSWORD)
    assert not verify(b"pinguin-pass")


@pytest.mark.parametrize("stored", HASHES)
def test_the_stored_text_is_not_its_own_password(stored: bytes) -> None:
    verify = parse(stored).verify
    assert not verify(stored)
    assert not verify(stored.partition(b"}")[2])


@pytest.mark.parametrize("stored", HASHES)
def test_a_scheme_is_named_in_any_case(stored: bytes) -> None:
    name, _, value = stored.partition(b"}")
    upper = name[1:].upper().decode()
    assert parse(name.lower() + b"}" + value).scheme == upper
    assert parse(name.upper() + b"}" + value).scheme == upper
    assert parse(name.title() + b"}" + value).scheme == upper


# bigcrypt is left out: its first block is the DES hash of the first 8 characters, and so is what a cut leaves.
@pytest.mark.parametrize("stored", [stored for stored in HASHES if stored[:9] not in (b"{ARGON2}$", b"{CRYPT}KJ")])
def test_a_cut_value_is_malformed_wherever_it_is_cut(stored: bytes) -> None:
    start = stored.index(b"}") + 1
    for end in range(start, len(stored.rstrip(b"="))):
        found = attempt(stored[:end])
        if isinstance(found, StoredPasswordError):
            assert found.reason in (Reason.MALFORMED_HASH, Reason.HASH_UNSUPPORTED)
        else:
            # What a salted digest loses first is salt, whose length is free.
            assert found.scheme in ("SMD5", "SSHA", "SSHA256", "SSHA384", "SSHA512")
            assert not found.verify(PASSWORD)


@pytest.mark.parametrize("stored", HASHES)
@pytest.mark.parametrize("garbage", [b" ", b"\0", b"~~~~", b"\xff", b"{", b"$x"])
def test_garbage_before_or_after_a_value_is_malformed(stored: bytes, garbage: bytes) -> None:
    head, brace, value = stored.partition(b"}")
    assert refused(stored + garbage)[0] is Reason.MALFORMED_HASH
    reason, _ = refused(head + brace + garbage + value)
    assert reason in (Reason.MALFORMED_HASH, Reason.HASH_UNSUPPORTED)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("value", [b"", b"=", b"====", b"$", b"$$", b"$$$", b"*0", b"*1", b"!", b"x", b"penguin-pass"])
def test_what_holds_no_hash_is_malformed(scheme: bytes, value: bytes) -> None:
    assert refused(b"{" + scheme + b"}" + value) == (Reason.MALFORMED_HASH, scheme.decode())


def test_an_empty_value_is_malformed() -> None:
    assert refused(b"") == (Reason.MALFORMED_HASH, "CLEAR")
    assert refused(b"{CLEAR}") == (Reason.MALFORMED_HASH, "CLEAR")


@pytest.mark.parametrize("prefix", [b"", b"{CLEAR}", b"{clear}", b"{CLEARTEXT}", b"{ClearText}"])
def test_clear_text_is_compared_byte_by_byte(prefix: bytes) -> None:
    found = parse(prefix + PASSWORD)
    assert found.verify(PASSWORD)
    assert not found.slow
    for other in (b"", PASSWORD[:-1], PASSWORD + b"\0", PASSWORD.upper(), b" " + PASSWORD, b"{CLEAR}" + PASSWORD):
        assert not found.verify(other)


@pytest.mark.parametrize(
    "stored", [b"{", b"}", b"{}", b"{}secret", b"{secret", b"se{cr}et", b" {SSHA}x", b"\xc3\xa4\0"]
)
def test_without_a_scheme_prefix_a_value_is_clear_text(stored: bytes) -> None:
    found = parse(stored)
    assert found.scheme == "CLEAR"
    assert found.verify(stored)


def test_an_unknown_scheme_is_refused_and_named() -> None:
    assert refused(b"{NS-MTA-MD5}c0ffee") == (Reason.UNKNOWN_SCHEME, "NS-MTA-MD5")
    assert refused(b"{whirlpool_9}x") == (Reason.UNKNOWN_SCHEME, "WHIRLPOOL_9")
    assert Reason.UNKNOWN_SCHEME.verdict is Verdict.REJECTED


@pytest.mark.parametrize(
    "stored", [b"{my secret}!", b"{\xff}x", b"{{}x", b"{" + b"x" * 33 + b"}", b"{SSHA }x", b"{-}x"]
)
def test_a_clear_password_that_looks_like_a_scheme_is_refused_and_not_told(stored: bytes) -> None:
    assert refused(stored) == (Reason.UNKNOWN_SCHEME, "?")


@pytest.mark.parametrize("inner", [b"{SSHA}PT6g4Wt/sVaAC/6oBAzrsgVkA9U2OEKO49MkeA==", b"{NEW}x", b"{CLEAR}x"])
def test_a_hash_marked_as_clear_text_is_malformed(inner: bytes) -> None:
    assert refused(b"{CLEAR}" + inner) == (Reason.MALFORMED_HASH, "CLEAR")


def test_passing_through_to_sasl_is_unsupported() -> None:
    assert refused(b"{SASL}penguin@hoge.cxm") == (Reason.HASH_UNSUPPORTED, "SASL")
    assert Reason.HASH_UNSUPPORTED.verdict is Verdict.UNAVAILABLE


def test_only_quick_schemes_may_run_on_the_event_loop() -> None:
    quick = {parse(stored).scheme for stored in ALL if not parse(stored).slow}
    assert quick == {
        "CLEAR", "CRYPT", "MD5", "SMD5", "SHA", "SSHA", "SHA256", "SSHA256", "SHA384", "SSHA384", "SHA512", "SSHA512",
    }  # fmt: skip
    crypt = [stored[7:10] for stored in ALL if stored[:7].upper() == b"{CRYPT}" and not parse(stored).slow]
    assert crypt == [b"f7q", b"KJQ", b"_J9", b"$3$"]


@pytest.mark.parametrize(
    "stored",
    [
        b"{CRYPT}_zzzzsaltAAAAAAAAAAA",
        b"{CRYPT}$5$rounds=999999999$salt$" + b"A" * 43,
        b"{CRYPT}$6$rounds=999999999$salt$" + b"A" * 86,
        b"{UNIX}$6$rounds=4000000$salt$" + b"A" * 86,
        b"{CRYPT}$2b$31$" + b"A" * 53,
        b"{CRYPT}$2y$15$" + b"A" * 53,
        b"{CRYPT}$md5,rounds=4294963199$saltsalt$" + b"A" * 22,
        b"{CRYPT}$sha1$4294967295$salt$" + b"A" * 28,
        b"{CRYPT}$y$jIT$salt$" + b"A" * 43,
        b"{CRYPT}$y$jjj$salt$" + b"A" * 43,
        b"{CRYPT}$y$kj9T$salt$" + b"A" * 43,
        b"{GOST_YESCRYPT}$gy$jFT$salt$" + b"A" * 43,
        b"{CRYPT}$7$zzzzzzzzzzzsalt$" + b"A" * 43,
        b"{CRYPT}$7$C/....zzzzzsalt$" + b"A" * 43,
        b"{PBKDF2}4294967296$c2FsdA$" + b"A" * 27,
        b"{PBKDF2-SHA1}4000000$c2FsdA$" + b"A" * 27,
        b"{PBKDF2-SHA256}" + b"9" * 9 + b"$c2FsdA$" + b"A" * 43,
        b"{PBKDF2-SHA512}" + b"9" * 5000 + b"$c2FsdA$" + b"A" * 86,
        b"{PBKDF2_SHA256}/////" + b"A" * 427,
        b"{ARGON2}$argon2id$v=19$m=65536,t=9999999999,p=1$c29tZXNhbHQ$" + b"A" * 43,
        b"{ARGON2}$argon2id$v=19$m=9999999999,t=1,p=1$c29tZXNhbHQ$" + b"A" * 43,
        b"{ARGON2}$argon2id$v=19$m=131073,t=1,p=1$c29tZXNhbHQ$" + b"A" * 43,
        b"{ARGON2}$argon2id$v=19$m=1024,t=1,p=17$c29tZXNhbHQ$" + b"A" * 43,
    ],
)
def test_an_absurd_cost_is_refused_before_any_work(stored: bytes) -> None:
    # If it were not, these tests would run for hours.
    assert refused(stored)[0] is Reason.HASH_TOO_COSTLY
    assert Reason.HASH_TOO_COSTLY.verdict is Verdict.UNAVAILABLE


def test_without_a_bound_what_cannot_be_tried_matches_nothing() -> None:
    found = parse(b"{PBKDF2}4294967296$c2FsdA$" + b"A" * 27, max_ms=math.inf)
    assert found.slow
    assert not found.verify(PASSWORD)


@pytest.mark.parametrize("stored", [stored for stored in HASHES if parse(stored).slow])
def test_the_bound_on_cost_can_be_set(stored: bytes) -> None:
    parse(stored, max_ms=300)
    with pytest.raises(StoredPasswordError) as caught:
        parse(stored, max_ms=0.2)
    assert caught.value.reason is Reason.HASH_TOO_COSTLY


@pytest.mark.parametrize("stored", ALL)
def test_no_secret_shows_in_a_repr(stored: bytes) -> None:
    value = stored.rpartition(b"}")[2].decode()
    assert value not in repr(parse(stored))
    assert value not in repr(parse(stored).verify)
    with pytest.raises(StoredPasswordError) as caught:
        parse(b"{SSHA}!" + stored)
    assert value not in str(caught.value)


@given(stored=st.binary() | st.builds(bytes.__add__, st.sampled_from([b"{CLEAR}", b"{", b"{x}"]), st.binary()))
def test_any_bytes_match_as_clear_text_or_not_at_all(stored: bytes) -> None:
    found = attempt(stored)
    if isinstance(found, StoredPasswordError):
        return
    assert found.scheme == "CLEAR"
    clear = stored.removeprefix(b"{CLEAR}")
    assert found.verify(clear)
    assert not found.verify(clear + b"x")
    assert not found.verify(b"")


HASHED = st.sampled_from([b"{" + scheme + b"}" for scheme in [*SCHEMES, b"SASL", b"UNIX", b"SHA-256"]])
# Characters that the formats are made of, so that some texts pass for hashes.
TEXTS = st.binary() | st.text("$./+=,0159abAByg{}", max_size=60).map(str.encode)


@given(scheme=HASHED, value=TEXTS, password=st.binary() | TEXTS)
def test_any_bytes_after_a_scheme_match_nothing_and_raise_nothing_else(
    scheme: bytes, value: bytes, password: bytes
) -> None:
    found = attempt(scheme + value, max_ms=5)
    assert found.scheme == scheme[1:-1].decode()
    if not isinstance(found, StoredPasswordError):
        assert not found.verify(password)
        assert not found.verify(value)


@given(data=st.data(), stored=st.sampled_from([stored for stored in HASHES if not parse(stored).slow]))
def test_a_hash_with_one_byte_changed_does_not_match(data: st.DataObject, stored: bytes) -> None:
    # The last character of base64 may carry bits that stand for nothing: not changed here.
    place = data.draw(st.integers(stored.index(b"}") + 1, len(stored.rstrip(b"=")) - 2))
    byte = data.draw(st.integers(0, 255).filter(lambda byte: byte != stored[place]))
    found = attempt(stored[:place] + bytes([byte]) + stored[place + 1 :])
    assert isinstance(found, StoredPasswordError) or not found.verify(PASSWORD)


@given(stored=st.sampled_from([stored for stored in ALL if not parse(stored).slow]), password=st.binary(max_size=700))
def test_verifying_raises_nothing_whatever_the_password(stored: bytes, password: bytes) -> None:
    assert parse(stored).verify(password) is (password == PASSWORD)
