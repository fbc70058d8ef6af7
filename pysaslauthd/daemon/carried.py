"""What of the cache is still true after a reload."""

from __future__ import annotations

import logging
from dataclasses import replace

from pysaslauthd.cache import Cache
from pysaslauthd.config import LdapSettings, Loaded

logger = logging.getLogger(__name__)


def carried_over(cache: Cache, before: Loaded, after: Loaded) -> Cache | None:
    """The cache, without the logins of realms whose answers may be others now; None where it cannot be kept."""
    if before.daemon.cache_stale != after.daemon.cache_stale:  # it is made for one
        return None
    if before.daemon.cache_revalidate != after.daemon.cache_revalidate:  # what is in it goes by the one before
        return None
    if bool(before.daemon.realm_config) != bool(after.daemon.realm_config):  # its keys have another form
        return None
    kept = {
        realm
        for realm in before.realms.keys() & after.realms.keys()
        if same_answers(before.realms[realm].settings, after.realms[realm].settings)
    }
    listed = before.realms.keys() | after.realms.keys()
    unlisted = before.daemon.serves_unlisted or after.daemon.serves_unlisted
    both = before.daemon.serves_unlisted and after.daemon.serves_unlisted
    unlisted_kept = not unlisted or (both and same_answers(before.settings, after.settings))
    if unlisted_kept and kept == listed:
        return cache
    if not kept and not (unlisted and unlisted_kept):
        return None

    def untrue(address: bytes) -> bool:
        _, at, domain = address.lower().rpartition(b"@")
        realm = domain if at else b""
        return realm not in kept if realm in listed else not unlisted_kept

    logger.info("reload: %d cached logins of changed realms are forgotten", cache.drop(untrue))
    return cache


def same_answers(before: LdapSettings, after: LdapSettings) -> bool:
    """Whether what was accepted under one would be under the other.

    True where they differ at most in how long something is waited for, in the service account's password, and in the
    names of files of TLS keys: whatever else differs may mean other people or other passwords. An LDIF file is asked
    anew in any case; that costs nothing. Where changes are told, one may be missed between two watches.
    """
    if before.embedded or after.embedded or before.watch or after.watch:
        return False
    return _answering(before) == _answering(after)


def _answering(settings: LdapSettings) -> LdapSettings:
    return replace(
        settings,
        password=b"",
        password_file="",
        tls_cert="",
        tls_key="",
        tls_ciphers="",
        timeout=0.0,
        connect_timeout=0.0,
        time_limit=0,
        restart=True,
        debug=0,
    )
