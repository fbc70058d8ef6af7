"""A real Exim, which speaks SMTP on its standard input and output."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from rig.programs import find, folder
from rig.smtp import Answer, login

_CONF = """\
exim_user = root
exim_group = root
never_users =
primary_hostname = mail.hoge.cxm
spool_directory = {folder}/spool
log_file_path = {folder}/%slog
auth_advertise_hosts = *
tls_advertise_hosts =
acl_smtp_rcpt = rcpt

begin acl
rcpt:
  accept authenticated = *
  deny

begin authenticators
"""
# Exim wants its user to exist, and looks for the mux at a fixed path: it gets both in a mount namespace of its own.
_START = """\
mount --bind "$1/passwd" /etc/passwd
mount --bind "$1/group" /etc/group
mount -t tmpfs tmpfs /run
mkdir /run/saslauthd
ln -s "$2" /run/saslauthd/mux
exec "$3" -C "$1/$4.conf" -bh 127.0.0.2
"""
_USER = "Debian-exim"


class Exim:
    """Exim with several configurations. Needs root.

    Each session is a process of its own; no mail is delivered.
    """

    def __init__(self, folder: Path, mux: Path) -> None:
        self.folder = folder
        self._mux = mux

    @classmethod
    @contextmanager
    def prepared(cls, mux: Path, authenticators: Mapping[str, str]) -> Iterator[Self]:
        """Write the configurations.

        :param mux: where its ``/var/run/saslauthd/mux`` is.
        :param authenticators: name to that part of a configuration.
        """
        with folder("exim") as path:
            for name, text in authenticators.items():
                (path / f"{name}.conf").write_text(_CONF.format(folder=path) + text)
            for file, line in {
                "passwd": f"{_USER}:x:64321:64321::/:/bin/false\n",
                "group": f"{_USER}:x:64321:\n",
            }.items():
                (path / file).write_text(Path("/etc", file).read_text() + line)
            yield cls(path, mux)

    def login(self, name: str, form: str, user: str, password: str) -> Answer:
        """Log in, in one of :data:`rig.smtp.FORMS`, in a session of its own."""
        command = ["unshare", "--mount", "sh", "-e", "-c", _START, "exim", self.folder, self._mux, find("exim4"), name]
        with (
            (self.folder / "log").open("ab") as log,
            subprocess.Popen(
                [str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
            ) as process,
        ):
            assert process.stdin is not None
            assert process.stdout is not None
            stdin, stdout = process.stdin, process.stdout

            def hear() -> Answer:
                for line in stdout:
                    if line[:3].isdigit() and line[3:4] != b"-":
                        return Answer(int(line[:3]), line[4:].decode().strip())
                raise AssertionError(f"Exim ended:\n{(self.folder / 'log').read_text()[-3000:]}")

            def ask(line: str) -> Answer:
                stdin.write(line.encode() + b"\r\n")
                stdin.flush()
                return hear()

            try:
                assert hear().code == 220
                assert ask("EHLO mail.hoge.cxm").code == 250
                answer = login(ask, form, user, password)
                ask("QUIT")
            finally:
                process.kill()
        return answer
