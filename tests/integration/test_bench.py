"""The benchmark: that it runs and judges rightly. What it measures is not a test's business."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from bench import peers, results, stages, work
from bench.proxy import delaying
from bench.rounds import Figures, Measured
from bench.tools import Load, compiled, missing

from rig import Daemon, Slapd
from rig.daemon import ROOT


@pytest.fixture(autouse=True)
def programs() -> None:
    if lacking := missing():
        pytest.skip(f"the benchmark needs the Debian packages {' '.join(lacking)}")


def test_all_of_it_works() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--self-test"],
        cwd=ROOT / "tests",
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    for row in work.chosen("cached-held,custom-64,custom-delayed,bind-1"):
        (line,) = [line for line in done.stdout.splitlines() if line.startswith(f"| {row.title} | {row.in_flight} |")]
        assert "/s, " in line
    assert "failed" not in done.stdout.replace("failed 0", "")


def test_the_load_generator_tells_right_answers_from_wrong_ones(slapd: Slapd) -> None:
    with compiled(20, 50) as tools:
        setting = peers.Setting("custom", False, f"{slapd.uri}/")
        with peers.ours(setting) as both:
            for peer in both:
                seen = tools.load(peer.protocol, peer.socket, in_flight=4, logins=200)
                assert seen.accepted + seen.refused == seen.answered == 200
                assert 50 < seen.refused < 150
                assert (seen.mistaken, seen.broken, seen.unanswered) == (0, 0, 0)
                # nobody is called so: every right password is refused, which is a mistake
                seen = tools.load(peer.protocol, peer.socket, in_flight=4, logins=2000, people=2000, wrong=0)
                assert (seen.accepted, seen.mistaken) == (20, 1980)
        down = {**peers.conf(setting), "ldap_servers": "ldap://127.0.0.1:1/"}
        with Daemon.running(down) as daemon:
            seen = tools.load("mux", daemon.mux, in_flight=4, logins=20)
            assert (seen.answered, seen.broken) == (0, 20)


def test_held_connections_are_held(slapd: Slapd) -> None:
    setting = peers.Setting("custom", False, f"{slapd.uri}/")
    with compiled(20, 0) as tools, peers.ours(setting) as (peer, _):
        before = _descriptors(peer.pid)
        with tools.holding(peer.socket, 100):
            assert tools.load(peer.protocol, peer.socket, in_flight=4, logins=100).accepted == 100
            assert _descriptors(peer.pid) >= before + 100


def _descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def test_a_directory_far_away_takes_many_questions_at_once(slapd: Slapd) -> None:
    with compiled(20, 0) as tools, delaying(slapd.port, 0.1) as port:
        setting = peers.Setting("custom", False, f"ldap://127.0.0.1:{port}/")
        with peers.ours(setting) as (peer, _):
            tools.load(peer.protocol, peer.socket, in_flight=1, logins=1)
            seen = tools.load(peer.protocol, peer.socket, in_flight=20, logins=100)
            assert seen.accepted == 100
            assert seen.p50_ms >= 100
            assert seen.seconds < 100 * 0.1 / 2


def test_cpu_time_is_that_of_the_whole_tree() -> None:
    burn = "import time\nwhile time.process_time() < 0.3: pass\n"
    nested = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}]); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", nested], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        assert 0.25 < peers.cpu_seconds(process.pid) < 3
        process.stdin.close()


def measured(rate: float, *, faults: int = 0) -> Measured:
    ours = Figures(rate * 1000, 40, 1, 2, faults, 0)
    return Measured({peers.OURS: ours, peers.ORIGINAL: Figures(1000, 80, 1, 2, 0, 0)}, rate, 0.5, None, 5)


def test_an_aim_is_met_or_not() -> None:
    good, slow, faulty = measured(2.0), measured(1.7), measured(2.0, faults=1)
    assert results.met({"rows": {"custom-64": results.plain(good)}, "start_seconds": 0.3})
    assert not results.met({"rows": {"custom-64": results.plain(slow)}})
    assert not results.met({"rows": {"custom-64": results.plain(faulty)}})
    assert not results.met({"rows": {"custom-1": results.plain(good)}})  # its latency could not be compared
    assert not results.met({"start_seconds": 0.5})
    assert not results.met({"memory": {"resident_mb": {"1000000": 46.0}, "growth_mb": 0.0}})
    table = results.table({"rows": {"custom-64": results.plain(slow)}})
    assert "1.70 \u00d7 (≥ 1.8, **not met**)" in table
    assert "0.50 \u00d7 (≤ 0.6)" in table


def test_results_are_written_between_the_marks_and_drawn(tmp_path: Path) -> None:
    (tmp_path / "performance.md").write_text((ROOT / "docs" / "performance.md").read_text())
    found = {
        "machine": "this one",
        "rows": {"custom-64": results.plain(measured(2.0))},
        "limits": {"custom": 3000.0},
        "profile": {"custom": stages.put_together("f (/x/pysaslauthd/a.py:1) 3", 60.0)._asdict()},
        "sweeps": {"people": [stages.Point(50, 1000.0, 40.0)]},
    }
    for _ in range(2):
        results.write(found, tmp_path)
    assert results.load(tmp_path)["rows"] == found["rows"]
    page = (tmp_path / "performance.md").read_text()
    assert page.count("| custom, not cached | 64 | 2,000/s") == 1
    assert page.count("| 50 | 1,000 | 40 µs |") == 1
    drawn = ElementTree.fromstring((tmp_path / "performance.svg").read_text())
    titles = [element.text for element in drawn.iter("{http://www.w3.org/2000/svg}title")]
    assert titles == ["pysaslauthd: 2,000/s", "saslauthd: 1,000/s", "libldap: 3,000/s"]


def test_results_with_pypy_are_kept_apart(tmp_path: Path) -> None:
    before = (ROOT / "docs" / "performance.md").read_text()
    (tmp_path / "performance.md").write_text(before)
    found = {"machine": "PyPy", "rows": {"custom-64": results.plain(measured(3.0))}}
    results.write(found, tmp_path, pypy=True)
    assert results.load(tmp_path, pypy=True) == found
    assert results.load(tmp_path) == {}
    page = (tmp_path / "performance.md").read_text()
    mark = "<!-- figures of the comparison with PyPy"
    assert page.partition(mark)[0] == before.partition(mark)[0]
    assert "PyPy\n\n| work |" in page.partition(mark)[2]
    assert not (tmp_path / "performance.svg").exists()


def test_an_interpreter_that_does_not_run_is_told() -> None:
    command = [sys.executable, "-m", "bench", "--self-test", "--python", "/nonexistent/pypy3"]
    env = {**os.environ, "PYTHONPATH": f"{ROOT / 'tests'}:{ROOT}"}
    done = subprocess.run(command, cwd=ROOT / "tests", env=env, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "--python: [Errno 2] No such file or directory: '/nonexistent/pypy3'" in done.stderr


def test_samples_become_stages() -> None:
    package = ROOT / "pysaslauthd"
    listener = (package / "server" / "listener.py").read_text().splitlines()
    accept = next(number for number, line in enumerate(listener, 1) if "accept()[0]" in line)
    outer = f"main (/x.py:1);_accept ({package}/server/listener.py:{accept})"
    stacks = f"{outer} 30\n{outer};parse ({package}/wire/mux.py:1) 10\nmain (/x.py:1) 10"
    profile = stages.put_together(stacks, 100.0)
    assert profile.stages == {"client: accept": 60, "client: parse the request": 20, "other": 20}
    assert profile.samples == 50


def test_only_known_work_can_be_chosen() -> None:
    assert [row.key for row in work.chosen("bind-1,fastbind")] == ["bind-1", "fastbind-64"]
    assert work.chosen("") == work.ROWS
    with pytest.raises(ValueError, match="no work is called 'nothing'"):
        work.chosen("nothing")


def test_a_rate_is_of_the_answers_in_time() -> None:
    seen = Load(answered=110, in_time=100, seconds=2.0, accepted=110, refused=0, mistaken=1, broken=2, unanswered=3,
                p50_ms=1, p95_ms=1, p99_ms=1, max_ms=1)  # fmt: skip
    assert (seen.rate, seen.faults) == (50, 3)
