"""Postfix and Exim with the daemon behind them, beyond the table of clients."""

from __future__ import annotations

import re
import signal
import smtplib
import socket
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from integration.mail_servers import EXIM, POSTFIX, RUN, flags, smtpds
from rig import Authority, Daemon, DirectoryServer, Ds389, Slapd, article
from rig.docs import snippet
from rig.dovecot import doveadm
from rig.exim import Exim
from rig.mux import request
from rig.needs import need, need_root
from rig.people import PENGUIN, PENGUIN_PASSWORD
from rig.postfix import Postfix, Smtpd
from rig.programs import wait_until

BOTH = pytest.mark.parametrize("door", ["dovecot", "cyrus"])


def with_senders(folder: Path) -> dict[str, Smtpd]:
    """The page's SMTP servers, with the page's table of senders."""
    senders = folder / "senders"
    senders.write_text(snippet(POSTFIX, "senders"))
    more = snippet(POSTFIX, "senders main.cf", {"/etc/postfix/senders": senders})
    return {name: each._replace(main=each.main + more) for name, each in smtpds(folder).items()}


@pytest.fixture(scope="module")
def postfix(authority: Authority) -> Iterator[Postfix]:
    """The page's SMTP servers, and ``TLS``, which asks like the first."""
    need_root()
    need("postfix", "swaks")
    mine = authority.issue("postfix")
    tls = f"smtpd_tls_security_level = may\nsmtpd_tls_cert_file = {mine.certificate}\nsmtpd_tls_key_file = {mine.key}\n"

    def servers(folder: Path) -> dict[str, Smtpd]:
        made = with_senders(folder)
        return {**made, "TLS": made["dovecot"]._replace(main=made["dovecot"].main + tls)}

    with Postfix.running(servers) as running:
        yield running


@contextmanager
def behind(postfix: Postfix, server: DirectoryServer, *more: str) -> Iterator[Daemon]:
    """The daemon of the page behind this Postfix."""
    conf = article(server, ldap_default_realm="hoge.cxm")
    with Daemon.running(conf, *flags(postfix.folder), *more) as daemon:
        daemon.mux = postfix.folder / "run/mux"
        yield daemon


@pytest.mark.parametrize("kind", [Slapd, Ds389])
def test_a_directory_that_is_down_is_454_and_what_is_known_goes_on(
    kind: type[DirectoryServer], postfix: Postfix, authority: Authority
) -> None:
    need("slapd", "slapadd", "ns-slapd", "certutil", "pk12util", "ldapmodify")
    with kind(authority, users=2) as server, behind(postfix, server):
        for door in postfix.ports:
            assert postfix.login(door, "PLAIN", PENGUIN, PENGUIN_PASSWORD).code == 235
            assert postfix.login(door, "LOGIN", PENGUIN, "wrong").code == 535
        server.stop()
        for door in postfix.ports:
            assert postfix.login(door, "PLAIN", "u0@hoge.cxm", "u0-pass").code == 454
            assert postfix.login(door, "LOGIN", PENGUIN, "wrong").code == 454
            assert postfix.login(door, "LOGIN", PENGUIN, PENGUIN_PASSWORD).code == 235  # from the cache
        server.start()
        for door in postfix.ports:
            assert postfix.login(door, "PLAIN", "u0@hoge.cxm", "u0-pass").code == 235
            assert postfix.login(door, "LOGIN", PENGUIN, "wrong").code == 535


@BOTH
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_swaks_logs_in(postfix: Postfix, slapd: Slapd, door: str, mechanism: str) -> None:
    with behind(postfix, slapd):
        for user in PENGUIN, "penguin":
            assert postfix.swaks(door, user, PENGUIN_PASSWORD, mechanism).code == 235
            assert postfix.swaks(door, user, "wrong", mechanism).code == 535


@BOTH
def test_only_who_has_logged_in_may_send_abroad(postfix: Postfix, slapd: Slapd, door: str) -> None:
    with behind(postfix, slapd), postfix.smtp(door) as smtp:
        smtp.mail(PENGUIN)
        assert smtp.rcpt("somebody@zoo.cxm")[0] == 554
        smtp.rset()
        smtp.login(PENGUIN, PENGUIN_PASSWORD)
        smtp.mail(PENGUIN)
        assert smtp.rcpt("somebody@zoo.cxm")[0] == 250


@pytest.mark.parametrize("door", ["dovecot", "dovecot, chroot", "cyrus, local domain"])
@pytest.mark.parametrize("login", [PENGUIN, "penguin"])
def test_a_person_has_one_name_in_the_table_of_senders(postfix: Postfix, slapd: Slapd, door: str, login: str) -> None:
    with behind(postfix, slapd), postfix.smtp(door) as smtp:
        smtp.login(login, PENGUIN_PASSWORD)
        for sender, code in (PENGUIN, 250), ("sales@hoge.cxm", 250), ("u0@hoge.cxm", 553), ("penguin@zoo.cxm", 553):
            smtp.mail(sender)
            assert (sender, smtp.rcpt("somebody@zoo.cxm")[0]) == (sender, code)
            smtp.rset()


def smtpd_pid(postfix: Postfix) -> str:
    """The smtpd that spoke last."""
    *_, last = re.finditer(r"postfix/smtpd\[(\d+)\]: connect from", postfix.maillog)
    return last[1]


def test_the_log_tells_who_asked_through_which_door(postfix: Postfix, slapd: Slapd) -> None:
    with behind(postfix, slapd) as daemon:
        uid = (postfix.folder / "data").stat().st_uid
        assert postfix.login("dovecot", "PLAIN", PENGUIN, "wrong").code == 535
        assert daemon.logged(
            f"auth failure: [user={PENGUIN}] [service=smtp] [realm=] [remote=127.0.0.1] [local=127.0.0.1] [secured=no]"
            " [mech=ldap] [reason=wrong-password]"
        )
        assert daemon.logged(f"[door=dovecot] [pid={smtpd_pid(postfix)}] [uid={uid}]")
        assert postfix.login("cyrus", "PLAIN", PENGUIN, "wrong").code == 535
        assert daemon.logged("auth failure: [user=penguin] [service=smtp] [realm=hoge.cxm] [mech=ldap]")
        assert daemon.logged(f"[door=mux] [pid={smtpd_pid(postfix)}] [uid={uid}]")


def test_the_log_tells_a_connection_with_tls(postfix: Postfix, slapd: Slapd) -> None:
    with behind(postfix, slapd) as daemon, postfix.smtp("TLS") as smtp:
        smtp.starttls()
        with pytest.raises(smtplib.SMTPAuthenticationError):
            smtp.login(PENGUIN, "wrong")
        assert daemon.logged("[remote=127.0.0.1] [local=127.0.0.1] [secured=yes] [mech=ldap] [reason=wrong-password]")


def test_exim_tells_the_address_of_the_mail_program(postfix: Postfix, slapd: Slapd) -> None:
    need("exim4")
    run = postfix.folder / "run"
    with (
        behind(postfix, slapd) as daemon,
        Exim.prepared(run / "mux", {"dovecot": snippet(EXIM, "dovecot", {RUN: run})}) as exim,
    ):
        assert exim.login("dovecot", "PLAIN", PENGUIN, "wrong").code == 535
        assert daemon.logged("[service=smtp] [realm=] [remote=127.0.0.2] [secured=no] [mech=ldap]")


def test_doveadm_is_told_that_nobody_knows(slapd: Slapd) -> None:
    need("doveadm")
    nobody = article(slapd, ldap_servers="ldap://127.0.0.1:1/")
    with Daemon.running(nobody, "--dovecot-socket", "{folder}/auth") as daemon:
        status, output = doveadm(daemon.folder / "auth", PENGUIN, PENGUIN_PASSWORD)
        assert (status, "code=temp_fail" in output) == (77, True), output


def test_a_stop_answers_what_is_in_flight_at_every_door(authority: Authority) -> None:
    need("slapd", "slapadd")
    doors = "--dovecot-socket", "{folder}/auth", "--mux-socket", "{folder}/more"
    with (
        Slapd(authority, users=2) as server,
        Daemon.running(article(server), *doors) as daemon,
        socket.socket(socket.AF_UNIX) as mux,
        socket.socket(socket.AF_UNIX) as auth,
    ):
        assert daemon.ask("u1@hoge.cxm", "u1-pass") == b"OK"
        server.pause()
        try:
            mux.connect(str(daemon.folder / "more"))
            mux.sendall(request(PENGUIN, PENGUIN_PASSWORD, "smtp", ""))
            auth.connect(str(daemon.folder / "auth"))
            response = b64encode(b"\0u0@hoge.cxm\0u0-pass").decode()
            auth.sendall(f"VERSION\t1\t0\nCPID\t1\nAUTH\t1\tPLAIN\tresp={response}\n".encode())
            # What is refused at once shows that all before it has been taken.
            auth.sendall(b"AUTH\t2\tPLAIN\tresp=junk!\n")
            heard = auth.makefile("rb")
            while not heard.readline().startswith(b"FAIL\t2\t"):
                pass
            daemon.program.signal(signal.SIGTERM)
            assert daemon.logged("SIGTERM: stopping")
        finally:
            server.resume()
        assert mux.recv(100) == b"\0\2OK"
        assert heard.readline() == b"OK\t1\tuser=u0@hoge.cxm\n"
        assert heard.readline() == b""
        wait_until(lambda: daemon.program.status is not None, "the end")
        assert daemon.program.status == 0
