"""The entries of the fake LDAP server, and what an honest server answers about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rig import ldap_messages as messages
from rig import people
from rig.faults import Request

Entries = Mapping[str, Mapping[str, Sequence[bytes]]]
PEOPLE: Entries = {
    people.SUFFIX: {"objectClass": [b"domain"], "dc": [b"hoge"]},
    people.SERVICE_DN: {"cn": [b"userretriever"], "userPassword": [people.SERVICE_PASSWORD.encode()]},
    people.PEOPLE: {"objectClass": [b"organizationalUnit"], "ou": [b"People"]},
    people.PENGUIN_DN: {
        "objectClass": [b"inetOrgPerson", b"mailRecipient"],
        "uid": [b"penguin"],
        "mail": [people.PENGUIN.encode()],
        "userPassword": [people.PENGUIN_PASSWORD.encode()],
    },
}
"""The article's tree, with clear-text passwords."""


class Table:
    """Entries by DN, DNs compared without regard to case.

    :param start_tls: whether StartTLS is granted.
    """

    def __init__(self, entries: Entries, *, start_tls: bool) -> None:
        self.entries = {dn: dict(attributes) for dn, attributes in entries.items()}
        self.references: list[str] = []
        """URIs; each search brings one search result reference for each."""
        self.start_tls = start_tls

    def answer(self, request: Request) -> bytes:
        """Every message that answers a request, as one string of octets."""
        body, asked = request.body, (request.operation, request.message_id)
        match request.operation:
            case "bind":
                return messages.result(*asked, 49 if self.who(body) is None else 0)
            case "search":
                return self._search(request)
            case "compare":
                held = self._entry(body["entry"].decode())
                if held is None:
                    return messages.result(*asked, 32)
                return messages.result(*asked, 6 if messages.matches(("equalityMatch", body["ava"]), held) else 5)
            case "extended" if body["requestName"] == messages.START_TLS and self.start_tls:
                return messages.result(*asked, 0, response_name=messages.START_TLS)
            case "extended" if body["requestName"] == messages.WHO_AM_I:
                return messages.result(*asked, 0, response_value=f"dn:{request.bound}")
            case "extended":
                return messages.result(*asked, 2, "unsupported extended operation")
        raise AssertionError(f"the fake does not know {request.operation}")

    def who(self, bind: Mapping[str, Any]) -> str | None:
        """As whom a bind succeeds, empty: as nobody; None: it does not."""
        dn, secret = bind["name"].decode(), bind.get("simple", b"")
        if "mechanism" in bind:
            if bind["mechanism"] == b"EXTERNAL":
                return "external"
            assert bind["mechanism"] == b"PLAIN", f"the fake does not know {bind['mechanism']!r}"
            _, name, secret = bind["credentials"].split(b"\0")
            dn = name.decode()
        elif not secret:
            return ""
        held = self._entry(dn)
        return dn if held is not None and secret in held.get("userPassword", []) else None

    def _entry(self, dn: str) -> Mapping[str, Sequence[bytes]] | None:
        return {name.lower(): held for name, held in self.entries.items()}.get(dn.lower())

    def _search(self, request: Request) -> bytes:
        body, message_id = request.body, request.message_id
        base, wanted = body["baseObject"].decode().lower(), [name.decode().lower() for name in body["attributes"]]
        if self._entry(base) is None:
            return messages.result("search", message_id, 32)
        parts = [messages.reference(message_id, uri) for uri in self.references]
        code = 0
        for dn, held in self.entries.items():
            above = dn.lower().removesuffix(base)
            in_scope = (dn.lower() == base, above.count(",") == 1 and above.endswith(","), dn.lower().endswith(base))
            if not in_scope[body["scope"]] or not messages.matches(body["filter"], held):
                continue
            if body["sizeLimit"] and len(parts) - len(self.references) == body["sizeLimit"]:
                code = 4
                break
            shown = {name: values for name, values in held.items() if not wanted or name.lower() in wanted}
            parts.append(messages.entry(message_id, dn, shown))
        return b"".join([*parts, messages.result("search", message_id, code)])
