"""Which realms have a file of their own.

The folder is listed when the configuration is loaded; nothing is ever opened by a name that a client sends.
"""

from __future__ import annotations

import os
import re
from itertools import islice

from pysaslauthd.config.keys import shown
from pysaslauthd.config.source import Source, printable

MAX_FILES = 500
"""Files in the folder at most: each may mean a directory of its own, with nine connections (four for searches, five for
binds) to each of its servers, and a wrong path must not be walked for ever."""

# A domain as a login may carry it, host names and what is beyond ASCII included, or another word of that kind.
_FILE = re.compile(rb"([A-Za-z0-9_\x80-\xff](?:[A-Za-z0-9_.\x80-\xff-]*[A-Za-z0-9_\x80-\xff])?)\.conf")


def realm_files(folder: str, source: Source) -> dict[bytes, str]:
    """The path of each realm's file, by the realm in lower case, in order. Files that begin with a dot do not count.

    :param source: the main file, which is warned of every other file.
    :raises ConfigError: the folder cannot be listed, holds too much, or two files for one realm.
    """
    key = "realm_config"
    try:
        with os.scandir(folder) as found:
            names = [each.name for each in islice(found, MAX_FILES + 1)]
    except OSError as error:
        raise source.error(key, f"{folder} cannot be listed: {error.strerror}") from None
    if len(names) > MAX_FILES:
        raise source.error(key, f"{folder} holds more than {MAX_FILES} files")
    files: dict[bytes, str] = {}
    for name in sorted(names):
        match = _FILE.fullmatch(os.fsencode(name))
        if match is None:
            if not name.startswith("."):
                source.warn(key, f"{shown(printable(name))} in {folder} is passed over: it is not named REALM.conf")
            continue
        realm, path = match[1].lower(), os.path.join(folder, name)
        if realm in files:
            raise source.error(key, f"{files[realm]} and {path} are for one realm: upper and lower case are the same")
        files[realm] = path
    if not files:
        source.warn(key, f"{folder} holds no file REALM.conf")
    return files
