from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysaslauthd.directory.interface import Bound
from pysaslauthd.errors import ProtocolError
from pysaslauthd.mechanisms import verdict
from pysaslauthd.model import Outcome, Reason, Verdict

POLICY = "1.3.6.1.4.1.42.2.27.8.5.1"
EXPIRED = "2.16.840.1.113730.3.4.4"
EXPIRING = "2.16.840.1.113730.3.4.5"
EXPIRED_POLICY, LOCKED_POLICY, RESET_POLICY = (bytes([0x30, 3, 0x81, 1, error]) for error in range(3))
GRACE_POLICY = bytes.fromhex("3005a003810103")
WARNING_POLICY = bytes.fromhex("3006a00480021000")


def reason(code: int, message: str = "", /, **controls: bytes) -> Reason:
    oids = {"policy": POLICY, "expired": EXPIRED, "expiring": EXPIRING}
    return verdict.of_bind(Bound(code, message, {oids[name]: value for name, value in controls.items()})).reason


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (0, Reason.OK),
        (32, Reason.UNKNOWN_USER),
        (34, Reason.UNKNOWN_USER),
        (48, Reason.NO_PASSWORD),
        (49, Reason.WRONG_PASSWORD),
        (19, Reason.DIRECTORY_REFUSED),
        (53, Reason.DIRECTORY_REFUSED),
        (1, Reason.DIRECTORY_REFUSED),
        (80, Reason.DIRECTORY_REFUSED),
        (4711, Reason.DIRECTORY_REFUSED),
    ],
)
def test_a_result_code_alone_is_a_reason(code: int, expected: Reason) -> None:
    assert reason(code) is expected


@pytest.mark.parametrize(
    ("code", "message", "expected"),
    [
        (53, "Account inactivated. Contact system administrator.", Reason.LOCKED),
        (19, "Exceed password retry limit. Please try later.", Reason.TOO_MANY_TRIES),
        (19, "Exceed password retry limit. Contact system administrator to reset.", Reason.TOO_MANY_TRIES),
        (
            19,
            "Account inactivity limit exceeded. Contact system administrator to reset.",
            Reason.INACTIVE,
        ),
        (19, "TPR checking. Contact system administrator", Reason.EXPIRED),
        (49, "password expired!", Reason.EXPIRED),
        (53, "Unauthenticated binds are not allowed", Reason.DIRECTORY_REFUSED),
        (49, "Account inactivated.", Reason.WRONG_PASSWORD),
    ],
)
def test_the_words_of_389_ds_are_a_reason(code: int, message: str, expected: Reason) -> None:
    assert reason(code, message) is expected


@pytest.mark.parametrize(
    ("code", "controls", "expected"),
    [
        (0, {"policy": RESET_POLICY, "expired": b"0"}, Reason.MUST_CHANGE),
        (0, {"policy": RESET_POLICY}, Reason.MUST_CHANGE),
        (0, {"expired": b"0"}, Reason.MUST_CHANGE),
        (0, {"policy": GRACE_POLICY, "expired": b"0"}, Reason.OK),
        (0, {"policy": WARNING_POLICY, "expiring": b"4096"}, Reason.OK),
        (0, {"expiring": b"4096"}, Reason.OK),
        (0, {"policy": b"\x30\x00"}, Reason.OK),
        (49, {"policy": LOCKED_POLICY}, Reason.LOCKED),
        (49, {"policy": EXPIRED_POLICY}, Reason.EXPIRED),
        (49, {"policy": b"\x30\x00"}, Reason.WRONG_PASSWORD),
        (49, {"policy": RESET_POLICY}, Reason.WRONG_PASSWORD),
        (49, {"expired": b"0"}, Reason.EXPIRED),
        (53, {"policy": LOCKED_POLICY}, Reason.LOCKED),
    ],
)
def test_the_password_policy_controls_are_a_reason(code: int, controls: dict[str, bytes], expected: Reason) -> None:
    assert reason(code, **controls) is expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("525", Reason.UNKNOWN_USER),
        ("52e", Reason.WRONG_PASSWORD),
        ("52E", Reason.WRONG_PASSWORD),
        ("52f", Reason.LOCKED),
        ("530", Reason.LOCKED),
        ("531", Reason.LOCKED),
        ("532", Reason.EXPIRED),
        ("533", Reason.LOCKED),
        ("701", Reason.EXPIRED),
        ("773", Reason.MUST_CHANGE),
        ("775", Reason.TOO_MANY_TRIES),
        ("51f", Reason.DIRECTORY_REFUSED),  # no logon servers: says nothing about the password
        ("52ee", Reason.DIRECTORY_REFUSED),
    ],
)
def test_the_sub_codes_of_active_directory_are_a_reason(data: str, expected: Reason) -> None:
    text = f"80090308: LdapErr: DSID-0C09042A, comment: AcceptSecurityContext error, data {data}, v3839\0"
    assert reason(49, text) is expected
    assert reason(1, text) is Reason.DIRECTORY_REFUSED


def test_the_detail_tells_code_and_message_of_what_was_not_accepted() -> None:
    bound = Bound(53, "Account inactivated.", server="ldap://a")
    assert verdict.of_bind(bound) == Outcome(
        Reason.LOCKED, "bind: result 53 (unwillingToPerform): Account inactivated.", b"", "ldap://a"
    )
    assert verdict.of_bind(Bound(0, "welcome", server="ldap://a")) == Outcome(Reason.OK, "", b"", "ldap://a")


@given(st.integers(0, 200), st.text(), st.dictionaries(st.sampled_from([POLICY, EXPIRED]), st.binary(max_size=12)))
def test_only_success_is_accepted_whatever_comes_with_it(code: int, message: str, controls: dict[str, bytes]) -> None:
    try:
        outcome = verdict.of_bind(Bound(code, message, controls))
    except ProtocolError:
        return
    assert outcome.verdict is not Verdict.ACCEPTED or code == 0
