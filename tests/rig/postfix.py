"""A real Postfix: three SMTP servers that ask for logins in the three usual ways, and swaks to log in with."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Self

from rig.programs import Program, find, folder, free_port, run

_MAIN = """\
compatibility_level = 3.6
queue_directory = {folder}/spool
data_directory = {folder}/data
command_directory = {commands}
daemon_directory = {daemons}
mail_owner = postfix
setgid_group = postdrop
myhostname = mail.hoge.cxm
mydestination =
mynetworks =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
default_transport = discard
local_transport = discard
alias_maps =
alias_database =
local_recipient_maps =
maillog_file = {folder}/maillog
maillog_file_prefixes = {folder}
smtpd_peername_lookup = no
smtpd_relay_restrictions = permit_sasl_authenticated, reject
smtpd_error_sleep_time = 0
service_throttle_time = 1s
smtpd_tls_security_level = none
smtpd_sasl_auth_enable = yes
smtpd_sasl_security_options = noanonymous
smtpd_sasl_type = dovecot
smtpd_sasl_path = {dovecot}
cyrus_sasl_config_path = {folder}/etc/sasl
"""

_MASTER = """\
127.0.0.1:{ports.dovecot} inet n - n - - smtpd
127.0.0.1:{ports.cyrus} inet n - n - - smtpd
  -o smtpd_sasl_type=cyrus -o smtpd_sasl_path=smtpd
127.0.0.1:{ports.cyrus_domain} inet n - n - - smtpd
  -o smtpd_sasl_type=cyrus -o smtpd_sasl_path=smtpd -o smtpd_sasl_local_domain=hoge.cxm
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
proxymap unix - - n - - proxymap
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
discard unix - - n - - discard
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""

_CYRUS = """\
pwcheck_method: saslauthd
saslauthd_path: {mux}
mech_list: PLAIN LOGIN
"""


class Ports(NamedTuple):
    """Where Postfix listens: which socket it asks there, and how."""

    dovecot: int
    """The Dovecot socket (``smtpd_sasl_type = dovecot``)."""
    cyrus: int
    """The mux, by way of Cyrus SASL."""
    cyrus_domain: int
    """The mux, with ``smtpd_sasl_local_domain = hoge.cxm``."""


class Answer(NamedTuple):
    """Postfix's last word on a login: 235 right, 535 wrong, 454 cannot tell."""

    code: int
    text: str


class Postfix:
    """A running Postfix in a folder of its own. Needs root, as Postfix does.

    ``dovecot`` and ``mux`` are the paths where it looks for the sockets.
    """

    def __init__(self, folder: Path, program: Program, ports: Ports, *, dovecot: Path, mux: Path) -> None:
        self.folder = folder
        self.program = program
        self.ports = ports
        self.dovecot = dovecot
        self.mux = mux

    @property
    def maillog(self) -> str:
        """What it has logged so far."""
        return (self.folder / "maillog").read_text(errors="replace")

    @classmethod
    @contextmanager
    def running(cls, *, dovecot: Path | None = None, mux: Path | None = None) -> Iterator[Self]:
        """Start it, wait until it listens, end it when the context ends.

        It runs as user postfix, which must be able to reach the sockets. They must listen before the first SMTP
        connection of each kind: an SMTP server that finds none ends, and Postfix waits a second to start another.

        :param dovecot: the Dovecot auth socket; None: this folder's ``spool/private/auth``, where guides put it.
        :param mux: the mux socket; None: this folder's ``mux``.
        """
        with folder("postfix") as path:
            ports = Ports(free_port(), free_port(), free_port())
            postfix = Path(find("postfix"))
            daemons = Path(run([postfix.with_name("postconf"), "-dh", "daemon_directory"]).strip())
            dovecot = dovecot or path / "spool/private/auth"
            mux = mux or path / "mux"
            values = {
                "folder": path,
                "commands": postfix.parent,
                "daemons": daemons,
                "dovecot": dovecot,
                "mux": mux,
                "ports": ports,
            }
            for name, text in {"main.cf": _MAIN, "master.cf": _MASTER, "sasl/smtpd.conf": _CYRUS}.items():
                file = path / "etc" / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text.format_map(values))
            for name in ("data", "spool/private"):
                (path / name).mkdir(parents=True)
                shutil.chown(path / name, "postfix")
            (path / "spool/private").chmod(0o700)
            run([postfix, "-c", path / "etc", "check"])

            log = path / "maillog"
            # What "postfix start-fg" starts, without the shell around it that would take the signals.
            master = Program(
                [daemons / "master", "-c", path / "etc", "-s"],
                log=path / "log",
                ready=lambda: log.exists() and "daemon started" in log.read_text(),
                env={"MAIL_CONFIG": str(path / "etc")},
            )
            master.start()
            try:
                yield cls(path, master, ports, dovecot=dovecot, mux=mux)
            finally:
                master.stop()

    def login(self, port: int, user: str, password: str, mechanism: str = "PLAIN") -> Answer:
        """Log in with swaks (PLAIN with an initial response, LOGIN without) and leave."""
        command = [find("swaks"), "--server", f"127.0.0.1:{port}", "--quit-after", "AUTH", "--auth", mechanism]
        done = subprocess.run(
            [*command, "-au", user, "-ap", password],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        answers = re.findall(r"^<..? +(235|454|535) (.*)$", done.stdout, re.MULTILINE)
        assert len(answers) == 1, f"swaks heard no clear answer:\n{done.stdout}{done.stderr}\n{self.maillog[-3000:]}"
        code, text = answers[0]
        return Answer(int(code), text)
