"""The LDIF file: what stops the start, and what happens when it changes under the daemon."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pysaslauthd.directory import ldif_file
from pysaslauthd.directory.ldif_file import LdifFile
from pysaslauthd.errors import ConfigError, StartError

ONE = "dn: dc=cxm\ndc: cxm\nuserPassword: x\n"
TWO = ONE + "\ndn: dc=hoge,dc=cxm\ndc: hoge\n"
BROKEN = ONE + "\nnonsense\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "people.ldif"
    file.write_text(ONE)
    file.chmod(0o640)
    return file


class Watched(LdifFile):
    """The file with an event loop and a thread of its own, looked at when the test says so."""

    def __init__(self, path: Path, runner: asyncio.Runner, threads: ThreadPoolExecutor, **more: float) -> None:
        super().__init__(str(path), threads, **more)
        self.runner = runner
        self.threads = threads

    def look_once(self) -> bool:
        """Look once; whether that made it read."""

        async def look() -> bool:
            job = self.look()
            if job is not None:
                await asyncio.wait([job])
            return job is not None

        return self.runner.run(look())

    def settle(self) -> bool:
        """Look until two looks in a row have seen the same; whether that made it read."""
        return self.look_once() or self.look_once()


Open = Callable[..., Watched]


@pytest.fixture
def watch(path: Path) -> Iterator[Open]:
    with asyncio.Runner() as runner, ThreadPoolExecutor(1) as threads:
        yield functools.partial(Watched, path, runner, threads)


def replaced(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    new.write_text(text)
    new.chmod(0o640)
    new.replace(path)


def edited(path: Path, text: str) -> None:
    path.write_text(text)


@pytest.mark.parametrize("change", [replaced, edited])
def test_a_changed_file_is_read_again(path: Path, watch: Open, change: Callable[[Path, str], None]) -> None:
    file = watch()
    assert len(file.content.entries) == 1
    change(path, TWO)
    file.settle()
    assert len(file.content.entries) == 2


def test_a_change_of_the_same_length_and_time_is_seen(path: Path, watch: Open) -> None:
    file = watch()
    before = path.stat()
    path.write_text(ONE.replace("cxm", "net"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    file.settle()
    assert file.content.entries[0].dn == b"dc=net"


def test_an_unchanged_file_is_not_read_again(path: Path, watch: Open) -> None:
    file = watch()
    content = file.content
    assert not file.look_once()
    assert not file.look_once()
    assert file.content is content


def test_a_file_that_still_changes_is_not_read(path: Path, watch: Open) -> None:
    file = watch()
    for text in (ONE[:12], ONE[:20], TWO[:40]):
        path.write_text(text)
        assert not file.look_once()
    path.write_text(TWO)
    file.settle()
    assert len(file.content.entries) == 2


def test_the_indexes_in_use_are_made_before_the_new_content_is_taken(path: Path, watch: Open) -> None:
    file = watch()
    file.content.index("dc")
    path.write_text(TWO)
    file.settle()
    assert file.content.indexed == ("dc",)
    assert file.content.index("dc")[b"hoge"] == {1}


def test_a_broken_file_leaves_the_content_and_one_warning_with_the_line_until_it_is_mended(
    path: Path, watch: Open, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    file = watch()
    path.write_text(BROKEN)
    assert [file.settle() for _ in range(3)] == [True, False, False]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert f"{path}:5: there is no colon" in caplog.text
    assert len(file.content.entries) == 1
    caplog.clear()
    path.write_text(TWO)
    for _ in range(3):
        file.settle()
    assert caplog.messages == [f"{path}: read again, it holds 2 entries"]
    assert len(file.content.entries) == 2


@pytest.mark.parametrize("text", ["", "version: 1\n\n# nobody\n"])
def test_a_file_without_entries_is_a_broken_one(
    path: Path, watch: Open, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    file = watch()
    path.write_text(text)
    file.settle()
    assert "there is no entry in it" in caplog.text
    assert len(file.content.entries) == 1


def test_a_file_that_vanishes_leaves_the_content_and_one_warning_until_it_is_back(
    path: Path, watch: Open, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    file = watch()
    away = path.rename(path.with_suffix(".away"))
    for _ in range(3):
        file.settle()
    assert caplog.messages == [f"{path}: No such file or directory; what was read before stays in force"]
    assert len(file.content.entries) == 1
    caplog.clear()
    away.rename(path)
    file.settle()
    assert caplog.messages == [f"{path}: read again, it holds 1 entries"]


def test_a_file_that_comes_back_unchanged_is_said_to_be_back(
    path: Path, watch: Open, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    file = watch()
    away = path.parent.rename(path.parent.with_suffix(".away"))
    file.settle()
    away.rename(path.parent)
    file.settle()
    assert caplog.messages[1:] == [f"{path}: read again, it holds 1 entries"]


def test_a_file_that_vanishes_before_it_is_read_leaves_the_content(
    path: Path, watch: Open, caplog: pytest.LogCaptureFixture
) -> None:
    file = watch()
    path.write_text(TWO)
    assert not file.look_once()

    async def vanish() -> None:
        go_on = threading.Event()
        file.threads.submit(go_on.wait)
        job = file.look()
        assert job is not None
        assert file.look() is job
        path.unlink()  # noqa: ASYNC240 - at this moment
        go_on.set()
        await asyncio.wait([job])

    file.runner.run(vanish())
    assert caplog.messages == [f"{path}: No such file or directory; what was read before stays in force"]
    assert len(file.content.entries) == 1


def test_a_fifo_in_the_files_place_is_not_waited_for(path: Path, watch: Open, caplog: pytest.LogCaptureFixture) -> None:
    file = watch()
    path.unlink()
    os.mkfifo(path)
    file.settle()
    assert "it is not a file" in caplog.text


def test_once_started_it_looks_by_itself_until_it_is_stopped(path: Path, watch: Open) -> None:
    file = watch(look_every=0.001)

    def turns(until: Callable[[], bool], seconds: float) -> bool:
        end = time.monotonic() + seconds
        while not until() and time.monotonic() < end:
            file.runner.run(asyncio.sleep(0.001))
        return until()

    async def start() -> None:
        file.start()

    file.runner.run(start())
    path.write_text(TWO)
    assert turns(lambda: len(file.content.entries) == 2, seconds=60)
    file.stop()
    content = file.content
    path.write_text(ONE)
    assert not turns(lambda: file.content is not content, seconds=0.05)


@pytest.mark.parametrize(
    ("text", "message"),
    [(BROKEN, ":5: there is no colon"), ("", ": there is no entry in it"), ("dn: x\nx: y\n", ":1: this is not a DN")],
)
def test_a_file_that_is_broken_at_start_is_refused_with_its_name_and_the_line(
    path: Path, text: str, message: str
) -> None:
    path.write_text(text)
    with ThreadPoolExecutor(1) as threads, pytest.raises(ConfigError) as caught:
        LdifFile(str(path), threads)
    assert str(caught.value).startswith(f"{path}{message}")


def test_a_file_that_is_missing_at_start_is_refused_with_its_name(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as threads, pytest.raises(StartError, match=r"nobody\.ldif: No such file"):
        LdifFile(str(tmp_path / "nobody.ldif"), threads)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as threads, pytest.raises(StartError, match="Is a directory"):
        LdifFile(str(tmp_path), threads)


def test_a_file_over_the_bound_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ldif_file, "MAX_BYTES", len(ONE))
    with ThreadPoolExecutor(1) as threads:
        LdifFile(str(path), threads)
        path.write_text(ONE + "\n")
        with pytest.raises(ConfigError, match="more than"):
            LdifFile(str(path), threads)


def test_passwords_that_everybody_may_read_are_warned_of_once(
    path: Path, watch: Open, caplog: pytest.LogCaptureFixture
) -> None:
    file = watch()
    assert caplog.messages == []
    path.chmod(0o644)
    for _ in range(3):
        path.touch()
        file.settle()
    assert caplog.messages == [f"{path}: it holds passwords, and everybody may read it; chmod o-r"]


def test_a_readable_file_without_passwords_is_no_matter(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.write_text("dn: dc=cxm\ndc: cxm\n")
    path.chmod(0o644)
    with ThreadPoolExecutor(1) as threads:
        LdifFile(str(path), threads)
    assert caplog.messages == []
