"""The keys of SASL: which mechanism can serve which method, and what ldap_sasl_secprops may ask of it."""

from __future__ import annotations

import re
from dataclasses import replace

from pysaslauthd.config.keys import shown
from pysaslauthd.config.ldap import AuthMethod, LdapSettings
from pysaslauthd.config.source import Source

PLAIN = "PLAIN"
EXTERNAL = "EXTERNAL"

# What each mechanism cannot promise, by the security flags that Cyrus SASL gives its own (plain.c, external.c).
_LACKS = {
    PLAIN: frozenset({"noplain", "noactive", "nodict", "forwardsec"}),
    EXTERNAL: frozenset({"noactive", "forwardsec", "passcred"}),
}
_FLAGS = frozenset({"none", "noanonymous", "noplain", "noactive", "nodict", "forwardsec", "passcred"})
_NUMBERS = re.compile(r"(minssf|maxssf|maxbufsize)=([0-9]{1,9})")
_TLS_STRENGTH = 128
"""Key bits that every cipher of Python's TLS defaults has at least."""


def settle_sasl(settings: LdapSettings, source: Source) -> LdapSettings:
    """The settings with mechanism in upper case and the method that SASL makes of bind.

    :raises ConfigError: the mechanism is not served, or not with what else is set.
    """
    if not settings.use_sasl:
        return settings
    if settings.embedded:
        raise source.error("ldap_use_sasl", "an LDIF file is searched, there is no server to bind to")
    if not settings.mech:
        raise source.error("ldap_use_sasl", "needs ldap_mech: PLAIN, or with ldap_auth_method: custom EXTERNAL")
    mech = settings.mech.upper()
    if mech not in _LACKS:
        raise source.error("ldap_mech", f"{shown(settings.mech)} is not served; PLAIN over TLS, or EXTERNAL, is")
    settings = replace(settings, mech=mech)
    if settings.auth_method is AuthMethod.BIND:
        settings = replace(settings, auth_method=AuthMethod.FASTBIND)
        if mech == PLAIN:
            source.warn("ldap_auth_method", "bind becomes fastbind, as ldap_use_sasl is on")
    if mech == EXTERNAL:
        _check_external(settings, source)
    else:
        _check_plain(settings, source)
    _check_properties(settings, source)
    return settings


def _check_external(settings: LdapSettings, source: Source) -> None:
    if settings.auth_method is not AuthMethod.CUSTOM:
        # The bind would succeed as the daemon itself, whatever the password.
        raise source.error(
            "ldap_mech", "EXTERNAL proves nothing about a user's password; it needs ldap_auth_method: custom"
        )
    for server in settings.servers:
        if server.scheme != "ldapi" and not (settings.tls_cert and settings.encrypts(server)):
            raise source.error("ldap_mech", f"EXTERNAL to {server.text} needs TLS and ldap_tls_cert, or ldapi://")


def _check_plain(settings: LdapSettings, source: Source) -> None:
    if settings.auth_method is AuthMethod.FASTBIND and not settings.checks_group:
        return
    if not settings.id:
        raise source.error("ldap_mech", "PLAIN needs ldap_id, the name of the service account")
    if not settings.password and not settings.password_file:
        raise source.error("ldap_mech", "PLAIN needs ldap_password or ldap_password_file")


def _check_properties(settings: LdapSettings, source: Source) -> None:
    name = "ldap_sasl_secprops"
    for word in settings.sasl_secprops.lower().split(",") if settings.sasl_secprops else ():
        prop = word.strip()
        number = _NUMBERS.fullmatch(prop)
        if prop not in _FLAGS and number is None:
            raise source.error(
                name, f"{shown(prop)} is none of {', '.join(sorted(_FLAGS))}, minssf=, maxssf=, maxbufsize="
            )
        if prop in _LACKS[settings.mech]:
            raise source.error(name, f"{prop} rules out {settings.mech}, which ldap_mech asks for; write none")
        # The other two numbers bound a security layer, which neither mechanism has.
        if number is not None and number[1] == "minssf" and int(number[2]) > 0:
            _check_strength(int(number[2]), settings, source)


def _check_strength(bits: int, settings: LdapSettings, source: Source) -> None:
    name = "ldap_sasl_secprops"
    for server in settings.servers:
        if not settings.encrypts(server):
            raise source.error(name, f"minssf={bits} needs TLS, which {server.text} is reached without")
    if bits > _TLS_STRENGTH:
        source.warn(name, f"minssf over {_TLS_STRENGTH} has no effect; name the ciphers in ldap_tls_ciphers")
