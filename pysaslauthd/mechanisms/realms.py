"""One mechanism for many realms: each login goes to its own realm's."""

from __future__ import annotations

from collections.abc import Mapping

from pysaslauthd.auth import Mechanism
from pysaslauthd.flow import Flow
from pysaslauthd.model import Identity, Outcome, Reason


class Nobody:
    """A :class:`~pysaslauthd.auth.Mechanism` that refuses everybody, whatever the password."""

    def key(self, identity: Identity) -> bytes:
        """See the interface."""
        return identity.address

    async def check(self, identity: Identity, password: bytes) -> Outcome:
        """See the interface."""
        return Outcome(Reason.UNKNOWN_REALM, "not in realm_config, and realm_unlisted is refuse")


class RealmMechanism:
    """Decides by the mechanism of the identity's domain; upper and lower case of ASCII are the same there.

    :param realms: by name in lower case, without a NUL byte, and not empty.
    :param unlisted: for every other domain, and where there is none.
    """

    def __init__(self, realms: Mapping[bytes, Mechanism], unlisted: Mechanism) -> None:
        self._realms = {realm: (realm + b"\0", mechanism) for realm, mechanism in realms.items()}
        self._unlisted = b"\0", unlisted

    def key(self, identity: Identity) -> bytes:
        """The key that the realm's mechanism gives, behind the realm: two realms never share one."""
        start, mechanism = self._realms.get(identity.domain.lower(), self._unlisted)
        return start + mechanism.key(identity)

    def check(self, identity: Identity, password: bytes) -> Flow[Outcome]:
        """Ask the realm's mechanism."""
        return self._realms.get(identity.domain.lower(), self._unlisted)[1].check(identity, password)
