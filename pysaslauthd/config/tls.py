"""The keys of TLS as a context for connections."""

from __future__ import annotations

import os
import re
import ssl

from pysaslauthd.config.ldap import LdapSettings
from pysaslauthd.errors import ConfigError

_HASHED = re.compile(r"[0-9a-f]{8}\.[0-9]+")


def client_context(settings: LdapSettings) -> ssl.SSLContext:
    """A context for the settings' servers; reads the files of certificates. Make one and keep it.

    :raises ConfigError: a file cannot be used; says key and file.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # Debian's Python leaves it to OpenSSL's own configuration
    if not settings.tls_check_peer:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if settings.tls_ciphers:
        context.set_ciphers(settings.tls_ciphers)
    if settings.tls_cacert_file:
        try:
            _open(settings.tls_cacert_file)
            context.load_verify_locations(cafile=settings.tls_cacert_file)
        except OSError as error:
            raise _error("ldap_tls_cacert_file", settings.tls_cacert_file, error) from None
    if settings.tls_cacert_dir:
        try:
            # OpenSSL looks files up by name when it needs them, and says nothing of a folder that is not there.
            names = os.listdir(settings.tls_cacert_dir)
        except OSError as error:
            raise _error("ldap_tls_cacert_dir", settings.tls_cacert_dir, error) from None
        if not any(map(_HASHED.fullmatch, names)):
            reason = f"{settings.tls_cacert_dir} holds no certificate under its hashed name; run openssl rehash on it"
            raise ConfigError(reason, key="ldap_tls_cacert_dir")
        context.load_verify_locations(capath=settings.tls_cacert_dir)
    if not settings.tls_cacert_file and not settings.tls_cacert_dir:
        context.load_default_certs()
    if settings.tls_cert:
        _load_own(context, settings)
    return context


def _load_own(context: ssl.SSLContext, settings: LdapSettings) -> None:
    for key, path in (("ldap_tls_cert", settings.tls_cert), ("ldap_tls_key", settings.tls_key)):
        try:
            _open(path)
        except OSError as error:
            raise _error(key, path, error) from None
    asked = False

    def passphrase() -> str:
        # Without this, OpenSSL would ask on the terminal.
        nonlocal asked
        asked = True
        return ""

    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key, passphrase)
    except ssl.SSLError as error:
        if asked:
            raise ConfigError(f"{settings.tls_key} is encrypted; a daemon cannot ask", key="ldap_tls_key") from None
        pair = f"{settings.tls_cert} and {settings.tls_key}"
        raise ConfigError(f"{pair} are no certificate and its key: {_said(error)}", key="ldap_tls_cert") from None


def _open(path: str) -> None:
    with open(path, "rb"):
        pass


def _said(error: OSError) -> str:
    return (error.reason if isinstance(error, ssl.SSLError) else error.strerror) or str(error)


def _error(key: str, path: str, error: OSError) -> ConfigError:
    what = "holds no certificate" if isinstance(error, ssl.SSLError) else "cannot be read"
    return ConfigError(f"{path} {what}: {_said(error)}", key=key)
