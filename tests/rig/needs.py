"""What a test needs of the machine. What is lacking leaves the test out, which says so; tests/conftest.py makes that a
failure where CI=true.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

import pytest

from rig.programs import MissingProgram, find

_SOMEBODY = 65534

PYPY = sys.implementation.name == "pypy"
needs_reference_counts = pytest.mark.skipif(PYPY, reason="PyPy frees what nobody refers to later")
"""Objects that go at once."""
needs_cpython = pytest.mark.skipif(PYPY, reason="PyPy has another allocator, another collector, no -X importtime")
"""What only CPython has."""


def need(*programs: str) -> None:
    """Leave the test out where one of the programs is not installed."""
    try:
        for program in programs:
            find(program)
    except MissingProgram as missing:
        pytest.skip(str(missing))


def need_root() -> None:
    """Leave the test out where it does not run as root."""
    if os.geteuid() != 0:
        pytest.skip("needs root")


@contextlib.contextmanager
def not_root() -> Iterator[None]:
    """Root, who may read every file, is somebody else meanwhile."""
    me = os.geteuid()
    if me == 0:
        os.seteuid(_SOMEBODY)
    try:
        yield
    finally:
        os.seteuid(me)
