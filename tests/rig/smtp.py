"""AUTH as mail programs say it, to any SMTP server that a test can talk to."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from typing import NamedTuple

FORMS = {
    "PLAIN": ("PLAIN", True),
    "PLAIN, asked": ("PLAIN", False),
    "LOGIN": ("LOGIN", False),
    "LOGIN, name at once": ("LOGIN", True),
}
"""Name of a way to say it to mechanism, and whether it comes with an initial response."""


class Answer(NamedTuple):
    """An SMTP server's last word on a login: 235 right, 535 wrong, 454 or 435 cannot tell."""

    code: int
    text: str


def login(ask: Callable[[str], Answer], form: str, user: str, password: str) -> Answer:
    """Log in, in one of :data:`FORMS`.

    :param ask: sends a line and returns the answer.
    """
    mechanism, initial = FORMS[form]
    responses = [f"\0{user}\0{password}"] if mechanism == "PLAIN" else [user, password]
    lines = [b64encode(response.encode()).decode() for response in responses]
    lines[:1] = [f"AUTH {mechanism} {lines[0]}"] if initial else [f"AUTH {mechanism}", lines[0]]
    for line in lines[:-1]:
        answer = ask(line)
        if answer.code != 334:
            return answer
    return ask(lines[-1])
