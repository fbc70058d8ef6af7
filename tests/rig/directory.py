"""What the real directory servers of the rig have in common: addresses, an administrator, a life."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from rig import people
from rig.authority import Authority
from rig.programs import Program, answers, find, folder, free_port, run


class DirectoryServer:
    """A real LDAP server with the article's tree, as a context manager.

    It listens with LDAP (StartTLS too), LDAPS and ldapi; its certificate is ``authority``'s.

    :param authority: signs the server's certificate; None: one is made.
    :param users: how many u0, u1, … to hold besides penguin; the password of uN is ``uN-pass``.
    """

    kind: str
    admin_dn: str
    admin_password = "admin-pass"

    def __init__(self, authority: Authority | None = None, *, users: int = 20) -> None:
        self._authority = authority
        self._users = users
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.folder = stack.enter_context(folder(self.kind))
            self.authority = self._authority or Authority(self.folder / "authority")
            self.port, self.tls_port = free_port(), free_port()
            self._socket = self.folder / "ldapi"
            self.program = self._prepare(people.tree(self._users))
            stack.callback(self.stop)
            self.program.start()
            self._load()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _prepare(self, tree: str) -> Program:
        raise NotImplementedError

    def _load(self) -> None:
        """What can only be done while it runs."""

    def _serves(self) -> bool:
        return answers(("127.0.0.1", self.port))

    @property
    def uri(self) -> str:
        """``ldap://127.0.0.1:port``."""
        return f"ldap://127.0.0.1:{self.port}"

    @property
    def ldaps_uri(self) -> str:
        """``ldaps://127.0.0.1:port``."""
        return f"ldaps://127.0.0.1:{self.tls_port}"

    @property
    def ldapi_uri(self) -> str:
        """``ldapi://%2F…``."""
        return f"ldapi://{quote(str(self._socket), safe='')}"

    def start(self) -> None:
        """Start again after :meth:`stop`, at the same addresses, with the same data."""
        self.program.start()

    def stop(self) -> None:
        """End the server; connections to its ports are then refused."""
        self.program.stop()

    def pause(self) -> None:
        """Make it hang: it accepts connections and answers nothing until :meth:`resume`."""
        self.program.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self.program.signal(signal.SIGCONT)

    def add(self, ldif: str) -> None:
        """Add entries, as the administrator."""
        run([find("ldapmodify"), "-a", *self._as_admin()], stdin=ldif)

    def modify(self, ldif: str) -> None:
        """Apply LDIF change records (changetype: modify, delete, modrdn), as the administrator."""
        run([find("ldapmodify"), *self._as_admin()], stdin=ldif)

    def replace(self, dn: str, attribute: str, *values: str) -> None:
        """Replace an attribute of an entry; without values it is removed. Values must be plain ASCII."""
        lines = "".join(f"{attribute}: {value}\n" for value in values)
        self.modify(f"dn: {dn}\nchangetype: modify\nreplace: {attribute}\n{lines}")

    def delete(self, dn: str) -> None:
        """Delete an entry."""
        self.modify(f"dn: {dn}\nchangetype: delete\n")

    def search(self, query: str, *attributes: str, base: str = people.SUFFIX) -> str:
        """What ldapsearch -LLL prints for a filter, as the administrator, lines not wrapped."""
        options = ["-LLL", "-o", "ldif-wrap=no", "-b", base]
        return run([find("ldapsearch"), *options, *self._as_admin(), query, *attributes])

    def _as_admin(self) -> list[str]:
        return ["-x", "-H", self.uri, "-D", self.admin_dn, "-w", self.admin_password]


def write(path: Path, text: str) -> Path:
    """Write a file, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path
