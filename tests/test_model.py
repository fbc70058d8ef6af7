from __future__ import annotations

import operator
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysaslauthd.model import AuthRequest, Identity, Outcome, Reason, Verdict, identify


def who(login: bytes, realm: bytes = b"", **options: object) -> Identity:
    return identify(AuthRequest(login, b"penguin-pass", b"smtp", realm), **options)  # type: ignore[arg-type]  # as given


def test_every_reason_has_one_verdict() -> None:
    assert {reason.verdict for reason in Reason} == set(Verdict)
    assert [reason for reason in Reason if reason.verdict is Verdict.ACCEPTED] == [Reason.OK]
    assert Outcome(Reason.DIRECTORY_DOWN).verdict is Verdict.UNAVAILABLE
    assert Outcome(Reason.WRONG_PASSWORD).verdict is Verdict.REJECTED


@pytest.mark.parametrize("render", [repr, str, "{}".format, lambda request: operator.mod("%s", (request,))])
def test_a_request_never_shows_its_password(render: Callable[[object], str]) -> None:
    request = AuthRequest(b"penguin", b"penguin-pass", b"smtp", b"hoge.cxm", b"192.0.2.1")
    text = render(request)
    assert "penguin-pass" not in text
    assert "hoge.cxm" in text


@pytest.mark.parametrize(
    ("login", "realm", "default"),
    [
        (b"penguin", b"hoge.cxm", b""),
        (b"penguin@hoge.cxm", b"", b""),
        (b"penguin@hoge.cxm", b"hoge.cxm", b""),
        (b"penguin", b"", b"hoge.cxm"),
        (b"penguin@hoge.cxm", b"", b"elsewhere.cxm"),
    ],
)
@pytest.mark.parametrize("append_realm", [False, True])
def test_one_person_has_one_address_however_it_was_typed(
    login: bytes, realm: bytes, default: bytes, append_realm: bool
) -> None:
    identity = who(login, realm, default_realm=default, append_realm=append_realm)
    assert identity.address == b"penguin@hoge.cxm"
    assert (identity.user, identity.domain) == (b"penguin", b"hoge.cxm")


def test_a_login_is_cut_at_its_last_at_sign() -> None:
    assert who(b"a@b@hoge.cxm")[:3] == (b"a@b@hoge.cxm", b"a@b", b"hoge.cxm")


def test_without_any_realm_the_address_is_the_user_alone() -> None:
    assert who(b"penguin").address == b"penguin"
    assert who(b"penguin@").address == b"penguin"


def test_append_realm_makes_the_login_carry_the_realm_once() -> None:
    assert who(b"penguin", b"hoge.cxm", append_realm=True).login == b"penguin@hoge.cxm"
    assert who(b"penguin@hoge.cxm", b"hoge.cxm", append_realm=True).login == b"penguin@hoge.cxm"
    assert who(b"penguin@HOGE.cxm", b"hoge.cxm", append_realm=True).login == b"penguin@HOGE.cxm"
    assert who(b"penguin", b"", append_realm=True).login == b"penguin"


def test_append_realm_takes_a_foreign_domain_for_part_of_the_name_like_the_original() -> None:
    identity = who(b"penguin@zoo.cxm", b"hoge.cxm", append_realm=True)
    assert identity[:3] == (b"penguin@zoo.cxm@hoge.cxm", b"penguin@zoo.cxm", b"hoge.cxm")


@given(st.binary(), st.binary(), st.binary(), st.booleans())
def test_any_octets_have_an_identity_that_loses_none_of_them(
    login: bytes, realm: bytes, default: bytes, append_realm: bool
) -> None:
    identity = who(login, realm, default_realm=default, append_realm=append_realm)
    assert identity.login.startswith(login)
    assert identity.user in identity.login
