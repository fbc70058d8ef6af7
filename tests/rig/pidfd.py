"""A process held by a descriptor (pidfd_open(2)), by which no other one is meant that has its number later.

PyPy's modules lack the two calls, whose numbers are the same on every machine.
"""

from __future__ import annotations

import ctypes
import os
import signal

_PIDFD_SEND_SIGNAL = 424
_PIDFD_OPEN = 434


def open_process(pid: int) -> int:
    """A descriptor of a running process, readable once it has ended.

    :raises OSError: there is none.
    """
    return os.pidfd_open(pid) if hasattr(os, "pidfd_open") else _call(_PIDFD_OPEN, pid, 0)


def send_signal(process: int, number: signal.Signals) -> None:
    """Send a signal to the process of a descriptor.

    :raises ProcessLookupError: it has ended.
    """
    if hasattr(signal, "pidfd_send_signal"):
        signal.pidfd_send_signal(process, number)
    else:
        _call(_PIDFD_SEND_SIGNAL, process, int(number), None, 0)


def _call(*words: int | None) -> int:
    result = ctypes.CDLL(None, use_errno=True).syscall(*words)
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return int(result)
