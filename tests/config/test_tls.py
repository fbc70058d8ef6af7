from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

import pytest

from pysaslauthd import config
from pysaslauthd.errors import ConfigError
from rig.authority import Authority, Certificate

BASE = "ldap_search_base: ou=People,dc=hoge,dc=cxm"
LDAPS = "ldap_servers: ldaps://localhost/"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def client(authority: Authority) -> Certificate:
    made = authority.issue("client")
    made.key.chmod(0o600)
    return made


def load(folder: Path, *lines: str) -> config.Loaded:
    path = folder / "saslauthd.conf"
    path.write_text("\n".join([BASE, *lines]))
    return config.load(str(path))


def error(folder: Path, *lines: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(folder, *lines)
    return str(caught.value).removeprefix(f"{folder}/saslauthd.conf:")


def test_a_server_is_verified_against_the_systems_authorities() -> None:
    context = config.client_context(config.LdapSettings())
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_a_server_is_not_verified_where_that_is_switched_off() -> None:
    context = config.client_context(config.LdapSettings(tls_check_peer=False))
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_NONE, False)


def test_ones_own_authorities_replace_the_systems(tmp_path: Path, authority: Authority) -> None:
    settings, _, warnings, _ = load(tmp_path, LDAPS, f"ldap_tls_cacert_file: {authority.certificate}")
    assert warnings == ()
    assert len(config.client_context(settings).get_ca_certs()) == 1


def test_the_ciphers_are_those_named() -> None:
    name = "ECDHE-RSA-AES256-GCM-SHA384"
    context = config.client_context(config.LdapSettings(tls_ciphers=name))
    older = [cipher["name"] for cipher in context.get_ciphers() if cipher["protocol"] != "TLSv1.3"]
    assert older == [name]


def test_certificate_and_key_are_read(tmp_path: Path, client: Certificate) -> None:
    lines = f"ldap_tls_cert: {client.certificate}", f"ldap_tls_key: {client.key}"
    assert load(tmp_path, LDAPS, *lines).warnings == ()


def test_files_of_tls_are_not_read_without_tls(tmp_path: Path) -> None:
    (warning,) = load(tmp_path, "ldap_tls_cacert_file: /nowhere/ca.pem").warnings
    assert "no effect: no server is reached by TLS" in warning


@pytest.mark.parametrize("key", ["ldap_tls_cacert_file", "ldap_tls_cacert_dir"])
def test_a_missing_authority_is_an_error(tmp_path: Path, key: str) -> None:
    text = error(tmp_path, "ldap_servers: ldap://localhost/", "ldap_start_tls: yes", f"{key}: /nowhere/ca")
    assert text == f"4: {key}: /nowhere/ca cannot be read: No such file or directory"


@pytest.mark.parametrize("missing", ["cert", "key"])
def test_a_missing_certificate_or_key_is_an_error(tmp_path: Path, client: Certificate, missing: str) -> None:
    paths = {"cert": str(client.certificate), "key": str(client.key), missing: "/nowhere/pem"}
    text = error(tmp_path, LDAPS, *(f"ldap_tls_{key}: {path}" for key, path in paths.items()))
    assert text.partition(": ")[2] == f"ldap_tls_{missing}: /nowhere/pem cannot be read: No such file or directory"


def test_a_file_without_certificate_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_text("no certificate")
    assert error(tmp_path, LDAPS, f"ldap_tls_cacert_file: {path}").startswith(
        f"3: ldap_tls_cacert_file: {path} holds no certificate: "
    )


def test_a_folder_without_hashed_names_is_an_error(tmp_path: Path, authority: Authority) -> None:
    folder = tmp_path / "authorities"
    folder.mkdir()
    (folder / "ca.pem").write_bytes(authority.certificate.read_bytes())
    line = f"ldap_tls_cacert_dir: {folder}"
    assert "holds no certificate under its hashed name; run openssl rehash" in error(tmp_path, LDAPS, line)
    subprocess.run(["openssl", "rehash", str(folder)], check=True)
    assert load(tmp_path, LDAPS, line).warnings == ()


def test_the_key_of_another_certificate_is_an_error(tmp_path: Path, authority: Authority, client: Certificate) -> None:
    other = authority.issue("other")
    text = error(tmp_path, LDAPS, f"ldap_tls_cert: {client.certificate}", f"ldap_tls_key: {other.key}")
    assert text.startswith(f"3: ldap_tls_cert: {client.certificate} and {other.key} are no certificate and its key: ")


def test_an_encrypted_key_is_an_error_and_asks_nobody(tmp_path: Path, client: Certificate) -> None:
    encrypted = tmp_path / "encrypted.key"
    subprocess.run(
        ["openssl", "pkey", "-in", client.key, "-aes256", "-passout", "pass:x", "-out", encrypted], check=True
    )
    text = error(tmp_path, LDAPS, f"ldap_tls_cert: {client.certificate}", f"ldap_tls_key: {encrypted}")
    assert text == f"4: ldap_tls_key: {encrypted} is encrypted; a daemon cannot ask"


def test_a_key_that_everybody_can_read_is_told(tmp_path: Path, client: Certificate) -> None:
    key = tmp_path / "client.key"
    key.write_bytes(client.key.read_bytes())
    key.chmod(0o644)
    (warning,) = load(tmp_path, LDAPS, f"ldap_tls_cert: {client.certificate}", f"ldap_tls_key: {key}").warnings
    assert warning.endswith(f"4: ldap_tls_key: {key} holds a secret that everybody can read; chmod 600 {key}")
