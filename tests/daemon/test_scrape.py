"""The real daemon's metrics, as Prometheus gets them."""

from __future__ import annotations

import http.client
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Self

import pytest

from rig import Daemon, people
from rig.daemon import ENVIRONMENT
from rig.dovecot import ask
from rig.programs import free_port, wait_until

CONF = people.file_article(request_timeout="2")
FILES = {"people.ldif": people.tree(2)}
RIGHT = people.PENGUIN, people.PENGUIN_PASSWORD


class UnixHttp(http.client.HTTPConnection):
    """HTTP over a UNIX socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(str(self._path))

    @classmethod
    def to(cls, path: Path) -> Self:
        return cls(path)


def scrape(connection: http.client.HTTPConnection) -> str:
    connection.request("GET", "/metrics")
    with connection.getresponse() as response:
        assert response.status == 200
        return response.read().decode()


def test_what_the_daemon_did_is_in_its_metrics() -> None:
    flags = "-c", "--metrics", "unix:{folder}/metrics:mode=0600", "--dovecot-socket", "{folder}/auth"
    with Daemon.running(CONF, *flags, files=FILES) as daemon, socket.socket(socket.AF_UNIX) as silent:
        silent.connect(str(daemon.mux))
        silent.sendall(b"\0")
        at = daemon.folder / "metrics"
        assert at.stat().st_mode & 0o777 == 0o600
        for _ in range(3):
            assert daemon.ask(*RIGHT) == b"OK"
        assert daemon.ask(people.PENGUIN, "wrong") == b"NO"
        assert daemon.ask(people.PENGUIN, "") == b"NO"
        assert (ask(daemon.folder / "auth", *RIGHT) or "").startswith("OK\t1\t")
        daemon.ask_raw(b"\xff\xff" * 8)
        assert silent.recv(1) == b""
        wanted = {
            'pysaslauthd_logins_total{door="mux",reason="ok",verdict="accepted"} 3.0',
            'pysaslauthd_logins_total{door="dovecot",reason="ok",verdict="accepted"} 1.0',
            'pysaslauthd_logins_total{door="mux",reason="wrong-password",verdict="rejected"} 1.0',
            'pysaslauthd_logins_total{door="mux",reason="empty-password",verdict="rejected"} 1.0',
            'pysaslauthd_login_duration_seconds_count{cached="yes",verdict="accepted"} 3.0',
            'pysaslauthd_directory_operation_duration_seconds_count{answered="yes",operation="search"} 2.0',
            "pysaslauthd_cache_entries 1.0",
            "pysaslauthd_cache_max_entries 10266.0",
            "pysaslauthd_cache_hits_total 3.0",
            "pysaslauthd_cache_misses_total 2.0",
            f'pysaslauthd_directory_up{{server="ldif://{daemon.folder}/people.ldif"}} 1.0',
            'pysaslauthd_requests_refused_total{door="mux",fault="malformed"} 1.0',
            'pysaslauthd_requests_refused_total{door="mux",fault="late"} 1.0',
            'pysaslauthd_requests_refused_total{door="dovecot",fault="full"} 0.0',
            'pysaslauthd_connections{door="mux"} 0.0',
            "pysaslauthd_log_lines_lost_total 0.0",
        }

        def lacking() -> set[str]:
            text = scrape(UnixHttp.to(at))
            labels_in_order = re.sub(r"\{(.*)\}", lambda found: "{" + ",".join(sorted(found[1].split(","))) + "}", text)
            return wanted - set(labels_in_order.splitlines())

        wait_until(lambda: not lacking(), f"not in the metrics: {lacking()}")
        assert people.PENGUIN not in scrape(UnixHttp.to(at))
        assert daemon.program.stop() == 0
        assert not at.exists()


def test_metrics_are_served_on_a_port_too() -> None:
    port = free_port()
    with Daemon.running(CONF, "--metrics", f"127.0.0.1:{port}", files=FILES):
        assert "pysaslauthd_info" in scrape(http.client.HTTPConnection("127.0.0.1", port, timeout=60))


WITHOUT = """
import sys
sys.modules[{module!r}] = None
from pysaslauthd.cli.daemon import main
sys.exit(main())
"""


@pytest.mark.parametrize("module", ["prometheus_client", "h11"])
def test_without_the_libraries_the_start_says_what_to_install(module: str, tmp_path: Path) -> None:
    (tmp_path / "people.ldif").write_text(people.tree(2))
    text = "".join(f"{key}: {value}\n" for key, value in CONF.items()).replace("{folder}", str(tmp_path))
    (tmp_path / "saslauthd.conf").write_text(text)
    command = [sys.executable, "-c", WITHOUT.format(module=module), "-f", "-O", str(tmp_path / "saslauthd.conf")]
    done = subprocess.run(
        [*command, "-m", str(tmp_path), "--metrics", "127.0.0.1:9797"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **ENVIRONMENT},
    )
    assert done.returncode == 1
    assert "--metrics: the module " in done.stderr
    assert done.stderr.endswith(" is not installed: pip install 'pysaslauthd[metrics]'\n")
    assert not (tmp_path / "mux").exists()
