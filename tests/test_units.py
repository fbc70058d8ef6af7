"""The systemd units, read as systemd.service(5) says."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from pysaslauthd import config
from pysaslauthd.cli import control, daemon, reload
from pysaslauthd.config.options import DaemonOptions

UNITS = Path(__file__).parents[1] / "systemd"
DEBIAN = """
START=yes
DESC="SASL Authentication Daemon"
NAME="saslauthd"
MECHANISMS="ldap"
MECH_OPTIONS=""
THREADS=5
OPTIONS="-c -m /var/run/saslauthd"
"""
RED_HAT = """
SOCKETDIR=/run/saslauthd
MECH=ldap
FLAGS="-c -s 1024 -t 3600"
"""


def settings(unit: str) -> list[tuple[str, str]]:
    """Every ``Key=Value`` of a unit file, in order."""
    lines = [line for line in (UNITS / unit).read_text().splitlines() if line and line[0] not in "#["]
    assert not [line for line in lines if line.endswith("\\")], "continued lines are not read here"
    return [(key, value) for key, _, value in (line.partition("=") for line in lines)]


def only(unit: str, key: str) -> str:
    [value] = [value for each, value in settings(unit) if each == key]
    return value


def assignments(text: str) -> dict[str, str]:
    return dict(word.split("=", 1) for word in shlex.split(text, comments=True))


def arguments(*files: str) -> list[str]:
    """ExecStart's arguments after these environment files have been read, over the unit's own Environment=."""
    variables: dict[str, str] = {}
    for key, value in settings("pysaslauthd.service"):
        if key == "Environment":
            variables.update(assignments(value))
    for file in files:
        variables.update(assignments(file))
    program, *words = only("pysaslauthd.service", "ExecStart").split()
    assert program == "pysaslauthd"
    given: list[str] = []
    for word in words:
        if word.startswith("$") and word[1:].isalpha():
            given += shlex.split(variables[word[1:]])
        else:
            given.append(re.sub(r"\$\{(\w+)\}", lambda found: variables[found[1]], word))
    return given


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[DaemonOptions]:
    started: list[DaemonOptions] = []

    def start(options: DaemonOptions, remarks: tuple[str, ...] = ()) -> int:
        assert not remarks
        started.append(options)
        return 0

    monkeypatch.setattr(daemon, "start", start)
    return started


RUN = Path("/run/saslauthd")
VAR_RUN = Path("/var/run/saslauthd")


@pytest.mark.parametrize(
    ("files", "options"),
    [
        ([], DaemonOptions(run_dir=RUN)),
        ([DEBIAN], DaemonOptions(run_dir=VAR_RUN, cache=True)),
        ([RED_HAT], DaemonOptions(run_dir=RUN, cache=True, cache_size=1024, cache_lifetime=3600)),
        ([DEBIAN, RED_HAT], DaemonOptions(run_dir=VAR_RUN, cache=True, cache_size=1024, cache_lifetime=3600)),
        (
            ['MECHANISMS=ldap\nTHREADS=0\nMECH_OPTIONS="/etc/my saslauthd.conf"\nOPTIONS="-r -m \'/run/a b\'"'],
            DaemonOptions(
                config=Path("/etc/my saslauthd.conf"), run_dir=Path("/run/a b"), threads=0, append_realm=True
            ),
        ),
        (["MECH=\nMECHANISMS=\nTHREADS=\nSOCKETDIR=\nFLAGS=\nOPTIONS="], DaemonOptions(run_dir=VAR_RUN)),
    ],
)
def test_the_distributions_variables_make_one_command_line(
    files: list[str], options: DaemonOptions, started: list[DaemonOptions]
) -> None:
    assert daemon.main(arguments(*files)) == 0
    assert started == [replace(options, foreground=True)]


@pytest.mark.parametrize("file", [DEBIAN.replace("ldap", "pam"), RED_HAT.replace("ldap", "pam")])
def test_a_distribution_set_to_another_mechanism_is_refused(
    file: str, started: list[DaemonOptions], capsys: pytest.CaptureFixture[str]
) -> None:
    assert daemon.main(arguments(file)) == 2
    assert "'pam': this daemon asks LDAP directories only" in capsys.readouterr().err
    assert not started


def test_socket_and_service_meet_in_one_directory() -> None:
    run_dir = Path("/run") / only("pysaslauthd.service", "RuntimeDirectory")
    assert Path(only("pysaslauthd.socket", "ListenStream")) == DaemonOptions(run_dir=run_dir).mux_path
    mode, user, group = "0710", only("pysaslauthd.service", "User"), only("pysaslauthd.service", "Group")
    assert only("pysaslauthd.service", "RuntimeDirectoryMode") == mode == only("pysaslauthd.socket", "DirectoryMode")
    assert only("pysaslauthd.socket", "SocketUser") == user
    assert only("pysaslauthd.socket", "SocketGroup") == group
    assert f"d {run_dir} {mode} {user} {group} -\n" in (UNITS / "pysaslauthd.tmpfiles").read_text()
    assert f"u {user} -:{group} " in (UNITS / "pysaslauthd.sysusers").read_text()


@pytest.mark.parametrize(
    ("unit", "name", "path"),
    [
        ("pysaslauthd.socket", "mux", "/run/saslauthd/mux"),
        ("pysaslauthd-dovecot.socket", "dovecot", "/var/spool/postfix/private/auth"),
        ("pysaslauthd-chroot.socket", "mux", "/var/spool/postfix/var/run/saslauthd/mux"),
    ],
)
def test_each_socket_has_the_name_of_its_protocol(unit: str, name: str, path: str) -> None:
    assert (only(unit, "FileDescriptorName"), only(unit, "ListenStream")) == (name, path)
    # A socket belongs to the service of its own name, if not told otherwise.
    assert dict(settings(unit)).get("Service", unit.replace(".socket", ".service")) == "pysaslauthd.service"
    assert only(unit, "SocketMode") == "0660"


def test_an_instance_has_all_for_itself() -> None:
    service, sockets = "pysaslauthd@.service", "pysaslauthd@.socket"
    run_dir = Path("/run") / only(service, "RuntimeDirectory")
    assert "%i" in run_dir.name
    program, *words = only(service, "ExecStart").split()
    assert (program, words[1:]) == ("pysaslauthd", [f"--run-dir={run_dir}", "$OPTIONS"])
    assert only(service, "ExecReload") == f"pysaslauthctl reload --run-dir={run_dir}"
    assert Path(only(sockets, "ListenStream")) == DaemonOptions(run_dir=run_dir).mux_path
    assert only(sockets, "ExecStartPost") == f"chgrp {only(service, 'Group')} {run_dir}"
    assert only(service, "LoadCredential") == f"{DaemonOptions().config.name}:/etc/pysaslauthd/%i.conf"
    assert only(service, "EnvironmentFile") == "-/etc/default/pysaslauthd-%i"
    for key in ("FileDescriptorName", "SocketUser", "SocketGroup", "SocketMode", "DirectoryMode", "Backlog"):
        assert only(sockets, key) == only("pysaslauthd.socket", key)


def test_an_instance_is_kept_as_short_as_the_service() -> None:
    own = {
        "Conflicts", "Description", "Environment", "EnvironmentFile", "ExecReload", "ExecStart", "LoadCredential",
        "RuntimeDirectory", "SyslogIdentifier", "Also",
    }  # fmt: skip
    one, each = settings("pysaslauthd.service"), settings("pysaslauthd@.service")
    assert [pair for pair in each if pair[0] not in own] == [pair for pair in one if pair[0] not in own]
    assert only("pysaslauthd@.service", "SyslogIdentifier") == "saslauthd"


def test_the_password_comes_as_the_credential_that_the_page_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop_in = "pysaslauthd.service.d/bind-password.conf"
    name, _, path = only(drop_in, "LoadCredential").partition(":")
    page = (UNITS.parent / "docs/how-to/systemd.md").read_text()
    (line,) = re.findall("^(ldap_password_file: .*)$", page, re.MULTILINE)
    assert f"#   {line}\n" in (UNITS / drop_in).read_text()
    assert f"`{path}`" in page
    # What systemd does with it.
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / name).touch(0o600)
    (tmp_path / name).write_text("the password\n")
    (tmp_path / "saslauthd.conf").write_text(f"{line}\nldap_bind_dn: cn=userretriever,dc=hoge,dc=cxm\n")
    assert config.load(str(tmp_path / "saslauthd.conf")).settings.password == b"the password"


def test_pypy_may_compile_at_run_time_and_nothing_else_is_changed() -> None:
    assert only("pysaslauthd.service", "MemoryDenyWriteExecute") == "yes"
    drop_in = dict(settings("pysaslauthd.service.d/pypy.conf"))
    assert drop_in == {"MemoryDenyWriteExecute": "no", "Environment": "PYPY_GC_NURSERY=16M"}


def test_a_drop_in_brings_a_socket_that_is_there() -> None:
    drop_in = dict(settings("pysaslauthd.service.d/postfix-chroot.conf"))
    assert drop_in == dict.fromkeys(("Wants", "After"), "pysaslauthd-chroot.socket")
    assert (UNITS / drop_in["Wants"]).exists()


def test_every_socket_is_known_here_and_on_postfixs_page() -> None:
    page = (UNITS.parent / "docs/how-to/postfix.md").read_text()
    extra = {path.name for path in UNITS.glob("*.socket")} - {"pysaslauthd.socket", "pysaslauthd@.socket"}
    assert extra == {"pysaslauthd-dovecot.socket", "pysaslauthd-chroot.socket"}
    assert all(f"`{unit}`" in page for unit in extra)


def test_a_wrong_configuration_is_not_started_again_and_again() -> None:
    assert only("pysaslauthd.service", "Restart") == "on-failure"
    assert daemon.main(["--no-such-option"]) == int(only("pysaslauthd.service", "RestartPreventExitStatus"))


def test_the_configuration_comes_as_the_credential_that_the_daemon_looks_for() -> None:
    name, _, path = only("pysaslauthd.service", "LoadCredential").partition(":")
    assert (name, Path(path)) == (DaemonOptions().config.name, DaemonOptions().config)


def test_a_reload_is_asked_of_the_daemon_that_was_started(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Path, str]] = []

    def ask(run_dir: Path, command: str) -> dict[str, object]:
        asked.append((run_dir, command))
        return {"configuration": "", "remarks": []}

    monkeypatch.setattr(reload, "ask", ask)
    program, *words = only("pysaslauthd.service", "ExecReload").replace("${SOCKETDIR}", str(RUN)).split()
    assert program == "pysaslauthctl"
    assert control.main(words) == 0
    assert asked == [(RUN, "reload")]
