"""A real Cyrus IMAP server."""

from __future__ import annotations

import imaplib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from rig.programs import Program, answers, find, folder, free_port

_IMAPD = """\
configdirectory: {folder}/conf
partition-default: {folder}/spool
defaultpartition: default
servername: mail.hoge.cxm
proc_path: {folder}/run/proc
mboxname_lockpath: {folder}/run/lock
idlesocket: {folder}/run/idle
notifysocket: {folder}/run/notify
failedloginpause: 0
"""
_CYRUS = """\
START {{
  recover cmd="{bin}/ctl_cyrusdb -C {folder}/imapd.conf -r"
}}
SERVICES {{
  imap cmd="{bin}/imapd -C {folder}/imapd.conf" listen="127.0.0.1:{port}" proto="tcp4" prefork=0
}}
EVENTS {{
}}
"""


class CyrusImap:
    """A running Cyrus IMAP server on a loopback port. Needs root, as its master does."""

    def __init__(self, port: int) -> None:
        self.port = port

    @classmethod
    @contextmanager
    def running(cls, imapd_conf: str) -> Iterator[Self]:
        """Start it, with further lines of imapd.conf."""
        with folder("imap") as path:
            port = free_port()
            values = {"folder": path, "port": port, "bin": Path("/usr/lib/cyrus/bin")}
            (path / "imapd.conf").write_text(_IMAPD.format_map(values) + imapd_conf)
            (path / "cyrus.conf").write_text(_CYRUS.format_map(values))
            for name in ("conf", "spool", "run"):
                (path / name).mkdir()
                shutil.chown(path / name, "cyrus")
            files = ["-C", path / "imapd.conf", "-M", path / "cyrus.conf", "-p", path / "run/pid"]
            program = Program(
                [find("cyrmaster"), *files, "-D"], log=path / "log", ready=lambda: answers(("127.0.0.1", port))
            )
            program.start()
            try:
                yield cls(port)
            finally:
                program.stop()

    def login(self, mechanism: str, user: str, password: str) -> str:
        """``OK``, or ``NO`` and Cyrus SASL's name of the failure.

        :param mechanism: ``LOGIN``, IMAP's command, or ``PLAIN``, by AUTHENTICATE.
        """
        imap = imaplib.IMAP4("127.0.0.1", self.port, timeout=60)
        try:
            if mechanism == "LOGIN":
                imap.login(user, password)
            else:
                imap.authenticate("PLAIN", lambda _: f"\0{user}\0{password}".encode())
        except imaplib.IMAP4.error as error:
            return "NO " + str(error).rpartition(": ")[2].strip("'")
        finally:
            imap.shutdown()
        return "OK"
