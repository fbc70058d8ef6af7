"""Delivering an answer to a flow without trusting what the flow does with it.

A reply runs the login that waits for it on the spot. A fault of that login, or of the door that it is answered
through, must not unwind into whoever delivers: other logins' answers wait in the same turn.
"""

from __future__ import annotations

import logging
from typing import TypeVar

from pysaslauthd.errors import fault
from pysaslauthd.flow import Reply

logger = logging.getLogger(__name__)

T = TypeVar("T")


def deliver(reply: Reply[T], value: T) -> None:
    """Set a reply. A fault of what runs then is logged."""
    try:
        reply.set(value)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is one login's
        _log(error)


def deliver_failure(reply: Reply[T], failure: BaseException) -> None:
    """Fail a reply, likewise."""
    try:
        reply.fail(failure)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is one login's
        _log(error)
    # It leads to frames that hold the failure, and connections besides: all would wait for the collector.
    failure.__traceback__ = None


def _log(error: Exception) -> None:
    logger.error(fault(error))
