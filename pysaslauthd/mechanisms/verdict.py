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
from pysaslauthd.wire.ldap import controls
from pysaslauthd.wire.ldap.request import PASSWORD_POLICY

_OK = Reason.OK
_SUCCESS = 0
_INVALID_CREDENTIALS = 49

_BIND_RESULTS = {
    _SUCCESS: Reason.OK,
    32: Reason.UNKNOWN_USER,  # noSuchObject
    34: Reason.UNKNOWN_USER,  # invalidDNSyntax: a DN made from what the user typed
    48: Reason.NO_PASSWORD,  # inappropriateAuthentication: the entry has none
    _INVALID_CREDENTIALS: Reason.WRONG_PASSWORD,
}
"""Result codes of RFC 4511 appendix A that are about the user, whoever the server is."""

_MESSAGES = {
    (53, "Account inactivated"): Reason.LOCKED,
    (19, "Exceed password retry limit"): Reason.TOO_MANY_TRIES,
    (19, "Account inactivity limit exceeded"): Reason.INACTIVE,
    (19, "TPR checking"): Reason.EXPIRED,  # a temporary password: used up, too old, or not valid yet
    (_INVALID_CREDENTIALS, "password expired"): Reason.EXPIRED,
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
    detail = "" if reason is _OK else f"bind: result {bound.code} {bound.message}".rstrip()
    return Outcome(reason, detail, dn, bound.server)


def _reason(bound: Bound) -> Reason:
    code, message, held = bound.code, bound.message, bound.controls
    if code == _SUCCESS and not held:
        return _OK
    for (expected, beginning), meaning in _MESSAGES.items():
        if code == expected and message.startswith(beginning):
            return meaning
    value = held.get(PASSWORD_POLICY)
    policy = None if value is None else controls.password_policy(value)
    if code == _SUCCESS:
        if policy is not None:
            return Reason.MUST_CHANGE if policy.error == _CHANGE_AFTER_RESET else Reason.OK
        # From servers without the newer control. There it comes with grace logins too.
        return Reason.MUST_CHANGE if controls.EXPIRED in held else Reason.OK
    if policy is not None and policy.error in _POLICY_ERRORS:
        return _POLICY_ERRORS[policy.error]
    if code == _INVALID_CREDENTIALS:
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
