"""What every client says to a person, through every door, in good times and in bad.

The table goes into ``docs/reference/clients.md``: ``WRITE_TABLE=1`` in the environment rewrites the page, otherwise
it must say what happened. Every configuration is the one that the documentation shows.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import NamedTuple

import pytest

from integration.mail_servers import EXIM, POSTFIX, RUN, flags, smtpds
from rig import Authority, Daemon, Slapd, article
from rig.cyrus_imap import CyrusImap
from rig.docs import DOCS, snippet, snippets
from rig.dovecot import doveadm
from rig.exim import Exim
from rig.needs import need, need_root
from rig.passthrough import PassThrough
from rig.postfix import Postfix
from rig.smtp import FORMS
from rig.svnserve import Svnserve

LDAP, IMAP, SVN = (f"how-to/{page}.md" for page in ("openldap", "cyrus-imap", "subversion"))
TITLES = "client", "door", "login", "right", "wrong", "directory down", "directory back", "daemon restarted"


class Row(NamedTuple):
    """A client at a door, and how it is made to log somebody in: by user and password, to what it says."""

    client: str
    door: str
    way: str
    login: Callable[[str, str], object]


class Scene(NamedTuple):
    rows: list[Row]
    daemons: list[Daemon]
    directory: Slapd


@pytest.fixture(scope="module")
def scene(authority: Authority) -> Iterator[Scene]:
    need("slapd", "slapadd", "ldapmodify", "ldapwhoami", "postfix", "doveadm", "exim4", "svnserve", "svn", "svnadmin")
    need("cyrmaster")
    need_root()
    with ExitStack() as stack:
        enter = stack.enter_context
        directory = enter(Slapd(authority))
        conf = article(directory, ldap_default_realm="hoge.cxm")
        postfix = enter(Postfix.running(smtpds))
        run, spool = postfix.folder / "run", postfix.folder / "spool"
        daemon = enter(Daemon.running(conf, *flags(postfix.folder)))
        daemon.mux = run / "mux"
        closing = enter(Daemon.running(conf, "--dovecot-socket", "{folder}/auth", "--dovecot-unavailable", "close"))
        exim = enter(
            Exim.prepared(
                daemon.mux,
                {
                    "dovecot": snippet(EXIM, "dovecot", {RUN: run}),
                    "saslauthd": snippet(EXIM, "saslauthd"),
                },
            )
        )
        person = snippet(LDAP, "person")
        ldap = enter(
            PassThrough(
                snippet(LDAP, "slapd.conf", {RUN: run}),
                "\n".join(person.replace("penguin", name) for name in ("penguin", "u0")),
            )
        )
        imap = enter(CyrusImap.running(snippet(IMAP, "imapd.conf", {RUN: run})))
        svn = enter(Svnserve.running(snippet(SVN, "svnserve.conf"), snippet(SVN, "svn.conf", {RUN: run})))

        def smtp(server: Postfix | Exim, name: str, form: str) -> Callable[[str, str], object]:
            return lambda user, password: server.login(name, form, f"{user}@hoge.cxm", password).code

        doors = {"dovecot": "Dovecot", "cyrus": "mux", "saslauthd": "mux"}
        rows = [
            Row(
                "Postfix" + name.removeprefix(kind),
                doors[kind],
                f"AUTH {form}",
                smtp(postfix, name, form),
            )
            for name in postfix.ports
            for kind in [name.partition(",")[0]]
            for form in FORMS
        ]
        rows += [
            Row("Exim", doors[name], f"AUTH {form}", smtp(exim, name, form))
            for name in ("dovecot", "saslauthd")
            for form in FORMS
        ]
        rows += [
            Row(
                "doveadm auth test", "Dovecot", "exit status", lambda *who: doveadm(spool / "private/auth", *who).status
            ),
            Row(
                "doveadm auth test",
                "Dovecot, `close`",
                "exit status",
                lambda *who: doveadm(closing.folder / "auth", *who).status,
            ),
            Row("testsaslauthd", "mux", "exit status", lambda *who: daemon.probe(*who).status),
            Row("OpenLDAP", "mux", "bind, `{SASL}`", ldap.login),
            Row("Cyrus IMAP", "mux", "LOGIN", lambda *who: imap.login("LOGIN", *who)),
            Row("Cyrus IMAP", "mux", "AUTHENTICATE PLAIN", lambda *who: imap.login("PLAIN", *who)),
            Row("Subversion", "mux", "PLAIN", svn.login),
        ]
        yield Scene(rows, [daemon, closing], directory)


def table(scene: Scene) -> list[list[str]]:
    """All cells. Whoever logs in while the directory is down has not done so before: the cache would know him."""
    columns: list[list[object]] = [[row.login("penguin", "penguin-pass") for row in scene.rows]]
    columns.append([row.login("penguin", "wrong") for row in scene.rows])
    scene.directory.stop()
    columns.append([row.login("u0", "u0-pass") for row in scene.rows])
    scene.directory.start()
    columns.append([row.login("u0", "u0-pass") for row in scene.rows])
    for daemon in scene.daemons:
        assert daemon.program.stop() == 0
        daemon.program.start()
    columns.append([row.login("penguin", "penguin-pass") for row in scene.rows])
    return [[*row[:3], *map(str, cells)] for row, *cells in zip(scene.rows, *columns, strict=True)]


def page(rows: list[list[str]]) -> str:
    lines = [f"| {' | '.join(cells)} |" for cells in [list(TITLES), ["---"] * len(TITLES), *rows]]
    return "\n".join(lines) + "\n"


def test_the_page_says_what_every_client_says(scene: Scene) -> None:
    path = DOCS / "reference/clients.md"
    before, mark, rest = path.read_text().partition("<!-- table -->\n")
    after = rest.partition("<!-- end of table -->")[2]
    assert mark
    assert after
    made = page(table(scene))
    if os.environ.get("WRITE_TABLE") == "1":
        path.write_text(f"{before}{mark}{made}<!-- end of table -->{after}")
    else:
        assert made == rest.partition("<!-- end of table -->")[0], "WRITE_TABLE=1 writes the new table"


def test_every_snippet_is_run() -> None:
    told = {page: snippets(page) for page in (POSTFIX, EXIM, LDAP, IMAP, SVN)}
    assert told == {
        POSTFIX: {
            *("dovecot options", "dovecot main.cf", "cyrus main.cf", "smtpd.conf", "cyrus options"),
            *("chroot folder", "chroot options", "local domain", "senders main.cf", "senders"),
        },
        EXIM: {"options", "dovecot", "saslauthd"},
        LDAP: {"slapd.conf", "person", *("bind", "custom", "group")},  # the last three by test_openldap_page
        IMAP: {"imapd.conf"},
        SVN: {"svnserve.conf", "svn.conf"},
    }
