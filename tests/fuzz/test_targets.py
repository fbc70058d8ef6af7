"""The targets of the fuzzer on what is known: seeds, what once broke them, and some random input."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz import targets as module
from fuzz.seeds import FOUND, seeds
from fuzz.targets import TARGETS
from pysaslauthd.wire import ldif, mux
from pysaslauthd.wire.dovecot_session import Session
from pysaslauthd.wire.ldap import response


@pytest.mark.parametrize("target", TARGETS)
def test_what_is_known_keeps_to_its_word(target: str) -> None:
    known = seeds(target)
    assert known
    for data in known:
        TARGETS[target](data)


def test_every_folder_of_findings_is_a_targets() -> None:
    assert {folder.name for folder in FOUND.iterdir() if folder.is_dir()} <= {*TARGETS}


@pytest.mark.parametrize("target", TARGETS)
def test_any_bytes_keep_to_their_word(target: str) -> None:
    @given(st.binary(max_size=200))
    def any_bytes(data: bytes) -> None:
        TARGETS[target](data)

    any_bytes()


def test_a_planted_fault_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(target: str) -> bool:
        try:
            for data in seeds(target):
                TARGETS[target](data)
        except Exception:  # noqa: BLE001 - whatever it is, the fuzzer would have found it
            return True
        return False

    honest, split = mux.parse, Session.receive
    monkeypatch.setattr(mux, "parse", lambda data: honest(data[:-1] + b"x"))
    assert found("mux")
    monkeypatch.setattr(
        Session, "receive", lambda self, data, now: split(self, data.replace(b"service=smtp", b""), now)
    )
    assert found("dovecot")
    monkeypatch.setattr(response, "split", lambda data, start: start or len(data))
    assert found("ldap")
    monkeypatch.setattr(ldif, "_value", lambda rest, _line: rest.lstrip(b" :"))
    assert found("ldif")
    monkeypatch.setattr(module, "parse_conf", lambda text, _file: text.decode("ascii"))
    assert found("config")
