"""An authority whose certificates expire when a test wants it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from rig.authority import Authority, Certificate
from rig.programs import find, run


class DatedAuthority(Authority):
    """A CA; what it signs was valid from ten days ago.

    :param days: from now until its certificates expire; negative: they have.
    """

    def __init__(self, folder: Path, days: float, name: str = "Rig CA") -> None:
        super().__init__(folder, name)
        self._days = days

    def issue(self, name: str = "localhost", *, san: str = "IP:127.0.0.1,DNS:localhost") -> Certificate:
        """As :class:`Authority`'s."""
        made = super().issue(name, san=san)
        folder = self._folder
        config = folder / "dated.cnf"
        (folder / "index.txt").write_text("")
        config.write_text(
            f"[ca]\ndefault_ca=dated\n[dated]\ndatabase={folder}/index.txt\nnew_certs_dir={folder}\nrand_serial=yes\n"
            "default_md=sha256\npolicy=any\n[any]\ncommonName=supplied\n"
        )
        now = datetime.now(UTC)
        span = [("-startdate", -10.0), ("-enddate", self._days)]
        dates = [word for flag, days in span for word in (flag, f"{now + timedelta(days=days):%Y%m%d%H%M%SZ}")]
        signer = ["-config", config, "-cert", self.certificate, "-keyfile", self._key]
        paths = ["-in", folder / f"{name}.csr", "-out", made.certificate, "-extfile", folder / f"{name}.cnf"]
        run([find("openssl"), "ca", "-batch", "-notext", *signer, *dates, *paths])
        return made
