"""One step of a check: what was looked at, what came of it, how long it took, what to do."""

from __future__ import annotations

import asyncio
import enum
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import NamedTuple

from pysaslauthd.errors import DirectoryError


class Result(enum.Enum):
    """What came of a step; the value is the word that is printed."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"
    SKIPPED = "skipped"


class Finding(NamedTuple):
    """What a step found: one line for people, and one with what to do, empty where there is nothing."""

    result: Result
    detail: str = ""
    advice: str = ""


class Step(NamedTuple):
    """A step that was taken, or skipped.

    ``subject`` is the file, socket or server that was looked at, ``what`` a short name for the look.
    ``milliseconds`` is None where nothing took time.
    """

    subject: str
    what: str
    result: Result
    detail: str = ""
    advice: str = ""
    milliseconds: float | None = None


class Stage(NamedTuple):
    """A step that is still to be taken.

    :param work: does it. Its TimeoutError, OSError or DirectoryError is the finding "error".
    :param seconds: how long it may take.
    :param needed: whether nothing that follows makes sense where this one fails.
    :param advice: what to do where it raises.
    """

    what: str
    work: Callable[[], Awaitable[Finding]]
    seconds: float
    needed: bool = False
    advice: str = ""


async def take(subject: str, stages: Iterable[Stage]) -> AsyncIterator[Step]:
    """Take the stages in order; once a needed one has failed, the rest are skipped."""
    failed = ""
    for stage in stages:
        if failed:
            yield Step(subject, stage.what, Result.SKIPPED, f"{failed} failed")
            continue
        step = await _take(subject, stage)
        if stage.needed and step.result is Result.ERROR:
            failed = stage.what
        yield step


async def _take(subject: str, stage: Stage) -> Step:
    started = time.perf_counter()
    try:
        async with asyncio.timeout(stage.seconds):
            found = await stage.work()
    except TimeoutError:
        found = Finding(Result.ERROR, f"no answer within {stage.seconds:g} s", stage.advice)
    except (OSError, DirectoryError) as error:
        text = getattr(error, "strerror", None) or str(error)
        found = Finding(Result.ERROR, text.removeprefix(f"{subject}: "), stage.advice)
    took = None if found.result is Result.SKIPPED else (time.perf_counter() - started) * 1000
    return Step(subject, stage.what, *found, took)
