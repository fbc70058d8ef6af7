"""What the log's tests share."""

from __future__ import annotations

import logging

from pysaslauthd import log
from pysaslauthd.model import AuthRequest, Outcome, Reason, identify

PENGUIN = AuthRequest(b"penguin", b"penguin-pass", b"smtp", b"hoge.cxm")


class Lines(log.LineHandler):
    """Keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[tuple[int, str]] = []

    def _write(self, record: logging.LogRecord, line: str) -> bool:
        self.written.append((record.levelno, line))
        return True


def line_of(lines: Lines, request: AuthRequest, outcome: Outcome, milliseconds: float = 1.25) -> str:
    log.log_outcome(request, identify(request), outcome, milliseconds, method="custom")
    return lines.written.pop()[1]


def event(request: AuthRequest, reason: Reason, detail: str) -> log.LoginEvent:
    return log.LoginEvent(
        reason=reason,
        user=request.login,
        identity=identify(request).address,
        service=request.service,
        realm=request.realm,
        remote=request.remote,
        detail=detail,
        server="",
        method="custom",
        cached=False,
        door="mux",
        peer=None,
        milliseconds=1,
    )
