from __future__ import annotations

import ctypes
import itertools
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from passwords.values import DIRECTORY_SERVER, LIBXCRYPT, OPENLDAP, OTHERS, PASSWORD
from pysaslauthd.errors import StoredPasswordError
from pysaslauthd.model import Reason
from pysaslauthd.passwords import crypt, parse

HASHES = [
    stored.partition(b"}")[2]
    for stored in (*DIRECTORY_SERVER, *OPENLDAP, *OTHERS, *LIBXCRYPT)
    if stored.upper().startswith((b"{CRYPT}", b"{GOST_YESCRYPT}"))
]
DES = b"f7qRK5LRLj6h2"
SHA512 = b"$6$saltsalt$HtcvwLQfp6FjGfECJYJVCzPflWXU7C5J1XjOM6VgjOE4Evmcdng5Imn.ztZUhSiX5JwfufFiTsWmleOol2Jdh1"
BCRYPT_11 = b"$2b$11$sSS6G7Q46p59kT1usOlgfe" + b"A" * 31  # 115 ms


def reason(stored: bytes) -> Reason:
    with pytest.raises(StoredPasswordError) as caught:
        parse(stored)
    return caught.value.reason


@pytest.mark.parametrize("hashed", HASHES)
def test_unix_is_another_name_of_crypt(hashed: bytes) -> None:
    assert parse(b"{UNIX}" + hashed).verify(PASSWORD)


@pytest.mark.parametrize("login", [b"penguin", b"penguin@hoge.cxm", b"root", b"cn=penguin", b"p"])
def test_openldaps_unix_with_a_login_is_malformed(login: bytes) -> None:
    assert reason(b"{UNIX}" + login) is Reason.MALFORMED_HASH


def test_gost_yescrypt_holds_no_other_method() -> None:
    assert reason(b"{GOST_YESCRYPT}" + SHA512) is Reason.MALFORMED_HASH
    assert parse(b"{CRYPT}" + SHA512).verify(PASSWORD)


@pytest.mark.parametrize("hashed", HASHES)
def test_a_password_with_nul_never_matches(hashed: bytes) -> None:
    verify = parse(b"{CRYPT}" + hashed).verify
    assert not verify(PASSWORD + b"\0")
    assert not verify(PASSWORD + b"\0x")
    assert not verify(b"\0")


@pytest.mark.parametrize("size", [511, 512, 513, 65535])
def test_a_long_password_is_checked_or_refused_not_cut(size: int) -> None:
    verify = parse(b"{CRYPT}" + SHA512).verify
    assert not verify(PASSWORD.ljust(size, b"x"))


@pytest.mark.parametrize(
    "hashed",
    [b"*0", b"*1", b"!", b"!!", b"*", b"x", b"!" + SHA512, b"*" + SHA512, b"!" + DES, b"$6$salt$", b"$6$salt", b"$6$"],
)
def test_failure_tokens_and_locked_hashes_are_malformed(hashed: bytes) -> None:
    assert reason(b"{CRYPT}" + hashed) is Reason.MALFORMED_HASH


@pytest.mark.parametrize(
    "hashed",
    [
        b"$1$$rDNOH150J3uROu9r0OokW.",
        b"$6$$nnnoGdGDR4PAGZpFDhG6O/YxUKWSs78Q9Zh9eQfAPzN2n7uCHRdDZKzbKT4Rj26jb3wRlyQP99Z3/8RUVUmp.1",
        b"$6$s:lt$" + SHA512[12:],
        b"$6$s\nlt$" + SHA512[12:],
        b"$6$s\xc3lt$" + SHA512[12:],
        b"$6$rounds=999$saltsalt$" + SHA512[12:],
        b"$6$rounds=05000$saltsalt$" + SHA512[12:],
        b"$6$rounds=1000000000$saltsalt$" + SHA512[12:],
        b"$6$" + b"s" * 17 + b"$" + SHA512[12:],
        b"$2b$03$" + b"A" * 53,
        b"$2b$32$" + b"A" * 53,
        b"$2b$10$" + b"A" * 54,
        SHA512 + b"\n",
        DES + b"\n",
        DES + b"x",
        b"f7" + b"A" * (11 * 17),
    ],
)
def test_what_crypt_never_writes_is_malformed(hashed: bytes) -> None:
    assert reason(b"{CRYPT}" + hashed) is Reason.MALFORMED_HASH


@pytest.mark.parametrize(
    "hashed", [b"$apr1$saltsalt$MkydAZUjCFrzju6SKy/4E0", b"$2$05$" + b"A" * 53, b"$9$x", b"$argon2id$x"]
)
def test_a_method_that_crypt_does_not_have_is_unsupported(hashed: bytes) -> None:
    assert reason(b"{CRYPT}" + hashed) is Reason.HASH_UNSUPPORTED


@pytest.mark.parametrize("library", ["libcrypt.so.no-such", "libm.so.6"])
def test_without_libcrypt_its_hashes_are_unsupported(monkeypatch: pytest.MonkeyPatch, library: str) -> None:
    monkeypatch.setattr(crypt, "_LIBRARIES", (library,))
    monkeypatch.setattr(crypt, "_hash", crypt._find())
    for hashed in HASHES:
        assert reason(b"{CRYPT}" + hashed) is Reason.HASH_UNSUPPORTED


@pytest.mark.parametrize("answer", [None, b"*0", b"*1", b"$6$other"])
def test_a_method_that_this_libcrypt_lacks_is_unsupported_not_wrong(
    monkeypatch: pytest.MonkeyPatch, answer: bytes | None
) -> None:
    monkeypatch.setattr(crypt, "_hash", lambda password, setting: answer)
    assert reason(b"{CRYPT}" + SHA512) is Reason.HASH_UNSUPPORTED


def test_crypt_r_serves_where_there_is_no_crypt_rn(monkeypatch: pytest.MonkeyPatch) -> None:
    class OnlyCryptR:
        def __init__(self, name: str | None) -> None:
            self.crypt_r = real(name).crypt_r

    real = ctypes.CDLL
    monkeypatch.setattr(ctypes, "CDLL", OnlyCryptR)
    function = crypt._find()
    assert function is not None
    assert function(PASSWORD, SHA512) == SHA512
    assert function(PASSWORD, DES) == DES


def test_many_threads_verify_at_once_and_each_gets_its_own_answer() -> None:
    # Wrong, were there one work area for all: the quick DES among the slower ones shows it soonest.
    checks = [parse(b"{CRYPT}" + hashed).verify for hashed in (DES, SHA512, HASHES[1], HASHES[2])]
    passwords = [PASSWORD, b"pinguin-pass"]
    jobs = list(itertools.islice(itertools.cycle(itertools.product(checks, passwords)), 160))
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda job: job[0](job[1]), jobs))
    assert answers == [password == PASSWORD for _, password in jobs]


def test_the_gil_is_free_while_libcrypt_works() -> None:
    verify = parse(b"{CRYPT}" + BCRYPT_11).verify
    had_a_turn = threading.Event()
    verified: list[bool] = []

    def work() -> None:
        while not had_a_turn.is_set() and len(verified) < 20:
            verified.append(verify(PASSWORD))

    thread = threading.Thread(target=work)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1000)  # nobody has to give up the GIL: it is given up by who waits
    try:
        thread.start()
        had_a_turn.set()
        thread.join()
    finally:
        sys.setswitchinterval(before)
    # Were it held, this thread would have stood still until the last.
    assert len(verified) < 20
