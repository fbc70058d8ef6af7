"""Where a socket lies and who may reach it: ``PATH[:mode=0660,owner=postfix,group=postfix]``."""

from __future__ import annotations

import grp
import os
import pwd
import re
from typing import NamedTuple

from pysaslauthd.errors import ConfigError

_FORM = "PATH[:mode=0660,owner=postfix,group=postfix]"
_UNCHANGED = -1


class SocketPlace(NamedTuple):
    """A UNIX socket to make."""

    path: str
    """Absolute."""
    mode: int
    """Permission bits."""
    owner: int = _UNCHANGED
    """Numeric user id; -1 leaves the daemon's own."""
    group: int = _UNCHANGED
    """Numeric group id; -1 leaves the daemon's own."""

    @classmethod
    def parse(cls, text: str, *, mode: int) -> SocketPlace:
        """A socket as the command line names it. A path with a colon in it cannot be told.

        :param mode: permission bits where the text has none.
        :raises ConfigError: for any other text, and for a user or a group that this system does not know.
        """
        path, colon, rest = text.partition(":")
        if not path.startswith("/"):
            raise ConfigError(f"{text!r}: an absolute path is needed, as in {_FORM}")
        place = cls(os.path.normpath(path), mode)
        told = set()
        for word in rest.split(",") if colon else []:
            name, _, value = word.partition("=")
            if name in told:
                raise ConfigError(f"{text!r}: {name}= stands there twice")
            told.add(name)
            match name:
                case "mode":
                    place = place._replace(mode=_mode(value))
                case "owner":
                    place = place._replace(owner=_user(value))
                case "group":
                    place = place._replace(group=_group(value))
                case _:
                    raise ConfigError(f"{text!r}: {word!r} is none of mode=, owner=, group=, as in {_FORM}")
        return place


def _mode(value: str) -> int:
    if not re.fullmatch("0?[0-7]{3}", value):
        raise ConfigError(f"mode={value}: three octal digits are needed, as in mode=0660")
    return int(value, 8)


def _user(value: str) -> int:
    if re.fullmatch("[0-9]{1,9}", value):
        return int(value)
    try:
        return pwd.getpwnam(value).pw_uid
    except KeyError:
        raise ConfigError(f"owner={value}: there is no such user") from None


def _group(value: str) -> int:
    if re.fullmatch("[0-9]{1,9}", value):
        return int(value)
    try:
        return grp.getgrnam(value).gr_gid
    except KeyError:
        raise ConfigError(f"group={value}: there is no such group") from None
