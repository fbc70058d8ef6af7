"""testpysaslauthd: its requests, its lines, its exit status."""

from __future__ import annotations

import contextlib
import io
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import termios
import threading
from pathlib import Path

import pytest

from cli.replies import SCRIPTS, Script, scripted
from pysaslauthd.cli import probe

OK = b"\0\2OK"
COMMAND = [sys.executable, "-c", "import sys; from pysaslauthd.cli.probe import main; sys.exit(main())"]


def counted(*fields: bytes) -> bytes:
    return b"".join(len(field).to_bytes(2, "big") + field for field in fields)


def sent_with(path: Path, *flags: str) -> bytes:
    """The request that the flags make."""
    with scripted(path, [OK]) as requests:
        assert probe.main(["-f", str(path), *flags]) == 0
    return requests[0]


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_lines_and_status_are_those_of_testsaslauthd(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes], script: Script
) -> None:
    with scripted(tmp_path / "mux", script.replies):
        repeat = str(len(script.replies))
        status = probe.main(["-u", "penguin", "-p", "x", "-f", str(tmp_path / "mux"), "-R", repeat])
    assert (status, *capfdbinary.readouterr()) == (script.status, script.stdout, script.stderr)


def test_a_missing_socket_is_no_answer(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert probe.main(["-u", "penguin", "-p", "x", "-f", str(tmp_path / "mux"), "-R", "2"]) == 255
    missing = "connect() : No such file or directory\n"
    assert capfd.readouterr() == ("0: 1: ", missing + missing)


def test_a_path_that_is_too_long_is_no_answer(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert probe.main(["-u", "penguin", "-p", "x", "-f", str(tmp_path / ("x" * 200))]) == 255
    assert capfd.readouterr() == ("0: ", "connect() : AF_UNIX path too long\n")


def test_the_service_is_imap_and_the_realm_empty_by_default(tmp_path: Path) -> None:
    request = sent_with(tmp_path / "mux", "-u", "penguin@hoge.cxm", "-p", "penguin-pass")
    assert request == counted(b"penguin@hoge.cxm", b"penguin-pass", b"imap", b"")


@pytest.mark.parametrize(
    "flags",
    [
        "-u penguin -p penguin-pass -s smtp -r hoge.cxm -a 192.0.2.1;4567",
        "--user=penguin --password=penguin-pass --service=smtp --realm=hoge.cxm --client-address=192.0.2.1;4567",
    ],
)
def test_all_five_strings_are_sent(tmp_path: Path, flags: str) -> None:
    request = sent_with(tmp_path / "mux", *flags.split())
    assert request == counted(b"penguin", b"penguin-pass", b"smtp", b"hoge.cxm", b"192.0.2.1;4567")


def test_empty_values_are_sent_as_they_are(tmp_path: Path) -> None:
    assert sent_with(tmp_path / "mux", "-u", "", "-p", "", "-s", "") == counted(b"", b"", b"", b"")


def test_a_password_of_8000_bytes_is_sent_whole(tmp_path: Path) -> None:
    password = "x" * 8000
    assert sent_with(tmp_path / "mux", "-u", "penguin", "-p", password) == counted(
        b"penguin", password.encode(), b"imap", b""
    )


def test_a_password_that_no_count_can_say_is_a_usage_error(capfd: pytest.CaptureFixture[str]) -> None:
    assert probe.main(["-u", "penguin", "-p", "x" * 65536]) == 1
    assert "65535" in capfd.readouterr().err


def test_bytes_that_are_no_text_are_sent_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "mux"
    with scripted(path, [OK]) as requests:
        flags = [b"-u", b"ping\xfcino", b"-p", b"\xff\xfe*()\\\xc3\xa9", b"-f", os.fsencode(path)]
        done = subprocess.run([*map(os.fsencode, COMMAND), *flags], capture_output=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, b'0: OK "Success."\n')
    assert requests == [counted(b"ping\xfcino", b"\xff\xfe*()\\\xc3\xa9", b"imap", b"")]


@pytest.mark.parametrize(
    ("line", "password"),
    [
        (b"penguin-pass\n", b"penguin-pass"),
        (b"penguin-pass", b"penguin-pass"),
        (b"two words \xff\r\nnot this\n", b"two words \xff\r"),
        (b"\n", b""),
        (b"x" * 16000 + b"\n", b"x" * 16000),
    ],
)
def test_the_password_can_be_a_line_on_standard_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: bytes, password: bytes
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(line)))
    assert sent_with(tmp_path / "mux", "-u", "penguin", "-p", "-") == counted(b"penguin", password, b"imap", b"")


def test_a_line_on_standard_input_that_is_too_long_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"x" * 70_000)))
    assert probe.main(["-u", "penguin", "-p", "-"]) == 1


def test_without_a_terminal_a_missing_password_is_a_usage_error(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"penguin-pass\n")))
    assert probe.main(["-u", "penguin"]) == 1
    assert "-p -" in capfd.readouterr().err


def test_a_server_that_closes_over_what_was_asked_is_no_answer(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "mux"))
        server.listen()

        def close() -> None:
            with server.accept()[0] as client:
                select.select([client], [], [], 120)

        thread = threading.Thread(target=close)
        thread.start()
        assert probe.main(["-u", "penguin", "-p", "x", "-f", str(tmp_path / "mux")]) == 255
        thread.join()
    assert capfd.readouterr() == ("0: ", "size read failed\n")


def test_ctrl_c_ends_it_with_the_status_of_an_interrupted_command(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "mux"))
        silent.listen()
        # A run in the background has the signal ignored, and what it starts inherits that.
        command = ["env", "--default-signal=INT", *COMMAND, "-u", "penguin", "-p", "x", "-f", str(tmp_path / "mux")]
        with subprocess.Popen(command) as process, silent.accept()[0] as client:
            assert client.recv(1000)
            process.send_signal(signal.SIGINT)
            try:
                assert process.wait(120) == 130
            finally:
                process.kill()


def test_on_a_terminal_a_missing_password_is_asked_for_without_echo(tmp_path: Path) -> None:
    path = tmp_path / "mux"
    with scripted(path, [OK]) as requests:
        child, terminal = pty.fork()
        if child == 0:
            os.execv(COMMAND[0], [*COMMAND, "-u", "penguin", "-f", str(path)])
        shown = b""
        while b"Password: " not in shown:
            shown += os.read(terminal, 1000)
        assert not termios.tcgetattr(terminal)[3] & termios.ECHO
        os.write(terminal, b"penguin-pass\n")
        while b"Success" not in shown:
            shown += os.read(terminal, 1000)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        os.close(terminal)
    assert requests == [counted(b"penguin", b"penguin-pass", b"imap", b"")]
    assert b"penguin-pass" not in shown


@pytest.mark.parametrize(
    "flags",
    [
        [],
        ["-p", "x"],
        ["-u"],
        ["-u", "penguin", "-p", "x", "-z"],
        ["-u", "penguin", "-p", "x", "-R", "some"],
        ["-u", "penguin", "-p", "x", "-R", "0"],
        ["-u", "penguin", "-p", "x", "more"],
    ],
)
def test_a_wrong_command_line_is_status_1_and_nothing_on_standard_output(
    capfd: pytest.CaptureFixture[str], flags: list[str]
) -> None:
    assert probe.main(flags) == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert re.fullmatch("testpysaslauthd: .+\n", err)


def test_help_says_that_a_password_on_the_command_line_can_be_seen(capfd: pytest.CaptureFixture[str]) -> None:
    assert probe.main(["-h"]) == 0
    assert "process list" in " ".join(capfd.readouterr().out.split())


def test_verbose_tells_how_long_each_try_took(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mux"
    with scripted(path, [OK, b"\0\2NO", b""]):
        assert probe.main(["-u", "penguin", "-p", "x", "-f", str(path), "-R", "3", "-v"]) == 255
    out, err = capfd.readouterr()
    took = r" after \d+\.\d ms\n"
    assert re.fullmatch(f'0: OK "Success."{took}1: NO "authentication failed"{took}2: ', out)
    assert re.fullmatch(rf"size read failed \(closed without an answer.*\){took}", err)


def test_a_server_that_never_answers_is_given_up(tmp_path: Path) -> None:
    path = str(tmp_path / "mux")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen(0)
        with pytest.raises(probe.NoAnswerError, match=r"no answer within 0\.02 s"):
            probe.ask(path, b"", seconds=0.02)
        # That try fills the backlog, so that the next one cannot even connect.
        with pytest.raises(probe.NoAnswerError, match=r"no answer within 0\.02 s"):
            probe.ask(path, b"", seconds=0.02)


def test_a_reply_that_trickles_in_does_not_extend_the_time(tmp_path: Path) -> None:
    path = str(tmp_path / "mux")
    given_up = threading.Event()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()

        def trickle() -> None:
            client, _ = listening.accept()
            with client, contextlib.suppress(BrokenPipeError):
                client.sendall(b"\xff\xff")
                while not given_up.wait(0.01):
                    client.sendall(b"x")

        thread = threading.Thread(target=trickle)
        thread.start()
        with pytest.raises(probe.NoAnswerError, match="no answer within"):
            probe.ask(path, b"", seconds=0.05)
        given_up.set()
        thread.join()


@pytest.mark.parametrize("reply", [b"\0\2NO", b""])
def test_a_server_that_does_not_read_on_is_still_listened_to(tmp_path: Path, reply: bytes) -> None:
    path = str(tmp_path / "mux")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()

        def refuse() -> None:
            with listening.accept()[0] as client:
                client.sendall(reply)

        thread = threading.Thread(target=refuse)
        thread.start()
        request = bytes(10_000_000)  # more than the kernel holds, so that sending it must fail
        if reply:
            assert probe.ask(path, request) is False
        else:
            with pytest.raises(probe.NoAnswerError, match="write failed"):
                probe.ask(path, request)
        thread.join()
