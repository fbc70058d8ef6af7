"""A real 389 Directory Server, without dscreate: the configuration is written, ns-slapd run in the foreground."""

from __future__ import annotations

import base64
import hashlib
import os
import pwd
import re
import shutil
from pathlib import Path

from rig import people
from rig.directory import DirectoryServer, write
from rig.programs import Program, find, run

_TEMPLATES = Path("/usr/share/dirsrv/data")
_DEFAULT_SCHEME = "PBKDF2-SHA512"
_ACI = (
    '(targetattr="objectClass || mail || userPassword || nsAccountLock")(targetfilter="(objectClass=mailRecipient)")'
    '(version 3.0; acl "userretriever reads passwords"; allow (read,search)'
    f' userdn="ldap:///{people.SERVICE_DN}";)'
)


class Ds389(DirectoryServer):
    """ns-slapd with the smallest ACI that serves the service account. Passwords stay as they were written.

    As root it runs as the package's user, otherwise as the caller. SASL EXTERNAL over ldapi, as root, is the
    administrator.
    """

    kind = "ds389"
    admin_dn = "cn=Directory Manager"

    def _prepare(self, tree: str) -> Program:
        # The base name names a semaphore of the whole machine.
        conf = self.folder / f"slapd-{self.folder.name}"
        for part in ("schema", "lock", "tmp", "ldif", "bak", "run", "log", "db"):
            (conf / part).mkdir(parents=True)
        root = os.geteuid() == 0
        user = "dirsrv" if root else pwd.getpwuid(os.geteuid()).pw_name
        write(conf / "dse.ldif", self._settings(conf, user))
        write(
            conf / "schema" / "99user.ldif",
            "dn: cn=schema\nobjectClass: top\nobjectClass: ldapSubentry\nobjectClass: subschema\ncn: schema\n",
        )
        write(conf / "certmap.conf", "certmap default default\n")
        write(conf / "slapd-collations.conf", "")
        self._keys(conf)
        self._tree = tree
        if root:
            for path in [self.folder, conf, *conf.rglob("*")]:
                shutil.chown(path, user, user)
        return Program(
            [find("ns-slapd"), "-D", conf, "-i", conf / "run" / "pid", "-d", "0"],
            log=self.folder / "log",
            ready=self._serves,
        )

    def _load(self) -> None:
        self.add(self._tree)
        self.replace(people.PEOPLE, "aci", _ACI)

    def stop(self) -> None:
        """End the server; connections to its ports are then refused."""
        super().stop()
        for left in Path("/dev/shm").glob(f"*{self.folder.name}*"):
            left.unlink(missing_ok=True)

    def configure(self, attribute: str, value: str) -> None:
        """Set an attribute of cn=config."""
        self.replace("cn=config", attribute, value)

    def set_password(self, dn: str, password: str, scheme: str) -> str:
        """Let the server hash a password with one of its schemes, such as PBKDF2-SHA512; the stored value."""
        self.configure("passwordStorageScheme", scheme)
        try:
            self.replace(dn, "userPassword", password)
        finally:
            self.configure("passwordStorageScheme", _DEFAULT_SCHEME)
        shown = self.search("(objectClass=*)", "userPassword", base=dn)
        return base64.b64decode(shown.partition("userPassword:: ")[2].strip()).decode()

    def _settings(self, conf: Path, user: str) -> str:
        salt = os.urandom(8)
        digest = hashlib.sha512(self.admin_password.encode() + salt).digest()
        marks = {
            "schema_dir": conf / "schema",
            "lock_dir": conf / "lock",
            "tmp_dir": conf / "tmp",
            "cert_dir": conf,
            "ldif_dir": conf / "ldif",
            "bak_dir": conf / "bak",
            "run_dir": conf / "run",
            "inst_dir": conf / "run",
            "log_dir": conf / "log",
            "config_dir": conf,
            "db_dir": conf / "db",
            "db_home_dir": conf / "db",
            "fqdn": "localhost",
            "ds_port": self.port,
            "ds_user": user,
            "rootdn": self.admin_dn,
            # Clear text is refused here.
            "ds_passwd": "{SSHA512}" + base64.b64encode(digest + salt).decode(),
            "ldapi_enabled": "on",
            "ldapi": self._socket,
            "ldapi_autobind": "on",
            "ds_suffix": people.SUFFIX,
            "ds_bename": "userRoot",
            "db_lib": "mdb",
        }
        text = "\n\n".join((_TEMPLATES / f"template-{part}.ldif").read_text() for part in ("dse", "suffix-db"))
        text = re.sub("^#.*\n", "", text, flags=re.MULTILINE)
        # Two empty lines in a row end ns-slapd with status 1 and no word.
        text = re.sub("\n{3,}", "\n\n", text)
        for mark, value in marks.items():
            text = text.replace(f"%{mark}%", str(value))
        added = (
            "nsslapd-listenhost: 127.0.0.1\nnsslapd-securelistenhost: 127.0.0.1\n"
            f"nsslapd-secureport: {self.tls_port}\nnsslapd-security: on\n"
            # Stored values are what a test wrote: taken hashed, and not rewritten by a successful bind.
            "nsslapd-allow-hashed-passwords: on\nnsslapd-enable-upgrade-hash: off\n"
        )
        return text.replace("dn: cn=config\n", "dn: cn=config\n" + added, 1)

    def _keys(self, conf: Path) -> None:
        certificate = self.authority.issue("ds389")
        certutil, database, bundle = find("certutil"), f"sql:{conf}", self.folder / "server.p12"
        run([certutil, "-N", "-d", database, "--empty-password"])
        run([certutil, "-A", "-d", database, "-n", "CA", "-t", "CT,,", "-a", "-i", self.authority.certificate])
        pair = ["-in", certificate.certificate, "-inkey", certificate.key, "-name", "Server-Cert"]
        run([find("openssl"), "pkcs12", "-export", *pair, "-out", bundle, "-passout", "pass:x"])
        run([find("pk12util"), "-i", bundle, "-d", database, "-W", "x", "-K", ""])
