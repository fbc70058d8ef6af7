"""What a directory's answer says about a user: result codes, messages and controls become outcomes here.

Whatever is not known to mean "wrong" means UNAVAILABLE.
"""

from __future__ import annotations

import re

from pysaslauthd.directory.interface import Bound
from pysaslauthd.errors import (
    DirectoryError,
    DirectoryOverloaded,
    DirectoryRefused,
    DirectoryTimeout,
    ServiceBindRefused,
)
from pysaslauthd.model import Outcome, Reason
from pysaslauthd.wire.ldap import codes, controls
from pysaslauthd.wire.ldap.request import PASSWORD_POLICY

_OK = Reason.OK

_BIND_RESULTS = {
    codes.SUCCESS: Reason.OK,
    codes.NO_SUCH_OBJECT: Reason.UNKNOWN_USER,
    codes.INVALID_DN_SYNTAX: Reason.UNKNOWN_USER,  # a DN made from what the user typed
    codes.INAPPROPRIATE_AUTHENTICATION: Reason.NO_PASSWORD,  # the entry has none
    codes.INVALID_CREDENTIALS: Reason.WRONG_PASSWORD,
}
"""Result codes that are about the user, whoever the server is."""

_MESSAGES = {
    (codes.UNWILLING_TO_PERFORM, "Account inactivated"): Reason.LOCKED,
    (codes.CONSTRAINT_VIOLATION, "Exceed password retry limit"): Reason.TOO_MANY_TRIES,
    (codes.CONSTRAINT_VIOLATION, "Account inactivity limit exceeded"): Reason.INACTIVE,
    (
        codes.CONSTRAINT_VIOLATION,
        "TPR checking",
    ): Reason.EXPIRED,  # a temporary password: used up, too old, or not valid yet
    (codes.INVALID_CREDENTIALS, "password expired"): Reason.EXPIRED,
}
"""Where only the message tells: 389 DS's own words, by result code and beginning."""

_POLICY_ERRORS = {0: Reason.EXPIRED, 1: Reason.LOCKED}
"""Errors of the password policy control with a failed bind."""
_CHANGE_AFTER_RESET = 2

_AD_ERROR = re.compile("AcceptSecurityContext error, data ([0-9a-f]+)", re.IGNORECASE)
_AD_ERRORS = {
    "525": Reason.UNKNOWN_USER,  # ERROR_NO_SUCH_USER
    "52e": Reason.WRONG_PASSWORD,  # ERROR_LOGON_FAILURE
    "52f": Reason.LOCKED,  # ERROR_ACCOUNT_RESTRICTION
    "530": Reason.LOCKED,  # ERROR_INVALID_LOGON_HOURS
    "531": Reason.LOCKED,  # ERROR_INVALID_WORKSTATION
    "532": Reason.EXPIRED,  # ERROR_PASSWORD_EXPIRED
    "533": Reason.LOCKED,  # ERROR_ACCOUNT_DISABLED
    "569": Reason.LOCKED,  # ERROR_LOGON_TYPE_NOT_GRANTED
    "701": Reason.EXPIRED,  # ERROR_ACCOUNT_EXPIRED
    "773": Reason.MUST_CHANGE,  # ERROR_PASSWORD_MUST_CHANGE
    "775": Reason.TOO_MANY_TRIES,  # ERROR_ACCOUNT_LOCKED_OUT
}
"""Active Directory's sub-codes of result 49: Windows error codes in hexadecimal. 532, 533, 701 and 773 come with the
right password alone."""


def of_bind(bound: Bound, dn: bytes = b"") -> Outcome:
    """What a user's bind says about the user.

    :param dn: the user's.
    :raises ProtocolError: a control is malformed.
    """
    reason = _reason(bound)
    detail = "" if reason is _OK else f"bind: {codes.told(bound.code, bound.message)}"
    return Outcome(reason, detail, dn, bound.server)


def _reason(bound: Bound) -> Reason:
    code, message, held = bound.code, bound.message, bound.controls
    if code == codes.SUCCESS and not held:
        return _OK
    for (expected, beginning), meaning in _MESSAGES.items():
        if code == expected and message.startswith(beginning):
            return meaning
    value = held.get(PASSWORD_POLICY)
    policy = None if value is None else controls.password_policy(value)
    if code == codes.SUCCESS:
        if policy is not None:
            return Reason.MUST_CHANGE if policy.error == _CHANGE_AFTER_RESET else Reason.OK
        # From servers without the newer control. There it comes with grace logins too.
        return Reason.MUST_CHANGE if controls.EXPIRED in held else Reason.OK
    if policy is not None and policy.error in _POLICY_ERRORS:
        return _POLICY_ERRORS[policy.error]
    if code == codes.INVALID_CREDENTIALS:
        if controls.EXPIRED in held:
            return Reason.EXPIRED
        if found := _AD_ERROR.search(message):
            return _AD_ERRORS.get(found[1].lower(), Reason.DIRECTORY_REFUSED)
    return _BIND_RESULTS.get(code, Reason.DIRECTORY_REFUSED)


def of_error(error: DirectoryError) -> Outcome:
    """The outcome where the directory gave no usable answer: always UNAVAILABLE."""
    if isinstance(error, ServiceBindRefused):
        reason = Reason.SERVICE_BIND_REFUSED
    elif isinstance(error, DirectoryRefused):
        reason = Reason.DIRECTORY_REFUSED
    elif isinstance(error, DirectoryTimeout):
        reason = Reason.DIRECTORY_TIMEOUT
    elif isinstance(error, DirectoryOverloaded):
        reason = Reason.OVERLOADED
    else:
        reason = Reason.DIRECTORY_DOWN
    return Outcome(reason, str(error))
