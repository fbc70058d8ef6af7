from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pysaslauthd import __version__
from pysaslauthd.cli import daemon
from pysaslauthd.config.options import DaemonOptions
from pysaslauthd.config.sockets import SocketPlace
from rig import pidfd
from rig.daemon import ENVIRONMENT

CONFIG = "ldap_servers: ldap://127.0.0.1:1/\nldap_search_base: ou=People,dc=hoge,dc=cxm\nldap_filter: (uid=%u)\n"

STAND_IN = """
import functools, logging, os, signal, sys, types
from pysaslauthd.errors import ConfigError, StartError

def serve(options, loaded, *, ready):
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    DO
    ready()
    print("not for the terminal")
    logging.getLogger("pysaslauthd").info("serving %s", loaded.settings.search_base)
    signal.sigwait([signal.SIGTERM])

sys.modules["pysaslauthd.daemon"] = types.SimpleNamespace(serve=serve)
from pysaslauthd.cli import daemon
from pysaslauthd import log
log.SyslogHandler = functools.partial(log.SyslogHandler, os.environ["SYSLOG"])
sys.exit(daemon.main())
"""


class Site:
    """A folder with a configuration, a run directory and a syslog daemon."""

    def __init__(self, folder: Path, syslog: socket.socket) -> None:
        self.folder = folder
        self.run_dir = folder / "run"
        self.pid_file = self.run_dir / "saslauthd.pid"
        self.syslog = syslog
        self.config = folder / "saslauthd.conf"
        self.config.write_text(CONFIG)

    def command(self, *flags: str, do: str = "pass") -> list[str]:
        script = STAND_IN.replace("DO", do)
        return [sys.executable, "-c", script, "-O", str(self.config), "-m", str(self.run_dir), *flags]

    def start(self, *flags: str, do: str = "pass", **environ: str) -> subprocess.CompletedProcess[str]:
        """Start, with ``do`` in place of what the real daemon does before it serves."""
        return subprocess.run(
            self.command(*flags, do=do),
            env=self.environ(**environ),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def environ(self, **more: str) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], **ENVIRONMENT, "SYSLOG": self.syslog.getsockname(), **more}

    def logged(self) -> str:
        """The next line in syslog, without time and process."""
        line = self.syslog.recv(8192).decode()
        match = re.fullmatch(r"<\d+>\w{3} [ \d]\d [\d:]{8} saslauthd\[\d+\]: (.*)", line)
        assert match, line
        return match[1]

    def stop(self) -> None:
        """End the daemon by its pid file, and wait for it."""
        process = pidfd.open_process(int(self.pid_file.read_text()))
        try:
            pidfd.send_signal(process, signal.SIGTERM)
            if not select.select([process], [], [], 120)[0]:
                pidfd.send_signal(process, signal.SIGKILL)
                pytest.fail("SIGTERM did not end it")
        finally:
            os.close(process)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as syslog:
        syslog.bind(str(tmp_path / "syslog"))
        syslog.settimeout(60)
        site = Site(tmp_path, syslog)
        yield site
        if site.pid_file.exists():
            site.stop()


Parsed = list[tuple[DaemonOptions, tuple[str, ...]]]


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> Parsed:
    """What the command line would start."""
    started: Parsed = []

    def start(options: DaemonOptions, remarks: tuple[str, ...] = ()) -> int:
        started.append((options, remarks))
        return 0

    monkeypatch.setattr(daemon, "start", start)
    return started


def run(line: str) -> int:
    return daemon.main(line.split())


def test_no_flag_is_saslauthds_defaults(parsed: Parsed) -> None:
    assert daemon.main([]) == 0
    assert parsed == [(DaemonOptions(), ())]


def test_every_letter_of_saslauthd_is_understood(parsed: Parsed) -> None:
    assert run("-a ldap -c -s 1024 -t 3600 -m /run/x -O /etc/y -n 0 -r -d") == 0
    options = DaemonOptions(
        config=Path("/etc/y"),
        run_dir=Path("/run/x"),
        threads=0,
        cache=True,
        cache_size=1024,
        cache_lifetime=3600,
        append_realm=True,
        verbose=True,
        foreground=True,
    )
    assert parsed == [(options, ())]
    # As getopt takes them: flags together, a value without a space.
    assert run("-crd -aLDAP -s1024 -t3600 -m/run/x -O/etc/y -n0") == 0
    assert parsed[1] == parsed[0]


def test_every_letter_has_a_long_name(parsed: Parsed) -> None:
    assert run("-a ldap -c -s 1 -t 2 -m /x -O /y -n 3 -r -d -f -V -T -l") == 0
    long = (
        "--mechanism=ldap --cache --cache-size=1 --cache-lifetime=2 --run-dir=/x --config=/y --threads=3"
        " --append-realm --debug --foreground --verbose --time-of-day --no-accept-lock"
    )
    assert run(long) == 0
    assert parsed[0] == parsed[1]


def test_foreground_and_verbose_are_the_two_halves_of_debug(parsed: Parsed) -> None:
    for flag in ("-f", "-V", "-d"):
        daemon.main([flag])
    assert [(options.foreground, options.verbose) for options, _ in parsed] == [
        (True, False),
        (False, True),
        (True, True),
    ]


def test_no_can_be_the_answer_to_an_outage(parsed: Parsed) -> None:
    assert daemon.main(["--unavailable", "no"]) == 0
    assert parsed[0][0].unavailable == "no"


def test_sockets_are_repeated_and_keep_their_order(parsed: Parsed) -> None:
    line = "--mux-socket /a --mux-socket /b:mode=0600 --dovecot-socket /c --dovecot-socket /d:mode=600,owner=1,group=2"
    assert run(line + " --dovecot-unavailable fail") == 0
    ((options, _),) = parsed
    assert options.mux_sockets == (SocketPlace("/a", 0o777), SocketPlace("/b", 0o600))
    assert options.dovecot_sockets == (SocketPlace("/c", 0o660), SocketPlace("/d", 0o600, 1, 2))
    assert options.dovecot_unavailable == "fail"


def test_an_empty_long_option_is_no_option(parsed: Parsed) -> None:
    assert daemon.main(["--config=/y", "--config=", "--threads=", "--mechanism=", "--run-dir="]) == 0
    assert parsed == [(DaemonOptions(config=Path("/y")), ())]


def test_a_relative_configuration_is_made_absolute(parsed: Parsed) -> None:
    daemon.main(["-O", "saslauthd.conf"])
    assert parsed[0][0].config == Path.cwd() / "saslauthd.conf"


def test_the_default_configuration_is_the_credential_where_there_is_one(
    parsed: Parsed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    daemon.main([])
    (tmp_path / "saslauthd.conf").write_text(CONFIG)
    daemon.main([])
    daemon.main(["-O", "/y"])
    paths = [options.config for options, _ in parsed]
    assert paths == [Path("/etc/saslauthd.conf"), tmp_path / "saslauthd.conf", Path("/y")]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("-n x", "'-n' / '--threads': 'x': a whole number from 0 to 2147483647 is needed"),
        ("-n -3", "'-n' / '--threads': '-3': a whole number from 0 to 2147483647 is needed"),
        ("-n 1_0", "'1_0': a whole number"),
        ("-n 99999999999999999999", "'99999999999999999999': a whole number"),
        ("-s 0", "'-s' / '--cache-size': '0': a whole number from 1 to 4194303 is needed"),
        ("-s 128k", "'128k': a whole number"),
        ("-t 0", "'-t' / '--cache-lifetime': '0': a whole number from 1 to 2147483647 is needed"),
        ("-m run", "'-m' / '--run-dir': 'run': an absolute path is needed"),
        ("-a pam", "'-a' / '--mechanism': 'pam': this daemon asks LDAP directories only; use -a ldap"),
        ("-a ldap -a pam", "'pam': this daemon asks LDAP directories only; use -a ldap"),
        ("-O", "Option '-O' requires an argument"),
        ("-Z", "No such option"),
        ("ldap", "Got unexpected extra argument (ldap)"),
        ("--unavailable maybe", "'maybe' is not one of 'close', 'no'"),
        ("--dovecot-unavailable no", "'no' is not one of 'auto', 'close', 'fail'"),
        ("--mux-socket mux", "'--mux-socket': 'mux': an absolute path is needed"),
        ("--dovecot-socket /x:owner=no-such-one", "'--dovecot-socket': owner=no-such-one: there is no such user"),
        ("--dovecot-socket /x --mux-socket /x", "/x: one path cannot be two sockets"),
        ("-m /run/x --dovecot-socket /run/x/mux", "/run/x/mux: one path cannot be two sockets"),
        ("--metrics 9797", "'--metrics': '9797': an address and a port are needed"),
    ],
)
def test_a_wrong_command_line_is_one_clear_line_and_status_2(
    line: str, complaint: str, parsed: Parsed, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(line) == 2
    said = capsys.readouterr()
    assert said.err.startswith("pysaslauthd: ")
    assert said.err.count("\n") == 1
    assert complaint in said.err
    assert not said.out
    assert not parsed


def test_a_folder_of_credentials_that_cannot_be_one_is_a_failed_start(
    parsed: Parsed, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "credentials")
    assert daemon.main([]) == 1
    assert capsys.readouterr().err == "pysaslauthd: CREDENTIALS_DIRECTORY=credentials: not an absolute path\n"
    assert not parsed


def test_ctrl_c_ends_a_start_with_the_status_of_an_interrupted_command(site: Site) -> None:
    site.config.unlink()
    os.mkfifo(site.config)
    # A run in the background has the signal ignored, and what it starts inherits that. The file opens once it is read.
    command = ["env", "--default-signal=INT", *site.command("-f")]
    with subprocess.Popen(command, env=site.environ()) as process, site.config.open("w"):
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(120) == 130
        finally:
            process.kill()


def test_the_version_is_told_as_saslauthd_tells_it(capsys: pytest.CaptureFixture[str]) -> None:
    # saslauthd 2.1.28 -v: "saslauthd 2.1.28\nauthentication mechanisms: … ldap\n\n" on standard error, status 0
    assert daemon.main(["-v"]) == 0
    assert capsys.readouterr() == ("", f"pysaslauthd {__version__}\nauthentication mechanisms: ldap\n\n")


def test_help_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert daemon.main(["-h"]) == 0
    out = capsys.readouterr().out
    for parameter in daemon.command.params:
        for option in parameter.opts:
            assert option in out


def test_it_detaches_and_is_found_by_its_pid_file(site: Site) -> None:
    start = site.start("-a", "ldap")
    assert (start.returncode, start.stdout, start.stderr) == (0, "", "")
    assert site.run_dir.stat().st_mode & 0o777 == 0o755
    assert site.logged() == "serving ou=People,dc=hoge,dc=cxm"
    site.stop()
    assert not site.pid_file.exists()


def test_a_second_start_in_the_same_directory_is_refused_and_deletes_nothing(site: Site) -> None:
    assert site.start().returncode == 0
    before = site.pid_file.read_bytes()
    for flags in ((), ("-f",)):
        second = site.start(*flags)
        assert second.returncode == 1
        assert second.stderr.endswith(f"is held by a running daemon (pid {int(before)}); stop it, or use another -m\n")
        assert second.stderr.count("\n") == 1
    assert site.pid_file.read_bytes() == before
    site.stop()


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        ("StartError('/x/mux: taken')", 1, ": /x/mux: taken\n"),
        ("ConfigError('not here', file='/y', line=3, key='ldap_mech')", 2, ": /y:3: ldap_mech: not here\n"),
        ("OSError('broken')", 1, ": internal error | Traceback .* | OSError: broken\n"),
    ],
)
def test_a_failed_start_is_one_line_on_the_terminal_and_in_syslog(
    site: Site, error: str, status: int, said: str
) -> None:
    start = site.start(do=f"raise {error}")
    assert start.returncode == status
    assert re.fullmatch(r"saslauthd\[\d+\]" + said.replace("|", r"\|"), start.stderr)
    assert start.stderr.endswith(f": {site.logged()}\n")
    assert not site.pid_file.exists()


def test_a_failed_start_in_the_foreground_is_one_line_too(site: Site) -> None:
    start = site.start("-f", do="raise StartError('/x/mux: taken')")
    assert start.returncode == 1
    assert re.fullmatch(r"saslauthd\[\d+\]: /x/mux: taken\n", start.stderr)


def test_a_daemon_that_ends_before_it_serves_is_a_failed_start(site: Site) -> None:
    assert site.start(do="return").returncode == 1


def test_a_configuration_that_cannot_be_used_ends_the_start_with_status_2(site: Site) -> None:
    site.config.write_text(CONFIG + "ldap_timeout: soon\n")
    start = site.start()
    assert start.returncode == 2
    assert re.fullmatch(rf"saslauthd\[\d+\]: {site.config}:4: ldap_timeout: .+\n", start.stderr)
    assert not site.run_dir.exists()


def test_doubts_and_flags_without_meaning_are_told_once_each(site: Site) -> None:
    site.config.write_text(CONFIG + "log_level: 10\n")
    start = site.start("-T", "-l")
    assert start.returncode == 0
    lines = [line.split(": ", 1)[1] for line in start.stderr.splitlines()]
    assert lines[:2] == [
        "-T: has no meaning here: LDAP logins know no time of day",
        "-l: has no meaning here: there is no accept lock",
    ]
    assert lines[2].startswith(f"{site.config}:4: log_level: ")
    assert [site.logged() for _ in lines] == lines
    site.stop()


def test_a_run_directory_that_cannot_be_made_ends_the_start(site: Site) -> None:
    site.run_dir = site.folder / "missing" / "run"
    start = site.start()
    assert start.returncode == 1
    assert start.stderr.endswith("cannot be created: No such file or directory; create it, or name another with -m\n")


@contextlib.contextmanager
def attached(site: Site, *flags: str, **environ: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        site.command(*flags), env=site.environ(**environ), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("flags", "environ"),
    [(["-f"], {}), ([], {"NOTIFY_SOCKET": "/nobody/there"}), ([], {"LISTEN_FDS": "1"})],
)
def test_in_the_foreground_and_under_systemd_it_stays_and_logs_to_standard_error(
    site: Site, flags: list[str], environ: dict[str, str]
) -> None:
    with attached(site, *flags, **environ) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == f"saslauthd[{process.pid}]: serving ou=People,dc=hoge,dc=cxm\n"
        assert site.pid_file.read_text() == f"{process.pid}\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0
    assert not site.pid_file.exists()
    site.syslog.setblocking(False)
    with pytest.raises(BlockingIOError):
        site.syslog.recv(8192)


def test_python_m_pysaslauthd_is_the_daemon() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "pysaslauthd", "-v"],
        env={**os.environ, **ENVIRONMENT},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert told.stderr.startswith(f"pysaslauthd {__version__}\n")
