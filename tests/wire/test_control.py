from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysaslauthd.errors import CommandError, ProtocolError
from pysaslauthd.wire import control
from pysaslauthd.wire.control import Request

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.text(), st.dictionaries(st.text().filter(lambda name: name != "command"), JSON, max_size=3))
def test_a_request_is_one_line_and_comes_out_as_it_went_in(command: str, arguments: dict[str, Any]) -> None:
    line = control.encode_request(command, arguments)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert line.isascii()
    assert control.parse_request(line) == control.parse_request(line[:-1]) == Request(command, arguments)


@given(st.binary())
def test_any_bytes_give_a_request_or_are_refused(line: bytes) -> None:
    with suppress(CommandError):
        assert isinstance(control.parse_request(line).command, str)


@given(st.binary())
def test_any_bytes_give_a_reply_or_are_refused(line: bytes) -> None:
    with suppress(CommandError, ProtocolError):
        assert isinstance(control.parse_reply(line), dict)


@given(JSON)
def test_any_json_gives_a_request_or_is_refused(value: Any) -> None:
    line = json.dumps(value).encode()
    if isinstance(value, dict) and isinstance(value.get("command"), str):
        assert control.parse_request(line).command == value["command"]
    else:
        with pytest.raises(CommandError):
            control.parse_request(line)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"status",
        b'"status"',
        b'{"command": "status"',
        b'{"command": "status"}{}',
        b'{"command": 1}',
        b"{}",
        b"[" * 65535,
        b'{"command": "status", "n": ' + b"1" * 5000 + b"}",
        b'{"command": "\xff"}',
        '{"command": "status"}'.encode("utf-16"),
    ],
)
def test_what_is_no_request_is_refused_in_one_line(line: bytes) -> None:
    with pytest.raises(CommandError) as caught:
        control.parse_request(line)
    assert caught.value.kind == "bad-request"
    assert "\n" not in caught.value.message


def test_an_error_comes_out_as_it_went_in() -> None:
    with pytest.raises(CommandError) as caught:
        control.parse_reply(control.encode_error(CommandError("failed", "no directory server")))
    assert (caught.value.kind, caught.value.message) == ("failed", "no directory server")


@given(st.binary())
def test_any_login_passes_through_json(login: bytes) -> None:
    line = control.encode({"users": [control.text_of(login)]})
    assert control.bytes_of(control.parse_reply(line)["users"][0]) == login


def test_a_string_that_stands_for_no_bytes_is_refused() -> None:
    with pytest.raises(CommandError):
        control.bytes_of("\ud800")
