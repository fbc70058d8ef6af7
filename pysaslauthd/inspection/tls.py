"""What TLS to a server looks like: protocol, names, expiry.

The connections are the daemon's own. Python shows a certificate's content only where it has verified it; so a
certificate that is not trusted is fetched, then trusted by itself, to be shown.
"""

from __future__ import annotations

import re
import ssl
import time
from dataclasses import replace
from typing import Any, NamedTuple

from pysaslauthd.config import LdapSettings, ServerUri, client_context
from pysaslauthd.directory.connect import Connector
from pysaslauthd.directory.connection import Pulse
from pysaslauthd.errors import DirectoryDown
from pysaslauthd.inspection.step import Finding, Result

SOON_DAYS = 30
"""A certificate that expires within so many days is a warning: what renews itself does so earlier."""
_DAY = 86400
_RENEW = "renew the server's certificate"
_ANY_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME of OpenSSL (x509_vfy.h), which Python has no name for."""


class _Handshake(NamedTuple):
    protocol: str
    certificate: dict[str, Any]
    """As :meth:`ssl.SSLSocket.getpeercert` gives it; empty where it was not verified."""
    der: bytes


async def look(server: ServerUri, settings: LdapSettings, connector: Connector) -> Finding:
    """Begin TLS as the daemon does; what was seen, with the certificate's names and the days left.

    :raises DirectoryDown: there was no TLS, and no certificate to be seen.
    """
    start = "" if server.scheme == "ldaps" else "StartTLS, "
    try:
        seen = await _handshake(server, connector, connector.tls)
    except DirectoryDown as error:
        if not isinstance(error.__cause__, ssl.SSLCertVerificationError):
            raise
        names, days = await _content(server, settings, connector)
        text, hint = _apart(str(error).removeprefix(f"{server.text}: "))
        return Finding(Result.ERROR, f"{start}{text}; it is for {names}, {_expiry(days)}", _RENEW if days < 0 else hint)
    if seen.certificate:
        names, days = _names(seen.certificate), _days(seen.certificate)
    else:
        names, days = await _content(server, settings, connector)
    text = f"{start}{seen.protocol}, for {names}, {_expiry(days)}"
    if days < 0:
        return Finding(Result.ERROR, text, _RENEW)
    if not settings.tls_check_peer:
        return Finding(
            Result.WARNING,
            f"{text}, not verified",
            "ldap_tls_check_peer: yes; ldap_tls_cacert_file names the authority",
        )
    if days < SOON_DAYS:
        return Finding(Result.WARNING, text, _RENEW)
    return Finding(Result.OK, text)


async def _content(server: ServerUri, settings: LdapSettings, connector: Connector) -> tuple[str, float]:
    """Names and days left of a certificate, be it trusted or not."""
    unverified = client_context(replace(settings, tls_check_peer=False))
    der = (await _handshake(server, connector, unverified)).der
    itself = client_context(replace(settings, tls_cacert_file="", tls_cacert_dir="", tls_check_peer=True))
    itself.load_verify_locations(cadata=der)
    itself.check_hostname = False
    lenient = itself.verify_flags & ~ssl.VERIFY_X509_STRICT
    itself.verify_flags = lenient | ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VerifyFlags(_ANY_TIME)
    certificate = (await _handshake(server, connector, itself)).certificate
    return _names(certificate), _days(certificate)


async def _handshake(server: ServerUri, connector: Connector, context: ssl.SSLContext) -> _Handshake:
    done: list[_Handshake] = []

    class Observed(ssl.SSLObject):
        def do_handshake(self) -> None:
            super().do_handshake()
            done.append(
                _Handshake(self.version() or "TLS", self.getpeercert() or {}, self.getpeercert(binary_form=True) or b"")
            )

    context.sslobject_class = Observed
    connection = await replace(connector, tls=context).connect(server, lambda _: None, Pulse(), as_service=False)
    connection.close()
    return done[-1]


def _names(certificate: dict[str, Any]) -> str:
    names = [name for kind, name in certificate.get("subjectAltName", ()) if kind in ("DNS", "IP Address")]
    return ", ".join(names) or "no name"


def _days(certificate: dict[str, Any]) -> float:
    return (ssl.cert_time_to_seconds(certificate["notAfter"]) - time.time()) / _DAY


def _expiry(days: float) -> str:
    return f"expired {-days:.0f} days ago" if days < 0 else f"expires in {days:.0f} days"


def _apart(text: str) -> tuple[str, str]:
    """What is wrong, and what to do, which the connector says in parentheses."""
    match = re.fullmatch(r"(.*) \((ldap_[^()]*)\)", text)
    return (match[1], match[2]) if match else (text, "")
