"""The result codes (RFC 4511 appendix A) that something here goes by, and how any is named."""

from __future__ import annotations

from ldap3.core.results import RESULT_CODES

SUCCESS = 0
TIME_LIMIT_EXCEEDED = 3
SIZE_LIMIT_EXCEEDED = 4
COMPARE_FALSE = 5
COMPARE_TRUE = 6
AUTH_METHOD_NOT_SUPPORTED = 7
REFERRAL = 10
ADMIN_LIMIT_EXCEEDED = 11
NO_SUCH_ATTRIBUTE = 16
UNDEFINED_ATTRIBUTE_TYPE = 17
CONSTRAINT_VIOLATION = 19
NO_SUCH_OBJECT = 32
INVALID_DN_SYNTAX = 34
INAPPROPRIATE_AUTHENTICATION = 48
INVALID_CREDENTIALS = 49
INSUFFICIENT_ACCESS_RIGHTS = 50
BUSY = 51
UNAVAILABLE = 52
UNWILLING_TO_PERFORM = 53
OTHER = 80


def told(code: int, message: str = "") -> str:
    """A result for people: ``result 49 (invalidCredentials): message``; a code that nobody has registered is bare.

    :param message: the server's diagnostic message, which may be empty.
    """
    name = RESULT_CODES.get(code)
    return f"result {code}" + (f" ({name})" if name else "") + (f": {message}" if message else "")
