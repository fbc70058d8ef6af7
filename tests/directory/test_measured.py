from __future__ import annotations

from collections.abc import Callable

import pytest

from pysaslauthd.directory.interface import Bound, Found, Query
from pysaslauthd.directory.measured import MeasuredDirectory
from pysaslauthd.directory.template import Template
from pysaslauthd.errors import DirectoryDown
from pysaslauthd.flow import Flow, Reply, run
from pysaslauthd.metrics import Metrics
from pysaslauthd.model import Identity

QUERY = Query(Template.parse("dc=hoge,dc=cxm"), Template.parse("(uid=%u)"), "sub", ())
WHO = Identity(b"penguin", b"penguin", b"", b"", b"smtp", b"")


class Asked:
    """A directory that keeps what it is asked, and answers when told."""

    def __init__(self) -> None:
        self.answer: Reply[object] = Reply()
        self.questions: list[tuple[object, ...]] = []

    async def search(self, query: Query, identity: Identity, dn: bytes = b"") -> Found:
        return await self._ask("search", query, identity, dn)  # type: ignore[return-value]  # the test's answer

    async def compare(self, dn: bytes, attribute: str, value: bytes) -> bool:
        return await self._ask("compare", dn, attribute, value)  # type: ignore[return-value]  # the test's answer

    async def bind(self, dn: bytes, password: bytes) -> Bound:
        return await self._ask("bind", dn, password)  # type: ignore[return-value]  # the test's answer

    async def bind_plain(self, authcid: bytes, password: bytes) -> Bound:
        return await self._ask("bind_plain", authcid, password)  # type: ignore[return-value]  # the test's answer

    async def _ask(self, *question: object) -> object:
        self.questions.append(question)
        return await self.answer


OPERATIONS: dict[str, tuple[Callable[[MeasuredDirectory], Flow[object]], tuple[object, ...]]] = {
    "search": (lambda directory: directory.search(QUERY, WHO, b"dn"), ("search", QUERY, WHO, b"dn")),
    "compare": (lambda directory: directory.compare(b"dn", "uid", b"v"), ("compare", b"dn", "uid", b"v")),
    "bind": (lambda directory: directory.bind(b"dn", b"pw"), ("bind", b"dn", b"pw")),
    "bind_plain": (lambda directory: directory.bind_plain(b"id", b"pw"), ("bind_plain", b"id", b"pw")),
}


@pytest.mark.parametrize("answered", [True, False])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_is_handed_on_and_timed_until_its_answer(operation: str, answered: bool) -> None:
    now = 100.0
    metrics, asked = Metrics(), Asked()
    directory = MeasuredDirectory(asked, metrics, lambda: now)
    ask, question = OPERATIONS[operation]
    came: list[tuple[object, BaseException | None]] = []
    run(ask(directory), lambda value, error: came.append((value, error)))
    assert asked.questions == [question]
    assert not came
    now += 0.25
    answer, failure = object(), DirectoryDown("down")
    if answered:
        asked.answer.set(answer)
    else:
        asked.answer.fail(failure)
    assert came == [(answer, None) if answered else (None, failure)]
    timed = {group: each.total for group, each in metrics.operation_seconds.items() if any(each.counts)}
    assert timed == {(operation.partition("_")[0], answered): 0.25}
