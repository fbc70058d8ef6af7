"""What a directory's answer says about a user: result codes and messages become outcomes here.

Whatever is not known to mean "wrong" means UNAVAILABLE.
"""

from __future__ import annotations

from pysaslauthd.directory.interface import Bound
from pysaslauthd.errors import DirectoryError, DirectoryRefused, DirectoryTimeout, ServiceBindRefused
from pysaslauthd.model import Outcome, Reason

_BIND_RESULTS = {
    0: Reason.OK,
    32: Reason.UNKNOWN_USER,  # noSuchObject
    34: Reason.UNKNOWN_USER,  # invalidDNSyntax: a DN made from what the user typed
    48: Reason.NO_PASSWORD,  # inappropriateAuthentication: the entry has none
    49: Reason.WRONG_PASSWORD,  # invalidCredentials
}
"""Result codes of RFC 4511 appendix A that are about the user, whoever the server is."""

_MESSAGES = {
    (53, "Account inactivated"): Reason.LOCKED,
    (19, "Exceed password retry limit"): Reason.TOO_MANY_TRIES,
    (19, "Account inactivity limit exceeded"): Reason.INACTIVE,
    (49, "password expired"): Reason.EXPIRED,
}
"""Where only the message tells: 389 DS's own words, by result code and beginning."""


def of_bind(bound: Bound) -> Outcome:
    """What a user's bind says about the user."""
    reason = _BIND_RESULTS.get(bound.code, Reason.DIRECTORY_REFUSED)
    for (code, beginning), meaning in _MESSAGES.items():
        if bound.code == code and bound.message.startswith(beginning):
            reason = meaning
    detail = "" if reason is Reason.OK else f"bind: result {bound.code} {bound.message}".rstrip()
    return Outcome(reason, detail, server=bound.server)


def of_error(error: DirectoryError) -> Outcome:
    """The outcome where the directory gave no usable answer: always UNAVAILABLE."""
    if isinstance(error, ServiceBindRefused):
        reason = Reason.SERVICE_BIND_REFUSED
    elif isinstance(error, DirectoryRefused):
        reason = Reason.DIRECTORY_REFUSED
    elif isinstance(error, DirectoryTimeout):
        reason = Reason.DIRECTORY_TIMEOUT
    else:
        reason = Reason.DIRECTORY_DOWN
    return Outcome(reason, str(error))
