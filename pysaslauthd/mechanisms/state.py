"""Whether an account may be used, from the user's entry: what a bind would have found besides the password.

Three sources, in the order of their worth:

- ``nsAccountLock`` (389 DS), which the server computes from the entry, its roles and its class of service;
- the account usability control, by which the server itself applies its policy: 389 DS to those who may use the
  control, OpenLDAP 2.5 with ppolicy to those who may compare userPassword;
- without the control, the attributes that the policy leaves on the entry. Whether they still count depends on
  switches that a service account cannot read, so what stands there is taken to count.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from pysaslauthd.directory.interface import Entry
from pysaslauthd.model import Reason
from pysaslauthd.wire.ldap import controls
from pysaslauthd.wire.ldap.controls import ACCOUNT_USABILITY, Usability

SHADOW = ("shadowExpire",)
"""RFC 2307: enforced by no directory server, so that a bind must be followed by a look at it."""

ATTRIBUTES = (
    "nsAccountLock",
    "accountUnlockTime",
    "passwordRetryCount",
    "passwordExpirationTime",
    "pwdReset",
    "pwdAccountLockedTime",
    "pwdStartTime",
    "pwdEndTime",
    *SHADOW,
)
"""Asked for by name, since most are operational. A server passes over those that it does not know."""

_NAMES = frozenset(name.lower() for name in ATTRIBUTES)

_DAY = 86400

_FOR_EVER = b"000001010000Z"
"""draft-behera-ldap-password-policy section 5.3.3: locked until an administrator lifts it."""

# What 389 DS keeps in place of a time, as seconds since 1970.
_MUST_CHANGE = _NO_UNLOCK = 0.0
_EXPIRES_NEVER = 1.0

# RFC 4517 section 3.3.13; minutes and seconds may be missing.
_TIME = re.compile(rb"(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)?(\d\d)?(?:[.,]\d+)?(?:Z|([+-])(\d\d)(\d\d)?)")


class Refusal(NamedTuple):
    """Why an account may not be used; ``detail`` says what told so, for the log."""

    reason: Reason
    detail: str


def refusal(entry: Entry, now: float) -> Refusal | None:
    """Why the account may not be used, if so. MUST_CHANGE only where nothing else is against it.

    :param entry: the user's, with those of ATTRIBUTES that it has.
    :param now: seconds since 1970.
    :raises ProtocolError: a control is malformed.
    """
    held = entry.attributes
    if not entry.controls and _NAMES.isdisjoint(held):  # what most entries are like
        return None
    if any(value.lower() == b"true" for value in held.get("nsaccountlock", ())):
        return Refusal(Reason.LOCKED, "nsAccountLock")
    value = entry.controls.get(ACCOUNT_USABILITY)
    told = None if value is None else controls.usability(value)
    return (
        _validity(held, now)
        or _tries(held, told, now)
        or _expiry(held, told, now)
        or expired_shadow(entry, now)
        or _unexplained(told)
        or _must_change(held, told)
    )


def expired_shadow(entry: Entry, now: float) -> Refusal | None:
    """Whether the account's last day (shadow(5)) is over; a negative number is no day."""
    for value in entry.attributes.get("shadowexpire", ()):
        if not re.fullmatch(rb"-?\d{1,9}", value) or 0 <= int(value) <= now // _DAY:
            return Refusal(Reason.EXPIRED, _shown("shadowExpire", value))
    return None


def _validity(held: Mapping[str, Sequence[bytes]], now: float) -> Refusal | None:
    """The time from and to which OpenLDAP's ppolicy lets a password count, whatever the policy."""
    for value in held.get("pwdstarttime", ()):
        if (start := _seconds(value)) is None or now < start:
            return Refusal(Reason.NOT_YET_VALID, _shown("pwdStartTime", value))
    for value in held.get("pwdendtime", ()):
        if (end := _seconds(value)) is None or now >= end:
            return Refusal(Reason.EXPIRED, _shown("pwdEndTime", value))
    return None


def _tries(held: Mapping[str, Sequence[bytes]], told: Usability | None, now: float) -> Refusal | None:
    """A lock after too many wrong passwords."""
    if told is not None:
        if told.inactive:
            until = f"for {told.unlock} s more" if told.unlock > 0 else "until an administrator unlocks it"
            return Refusal(Reason.TOO_MANY_TRIES, f"account usability control: locked {until}")
        if not told.available and _FOR_EVER in held.get("pwdaccountlockedtime", ()):
            return Refusal(Reason.LOCKED, _shown("pwdAccountLockedTime", _FOR_EVER))
        return None
    for value in held.get("pwdaccountlockedtime", ()):
        # For how long stands in the policy's entry, which need not be named in the user's.
        reason = Reason.LOCKED if value == _FOR_EVER else Reason.TOO_MANY_TRIES
        return Refusal(reason, _shown("pwdAccountLockedTime", value))
    if held.get("passwordretrycount") == [b"0"]:
        return None
    for value in held.get("accountunlocktime", ()):
        if (unlock := _seconds(value)) is None or unlock == _NO_UNLOCK or now < unlock:
            return Refusal(Reason.TOO_MANY_TRIES, _shown("accountUnlockTime", value))
    return None


def _expiry(held: Mapping[str, Sequence[bytes]], told: Usability | None, now: float) -> Refusal | None:
    """A password that has become too old. Grace logins are not given: nothing here would use them up."""
    if told is not None and not told.expired:
        return None
    # 389 DS says "expired" of every account that has a date, past or to come (seen in 2.3): its date decides.
    for value in held.get("passwordexpirationtime", ()):
        end = _seconds(value)
        if end is None or (now >= end and end not in (_MUST_CHANGE, _EXPIRES_NEVER)):
            return Refusal(Reason.EXPIRED, _shown("passwordExpirationTime", value))
        return None
    return (
        None
        if told is None
        else Refusal(Reason.EXPIRED, "account usability control, no passwordExpirationTime to be read")
    )


def _unexplained(told: Usability | None) -> Refusal | None:
    """OpenLDAP 2.5 gives no reason for a lock without end, nor for a password that is too old."""
    if told is None or told.available or told.inactive or told.expired or told.reset:
        return None
    return Refusal(Reason.LOCKED, "account usability control: locked or expired")


def _must_change(held: Mapping[str, Sequence[bytes]], told: Usability | None) -> Refusal | None:
    """A password that an administrator has set and its owner must replace."""
    if told is not None and told.reset:
        return Refusal(Reason.MUST_CHANGE, "account usability control")
    dates = held.get("passwordexpirationtime", ())
    if dates:  # 389 DS, where pwdReset stays when the policy is no longer so
        if told is None and _seconds(dates[0]) == _MUST_CHANGE:
            return Refusal(Reason.MUST_CHANGE, _shown("passwordExpirationTime", dates[0]))
    elif any(value.lower() == b"true" for value in held.get("pwdreset", ())):
        return Refusal(Reason.MUST_CHANGE, "pwdReset")
    return None


def _seconds(value: bytes) -> float | None:
    """A GeneralizedTime as seconds since 1970, its fraction dropped; None: it is none."""
    match = _TIME.fullmatch(value)
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
    sign, hours, minutes = match.groups()[6:]
    offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
    try:
        # A leap second is the next minute's first.
        whole = datetime(year, month, day, hour, minute, tzinfo=UTC) + timedelta(seconds=second)
        return (whole + offset if sign == b"-" else whole - offset).timestamp()
    except (ValueError, OverflowError):
        return None


def _shown(attribute: str, value: bytes) -> str:
    return f"{attribute} {value[:32].decode('ascii', 'backslashreplace')}"
