from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pysaslauthd.detach import make_run_dir, pid_file
from pysaslauthd.errors import StartError
from rig import pidfd

ENVIRON = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "PYTHONWARNINGS": "error"}

DETACH = """
import os, signal, sys
from pysaslauthd import detach
from pysaslauthd.errors import StartError

detach.START_DEADLINE = SECONDS

def work(ready):
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    print("working", os.getpid(), flush=True)
    DO
    signal.sigwait([signal.SIGTERM])
    return 0

try:
    sys.exit(detach.in_background(work))
except StartError as error:
    sys.exit(str(error))
"""


class Started:
    """A process that detaches, and the daemon that it leaves behind."""

    def __init__(self, do: str, deadline: float) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", DETACH.replace("SECONDS", str(deadline)).replace("DO", do)],
            env=ENVIRON,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        word, pid = self.process.stdout.readline().split()
        assert word == "working"
        self.pid = int(pid)
        self._pidfd = pidfd.open_process(self.pid)

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            pidfd.send_signal(self._pidfd, signal.SIGTERM)

    def has_ended(self) -> bool:
        """Whether the daemon ends, within 10 s."""
        return bool(select.select([self._pidfd], [], [], 120)[0])

    def close(self) -> None:
        # The daemon first: it may hold the pipes that communicate() reads to their end.
        with contextlib.suppress(ProcessLookupError):
            pidfd.send_signal(self._pidfd, signal.SIGKILL)
        os.close(self._pidfd)
        self.process.kill()
        self.process.communicate()


@contextlib.contextmanager
def started(do: str, *, deadline: float = 60.0) -> Iterator[Started]:
    """``do`` is what the daemon does before it serves, and whether it ever does."""
    it = Started(do, deadline)
    try:
        yield it
    finally:
        it.close()


def test_the_first_process_stays_until_the_daemon_serves() -> None:
    with started("sys.stdin.readline(); ready()") as it:
        # The daemon waits for the line below.
        assert it.process.poll() is None
        out, err = it.process.communicate("go\n", timeout=120)
        assert (it.process.returncode, out, err) == (0, "", "")
        assert os.getsid(it.pid) not in (os.getsid(0), it.pid)
        folder = Path(f"/proc/{it.pid}")
        assert (folder / "cwd").readlink() == Path("/")
        assert {(folder / "fd" / name).readlink() for name in "012"} == {Path("/dev/null")}
        it.end()
        assert it.has_ended()


def test_it_may_be_started_without_standard_input() -> None:
    with started("os.close(0); ready()") as it:
        assert it.process.wait(120) == 0
        null = [int(fd.name) for fd in Path(f"/proc/{it.pid}/fd").iterdir() if fd.readlink() == Path("/dev/null")]
        assert sorted(null) == [0, 1, 2]
        it.end()
        assert it.has_ended()


@pytest.mark.usefixtures("root")
def test_where_no_process_can_be_made_the_start_fails() -> None:
    # Root may always make one. What the script needs is imported before it is somebody else.
    begin = "import resource; resource.setrlimit(resource.RLIMIT_NPROC, (0, 0)); os.setresuid(65534, 65534, 65534)"
    script = DETACH.replace("SECONDS", "60").replace("\ndef work", f"\n{begin}\ndef work").replace("DO", "pass")
    done = subprocess.run(
        [sys.executable, "-c", script], env=ENVIRON, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (1, "cannot detach: Resource temporarily unavailable\n")


def test_a_failed_start_is_shown_and_its_status_returned() -> None:
    with started("print('no such thing', file=sys.stderr); return 7") as it:
        _, err = it.process.communicate(timeout=120)
        assert (it.process.returncode, err) == (7, "no such thing\n")
        assert it.has_ended()


def test_a_daemon_that_ends_without_ever_serving_is_a_failed_start() -> None:
    with started("return 0") as it:
        assert it.process.wait(120) == 1


def test_an_exception_ends_in_a_failed_start() -> None:
    with started("raise ValueError('broken')") as it:
        _, err = it.process.communicate(timeout=120)
        assert it.process.returncode == 1
        assert err.endswith("ValueError: broken\n")


def test_a_daemon_that_dies_is_a_failed_start() -> None:
    with started("os.kill(os.getpid(), signal.SIGKILL)") as it:
        _, err = it.process.communicate(timeout=120)
        assert (it.process.returncode, err) == (1, "the daemon died before it served\n")


def test_a_start_that_nobody_waits_for_any_more_is_given_up() -> None:
    with started("sys.stdin.readline(); ready()") as it:
        it.process.kill()
        it.process.wait()
        it.process.communicate("go\n", timeout=120)
        assert it.has_ended()


def test_a_start_has_a_deadline() -> None:
    with started("sys.stdin.readline(); ready()", deadline=2.0) as it:
        assert it.process.wait(120) == 1
        _, err = it.process.communicate("go\n", timeout=120)
        assert err.startswith("the daemon did not serve within 2 s: given up\n")
        assert it.has_ended()


HOLD = """
import sys
from pathlib import Path
from pysaslauthd.detach import pid_file
with pid_file(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""
LOCK = """
import fcntl, sys
with open(sys.argv[1], "w+") as file:
    fcntl.lockf(file, fcntl.LOCK_EX)
    print("held", flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def holder(script: str, path: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", script, path], env=ENVIRON, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.communicate(timeout=120)


def test_the_pid_file_is_there_while_it_is_held(tmp_path: Path) -> None:
    path = tmp_path / "saslauthd.pid"
    path.write_text("4194304999 of a daemon that is long dead\n")
    with holder(HOLD, path) as process:
        assert path.read_text() == f"{process.pid}\n"
    assert not list(tmp_path.iterdir())


def test_a_second_holder_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "saslauthd.pid"
    with holder(HOLD, path) as process:
        refusal = (
            rf"saslauthd\.pid\.lock is held by a running daemon \(pid {process.pid}\); stop it, or use another -m$"
        )
        with pytest.raises(StartError, match=refusal), pid_file(path):
            pytest.fail("two hold it")
        assert path.read_text() == f"{process.pid}\n"
    with pid_file(path):
        assert path.read_text() == f"{os.getpid()}\n"


@pytest.mark.parametrize("name", ["saslauthd.pid", "saslauthd.pid.lock"])
def test_each_of_saslauthds_two_locks_is_respected(tmp_path: Path, name: str) -> None:
    refusal = rf"/{name} is held by a running daemon; stop it"
    with (
        holder(LOCK, tmp_path / name),
        pytest.raises(StartError, match=refusal),
        pid_file(tmp_path / "saslauthd.pid"),
    ):
        pytest.fail("two hold it")
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_a_pid_file_that_is_another_daemons_by_now_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "saslauthd.pid"
    with pid_file(path):
        path.unlink()
        path.write_text("1\n")
    assert path.read_text() == "1\n"


def test_a_pid_file_that_its_last_holder_removes_between_its_opening_and_its_lock_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pid"
    lock, left = fcntl.lockf, [path]

    def as_the_other_ends(fd: int, how: int) -> None:
        if os.fstat(fd).st_ino == (left[0].stat().st_ino if left and left[0].exists() else None):
            left.pop().unlink()
        lock(fd, how)

    monkeypatch.setattr(fcntl, "lockf", as_the_other_ends)
    with pid_file(path):
        assert left == []
        assert path.read_text() == f"{os.getpid()}\n"
    assert [*tmp_path.iterdir()] == []


def test_a_link_in_place_of_the_pid_file_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("precious")
    (tmp_path / "saslauthd.pid").symlink_to(target)
    with pytest.raises(StartError, match="cannot be opened"), pid_file(tmp_path / "saslauthd.pid"):
        pytest.fail("it was followed")
    assert target.read_text() == "precious"


def test_a_pid_file_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "saslauthd.pid"
    with pytest.raises(StartError, match="cannot be opened: No such file"), pid_file(path):
        pytest.fail("it was made")


def test_the_run_directory_is_made_open_to_all_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        make_run_dir(tmp_path / "run")
    finally:
        os.umask(before)
    assert (tmp_path / "run").stat().st_mode & 0o777 == 0o755


def test_a_run_directory_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o710)
    make_run_dir(tmp_path)
    assert tmp_path.stat().st_mode & 0o777 == 0o710


def test_a_run_directory_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StartError, match="file is no directory; name another with -m"):
        make_run_dir(tmp_path / "file")
    with pytest.raises(StartError, match="cannot be created: No such file or directory; create it"):
        make_run_dir(tmp_path / "missing" / "run")


@pytest.mark.usefixtures("root")
def test_a_run_directory_that_is_made_is_given_to_its_owner_and_another_is_not(tmp_path: Path) -> None:
    make_run_dir(tmp_path / "run", owner=65534, group=65533)
    make_run_dir(tmp_path / "run", owner=1, group=1)
    made = (tmp_path / "run").stat()
    assert (made.st_uid, made.st_gid, made.st_mode & 0o777) == (65534, 65533, 0o755)
