"""/etc/saslauthd.conf as frozen dataclasses.

:func:`load` reads a file and what it names; :func:`parse` takes the text alone. :data:`KEYS` describes every
key for documentation.
"""

from pysaslauthd.config.daemon import DaemonSettings
from pysaslauthd.config.files import load
from pysaslauthd.config.keys import Key, Kind
from pysaslauthd.config.ldap import AuthMethod, Deref, GroupMatch, LdapSettings, Scope
from pysaslauthd.config.reader import KEYS, parse
from pysaslauthd.config.source import Loaded
from pysaslauthd.config.tls import client_context
from pysaslauthd.config.uri import Scheme, ServerUri

__all__ = [
    "KEYS",
    "AuthMethod",
    "DaemonSettings",
    "Deref",
    "GroupMatch",
    "Key",
    "Kind",
    "LdapSettings",
    "Loaded",
    "Scheme",
    "Scope",
    "ServerUri",
    "client_context",
    "load",
    "parse",
]
