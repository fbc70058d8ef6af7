"""The lines of a configuration, and what becomes of them."""

from __future__ import annotations

import pytest

from pysaslauthd import config
from pysaslauthd.errors import ConfigError

BASE = "ldap_search_base: ou=People,dc=hoge,dc=cxm"
CUSTOM = "ldap_auth_method: custom"


def parse(*lines: str) -> config.Loaded:
    """The settings of a file named f."""
    return config.parse("\n".join(lines).encode(), "f")


def error(*lines: str) -> str:
    """What is wrong with it."""
    with pytest.raises(ConfigError) as caught:
        parse(*lines)
    return str(caught.value)
