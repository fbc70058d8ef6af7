"""What the keys mean together: what follows from them, what contradicts, what has no effect, what is unwise.

Pure: nothing outside the settings is looked at. What depends on files stands in
:mod:`pysaslauthd.config.files`, what concerns SASL in :mod:`pysaslauthd.config.sasl`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from pysaslauthd.config.daemon import DaemonSettings
from pysaslauthd.config.keys import tokens_of
from pysaslauthd.config.ldap import AuthMethod, LdapSettings
from pysaslauthd.config.sasl import EXTERNAL, settle_sasl
from pysaslauthd.config.source import Source

_TLS_KEYS = (
    "ldap_tls_check_peer",
    "ldap_tls_cacert_file",
    "ldap_tls_cacert_dir",
    "ldap_tls_ciphers",
    "ldap_tls_cert",
    "ldap_tls_key",
)
_ACCOUNT_KEYS = ("ldap_bind_dn", "ldap_password", "ldap_password_file", "ldap_id", "ldap_authz_id")
_CONNECTION_KEYS = (
    "ldap_connect_timeout",
    "ldap_timeout",
    "ldap_time_limit",
    "ldap_version",
    "ldap_referrals",
    "ldap_restart",
)
_SASL_KEYS = ("ldap_mech", "ldap_id", "ldap_authz_id", "ldap_realm", "ldap_sasl_secprops")
_GROUP_SEARCH_KEYS = ("ldap_group_filter", "ldap_group_search_base", "ldap_group_scope")


def settle(settings: LdapSettings, source: Source) -> LdapSettings:
    """The settings as they are used: consistent, filters in parentheses, defaults that hang on others filled in.

    :raises ConfigError: keys contradict each other, or would let nobody in, or everybody.
    """
    settings = settle_sasl(settings, source)
    settings = _settle_version(settings, source)
    settings = _settle_account(settings, source)
    settings = _settle_filter(settings, source)
    settings = _settle_group(settings, source)
    _check_tls(settings, source)
    _check_watch(settings, source)
    _warn_of_no_effect(settings, source)
    return settings


def _settle_version(settings: LdapSettings, source: Source) -> LdapSettings:
    if settings.version == 2 and (settings.use_sasl or settings.start_tls or settings.watch):
        source.warn("ldap_version", "taken as 3, which SASL, StartTLS and ldap_watch need")
        return replace(settings, version=3)
    return settings


def _settle_account(settings: LdapSettings, source: Source) -> LdapSettings:
    if settings.password and settings.password_file:
        raise source.error("ldap_password_file", "ldap_password is given too; keep one of the two")
    if not settings.bind_dn and not settings.use_sasl:
        return replace(settings, password=b"", password_file="")
    return settings


def _enclosed(text: str, key: str, source: Source) -> str:
    """A filter in its outer parentheses."""
    filter_ = text
    if not text.startswith("("):
        filter_ = f"({text})"
        source.warn(key, f"no outer parentheses; read as {filter_}")
    # A parenthesis inside a value is written \28 or \29 (RFC 4515 section 3), so each one here is syntax.
    depth = 0
    for position, character in enumerate(filter_, 1):
        depth += (character == "(") - (character == ")")
        if depth == 0 and position < len(filter_):
            raise source.error(key, f"the first parenthesis closes before the end of {text}; join filters with (&…)")
    if depth:
        raise source.error(key, f"a parenthesis is not closed in {text}")
    return filter_


def _settle_filter(settings: LdapSettings, source: Source) -> LdapSettings:
    fastbind = settings.auth_method is AuthMethod.FASTBIND
    if fastbind and settings.use_sasl:
        return settings
    if fastbind and settings.filter.startswith("("):
        raise source.error(
            "ldap_filter", f"{settings.filter} is a filter; for fastbind, write the user's DN, uid=%u,ou=People,…"
        )
    filter_ = settings.filter if fastbind else _enclosed(settings.filter, "ldap_filter", source)
    places = (
        [("ldap_filter", filter_)]
        if fastbind
        else [("ldap_filter", filter_), ("ldap_search_base", settings.search_base)]
    )
    tokens = {token for _, template in places for token in tokens_of(template)}
    if not tokens & {"u", "U"}:
        hint = "; %s is the service, did you mean %u?" if "s" in tokens else ""
        source.warn("ldap_filter", f"neither %u nor %U: every login means the same entry{hint}")
    for name, template in places:
        if "D" in tokens_of(template):
            source.warn(name, "%D is empty here, it has a value in the keys of the group alone")
    if not fastbind and not settings.search_base and not settings.embedded:
        source.warn("ldap_search_base", "not set: the search starts at the root, where most servers find nobody")
    return replace(settings, filter=filter_)


def _settle_group(settings: LdapSettings, source: Source) -> LdapSettings:
    if not settings.checks_group:
        return settings
    if settings.auth_method is AuthMethod.FASTBIND and not settings.bind_dn and not settings.use_sasl:
        name = "ldap_group_dn" if settings.group_dn else "ldap_group_filter"
        source.warn(name, "the group is read anonymously, not as the user; the service account is ldap_bind_dn")
    if settings.group_match_method != "filter":
        if not settings.group_dn:
            raise source.error(
                "ldap_group_filter", "needs ldap_group_match_method: filter; as it stands nobody could be in the group"
            )
        return _settle_memberof(settings, source) if settings.group_match_method == "memberof" else settings
    if not settings.group_filter:
        raise source.error("ldap_group_match_method", "filter needs ldap_group_filter; there is nothing to search with")
    group_filter = _enclosed(settings.group_filter, "ldap_group_filter", source)
    base = settings.group_search_base or settings.search_base
    if not {"D", "u", "U"} & {*tokens_of(group_filter), *tokens_of(base)}:
        source.warn("ldap_group_filter", "none of %D, %u, %U: it asks the same of every user")
    return replace(settings, group_filter=group_filter, group_search_base=base)


def _settle_memberof(settings: LdapSettings, source: Source) -> LdapSettings:
    if settings.auth_method is AuthMethod.FASTBIND:
        raise source.error(
            "ldap_group_match_method",
            "memberof needs the user's entry, which fastbind does not read; use attr or filter",
        )
    if "D" in tokens_of(settings.group_dn):
        source.warn("ldap_group_dn", "%D is the user's own DN, no group's")
    return settings if source.given("ldap_group_attr") else replace(settings, group_attr="memberOf")


def _check_tls(settings: LdapSettings, source: Source) -> None:
    schemes = {server.scheme for server in settings.servers}
    if settings.start_tls and "ldaps" in schemes:
        raise source.error("ldap_start_tls", "StartTLS is for ldap:// servers; an ldaps:// server has TLS already")
    if bool(settings.tls_cert) != bool(settings.tls_key):
        one, other = ("ldap_tls_cert", "ldap_tls_key")[:: 1 if settings.tls_cert else -1]
        raise source.error(one, f"needs {other} too")
    if settings.uses_tls and not settings.tls_check_peer:
        source.warn("ldap_tls_check_peer", "the server is not verified: whoever stands between can read passwords")
    for server in settings.servers:
        if not settings.encrypts(server) and not server.local:
            source.warn(
                "ldap_servers", f"passwords cross the network to {server.text} in clear; use ldaps:// or ldap_start_tls"
            )
        if server.base and not server.domain:
            source.warn("ldap_servers", f"what follows the slash in {server.text} has no effect; see ldap_search_base")


def _check_watch(settings: LdapSettings, source: Source) -> None:
    for key, name in ((settings.referrals, "ldap_referrals"), (settings.deref != "never", "ldap_deref")):
        if settings.watch and key and not settings.embedded:
            source.warn(
                "ldap_watch",
                f"with {name}, who is found may be changed where nobody watches: cached logins are asked again after"
                " ldap_watch_grace",
            )


class _NoEffect(NamedTuple):
    keys: tuple[str, ...]
    where: str
    applies: Callable[[LdapSettings], bool]


def _fastbind(settings: LdapSettings) -> bool:
    return settings.auth_method is AuthMethod.FASTBIND


def _compares_none(settings: LdapSettings) -> bool:
    return settings.auth_method is not AuthMethod.CUSTOM


def _searches_group(settings: LdapSettings) -> bool:
    return settings.checks_group and settings.group_match_method == "filter"


_NO_EFFECT = (
    _NoEffect(("ldap_debug",), "there is no libldap to trace; see the option -d", lambda s: s.debug != 0),
    _NoEffect(
        (
            "ldap_start_tls",
            *_TLS_KEYS,
            "ldap_bind_dn",
            "ldap_password",
            "ldap_password_file",
            *_CONNECTION_KEYS,
            "ldap_deref",
        ),
        "an LDIF file is searched, there is no connection",
        lambda s: s.embedded,
    ),
    _NoEffect(_SASL_KEYS, "ldap_use_sasl is off", lambda s: not s.use_sasl),
    _NoEffect(("ldap_bind_dn",), "with SASL, ldap_id names the account", lambda s: s.use_sasl),
    _NoEffect(("ldap_realm",), "PLAIN and EXTERNAL have no realm", lambda s: s.use_sasl),
    _NoEffect(
        ("ldap_id", "ldap_password", "ldap_password_file"),
        "EXTERNAL takes the identity from the connection",
        lambda s: s.use_sasl and s.mech == EXTERNAL,
    ),
    _NoEffect(_TLS_KEYS, "no server is reached by TLS", lambda s: not s.uses_tls),
    _NoEffect(
        _ACCOUNT_KEYS,
        "fastbind without a group binds as the user alone",
        lambda s: _fastbind(s) and not s.checks_group and not s.watch,
    ),
    _NoEffect(
        ("ldap_bind_dn",),
        "without ldap_password, searches are anonymous",
        lambda s: not s.password and not s.password_file,
    ),
    _NoEffect(
        ("ldap_password", "ldap_password_file"),
        "ldap_bind_dn is not set",
        lambda s: not s.bind_dn and not s.use_sasl,
    ),
    _NoEffect(("ldap_filter",), "fastbind with SASL takes the login itself", lambda s: _fastbind(s) and s.use_sasl),
    _NoEffect(("ldap_scope", "ldap_size_limit"), "fastbind searches for no user", _fastbind),
    _NoEffect(
        ("ldap_search_base",),
        "fastbind searches for no user",
        lambda s: _fastbind(s) and not _searches_group(s) and not (s.watch and s.use_sasl),
    ),
    _NoEffect(
        ("ldap_time_limit", "ldap_deref"),
        "fastbind searches for no user",
        lambda s: _fastbind(s) and not _searches_group(s),
    ),
    _NoEffect(("ldap_password_attr",), "only custom compares passwords", _compares_none),
    _NoEffect(("ldap_hash_limit",), "only custom compares passwords", lambda s: _compares_none(s) and not s.embedded),
    _NoEffect(("ldap_account_state",), "fastbind reads no entry; the server alone decides", _fastbind),
    _NoEffect(
        ("ldap_must_change",),
        "a bind to an LDIF file does not tell of it",
        lambda s: s.embedded and (_fastbind(s) or not s.account_state),
    ),
    _NoEffect(
        ("ldap_must_change",),
        "custom does not look for it where ldap_account_state is off",
        lambda s: s.auth_method is AuthMethod.CUSTOM and not s.account_state,
    ),
    _NoEffect(("ldap_watch_grace",), "ldap_watch is off", lambda s: not s.watch),
    _NoEffect(("ldap_watch_grace",), "an LDIF file is never out of sight", lambda s: s.embedded),
    _NoEffect(
        ("ldap_group_attr", "ldap_group_match_method", "ldap_group_search_base", "ldap_group_scope"),
        "no group is checked without ldap_group_dn or ldap_group_filter",
        lambda s: not s.checks_group,
    ),
    _NoEffect(
        _GROUP_SEARCH_KEYS,
        "ldap_group_match_method is memberof",
        lambda s: s.checks_group and s.group_match_method == "memberof",
    ),
    _NoEffect(_GROUP_SEARCH_KEYS, "ldap_group_match_method is attr", lambda s: not _searches_group(s)),
    _NoEffect(("ldap_group_dn", "ldap_group_attr"), "ldap_group_match_method is filter", _searches_group),
)
"""Keys without effect, and where. Of several reasons for one key, the first is told."""


def _warn_of_no_effect(settings: LdapSettings, source: Source) -> None:
    told: set[str] = set()
    for keys, where, applies in _NO_EFFECT:
        for key in keys:
            if key in source.lines and key not in told and applies(settings):
                told.add(key)
                source.warn(key, f"no effect: {where}")


def check_daemon(settings: DaemonSettings, source: Source) -> None:
    """Warn of keys about the daemon itself that have no effect beside the others.

    :raises ConfigError: they would let nobody in.
    """
    if not settings.realm_config and "realm_unlisted" in source.lines:
        if not settings.serves_unlisted:
            raise source.error("realm_unlisted", "refuse needs realm_config: as it stands every login would be refused")
        source.warn("realm_unlisted", "no effect: realm_config is not set")
    if "group" in source.lines and not settings.user:
        source.warn("group", "no effect: user is not set")
    if not settings.failure_delay:
        for key in ("free_failures", "free_failures_per_address", "failure_memory", "trusted_networks"):
            if key in source.lines:
                source.warn(key, "no effect: failure_delay is 0")
