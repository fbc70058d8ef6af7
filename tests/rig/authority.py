"""A certificate authority made with openssl, and the certificates it signs."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from rig.programs import find, run

_EC = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


class Certificate(NamedTuple):
    """A certificate and its private key, both PEM files."""

    certificate: Path
    key: Path


class Authority:
    """A self-signed CA. Two authorities with two folders distrust each other: the second is the wrong CA.

    Its certificates carry keyUsage and both key identifiers, without which Python 3.13's strict check refuses them.
    """

    def __init__(self, folder: Path, name: str = "Rig CA") -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.certificate = folder / "ca.pem"
        self._key = folder / "ca.key"
        config = folder / "ca.cnf"
        config.write_text(
            "[req]\ndistinguished_name=dn\nx509_extensions=ca\n[dn]\n[ca]\nbasicConstraints=critical,CA:TRUE\n"
            "keyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n"
        )
        made = ["-keyout", self._key, "-out", self.certificate]
        subject = ["-subj", f"/CN={name}", "-config", config]
        run([find("openssl"), "req", "-x509", *_EC, "-days", "2", *subject, *made])

    def issue(self, name: str = "localhost", *, san: str = "IP:127.0.0.1,DNS:localhost") -> Certificate:
        """A certificate for a server or a client: subject CN=name, subjectAltName as openssl writes it."""
        made = Certificate(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        request, extensions = self._folder / f"{name}.csr", self._folder / f"{name}.cnf"
        extensions.write_text(
            f"subjectAltName={san}\nbasicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n"
            "extendedKeyUsage=serverAuth,clientAuth\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
        )
        openssl = find("openssl")
        run([openssl, "req", "-new", *_EC, "-subj", f"/CN={name}", "-keyout", made.key, "-out", request])
        signer = ["-CA", self.certificate, "-CAkey", self._key, "-CAcreateserial", "-days", "2"]
        run([openssl, "x509", "-req", "-in", request, *signer, "-extfile", extensions, "-out", made.certificate])
        return made
