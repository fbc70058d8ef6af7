"""A real Postfix with as many SMTP servers as a test wants, each asking for logins in its own way; and swaks."""

from __future__ import annotations

import re
import shutil
import smtplib
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Self

from rig.programs import Program, find, folder, free_ports, run
from rig.smtp import Answer, login

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
smtpd_error_sleep_time = 0
smtpd_hard_error_limit = 100
service_throttle_time = 1s
smtpd_tls_security_level = none
cyrus_sasl_config_path = {folder}/etc/sasl
"""

_MASTER = """\
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
proxymap unix - - n - - proxymap
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
discard unix - - n - - discard
anvil unix - - n - 1 anvil
tlsmgr unix - - n 1000? 1 tlsmgr
postlog unix-dgram n - n - 1 postlogd
"""


class Smtpd(NamedTuple):
    """One SMTP server.

    ``main`` are lines of main.cf for it alone, ``chroot`` whether it runs in the queue directory, ``smtpd_conf`` Cyrus
    SASL's file.
    """

    main: str
    chroot: bool = False
    smtpd_conf: str = ""


class Postfix:
    """A running Postfix in a folder of its own. Needs root, as Postfix does.

    ``ports`` has the loopback port of each SMTP server by name.
    """

    def __init__(self, folder: Path, program: Program, ports: Mapping[str, int]) -> None:
        self.folder = folder
        self.program = program
        self.ports = ports

    @property
    def maillog(self) -> str:
        """What it has logged so far."""
        return (self.folder / "maillog").read_text(errors="replace")

    @classmethod
    @contextmanager
    def running(cls, smtpds: Callable[[Path], Mapping[str, Smtpd]]) -> Iterator[Self]:
        """Start it, wait until it listens, end it when the context ends.

        It runs as user postfix, which must be able to reach the sockets. They must listen before the first SMTP
        connection of each kind: an SMTP server that finds none ends, and Postfix waits a second to start another.

        :param smtpds: is given the folder that will hold all of it, ``spool`` with ``private`` among it, and returns
            the SMTP servers by name.
        """
        with folder("postfix") as path:
            postfix = Path(find("postfix"))
            daemons = Path(run([postfix.with_name("postconf"), "-dh", "daemon_directory"]).strip())
            for name in ("etc/sasl", "data", "spool/private"):
                (path / name).mkdir(parents=True)
            for name in ("data", "spool/private"):
                shutil.chown(path / name, "postfix")
            (path / "spool/private").chmod(0o700)
            servers = smtpds(path)
            # Postfix takes the last of two servers on one port, and says nothing.
            ports = dict(zip(servers, free_ports(len(servers)), strict=True))
            master = "".join(_service(path, ports[name], server) for name, server in servers.items()) + _MASTER
            (path / "etc/master.cf").write_text(master)
            (path / "etc/main.cf").write_text(_MAIN.format(folder=path, commands=postfix.parent, daemons=daemons))
            run([postfix, "-c", path / "etc", "check"])

            log = path / "maillog"
            # What "postfix start-fg" starts, without the shell around it that would take the signals.
            program = Program(
                [daemons / "master", "-c", path / "etc", "-s"],
                log=path / "log",
                ready=lambda: log.exists() and "daemon started" in log.read_text(),
                env={"MAIL_CONFIG": str(path / "etc")},
            )
            program.start()
            try:
                yield cls(path, program, ports)
            finally:
                program.stop()

    @contextmanager
    def smtp(self, name: str) -> Iterator[smtplib.SMTP]:
        """An SMTP session that has said EHLO."""
        with smtplib.SMTP("127.0.0.1", self.ports[name], timeout=60) as smtp:
            smtp.ehlo()
            yield smtp

    def login(self, name: str, form: str, user: str, password: str) -> Answer:
        """Log in, in one of :data:`rig.smtp.FORMS`, and leave."""
        with self.smtp(name) as smtp:
            return login(lambda line: _answer(smtp.docmd(line)), form, user, password)

    def swaks(self, name: str, user: str, password: str, mechanism: str = "PLAIN") -> Answer:
        """Log in with swaks (PLAIN with an initial response, LOGIN without) and leave."""
        server = f"127.0.0.1:{self.ports[name]}"
        command = [find("swaks"), "--server", server, "--quit-after", "AUTH", "--auth", mechanism]
        done = subprocess.run(
            [*command, "-au", user, "-ap", password],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        answers = re.findall(r"^<..? +(235|454|535) (.*)$", done.stdout, re.MULTILINE)
        assert len(answers) == 1, f"swaks heard no clear answer:\n{done.stdout}{done.stderr}\n{self.maillog[-3000:]}"
        code, text = answers[0]
        return Answer(int(code), text)


def _service(path: Path, port: int, smtpd: Smtpd) -> str:
    settings = re.findall(r"^(\w+) *= *(.*)$", smtpd.main, re.MULTILINE)
    assert len(settings) == len(smtpd.main.splitlines()), smtpd.main
    given = dict(settings)
    if smtpd.smtpd_conf:
        # cyrus_sasl_config_path is one for all, so that each has a file of another name.
        assert (given.pop("cyrus_sasl_config_path"), given["smtpd_sasl_path"]) == ("/etc/postfix/sasl", "smtpd")
        given["smtpd_sasl_path"] = f"smtpd{port}"
        (path / f"etc/sasl/smtpd{port}.conf").write_text(smtpd.smtpd_conf)
    overrides = "".join(f"  -o {{ {key} = {value} }}\n" for key, value in given.items())
    return f"127.0.0.1:{port} inet n - {'y' if smtpd.chroot else 'n'} - - smtpd\n{overrides}"


def _answer(said: tuple[int, bytes]) -> Answer:
    return Answer(said[0], said[1].decode())
