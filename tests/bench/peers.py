"""The three daemons that are measured, each started with the same directory and the same way of asking it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from rig import Daemon, find, people
from rig.programs import Program, answers, folder, wait_until
from rig.saslauthd import conf_text

WORKERS = 5
"""saslauthd's own default of ``-n``, for it and for this daemon."""
OURS, ORIGINAL, DOVECOT = "pysaslauthd", "saslauthd", "Dovecot's auth"
OURS_DOVECOT = "pysaslauthd by Dovecot's protocol"
"""The same process as ``OURS``, asked on its other socket."""
PEERS = (OURS, ORIGINAL, DOVECOT, OURS_DOVECOT)

_TICK = os.sysconf("SC_CLK_TCK")


class Setting(NamedTuple):
    """How a daemon asks: ``ldap_auth_method``, whether it remembers accepted logins, and the directory's URI."""

    method: str
    cached: bool
    uri: str


class Peer(NamedTuple):
    """A running daemon."""

    name: str
    protocol: str
    """What is spoken on its socket: ``mux`` or ``dovecot``."""
    socket: Path
    pid: int


def cpu_seconds(pid: int) -> float:
    """User and system time that a process, its descendants, and their ended children have used (proc(5), stat)."""
    parent: dict[int, int] = {}
    used: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                # The name of the program, in parentheses, may hold anything.
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            parent[int(entry.name)] = int(fields[1])
            used[int(entry.name)] = sum(map(int, fields[11:15]))
    total, tree = 0, [pid]
    while tree:
        member = tree.pop()
        total += used.get(member, 0)
        tree += [child for child, its_parent in parent.items() if its_parent == member]
    return total / _TICK


def resident_mb(pid: int) -> float:
    """Memory of a process that is in RAM, in MB of 1,000,000 bytes (proc(5), statm)."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def conf(setting: Setting) -> dict[str, str]:
    """saslauthd.conf, in words that the original honours too: it leaves ``%d`` empty where the realm is given apart."""
    fastbind = setting.method == "fastbind"
    return {
        "ldap_servers": setting.uri,
        "ldap_bind_dn": people.SERVICE_DN,
        "ldap_password": people.SERVICE_PASSWORD,
        "ldap_search_base": people.PEOPLE,
        "ldap_filter": f"uid=%U,{people.PEOPLE}" if fastbind else "(&(objectclass=mailRecipient)(mail=%U@%r))",
        "ldap_auth_method": setting.method,
    }


def _flags(setting: Setting) -> list[str]:
    return ["-n", str(WORKERS), *(["-c", "-s", "1024", "-t", "3600"] if setting.cached else [])]


@contextmanager
def ours(setting: Setting) -> Iterator[tuple[Peer, ...]]:
    """This daemon, with both of its sockets."""
    with Daemon.running(conf(setting), *_flags(setting), "--dovecot-socket", "{folder}/auth") as daemon:
        pid = daemon.program.pid
        yield Peer(OURS, "mux", daemon.mux, pid), Peer(OURS_DOVECOT, "dovecot", daemon.folder / "auth", pid)


@contextmanager
def original(setting: Setting) -> Iterator[tuple[Peer, ...]]:
    """The original in the background as distributions run it: in the foreground it prints every step."""
    with folder("original") as path:
        (path / "saslauthd.conf").write_text(conf_text(conf(setting)))
        conf_file, run_dir = str(path / "saslauthd.conf"), str(path)
        command = [find("saslauthd"), "-a", "ldap", "-O", conf_file, "-m", run_dir, *_flags(setting)]
        # What it says goes to syslog; its workers would keep a pipe open.
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True, timeout=30)
        pid = int((path / "saslauthd.pid").read_text())
        process = os.pidfd_open(pid)
        try:
            wait_until(lambda: answers(path / "mux"), "saslauthd's socket")
            yield (Peer(ORIGINAL, "mux", path / "mux", pid),)
        finally:
            signal.pidfd_send_signal(process, signal.SIGTERM)
            assert select.select([process], [], [], 10)[0], "saslauthd does not end"
            os.close(process)


_DOVECOT = """\
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
protocols =
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain
auth_cache_size = {cache}
auth_cache_negative_ttl = 0
default_client_limit = 4096
{users}
passdb {{
  driver = ldap
  args = {folder}/ldap.conf
}}
passdb {{
  driver = static
  args = nopassword nodelay
  result_success = return-fail
}}
userdb {{
  driver = static
  args = uid=65534 gid=65534 home=/nonexistent
}}
service auth {{
  unix_listener {folder}/auth {{
    mode = 0666
  }}
}}
"""
# Without root it can become nobody else, and enter no other root folder.
_DOVECOT_USERS = """\
default_login_user = {user}
default_internal_user = {user}
default_internal_group = {group}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
"""
_DOVECOT_LDAP = """\
uris = {uri}
dn = {dn}
dnpass = {password}
base = {base}
scope = subtree
ldap_version = 3
pass_filter = (&(objectClass=mailRecipient)(mail=%u))
{method}
"""
_DOVECOT_METHODS = {
    "custom": "pass_attrs = userPassword=password",
    "bind": "auth_bind = yes",
    "fastbind": f"auth_bind = yes\nauth_bind_userdn = uid=%n,{people.PEOPLE}",
}


@contextmanager
def dovecot(setting: Setting) -> Iterator[tuple[Peer, ...]]:
    """Dovecot's auth with its LDAP passdb, without delays after wrong passwords."""
    with folder("dovecot") as path:
        (path / "run").mkdir()
        (path / "state").mkdir()
        values = {
            "folder": path,
            "cache": "32 M" if setting.cached else "0",
            "users": "" if os.geteuid() == 0 else _DOVECOT_USERS.format(user=path.owner(), group=path.group()),
        }
        (path / "dovecot.conf").write_text(_DOVECOT.format(**values))
        ldap = {"uri": setting.uri, "dn": people.SERVICE_DN, "password": people.SERVICE_PASSWORD, "base": people.PEOPLE}
        (path / "ldap.conf").write_text(_DOVECOT_LDAP.format(method=_DOVECOT_METHODS[setting.method], **ldap))
        program = Program(
            ["/usr/sbin/dovecot", "-F", "-c", path / "dovecot.conf"],
            log=path / "printed",
            ready=lambda: answers(path / "auth"),
        )
        program.start()
        try:
            yield (Peer(DOVECOT, "dovecot", path / "auth", program.pid),)
        finally:
            program.stop()


@contextmanager
def running(setting: Setting) -> Iterator[dict[str, Peer]]:
    """All of them, by name."""
    with ExitStack() as stack:
        groups = [stack.enter_context(start(setting)) for start in (ours, original, dovecot)]
        yield {peer.name: peer for group in groups for peer in group}
