from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mechanisms.fake import NOW, entry
from pysaslauthd.mechanisms.state import ATTRIBUTES, expired_shadow, refusal
from pysaslauthd.model import Reason
from pysaslauthd.wire.ldap.controls import ACCOUNT_USABILITY

USABLE, LOCKED, RESET, EXPIRED, UNUSABLE = (
    {ACCOUNT_USABILITY: bytes.fromhex(octets)}
    for octets in ("800100", "a10d8001ff81010082010084020e10", "a1098001008101ff820100", "a1038201ff", "a100")
)
PAST, TO_COME = "20231114221320Z", "20231114221321Z"  # NOW, and a second later
EPOCH, NOT_FIRST, EVER = "19700101000000Z", "19700101000001Z", "000001010000Z"

BY_ATTRIBUTES: list[tuple[dict[str, str | Sequence[str]], Reason | None]] = [
    ({}, None),
    ({"userPassword": "x"}, None),
    ({"nsAccountLock": "true"}, Reason.LOCKED),
    ({"nsAccountLock": "TRUE"}, Reason.LOCKED),
    ({"nsAccountLock": ["false", "true"]}, Reason.LOCKED),
    ({"nsAccountLock": "false"}, None),
    ({"nsAccountLock": "yes"}, None),
    ({"nsAccountLock": "true "}, None),
    ({"accountUnlockTime": TO_COME}, Reason.TOO_MANY_TRIES),
    ({"accountUnlockTime": PAST}, None),
    ({"accountUnlockTime": EPOCH}, Reason.TOO_MANY_TRIES),
    ({"accountUnlockTime": "soon"}, Reason.TOO_MANY_TRIES),
    ({"accountUnlockTime": TO_COME, "passwordRetryCount": "3"}, Reason.TOO_MANY_TRIES),
    ({"accountUnlockTime": TO_COME, "passwordRetryCount": "0"}, None),
    ({"passwordRetryCount": "3"}, None),
    ({"passwordExpirationTime": PAST}, Reason.EXPIRED),
    ({"passwordExpirationTime": TO_COME}, None),
    ({"passwordExpirationTime": "soon"}, Reason.EXPIRED),
    ({"passwordExpirationTime": NOT_FIRST}, None),
    ({"passwordExpirationTime": EPOCH}, Reason.MUST_CHANGE),
    ({"passwordExpirationTime": TO_COME, "pwdReset": "TRUE"}, None),
    ({"pwdReset": "TRUE"}, Reason.MUST_CHANGE),
    ({"pwdReset": "FALSE"}, None),
    ({"pwdAccountLockedTime": EVER}, Reason.LOCKED),
    ({"pwdAccountLockedTime": PAST}, Reason.TOO_MANY_TRIES),
    ({"pwdStartTime": TO_COME}, Reason.NOT_YET_VALID),
    ({"pwdStartTime": PAST}, None),
    ({"pwdStartTime": "soon"}, Reason.NOT_YET_VALID),
    ({"pwdEndTime": PAST}, Reason.EXPIRED),
    ({"pwdEndTime": TO_COME}, None),
    ({"pwdEndTime": "soon"}, Reason.EXPIRED),
    ({"shadowExpire": "19675"}, Reason.EXPIRED),
    ({"shadowExpire": "19676"}, None),
    ({"shadowExpire": "0"}, Reason.EXPIRED),
    ({"shadowExpire": "-1"}, None),
    ({"shadowExpire": "99999"}, None),
    ({"shadowExpire": "tomorrow"}, Reason.EXPIRED),
    ({"pwdReset": "TRUE", "shadowExpire": "1"}, Reason.EXPIRED),
]
BY_CONTROL: list[tuple[dict[str, bytes], dict[str, str], Reason | None]] = [
    (USABLE, {}, None),
    (LOCKED, {}, Reason.TOO_MANY_TRIES),
    (RESET, {}, Reason.MUST_CHANGE),
    (EXPIRED, {}, Reason.EXPIRED),
    (UNUSABLE, {}, Reason.LOCKED),
    # What a policy has left behind no longer counts where the server says so.
    (USABLE, {"accountUnlockTime": TO_COME}, None),
    (USABLE, {"passwordExpirationTime": PAST}, None),
    (USABLE, {"passwordExpirationTime": EPOCH, "pwdReset": "TRUE"}, None),
    (USABLE, {"pwdAccountLockedTime": PAST}, None),
    (USABLE, {"pwdAccountLockedTime": EVER}, None),
    # What the control does not know counts all the same.
    (USABLE, {"nsAccountLock": "true"}, Reason.LOCKED),
    (USABLE, {"pwdReset": "TRUE"}, Reason.MUST_CHANGE),
    (USABLE, {"shadowExpire": "1"}, Reason.EXPIRED),
    (RESET, {"shadowExpire": "1"}, Reason.EXPIRED),
    # 389 DS says expired of whoever has a date.
    (EXPIRED, {"passwordExpirationTime": TO_COME}, None),
    (EXPIRED, {"passwordExpirationTime": NOT_FIRST}, None),
    (EXPIRED, {"passwordExpirationTime": PAST}, Reason.EXPIRED),
    # OpenLDAP gives no reason in the control.
    (UNUSABLE, {"pwdAccountLockedTime": EVER}, Reason.LOCKED),
    (UNUSABLE, {"pwdStartTime": TO_COME}, Reason.NOT_YET_VALID),
    (UNUSABLE, {"pwdEndTime": PAST}, Reason.EXPIRED),
]


@pytest.mark.parametrize(("held", "reason"), BY_ATTRIBUTES)
def test_attributes_tell_the_state(held: dict[str, str | Sequence[str]], reason: Reason | None) -> None:
    found = refusal(entry(**held), NOW)
    assert (found.reason if found else None) is reason
    assert found is None or found.detail.startswith(tuple(held))


@pytest.mark.parametrize(("control", "held", "reason"), BY_CONTROL)
def test_the_server_s_own_word_counts_for_more(
    control: dict[str, bytes], held: dict[str, str], reason: Reason | None
) -> None:
    found = refusal(entry(control, **held), NOW)
    assert (found.reason if found else None) is reason


def test_the_control_s_detail_tells_for_how_long() -> None:
    found = refusal(entry(LOCKED), NOW)
    assert found is not None
    assert found.detail == "account usability control: locked for 3600 s more"
    for_ever = refusal(entry({ACCOUNT_USABILITY: bytes.fromhex("a1038001ff")}), NOW)
    assert for_ever is not None
    assert for_ever.detail.endswith("until an administrator unlocks it")


@pytest.mark.parametrize(
    "time",
    [
        "20231114221319Z",
        "20231114221319.999Z",
        "202311142213Z",
        "2023111422Z",
        "20231114231319+0100",
        "20231114171319-05",
        "20231114221259.5Z",
        "20231114221260Z",
    ],
)
def test_times_of_every_form_are_read(time: str) -> None:
    assert refusal(entry(pwdStartTime=time), NOW) is None
    ended = refusal(entry(pwdEndTime=time), NOW)
    assert ended is not None
    assert ended.detail == f"pwdEndTime {time}"


@pytest.mark.parametrize("time", ["", "20231314221320Z", "20230230000000Z", "00000101000000Z", "20231114221320", "Z"])
def test_what_is_no_time_is_taken_to_count(time: str) -> None:
    assert refusal(entry(pwdStartTime=time), NOW) is not None


def test_bind_looks_at_the_last_day_alone() -> None:
    held = entry(nsAccountLock="true", pwdEndTime=PAST, shadowExpire="19676")
    assert expired_shadow(held, NOW) is None
    assert expired_shadow(held, NOW + 86400) == (Reason.EXPIRED, "shadowExpire 19676")


@given(
    st.dictionaries(st.sampled_from(ATTRIBUTES), st.lists(st.binary(max_size=20), min_size=1, max_size=2)),
    st.floats(0, 4e9),
)
def test_no_octets_raise(held: dict[str, list[bytes]], now: float) -> None:
    found = refusal(entry(**held), now)
    assert found is None or len(found.detail) < 160  # the log escapes it
