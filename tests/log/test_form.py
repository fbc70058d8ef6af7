from __future__ import annotations

import json
import logging
import os

from hypothesis import given
from hypothesis import strategies as st

from pysaslauthd.log.form import formatter
from pysaslauthd.model import AuthRequest, Reason

from .lines import PENGUIN, event

JSON = formatter("json")


def record(message: object, *args: object, level: int = logging.INFO) -> logging.LogRecord:
    made = logging.LogRecord("pysaslauthd.test", level, __file__, 1, message, args, None)
    made.created = 1767225600.25
    return made


def test_a_login_in_json_is_its_fields_with_time_level_and_process() -> None:
    login = event(PENGUIN, Reason.WRONG_PASSWORD, "")
    assert json.loads(JSON.format(record(login))) == {
        "time": "2026-01-01T00:00:00.250Z",
        "level": "info",
        "pid": os.getpid(),
        "event": "login",
        **login.fields(),
    }


def test_any_other_record_in_json_has_its_message() -> None:
    assert json.loads(JSON.format(record('serving "%s"\n', "mux\x1b", level=logging.WARNING))) == {
        "time": "2026-01-01T00:00:00.250Z",
        "level": "warning",
        "pid": os.getpid(),
        "event": "message",
        "message": 'serving "mux\\x1b"',
    }


@given(st.text(max_size=5000) | st.builds(str.__mul__, st.text('"\\', min_size=1, max_size=9), st.integers(500, 5000)))
def test_any_message_gives_one_bounded_json_line(message: str) -> None:
    line = JSON.format(record("%s", message))
    assert len(line) <= 4000
    assert line.isascii()
    assert line.isprintable()
    assert isinstance(json.loads(line)["message"], str)


@given(st.binary(max_size=300), st.binary(max_size=300), st.binary(max_size=300), st.text(max_size=300))
def test_any_login_gives_one_bounded_json_line(login: bytes, realm: bytes, remote: bytes, detail: str) -> None:
    request = AuthRequest(login, b"s3cret-and-never-shown", realm, realm, remote, local=remote, session=remote)
    found = event(request, Reason.UNKNOWN_USER, detail)._replace(server=detail, local=remote, session=remote)
    line = JSON.format(record(found))
    assert len(line) <= 4000
    assert line.isascii()
    assert line.isprintable()
    assert "s3cret-and-never-shown" not in line
    assert json.loads(line)["reason"] == "unknown-user"


def test_the_classic_form_has_the_message_alone() -> None:
    assert formatter("classic").format(record("a %s", "b\n\x07c")) == "a b | \\x07c"
    login = record(event(PENGUIN, Reason.LOCKED, ""))
    assert formatter("classic").format(login).startswith("do_auth         : auth failure: [user=penguin]")
