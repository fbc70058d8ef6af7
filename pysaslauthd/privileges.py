"""What the process may do, and what may be done to it: its user, its descriptors, its memory.

Best called in this order: :func:`account`, :func:`raise_descriptor_limit`, :func:`lock_memory`, then whatever needs
root (sockets, secrets), :func:`become`, :func:`forbid_core_dumps`. :func:`give_back_memory` is best called early.
"""

from __future__ import annotations

import ctypes
import grp
import logging
import os
import pwd
import resource
from typing import NamedTuple

from pysaslauthd.errors import ConfigError, StartError

SPARE_DESCRIPTORS = 128
"""Beside those of the clients: listening sockets, log, directory, modules."""

_PR_SET_DUMPABLE = 4
"""prctl(2), linux/prctl.h."""
_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4
"""mlockall(2); three architectures have others, where the call fails."""

_M_MMAP_THRESHOLD = -3
"""mallopt(3)."""
_MMAP_THRESHOLD = 131_072
"""Bytes; what glibc begins with."""

logger = logging.getLogger(__name__)


class Account(NamedTuple):
    """Who to become."""

    user: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    """All its groups, ``gid`` among them."""


def account(user: str, group: str = "") -> Account:
    """A user as this system knows it, in the given group or its own.

    :raises ConfigError: there is no such user or group, or it is root.
    """
    try:
        known = pwd.getpwnam(user)
    except (KeyError, ValueError):
        raise ConfigError(f"{user}: there is no such user", key="user") from None
    if known.pw_uid == 0:
        raise ConfigError(f"{user} has every privilege; name another user, or none", key="user")
    try:
        gid = grp.getgrnam(group).gr_gid if group else known.pw_gid
    except (KeyError, ValueError):
        raise ConfigError(f"{group}: there is no such group", key="group") from None
    return Account(user, known.pw_uid, gid, tuple(os.getgrouplist(user, gid)))


def become(account: Account) -> None:
    """Give up root for good, and verify that it is gone. Does nothing where this is the process's user and group.

    :raises StartError: it cannot be done, or not be trusted to have been done.
    """
    wanted = ((account.uid,) * 3, (account.gid,) * 3)
    if os.geteuid() != 0 and (os.getresuid(), os.getresgid()) == wanted:
        return
    try:
        # In this order: without root, groups cannot be changed any more.
        os.setgroups(account.groups)
        os.setresgid(*wanted[1])
        os.setresuid(*wanted[0])
    except OSError as error:
        raise StartError(
            f"cannot become user {account.user}: {error.strerror}; start as root, or take user out of the configuration"
        ) from error
    if (os.getresuid(), os.getresgid()) != wanted or set(os.getgroups()) != set(account.groups) or _root_again():
        raise StartError(f"became user {account.user}, but not wholly: privileges are left")
    logger.info("running as user %s, group %d", account.user, account.gid)


def _root_again() -> bool:
    try:
        os.setuid(0)
    except OSError:
        return False
    return True


def raise_descriptor_limit(connections: int) -> None:
    """Allow as many descriptors as the system lets this process have; warn where so many connections need more."""
    needed = connections + SPARE_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # The first is root's alone, and only where the kernel's own bound (fs.nr_open) allows it.
    for most in (max(needed, hard), hard):
        if soft < most:
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
            except (OSError, ValueError):
                continue
            soft = most
    if soft < needed:
        logger.warning(
            "%d descriptors are allowed, max_connections may need %d; raise the limit (LimitNOFILE=, ulimit -n),"
            " or lower max_connections",
            soft,
            needed,
        )


def give_back_memory() -> None:
    """Let the C library give large blocks of memory back to the system once they are freed.

    From the first one that is freed glibc takes it that such blocks come and go, and keeps them (mallopt(3),
    M_MMAP_THRESHOLD). But a table leaves one behind each time it grows, and wants a larger one next. No other C library
    needs this.
    """
    _call("mallopt", _M_MMAP_THRESHOLD, _MMAP_THRESHOLD)


def lock_memory() -> None:
    """Keep passwords out of the swap space: lock all memory, present and future, as it comes into use.

    Only where the limit on locked memory (RLIMIT_MEMLOCK) is none, or root can lift it: under a limit, memory past it
    could not be had at all.
    """
    none = resource.RLIM_INFINITY
    limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if limit[0] != none:
        try:
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (none, none))
        except (OSError, ValueError):
            logger.debug("memory is not locked: its limit is %d bytes", limit[0])
            return
    failure = _call("mlockall", _MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT)
    logger.debug("memory is locked" if not failure else f"memory is not locked: {failure}")


def forbid_core_dumps() -> None:
    """Let nobody see this process's memory but root: no core dump, no debugger of the same user's.

    To be called last: the kernel sets its own mind when the user changes.
    """
    if resource.getrlimit(resource.RLIMIT_CORE) != (0, 0):  # a sandbox may forbid to set even what is set
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    failure = _call("prctl", _PR_SET_DUMPABLE, 0, 0, 0, 0)
    if failure:
        logger.warning("core dumps cannot be forbidden: %s", failure)


def _call(function: str, *arguments: int) -> str:
    """Call a function of the C library that Python has no name for; what went wrong, or nothing."""
    try:
        library = ctypes.CDLL(None, use_errno=True)
        failed = library[function](*map(ctypes.c_ulong, arguments)) != 0
    except (OSError, AttributeError) as error:
        return str(error)
    return os.strerror(ctypes.get_errno()) if failed else ""
