"""The TLS side of a connection, from the ``ldap_tls_*`` keys."""

from __future__ import annotations

import ssl

from pysaslauthd.config import LdapSettings
from pysaslauthd.errors import ConfigError


def context(settings: LdapSettings) -> ssl.SSLContext:
    """The TLS context for every connection: made once, since reading the system's CAs takes 30 ms.

    The server's certificate and name are verified unless ``ldap_tls_check_peer: no``.

    :raises ConfigError: a file or a cipher list that OpenSSL refuses.
    """
    key = "ldap_tls_cacert_file"
    try:
        made = ssl.create_default_context(
            cafile=settings.tls_cacert_file or None, capath=settings.tls_cacert_dir or None
        )
        # Python 3.13 sets it by default; libldap accepts CAs without a keyUsage extension, 389 DS makes such.
        made.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if not settings.tls_check_peer:
            made.check_hostname = False
            made.verify_mode = ssl.CERT_NONE
        key = "ldap_tls_ciphers"
        if settings.tls_ciphers:
            made.set_ciphers(settings.tls_ciphers)
        key = "ldap_tls_cert"
        if settings.tls_cert:
            # A password of our own, or OpenSSL would ask for one on the terminal.
            made.load_cert_chain(settings.tls_cert, settings.tls_key or None, password="")
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise ConfigError(f"OpenSSL refuses it: {error}", key=key) from error
    return made
