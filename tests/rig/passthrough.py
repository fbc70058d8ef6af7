"""A real slapd that hands passwords on to saslauthd: {SASL} values."""

from __future__ import annotations

import subprocess
from typing import Self

from rig.programs import Program, find
from rig.slapd import Slapd

# Debian's slapd looks for Cyrus SASL's file in this folder alone: it gets its own in a mount namespace.
_START = 'mount --bind "$1" /etc/ldap/sasl2; shift; exec "$@"'


class PassThrough(Slapd):
    """slapd with a ``slapd.conf`` of Cyrus SASL's, and with further entries. Needs root.

    :param people: LDIF to add, in ou=Staff.
    """

    kind = "passthrough"

    def __init__(self, sasl_conf: str, people: str) -> None:
        super().__init__()
        self._sasl_conf = sasl_conf
        self._people = people

    def __enter__(self) -> Self:
        super().__enter__()
        self.add("dn: ou=Staff,dc=hoge,dc=cxm\nobjectClass: organizationalUnit\nou: Staff\n\n" + self._people)
        return self

    def _prepare(self, tree: str) -> Program:
        sasl = self.folder / "sasl"
        sasl.mkdir()
        (sasl / "slapd.conf").write_text(self._sasl_conf)
        return super()._prepare(tree).within("unshare", "--mount", "sh", "-e", "-c", _START, "slapd", sasl)

    def login(self, uid: str, password: str) -> int:
        """The result code of a bind as a person in ou=Staff: 0 right, 49 wrong."""
        command = [find("ldapwhoami"), "-x", "-H", self.uri, "-D", f"uid={uid},ou=Staff,dc=hoge,dc=cxm", "-w", password]
        return subprocess.run(command, capture_output=True, timeout=120, check=False).returncode
