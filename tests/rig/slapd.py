"""A real OpenLDAP slapd."""

from __future__ import annotations

from rig import people
from rig.authority import Authority
from rig.directory import DirectoryServer, write
from rig.programs import Program, find, run

# 389 DS has the class in its default schema; slapd's schema files lack it.
_MAIL_RECIPIENT = (
    "objectclass ( 2.16.840.1.113730.3.2.3 NAME 'mailRecipient' SUP top AUXILIARY"
    " MAY ( cn $ mail $ uid $ userPassword ) )"
)


class Slapd(DirectoryServer):
    """slapd with modules pw-sha2, argon2 and ppolicy, and the overlay syncprov.

    SASL EXTERNAL over ldapi is the service account; SASL PLAIN takes the authentication id ``userretriever``.

    :param extra: further lines of slapd.conf for the database, such as ``overlay ppolicy``, under which an entry may
        hold one password only.
    """

    kind = "slapd"
    admin_dn = f"cn=admin,{people.SUFFIX}"

    def __init__(self, authority: Authority | None = None, *, users: int = 20, extra: str = "") -> None:
        super().__init__(authority, users=users)
        self._extra = extra

    def _prepare(self, tree: str) -> Program:
        data = self.folder / "data"
        data.mkdir()
        certificate = self.authority.issue("slapd")
        conf = write(
            self.folder / "slapd.conf",
            f"""\
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
include /etc/ldap/schema/nis.schema
{_MAIL_RECIPIENT}
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload pw-sha2
moduleload argon2
moduleload ppolicy
moduleload syncprov
pidfile {self.folder}/pid
argsfile {self.folder}/args
TLSCACertificateFile {self.authority.certificate}
TLSCertificateFile {certificate.certificate}
TLSCertificateKeyFile {certificate.key}
TLSVerifyClient allow
sasl-secprops none
authz-regexp "gidNumber=[0-9]+[+]uidNumber=[0-9]+,cn=peercred,cn=external,cn=auth" "{people.SERVICE_DN}"
authz-regexp "uid=([^,]+),(cn=[^,]+,)?cn=auth" "cn=$1,{people.SUFFIX}"
database mdb
suffix "{people.SUFFIX}"
rootdn "{self.admin_dn}"
rootpw {self.admin_password}
directory {data}
dbnosync
maxsize 268435456
index objectClass,mail,uid eq
index entryCSN,entryUUID eq
access to attrs=userPassword by dn.exact="{people.SERVICE_DN}" read by anonymous auth by * none
access to * by dn.exact="{people.SERVICE_DN}" read by anonymous auth by * none
overlay syncprov
{self._extra}
""",
        )
        ldif = write(self.folder / "tree.ldif", tree)
        run([find("slapadd"), "-q", "-f", conf, "-l", ldif])
        listeners = f"{self.uri}/ {self.ldaps_uri}/ {self.ldapi_uri}"
        return Program(
            [find("slapd"), "-d", "0", "-f", conf, "-h", listeners], log=self.folder / "log", ready=self._serves
        )
