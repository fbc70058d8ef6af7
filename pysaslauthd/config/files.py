"""Reads saslauthd.conf and the files that it names."""

from __future__ import annotations

import errno
import os
import shlex
import stat
from dataclasses import replace

from pysaslauthd.config.ldap import LdapSettings
from pysaslauthd.config.reader import read
from pysaslauthd.config.source import Loaded, Source
from pysaslauthd.config.tls import client_context
from pysaslauthd.errors import ConfigError

MAX_FILE = 1 << 20
"""Bytes a configuration may have; a wrong path must not fill the memory."""

MAX_SECRET = 64 << 10
"""Bytes a password file may have: more than any token, less than a wrong path may hold."""

_ADVICE = {
    errno.ENOENT: "create it, or name another with -O",
    errno.EACCES: "let the daemon's user read it",
    errno.EISDIR: "name a file",
}


def load(path: str) -> Loaded:
    """The configuration in a file, with the password that a password file holds.

    :raises ConfigError: the file, or one that it names, cannot be read or used.
    """
    try:
        text, status = _contents(path, MAX_FILE)
    except OSError as error:
        advice = _ADVICE.get(error.errno or 0)
        raise ConfigError(f"cannot be read: {error.strerror}" + (f"; {advice}" if advice else ""), file=path) from None
    except ValueError as error:
        raise ConfigError(f"cannot be read: {error}", file=path) from None
    settings, own, source = read(text, path)
    if settings.password:
        _warn_of_readers("ldap_password", path, status, source)
    if settings.password_file:
        settings = _with_password(settings, source)
    if settings.uses_tls:
        _check_tls(settings, source)
    return Loaded(settings, own, tuple(source.warnings))


def _contents(path: str, most: int) -> tuple[bytes, os.stat_result]:
    """A file's bytes and its status, both of the same opened file.

    :raises OSError: it cannot be read.
    :raises ValueError: it is longer than ``most`` bytes.
    """
    with open(path, "rb") as file:
        contents = file.read(most + 1)
        if len(contents) > most:
            raise ValueError(f"longer than {most} bytes")
        return contents, os.fstat(file.fileno())


def _with_password(settings: LdapSettings, source: Source) -> LdapSettings:
    name, path = "ldap_password_file", settings.password_file
    try:
        contents, status = _contents(path, MAX_SECRET)
    except OSError as error:
        raise source.error(name, f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise source.error(name, f"{path} cannot be read: {error}") from None
    password = contents.removesuffix(b"\n").removesuffix(b"\r")
    if not password:
        raise source.error(name, f"{path} is empty")
    if b"\0" in password:
        raise source.error(name, f"{path} holds a NUL byte")
    if b"\n" in password:
        source.warn(name, f"{path} has several lines; all of them are the password")
    _warn_of_readers(name, path, status, source)
    return replace(settings, password=password)


def _check_tls(settings: LdapSettings, source: Source) -> None:
    try:
        client_context(settings)
        status = os.stat(settings.tls_key) if settings.tls_key else None
    except ConfigError as error:
        raise source.error(error.key or "ldap_servers", error.reason) from None
    if status is not None:
        _warn_of_readers("ldap_tls_key", settings.tls_key, status, source)


def _warn_of_readers(key: str, path: str, status: os.stat_result, source: Source) -> None:
    """Warn where others than the owner may read a secret.

    root's group is no other: systemd gives credentials mode 0440 and that group.
    """
    others = status.st_mode & stat.S_IROTH
    group = status.st_mode & stat.S_IRGRP and status.st_gid != 0
    if others or group:
        who = "everybody" if others else f"group {status.st_gid}"
        source.warn(key, f"{path} holds a secret that {who} can read; chmod 600 {shlex.quote(path)}")
