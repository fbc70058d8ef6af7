from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pysaslauthd.auth import Mechanism
from pysaslauthd.flow import run
from pysaslauthd.mechanisms.realms import Nobody, RealmMechanism
from pysaslauthd.model import AuthRequest, Identity, Outcome, Reason, identify


class Named:
    """Accepts all; says who it was."""

    def __init__(self, name: str) -> None:
        self._name = name

    def key(self, identity: Identity) -> bytes:
        return identity.user

    async def check(self, identity: Identity, password: bytes) -> Outcome:
        return Outcome(Reason.OK, f"{self._name} {identity.user.decode()} {password.decode()}")


REALMS = RealmMechanism({b"hoge.cxm": Named("hoge"), b"cxm": Named("cxm")}, Named("main"))
CLOSED = RealmMechanism({b"hoge.cxm": Named("hoge")}, Nobody())


def who(login: bytes, realm: bytes = b"") -> Identity:
    return identify(AuthRequest(login, b"", realm=realm))


def decided(mechanism: Mechanism, identity: Identity) -> Outcome:
    outcomes: list[Outcome | None] = []
    run(mechanism.check(identity, b"pw"), lambda outcome, _: outcomes.append(outcome))
    (outcome,) = outcomes
    assert outcome is not None
    return outcome


def test_a_login_goes_to_its_own_realm() -> None:
    for identity, name in (
        (who(b"penguin@hoge.cxm"), "hoge"),
        (who(b"penguin@HOGE.Cxm"), "hoge"),
        (who(b"penguin", b"hoge.cxm"), "hoge"),
        (who(b"penguin@cxm", b"hoge.cxm"), "cxm"),
        (who(b"penguin@mail.hoge.cxm"), "main"),
        (who(b"penguin@hoge.cxm."), "main"),
        (who(b"penguin@../hoge.cxm"), "main"),
        (who(b"penguin"), "main"),
    ):
        assert decided(REALMS, identity) == Outcome(Reason.OK, f"{name} penguin pw")


def test_two_realms_never_share_a_key() -> None:
    keys = {REALMS.key(who(login)) for login in (b"penguin@hoge.cxm", b"penguin@cxm", b"penguin@other.cxm", b"penguin")}
    assert keys == {b"hoge.cxm\0penguin", b"cxm\0penguin", b"\0penguin"}
    assert REALMS.key(who(b"penguin", b"HOGE.CXM")) == REALMS.key(who(b"penguin@hoge.cxm"))


@given(st.tuples(*[st.binary()] * 2), st.tuples(*[st.binary()] * 2))
def test_keys_are_equal_only_within_one_realm(one: tuple[bytes, bytes], other: tuple[bytes, bytes]) -> None:
    identities = [Identity(user, user, domain, domain, b"", domain) for user, domain in (one, other)]
    listed = [domain.lower() if domain.lower() in (b"hoge.cxm", b"cxm") else b"" for _, domain in (one, other)]
    same = listed[0] == listed[1] and one[0] == other[0]
    assert (REALMS.key(identities[0]) == REALMS.key(identities[1])) is same


def test_an_unlisted_realm_can_be_refused() -> None:
    assert decided(CLOSED, who(b"penguin@hoge.cxm")).reason is Reason.OK
    for login in (b"penguin@cxm", b"penguin", b"penguin@hoge.cxm@cxm"):
        outcome = decided(CLOSED, who(login))
        assert (outcome.reason, outcome.detail) == (
            Reason.UNKNOWN_REALM,
            "not in realm_config, and realm_unlisted is refuse",
        )
    assert CLOSED.key(who(b"a@cxm")) != CLOSED.key(who(b"b@cxm")) != CLOSED.key(who(b"b@xcm"))
