"""What the start refuses because the directory could never be asked, and what it leaves out because nothing needs it,
with the whole daemon as a process.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from pysaslauthd.daemon.run import COLLECT_AFTER
from rig import Daemon, people
from rig.daemon import ENVIRONMENT
from rig.needs import needs_cpython
from rig.programs import Program, StartFailed, folder
from rig.saslauthd import conf_text

SERVER = {"ldap_servers": "ldap://127.0.0.1:1", "ldap_search_base": people.PEOPLE}
FILE = {**SERVER, "ldap_servers": "ldif://{folder}/people.ldif"}


@pytest.mark.parametrize(
    ("conf", "key", "text"),
    [
        ({**SERVER, "ldap_filter": "(&(objectclass=mailRecipient)mail=%u)"}, "ldap_filter", "filter"),
        ({**SERVER, "ldap_auth_method": "custom", "ldap_filter": "(%u=)(x=1)"}, "ldap_filter", "filter"),
        ({**FILE, "ldap_filter": "(mail>=%u)"}, "ldap_filter", ">="),
        (
            {**SERVER, "ldap_group_match_method": "filter", "ldap_group_filter": "(&(member=%D)x)"},
            "ldap_group_filter",
            "filter",
        ),
    ],
)
def test_a_filter_that_cannot_be_asked_ends_the_start(conf: dict[str, str], key: str, text: str) -> None:
    files = {"people.ldif": people.tree(1)}
    refused = pytest.raises(StartFailed, match=rf"ended with status 2\n(?s:.*){key}: .*{text}")
    with refused, Daemon.running(conf, files=files):
        pass


def test_fastbind_has_a_dn_and_no_filter() -> None:
    conf = {**SERVER, "ldap_auth_method": "fastbind", "ldap_filter": f"uid=%u,{people.PEOPLE}"}
    with Daemon.running(conf) as daemon:
        assert daemon.ask(people.PENGUIN, people.PENGUIN_PASSWORD) is None


@pytest.mark.parametrize("control", ["a socket", "in the way"])
@pytest.mark.usefixtures("root")
def test_a_start_that_fails_at_the_last_leaves_no_socket(control: str) -> None:
    with folder("start") as at:
        (at / "run").mkdir()
        if control == "in the way":
            (at / "run" / "control").mkdir()
        (at / "conf").write_text(conf_text({**SERVER, "ldap_filter": "(uid=%u)", "user": "nobody"}))
        flags = ["-f", "-O", f"{at}/conf", "-m", f"{at}/run", "--metrics", f"unix:{at}/run/metrics"]
        # Root that may not change its user.
        done = subprocess.run(
            ["setpriv", "--bounding-set", "-setuid", sys.executable, "-m", "pysaslauthd", *flags],
            env={**os.environ, **ENVIRONMENT},
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 1
        assert "cannot become user nobody: Operation not permitted; start as root" in done.stderr
        assert ("pysaslauthctl cannot speak to this daemon" in done.stderr) == (control == "in the way")
        assert [path.name for path in (at / "run").iterdir() if path.is_socket()] == []


@pytest.mark.usefixtures("root")
def test_without_root_it_serves_as_whoever_started_it() -> None:
    with folder("start") as at:
        at.chmod(0o777)
        (at / "people.ldif").write_text(people.tree(1))
        (at / "conf").write_text(conf_text({"ldap_servers": f"ldif://{at}/people.ldif", "ldap_filter": "(uid=%u)"}))
        # Python may lie where only root may read.
        reading = ["--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search"]
        program = Program(
            [
                *(
                    "setpriv",
                    "--reuid",
                    "nobody",
                    "--clear-groups",
                    *reading,
                    sys.executable,
                    "-m",
                    "pysaslauthd",
                    "-f",
                ),
                *("-O", at / "conf", "-m", at / "run"),
            ],
            log=at / "log",
            ready=lambda: ": serving " in program.log,
            env=ENVIRONMENT,
        )
        program.start()
        try:
            assert (at / "run" / "mux").owner() == "nobody"
            assert "running as" not in program.log
        finally:
            assert program.stop() == 0


FEATURES = {
    "a Dovecot socket": ("server.dovecot", "wire.dovecot", "wire.dovecot_session", "wire.sasl"),
    "an LDIF file": ("directory.ldif", "directory.ldif_file", "directory.match", "directory.content", "wire.ldif"),
    "a watch": ("directory.watch", "directory.watcher", "directory.watch_connection", "wire.ldap.change"),
    "metrics": ("server.metrics", "server.exposition"),
    "the commands": ("inspection", "cli.control", "cli.probe", "cli.demo", "cli.check", "cli.explain"),
}
LIBRARIES = ("argon2", "dns", "prometheus_client", "h11")


@needs_cpython
def test_no_feature_is_imported_that_the_configuration_leaves_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")
    with Daemon.running({**SERVER, "ldap_auth_method": "custom"}, "-c") as daemon:
        imported = set(re.findall(r"^import time: .*\| +([\w.]+)$", daemon.program.log, re.MULTILINE))
    assert {"pysaslauthd.server.mux", "pysaslauthd.directory.servers"} <= imported
    assert imported.isdisjoint(LIBRARIES)
    features = {f"pysaslauthd.{module}": feature for feature, modules in FEATURES.items() for module in modules}
    assert all(map(find_spec, features))
    assert not {feature for module, feature in features.items() if module in imported}


@needs_cpython
def test_the_garbage_collector_looks_for_cycles_rarely(tmp_path: Path) -> None:
    tell = "atexit.register(lambda: print('objects:', gc.get_threshold()[0], file=sys.stderr))"
    (tmp_path / "sitecustomize.py").write_text(f"import atexit, gc, sys; {tell}")
    within = ["env", f"PYTHONPATH={tmp_path}:{ENVIRONMENT['PYTHONPATH']}"]
    with Daemon.running({**SERVER, "ldap_auth_method": "custom"}, within=within) as daemon:
        assert daemon.program.stop() == 0
        assert f"objects: {COLLECT_AFTER}\n" in daemon.program.log
