"""Realms, with the whole daemon as a process and people in LDIF files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pysaslauthd.cli import control
from rig import Daemon, people
from rig.programs import StartFailed

MAIN = {
    "ldap_servers": "ldif://{folder}/main.ldif",
    "ldap_search_base": people.PEOPLE,
    "ldap_filter": "(&(objectclass=mailRecipient)(uid=%U))",
    "ldap_auth_method": "custom",
    "realm_config": "{folder}/realms.d",
    "failure_delay": "0",
}


def somebody(password: str) -> str:
    """A directory in which penguin has that password."""
    top = f"dn: {people.PEOPLE}\nobjectClass: organizationalUnit\nou: People\n\n"
    return top + people.person("penguin", password)


@contextmanager
def running(*flags: str, realms: dict[str, str] | None = None, **keys: str) -> Iterator[Daemon]:
    """A daemon that knows penguin by other passwords in the main file, in a.cxm and in b.cxm."""
    files = {f"{name}.ldif": somebody(f"{name}-pass") for name in ("main", "a.cxm", "b.cxm")}
    files |= {f"realms.d/{name}": text for name, text in (realms or {}).items()}
    with Daemon.running({**MAIN, **keys}, *flags, files=files) as daemon:
        yield daemon


def put(daemon: Daemon, name: str, text: str) -> None:
    (daemon.folder / "realms.d" / name).write_text(text.replace("{folder}", str(daemon.folder)))


def own(name: str) -> str:
    return "ldap_servers: ldif://{folder}/" + name + ".ldif\n"


def reload(daemon: Daemon) -> int:
    return control.main(["reload", "-m", str(daemon.folder)])


def known(daemon: Daemon, login: str, realm: str = "") -> list[str]:
    """The directories whose penguin can log in so."""
    names = ("main", "a.cxm", "b.cxm")
    return [name for name in names if daemon.ask(login, f"{name}-pass", realm=realm) == b"OK"]


def test_each_realm_is_asked_its_own_way_and_the_main_file_is_for_all_others() -> None:
    with running("-c", realms={"a.cxm.conf": own("a.cxm"), "B.cxm.conf": own("b.cxm")}) as daemon:
        for _ in range(2):  # of the directory, then of the cache
            assert known(daemon, "penguin@a.cxm") == ["a.cxm"]
            assert known(daemon, "penguin@B.CXM") == known(daemon, "penguin", "b.cxm") == ["b.cxm"]
            for login in ("penguin", "penguin@hoge.cxm", "penguin@a.cxm.", "penguin@../realms.d/a.cxm"):
                assert known(daemon, login) == ["main"]


def test_unlisted_realms_are_refused_where_that_is_asked_for() -> None:
    with running(realms={"a.cxm.conf": own("a.cxm")}, realm_unlisted="refuse") as daemon:
        assert known(daemon, "penguin@a.cxm") == ["a.cxm"]
        assert known(daemon, "penguin@hoge.cxm") == known(daemon, "penguin") == []
        assert daemon.logged("[reason=unknown-realm]")


def test_a_reload_takes_up_files_that_came_changed_and_went(capsys: pytest.CaptureFixture[str]) -> None:
    with running("-c", realms={"b.cxm.conf": own("b.cxm")}) as daemon:
        assert known(daemon, "penguin@a.cxm") == ["main"]
        put(daemon, "a.cxm.conf", own("a.cxm"))
        assert known(daemon, "penguin@a.cxm") == ["main"]
        assert reload(daemon) == 0
        assert known(daemon, "penguin@a.cxm") == ["a.cxm"]
        put(daemon, "a.cxm.conf", own("b.cxm"))
        put(daemon, "b.cxm.conf", own("a.cxm") + "ldap_filter: (cn=%U)\n")
        assert reload(daemon) == 0
        assert (known(daemon, "penguin@a.cxm"), known(daemon, "penguin@b.cxm")) == (["b.cxm"], ["a.cxm"])
        (daemon.folder / "realms.d" / "a.cxm.conf").unlink()
        assert reload(daemon) == 0
        assert known(daemon, "penguin@a.cxm") == ["main"]
        assert "warning" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("a.cxm.conf", "ldap_scope: deep\n", "realms.d/a.cxm.conf:1: ldap_scope: "),
        ("A.CXM.conf", "", "are for one realm"),
        (
            "c.cxm.conf",
            "ldap_servers: ldif:///none.ldif\n",
            "/none.ldif: No such file or directory; create it, or mend ldap_servers",
        ),
        ("c.cxm.conf", "user: root\n", "realms.d/c.cxm.conf:1: user: cannot be a realm's own"),
    ],
)
def test_a_broken_file_leaves_the_running_configuration(
    name: str, text: str, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with running(realms={"a.cxm.conf": own("a.cxm")}) as daemon:
        put(daemon, name, text)
        assert reload(daemon) == 1
        assert why in capsys.readouterr().err
        assert known(daemon, "penguin@a.cxm") == ["a.cxm"]
        assert known(daemon, "penguin@c.cxm") == ["main"]


def test_a_broken_file_stops_the_start() -> None:
    with (
        pytest.raises(StartFailed, match=r"ended with status 2\n.*realms\.d/a\.cxm\.conf:1: ldap_scope: "),
        running(realms={"a.cxm.conf": "ldap_scope: deep\n"}),
    ):
        pass


def test_realms_that_share_a_file_share_one_directory(capsys: pytest.CaptureFixture[str]) -> None:
    realms = {"a.cxm.conf": own("a.cxm"), "b.cxm.conf": own("a.cxm"), "c.cxm.conf": "ldap_filter: (cn=%U)\n"}
    with running(realms=realms) as daemon:
        assert control.main(["status", "-m", str(daemon.folder)]) == 0
        shown = [line.split()[-5:-2] for line in capsys.readouterr().out.splitlines() if "ldif://" in line]
        assert len(shown) == 2
        assert "a.cxm ldif://" in " ".join(shown[1])
