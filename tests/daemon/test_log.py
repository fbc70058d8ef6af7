"""The real daemon's log: what it looks like, and what is never in it."""

from __future__ import annotations

import base64
import json
import re
import socket
from contextlib import ExitStack

import pytest
from test_house import ROOT

from pysaslauthd import log
from pysaslauthd.model import Peer, Reason
from rig import Daemon, people
from rig.dovecot import ask
from rig.golden import compare
from rig.mux import request

CONF = people.file_article(ldap_default_realm="hoge.cxm", failure_delay="0")
FILES = {"people.ldif": people.tree(2)}
RIGHT = people.PENGUIN, people.PENGUIN_PASSWORD
PAGE = (ROOT / "docs/reference/log.md").read_text()


def steady(line: str) -> str:
    """A line without what differs from run to run."""
    line = re.sub(r"^saslauthd\[\d+\]", "saslauthd[4711]", line)
    line = re.sub(r"\[pid=\d+\] \[uid=\d+\] \[ms=[\d.]+\]", "[pid=4712] [uid=0] [ms=1.2]", line)
    line = re.sub(r'"client_pid":\d+,"client_uid":\d+', '"client_pid":4712,"client_uid":0', line)
    line = re.sub(r'"ms":[\d.]+', '"ms":1.234', line)
    line = re.sub(r'"pid":\d+', '"pid":4711', line)
    line = re.sub(r'"time":"[^"]*"', '"time":"2026-01-01T00:00:00.000Z"', line)
    return re.sub(r"/tmp/rig-daemon-\w+", "/srv/demo", line)


@pytest.mark.parametrize("form", ["classic", "json"])
def test_the_log_looks_as_the_page_shows_it(form: log.Form) -> None:
    flags = "-c", "-V", "--log-format", form, "--dovecot-socket", "{folder}/auth"
    with Daemon.running(CONF, *flags, files=FILES) as daemon:
        assert daemon.ask(*RIGHT) == b"OK"
        assert daemon.ask("penguin", people.PENGUIN_PASSWORD) == b"OK"
        assert daemon.ask("penguin", "wrong", "imap", "hoge.cxm", "192.0.2.7;4567") == b"NO"
        assert daemon.ask("nobody@hoge.cxm", "wrong") == b"NO"
        told = "rip=2001:db8::7", "lip=192.0.2.200", "secured", "session=Zx0"
        assert (ask(daemon.folder / "auth", people.PENGUIN, "wrong", *told) or "").startswith("FAIL")
        assert daemon.ask("x]\n[y=\u00fc", "wrong") == b"NO"
        assert daemon.ask(people.PENGUIN, "") == b"NO"
        assert daemon.program.stop() == 0
        lines = [line for line in daemon.log.splitlines() if "auth " in line or '"event":"login"' in line]
    assert len(lines) == 7
    compare(f"log-{form}.txt", "".join(f"{steady(line)}\n" for line in lines))


SECRETS = [
    "s3cret-and-never-shown",
    "s3cret with [brackets] and \\backslash",
    "s3cret\u00fc\u4e16\u754c",
    "s3cret%n%s%x(){}*",
    "s3cret\r\nwith a line",
    "{SSHA}s3cretAAAA",
    "s3cret" * 40,
]


@pytest.mark.parametrize("form", ["classic", "json"])
@pytest.mark.parametrize("conf", [CONF, {**CONF, "ldap_servers": "ldap://127.0.0.1:1/"}])
def test_no_password_is_in_the_log_at_any_level(form: log.Form, conf: dict[str, str]) -> None:
    service = {"ldap_bind_dn": people.SERVICE_DN, "ldap_password": "s3cret-of-the-service"}
    conf = {**conf, "request_timeout": "1", **({} if "ldif" in conf["ldap_servers"] else service)}
    stored = people.person("secret", stored=["s3cret-stored", "{UNKNOWN}s3cret", "{SSHA}s3cret!!", "$2b$99$s3cret"])
    files = {"people.ldif": people.tree(2) + stored}
    flags = "-c", "--debug", "--log-format", form, "--dovecot-socket", "{folder}/auth"
    with Daemon.running(conf, *flags, files=files) as daemon, ExitStack() as stack:
        late: list[socket.socket] = []
        for secret in SECRETS:
            for user in (people.PENGUIN, "secret@hoge.cxm", "nobody@hoge.cxm", "", "a\0b"):
                daemon.ask(user, secret, "imap", "", "192.0.2.7")
                daemon.ask(user, f"{secret}\0more")
            ask(daemon.folder / "auth", "secret@hoge.cxm", secret, "rip=192.0.2.7")
            late.append(stack.enter_context(socket.socket(socket.AF_UNIX)))
            late[-1].connect(str(daemon.mux))
            late[-1].sendall(request(people.PENGUIN, secret)[:-3])
            daemon.ask_raw(b"\xff\xff" + secret.encode() * 3)
            with_rest = request(people.PENGUIN, secret, "smtp", "") + secret.encode()
            daemon.ask_raw(with_rest)
        daemon.ask("secret@hoge.cxm", "s3cret-stored")
        assert [each.recv(1) for each in late] == [b""] * len(SECRETS)
        assert daemon.logged("no whole request within 1 s")
        said = daemon.log
        daemon.program.stop()
        said = daemon.log
    assert "secret@hoge.cxm" in said
    assert "s3cret" not in said
    encoded = {base64.b64encode(secret.encode()).decode()[:12] for secret in SECRETS}
    assert not [each for each in encoded if each in said]
    assert all(line.isprintable() and line.isascii() for line in said.splitlines())


def test_the_page_tells_of_every_reason_and_its_verdict() -> None:
    table = PAGE.partition("<!-- reasons -->")[2].partition("<!-- end of reasons -->")[0]
    told = re.findall(r"^\| `([\w-]+)` \| (\w+) \|", table, re.MULTILINE)
    assert told == [(reason.value, reason.verdict.value) for reason in Reason]


def test_the_page_tells_of_every_field_in_each_form() -> None:
    table = PAGE.partition("## Fields")[2].partition("## The journal")[0]
    rows = re.findall(r"^\| (.*?) \| `(\w+)` \| `(\w+)` \|", table, re.MULTILINE)
    whole = log.LoginEvent(
        reason=Reason.LOCKED,
        user=b"penguin",
        identity=b"penguin@hoge.cxm",
        service=b"smtp",
        realm=b"hoge.cxm",
        remote=b"192.0.2.7",
        detail="detail",
        server="ldap://ds1/",
        method="bind",
        cached=True,
        door="mux",
        peer=Peer(1, 2, 3),
        milliseconds=1,
        local=b"::1",
        secured=True,
        session=b"x",
        repeated=1,
    )
    assert {json_name for _, json_name, _ in rows} == whole.fields().keys()
    assert all(journal == f"PYSASLAUTHD_{json_name.upper()}" for _, json_name, journal in rows)
    in_line = set(re.findall(r"\[(\w+)=", str(whole))) - {"mech"}
    assert {classic.strip("`") for classic, _, _ in rows if classic.startswith("`")} == in_line


def test_the_kept_json_is_json() -> None:
    for line in (ROOT / "docs/reference/output/log-json.txt").read_text().splitlines():
        assert json.loads(line)["event"] == "login"
