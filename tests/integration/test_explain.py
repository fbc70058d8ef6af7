"""``pysaslauthctl explain`` against real directories; what it prints is what the documentation shows."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from pysaslauthd.cli import control
from rig import Daemon, DirectoryServer, Ds389, article, people
from rig.golden import compare
from rig.needs import need
from rig.saslauthd import conf_text

GROUP_DN = f"cn=mail,{people.SUFFIX}"
ACI = (
    f'(targetattr="*")(version 3.0; acl "userretriever sees all"; allow (read,search,compare)'
    f' userdn="ldap:///{people.SERVICE_DN}";)'
)
USABILITY = "oid=1.3.6.1.4.1.42.2.27.9.5.8,cn=features,cn=config"


class Explain:
    """Writes a configuration and explains logins with it."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.config = folder / "saslauthd.conf"
        self._capsys = capsys
        self._monkeypatch = monkeypatch

    def text(
        self, conf: Mapping[str, str], *words: str, password: str | None = people.PENGUIN_PASSWORD
    ) -> tuple[int, str]:
        """Exit status and output."""
        self.config.write_text(conf_text(conf))
        self.config.chmod(0o600)
        how = ["--no-password"] if password is None else ["-p", "-"]
        self._monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(f"{password}\n".encode())))
        status = control.main(["explain", "-O", str(self.config), *how, *words])
        out, err = self._capsys.readouterr()
        assert err == ""
        assert (password or people.PENGUIN_PASSWORD) not in out
        return status, out

    def told(
        self, conf: Mapping[str, str], *words: str, password: str | None = people.PENGUIN_PASSWORD
    ) -> dict[str, Any]:
        """The JSON object."""
        told: dict[str, Any] = json.loads(self.text(conf, *words, "--json", password=password)[1])
        return told


@pytest.fixture
def explain(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Explain:
    return Explain(tmp_path, capsys, monkeypatch)


@pytest.fixture(scope="module")
def grouped() -> Iterator[Ds389]:
    """A 389 DS with a group, and PBKDF2-SHA512 passwords; the service account sees all that it needs."""
    need("ns-slapd", "certutil", "pk12util", "ldapmodify", "ldapsearch", "openssl")
    with Ds389(users=3) as server:
        server.add(
            f"dn: {GROUP_DN}\nobjectClass: groupOfUniqueNames\ncn: mail\nuniqueMember: {people.PENGUIN_DN}\n"
            f"aci: {ACI}\n"
        )
        for dn in (people.PEOPLE, USABILITY):
            server.modify(f"dn: {dn}\nchangetype: modify\nadd: aci\naci: {ACI}\n")
        server.set_password(people.PENGUIN_DN, people.PENGUIN_PASSWORD, "PBKDF2-SHA512")
        server.add(people.person("locked", more="nsAccountLock: true\n"))
        yield server


def shown(server: DirectoryServer, text: str) -> str:
    """The output as an administrator's would be."""
    return text.replace(f"127.0.0.1:{server.port}", "127.0.0.1:389")


def test_the_output_is_what_the_documentation_shows(explain: Explain, grouped: Ds389) -> None:
    conf = article(grouped, "custom", ldap_group_dn=GROUP_DN)
    status, out = explain.text(conf, "penguin", "-r", "hoge.cxm", "-s", "smtp")
    assert status == 0
    compare("explain.txt", shown(grouped, out))
    status, out = explain.text(conf, "penguin", "-r", "hoge.cxm", "-s", "smtp", "--json")
    assert status == 0
    compare("explain.json", shown(grouped, out))
    status, out = explain.text({**conf, "ldap_auth_method": "bind"}, people.PENGUIN, password="no-such-pass")
    assert status == 1
    compare("explain-wrong-password.txt", shown(grouped, out))
    status, out = explain.text(conf, "locked@hoge.cxm", password=None)
    assert status == 1
    compare("explain-no-password.txt", shown(grouped, out))


@pytest.mark.parametrize("method", ["custom", "bind", "fastbind"])
@pytest.mark.parametrize("password", [people.PENGUIN_PASSWORD, "no-such-pass"])
def test_it_says_what_the_daemon_says(explain: Explain, server: DirectoryServer, method: str, password: str) -> None:
    more = {"ldap_filter": f"uid=%U,{people.PEOPLE}"} if method == "fastbind" else {}
    conf = article(server, method, **more)
    with Daemon.running(conf) as daemon:
        for login, realm in [("penguin", "hoge.cxm"), (people.PENGUIN, ""), ("nobody", "hoge.cxm"), ("penguin", "")]:
            answer = daemon.ask(login, password, realm=realm)
            told = explain.told(conf, login, "-r", realm, password=password)
            assert told["verdict"] == {b"OK": "accepted", b"NO": "rejected"}[answer or b""], (login, realm, told)


def test_a_lock_that_the_bind_tells_is_told(explain: Explain, grouped: Ds389) -> None:
    told = explain.told(article(grouped, "bind"), "locked@hoge.cxm", password="locked-pass")
    assert (told["account"], told["reason"]) == ("locked", "locked")
    assert told["server"] == grouped.uri


def test_a_directory_that_is_down_is_status_2(explain: Explain, server: DirectoryServer) -> None:
    status, out = explain.text(article(server, ldap_servers="ldap://127.0.0.1:1"), people.PENGUIN)
    assert status == 2
    assert "unavailable: directory-down" in out
