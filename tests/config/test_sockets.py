from __future__ import annotations

import grp
import os
import pwd

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysaslauthd.config.sockets import SocketPlace
from pysaslauthd.errors import ConfigError


def test_a_path_alone_has_the_options_mode_and_the_daemons_owner() -> None:
    assert SocketPlace.parse("/run/x/auth", mode=0o660) == SocketPlace("/run/x/auth", 0o660, -1, -1)


def test_mode_owner_and_group_come_in_any_order() -> None:
    user, group = pwd.getpwuid(os.getuid()), grp.getgrgid(os.getgid())
    wanted = SocketPlace("/x", 0o600, user.pw_uid, group.gr_gid)
    names = f"owner={user.pw_name}", f"group={group.gr_name}"
    assert SocketPlace.parse(f"/x:mode=0600,{names[0]},{names[1]}", mode=0o777) == wanted
    assert SocketPlace.parse(f"/x:{names[1]},{names[0]},mode=600", mode=0o777) == wanted


def test_numbers_are_taken_for_users_that_have_no_name_here() -> None:
    assert SocketPlace.parse("/x:owner=4711,group=0", mode=0o777) == SocketPlace("/x", 0o777, 4711, 0)


def test_a_path_has_one_spelling() -> None:
    assert SocketPlace.parse("/run//x/../y/", mode=0o777).path == "/run/y"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "'': an absolute path is needed, as in PATH[:mode=0660,owner=postfix,group=postfix]"),
        ("auth", "'auth': an absolute path is needed"),
        (":mode=0660", "an absolute path is needed"),
        ("/x:", "'' is none of mode=, owner=, group="),
        ("/x:0660", "'0660' is none of mode=, owner=, group="),
        ("/x:mode=0660,", "'' is none of mode=, owner=, group="),
        ("/x:user=postfix", "'user=postfix' is none of mode=, owner=, group="),
        ("/a:b/auth", "'b/auth' is none of mode=, owner=, group="),
        ("/x:mode=0660,mode=0600", "mode= stands there twice"),
        ("/x:mode=rw", "mode=rw: three octal digits are needed, as in mode=0660"),
        ("/x:mode=4777", "three octal digits"),
        ("/x:mode=0888", "three octal digits"),
        ("/x:owner=", "owner=: there is no such user"),
        ("/x:owner=no-such-one", "owner=no-such-one: there is no such user"),
        ("/x:group=no-such-one", "group=no-such-one: there is no such group"),
        ("/x:owner=9999999999", "owner=9999999999: there is no such user"),
    ],
)
def test_a_wrong_one_is_told_with_what_is_wrong(text: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as raised:
        SocketPlace.parse(text, mode=0o777)
    assert complaint in str(raised.value)


@given(st.text())
def test_any_text_is_a_place_or_a_complaint(text: str) -> None:
    try:
        place = SocketPlace.parse(f"/x:{text}", mode=0o777)
    except ConfigError:
        return
    assert place.path == "/x"
    assert 0 <= place.mode <= 0o777
