"""Each real change happens in a process of its own: none of them can be taken back."""

from __future__ import annotations

import os
import resource
import subprocess
import sys

import pytest

from pysaslauthd import privileges
from pysaslauthd.errors import ConfigError
from rig.daemon import ENVIRONMENT
from rig.needs import needs_cpython

BEGIN = """
import ctypes, logging, os, pwd, resource, sys, threading
from pathlib import Path
from pysaslauthd import privileges
from pysaslauthd.errors import StartError
logging.basicConfig(format="%(message)s", level=logging.DEBUG, stream=sys.stdout)

def status(name):
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name + ":")]
    return line.split()[1:]

def as_nobody():
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
"""


def run(script: str) -> list[str]:
    """What a process prints that does this."""
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + script],
        env={"PATH": os.environ["PATH"], **ENVIRONMENT},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_an_account_is_what_the_system_says() -> None:
    account = privileges.account("nobody")
    assert (account.user, account.uid) == ("nobody", 65534)
    assert account.gid in account.groups
    other = privileges.account("nobody", "daemon")
    assert other.gid != account.gid
    assert other.gid in other.groups


@pytest.mark.parametrize(
    ("user", "group", "key", "says"),
    [
        ("nobody-of-that-name", "", "user", "nobody-of-that-name: there is no such user"),
        ("no\0body", "", "user", "there is no such user"),
        ("root", "", "user", "root has every privilege; name another user, or none"),
        ("nobody", "no-such-group", "group", "no-such-group: there is no such group"),
    ],
)
def test_whom_nobody_should_become_is_an_error_of_the_configuration(user: str, group: str, key: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        privileges.account(user, group)
    assert caught.value.key == key


@pytest.mark.usefixtures("root")
def test_root_is_given_up_for_good() -> None:
    told = run("""
account = privileges.account("nobody", "daemon")
privileges.become(account)
print(set(os.getresuid()) == {account.uid}, set(os.getresgid()) == {account.gid})
print(sorted(os.getgroups()) == sorted(account.groups))
print(*{int(word, 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb") for word in status(name)})
for regain in (lambda: os.setuid(0), lambda: os.seteuid(0), lambda: os.setgid(0), lambda: os.setgroups([0])):
    try:
        regain()
        print("root again")
    except PermissionError:
        print("gone")
privileges.become(account)
""")
    gid = privileges.account("nobody", "daemon").gid
    assert told == [f"running as user nobody, group {gid}", "True True", "True", "0", "gone", "gone", "gone", "gone"]


@pytest.mark.usefixtures("root")
def test_without_root_one_can_become_nobody_but_oneself() -> None:
    assert run("""
as_nobody()
try:
    privileges.become(privileges.account("daemon"))
except StartError as error:
    print(error)
privileges.become(privileges.Account("nobody", 65534, 65534, (65534,)))
""") == ["cannot become user daemon: Operation not permitted; start as root, or take user out of the configuration"]


@pytest.mark.parametrize("undone", ["setgroups", "setresgid", "setresuid"])
@pytest.mark.usefixtures("root")
def test_what_was_not_really_given_up_is_noticed(undone: str) -> None:
    assert run(f"""
os.{undone} = lambda *_: None
try:
    privileges.become(privileges.account("nobody"))
except StartError as error:
    print(error)
""") == ["became user nobody, but not wholly: privileges are left"]


@pytest.mark.usefixtures("root")
def test_root_that_could_be_had_again_is_noticed() -> None:
    # PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP (prctl(2)): the capabilities outlast the change of user.
    assert run("""
assert ctypes.CDLL(None).prctl(28, 4, 0, 0, 0) == 0
try:
    privileges.become(privileges.account("nobody"))
except StartError as error:
    print(error)
""") == ["became user nobody, but not wholly: privileges are left"]


def test_the_limit_of_descriptors_is_raised_to_what_is_allowed() -> None:
    assert run("""
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))
privileges.raise_descriptor_limit(10)
print(resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard))
""") == ["True"]


@pytest.mark.parametrize(("lifts", "limit"), [(True, "1128 1128"), (False, "200 200")])
def test_it_is_raised_to_what_is_needed_where_the_system_lets_us(lifts: bool, limit: str) -> None:
    # Not every root may lift a limit (CAP_SYS_RESOURCE), so the kernel's part is played here.
    told = run(f"""
limits = [100, 200]
resource.getrlimit = lambda _: tuple(limits)
def setrlimit(_, wanted):
    if wanted[1] > limits[1] and not {lifts}:
        raise ValueError("not allowed to raise maximum limit")
    limits[:] = wanted
resource.setrlimit = setrlimit
privileges.raise_descriptor_limit(1000)
print(*limits)
""")
    assert told[-1] == limit
    assert len(told) == (1 if lifts else 2)


@pytest.mark.usefixtures("root")
def test_a_limit_that_is_too_low_is_told() -> None:
    (warning,) = run("""
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 200))
as_nobody()
privileges.raise_descriptor_limit(1000)
assert resource.getrlimit(resource.RLIMIT_NOFILE) == (200, 200)
""")
    assert warning.startswith("200 descriptors are allowed, max_connections may need 1128; raise the limit")


@needs_cpython
@pytest.mark.parametrize(("call", "given_back"), [("privileges.give_back_memory()", True), ("", False)])
def test_a_large_block_that_is_freed_goes_back_to_the_system(call: str, given_back: bool) -> None:
    (kept,) = run(f"""
{call}
# The first makes the C library keep those that follow, and the last holds them in.
more = b"x" * 20_000_000
del more
before = int(status("VmRSS")[0])
more, last = b"x" * 10_000_000, b"x" * 100_000
del more
print(int(status("VmRSS")[0]) - before)
""")
    assert (int(kept) < 2000) is given_back


@pytest.mark.usefixtures("root")
def test_all_memory_is_locked_and_more_can_be_had() -> None:
    told = run("""
if not int(status("CapEff")[0], 16) & 1 << 24:  # CAP_SYS_RESOURCE: this root cannot lift the limit, nor is bound by it
    resource.setrlimit = lambda *_: None
    privileges.become = lambda _: None
privileges.lock_memory()
privileges.become(privileges.account("nobody"))
before = int(status("VmLck")[0])
more = b"x" * 20_000_000
print(before > 1000, int(status("VmLck")[0]) - before > 19_000)
threads = [threading.Thread(target=sys.stdout.write, args=("thread\\n",)) for _ in range(3)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
""")
    assert told[0] == "memory is locked"
    assert told[-4:] == ["True True", "thread", "thread", "thread"]


@pytest.mark.usefixtures("root")
def test_under_a_limit_nothing_is_locked() -> None:
    assert run("""
resource.setrlimit(resource.RLIMIT_MEMLOCK, (65536, 65536))
as_nobody()
privileges.lock_memory()
print(*status("VmLck"))
more = b"x" * 20_000_000
""") == ["memory is not locked: its limit is 65536 bytes", "0 kB"]


def test_core_dumps_are_forbidden() -> None:
    assert run("""
privileges.forbid_core_dumps()
print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
""") == ["(0, 0) 0"]


@pytest.mark.parametrize(("forbid", "seen"), [("privileges.forbid_core_dumps()", "refused"), ("pass", "seen")])
@pytest.mark.usefixtures("root")
def test_no_process_of_the_same_user_sees_the_memory(forbid: str, seen: str) -> None:
    # Python itself lies where only root may read, perhaps: what the child needs is imported before.
    assert run(f"""
as_nobody()
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # as it would be without a change of user
{forbid}
parent = os.getpid()
if not (child := os.fork()):
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
    try:
        os.close(os.open(f"/proc/{{parent}}/mem", os.O_RDONLY))
        os.write(1, b"seen")
    except PermissionError:
        os.write(1, b"refused")
    os._exit(0)
os.waitpid(child, 0)
""") == [seen]


def test_a_kernel_that_refuses_is_no_reason_not_to_run(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)
    monkeypatch.setattr(privileges, "_call", lambda *_: "Operation not permitted")
    with caplog.at_level("DEBUG"):
        privileges.lock_memory()
        privileges.forbid_core_dumps()
    assert [record.getMessage() for record in caplog.records] == [
        "memory is not locked: Operation not permitted",
        "core dumps cannot be forbidden: Operation not permitted",
    ]


def test_a_function_that_fails_says_why() -> None:
    assert privileges._call("prctl", 2**31 - 1, 0, 0, 0, 0) == "Invalid argument"
    assert "no_such_function" in privileges._call("no_such_function")


@pytest.mark.usefixtures("root")
def test_in_a_sandbox_that_has_set_the_limits_none_is_set() -> None:
    # As in the systemd unit, where setrlimit(2) is forbidden. mlockall(2) needs no privilege without a limit.
    assert run("""
def forbidden(*_):
    raise PermissionError
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
infinite = resource.RLIM_INFINITY
getrlimit = resource.getrlimit
resource.getrlimit = lambda which: (infinite, infinite) if which == resource.RLIMIT_MEMLOCK else getrlimit(which)
resource.setrlimit = forbidden
privileges.raise_descriptor_limit(1)
privileges.lock_memory()
privileges.forbid_core_dumps()
""") == ["memory is locked"]
