"""Postfix and the daemon as the documentation's pages set them up."""

from __future__ import annotations

import subprocess
from pathlib import Path

from rig.docs import options, snippet
from rig.postfix import Smtpd

POSTFIX, EXIM = "how-to/postfix.md", "how-to/exim.md"
SPOOL, RUN = "/var/spool/postfix", "/var/run/saslauthd"


def smtpds(folder: Path) -> dict[str, Smtpd]:
    """An SMTP server for each way that the page shows."""
    dovecot, cyrus = snippet(POSTFIX, "dovecot main.cf"), snippet(POSTFIX, "cyrus main.cf")
    outside = snippet(POSTFIX, "smtpd.conf", {RUN: folder / "run"})
    return {
        "dovecot": Smtpd(dovecot),
        "dovecot, chroot": Smtpd(dovecot, chroot=True),
        "cyrus": Smtpd(cyrus, smtpd_conf=outside),
        "cyrus, chroot": Smtpd(cyrus, chroot=True, smtpd_conf=snippet(POSTFIX, "smtpd.conf")),
        "cyrus, local domain": Smtpd(cyrus + snippet(POSTFIX, "local domain"), smtpd_conf=outside),
    }


def flags(folder: Path) -> list[str]:
    """The daemon's command line of all pages together, for a folder of Postfix's; its mux is ``run/mux``."""
    run = folder / "run"
    chroot = {SPOOL + RUN: Path(f"{folder}/spool{RUN}")}
    subprocess.run(["sh", "-ec", snippet(POSTFIX, "chroot folder", chroot)], check=True, timeout=120)
    return [
        *options(POSTFIX, "cyrus options", {RUN: run}),
        *options(POSTFIX, "dovecot options", {RUN: run, SPOOL: folder / "spool"}),
        *options(POSTFIX, "chroot options", {RUN: run, **chroot}),
        *options(EXIM, "options", {RUN: run}),
    ]
