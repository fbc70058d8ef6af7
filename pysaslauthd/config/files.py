"""Reads saslauthd.conf and the files that it names."""

from __future__ import annotations

import errno
import os
import shlex
import stat
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from pysaslauthd.config.keys import CREDENTIALS
from pysaslauthd.config.ldap import LdapSettings
from pysaslauthd.config.reader import Main, read, read_realm
from pysaslauthd.config.realms import realm_files
from pysaslauthd.config.source import Loaded, Realm, Source
from pysaslauthd.config.tls import client_context
from pysaslauthd.errors import ConfigError

MAX_FILE = 1 << 20
"""Bytes a configuration may have; a wrong path must not fill the memory."""

MAX_SECRET = 64 << 10
"""Bytes a password file may have: more than any token, less than a wrong path may hold."""

_ADVICE = {
    errno.ENOENT: "create it, or name another with -O",
    errno.EISDIR: "name a file",
}
_REALM_ADVICE = {
    errno.ENOENT: "it is a link to nowhere",
    errno.EISDIR: "rename it, or remove it",
}


def load(path: str, *, denied: str = "let the daemon's user read it") -> Loaded:
    """The configuration in a file and in those of its realms, with the passwords that password files hold.

    :param denied: what to do where a file may not be read.
    :raises ConfigError: the file, or one that it names, cannot be read or used.
    """
    text, status = _configuration(path, _ADVICE, denied)
    main = read(text, path)
    settings = main.settings
    _warn_of_own_password(path, status, main.source)
    tried: set[LdapSettings] = set()
    if main.daemon.serves_unlisted:
        settings = _complete(settings, main.source, tried, denied)
    if not main.daemon.realm_config:
        return Loaded(settings, main.daemon, tuple(main.source.warnings))
    realms, warnings = _realms(main, tried, denied)
    return Loaded(settings, main.daemon, (*main.source.warnings, *warnings), realms)


def _realms(main: Main, tried: set[LdapSettings], denied: str) -> tuple[Mapping[bytes, Realm], list[str]]:
    """What the realms' own files say, and the warnings."""
    realms, warnings = {}, []
    for realm, path in realm_files(main.daemon.realm_config, main.source).items():
        text, status = _configuration(path, _REALM_ADVICE, denied)
        settings, source = read_realm(text, path, main)
        _warn_of_own_password(path, status, source)
        settings = _complete(settings, source, tried, denied)
        realms[realm] = Realm(os.path.basename(source.file).removesuffix(".conf"), path, settings)
        warnings += source.warnings
    return MappingProxyType(realms), warnings


def _configuration(path: str, advice: Mapping[int, str], denied: str) -> tuple[bytes, os.stat_result]:
    try:
        return _contents(path, MAX_FILE)
    except OSError as error:
        raise ConfigError(_unreadable(error, {**advice, errno.EACCES: denied}), file=path) from None
    except ValueError as error:
        raise ConfigError(f"cannot be read: {error}", file=path) from None


def _unreadable(error: OSError, advice: Mapping[int, str]) -> str:
    to_do = advice.get(error.errno or 0)
    return f"cannot be read: {error.strerror}" + (f"; {to_do}" if to_do else "")


def _warn_of_own_password(path: str, status: os.stat_result, source: Source) -> None:
    if "ldap_password" in source.lines:
        _warn_of_readers("ldap_password", path, status, source)


def _complete(settings: LdapSettings, source: Source, tried: set[LdapSettings], denied: str) -> LdapSettings:
    """The settings with what the files that they name hold.

    :param tried: settings whose TLS files have been tried; reading all authorities of a system takes 10 ms.
    """
    settings = replace(
        settings,
        password_file=_credential("ldap_password_file", settings.password_file, source),
        tls_key=_credential("ldap_tls_key", settings.tls_key, source),
    )
    if settings.password_file:
        settings = _with_password(settings, source, denied)
    if settings.uses_tls and settings.connections not in tried:
        _check_tls(settings, source)
        tried.add(settings.connections)
    return settings


def _credential(key: str, path: str, source: Source) -> str:
    """A path with systemd's folder in place of its name."""
    if not path.startswith(CREDENTIALS):
        return path
    folder = os.environ.get("CREDENTIALS_DIRECTORY", "")
    if not folder:
        raise source.error(key, f"{path}: there is no CREDENTIALS_DIRECTORY; LoadCredential= in the unit makes one")
    return os.path.join(folder, path.removeprefix(CREDENTIALS))


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


def _with_password(settings: LdapSettings, source: Source, denied: str) -> LdapSettings:
    name, path = "ldap_password_file", settings.password_file
    try:
        contents, status = _contents(path, MAX_SECRET)
    except OSError as error:
        raise source.error(name, f"{path} {_unreadable(error, {errno.EACCES: denied})}") from None
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
