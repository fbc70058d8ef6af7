from __future__ import annotations

import os
from pathlib import Path

import pytest

from pysaslauthd import config
from pysaslauthd.config.files import MAX_FILE, MAX_SECRET
from pysaslauthd.errors import ConfigError
from rig.needs import not_root
from rig.programs import folder

BASE = "ldap_search_base: ou=People,dc=hoge,dc=cxm"
SOMEBODY = 65534


def write(path: Path, text: str | bytes, mode: int = 0o600, group: int = 0) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(mode)
    if os.geteuid() == 0:
        os.chown(path, 0, group)
    return path


def load(folder: Path, *lines: str, mode: int = 0o600, group: int = 0) -> config.Loaded:
    return config.load(str(write(folder / "saslauthd.conf", "\n".join([BASE, *lines]), mode, group)))


def error(folder: Path, *lines: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(folder, *lines)
    return str(caught.value)


def test_a_file_is_read_with_its_warnings(tmp_path: Path) -> None:
    settings, _, warnings, _ = load(tmp_path, "ldap_scope: one", "log_level: 10")
    assert settings.scope == "one"
    assert len(warnings) == 1
    assert warnings[0].startswith(f"{tmp_path}/saslauthd.conf:3: log_level: ")


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        config.load(f"{tmp_path}/none.conf")
    assert str(caught.value) == (
        f"{tmp_path}/none.conf: cannot be read: No such file or directory; create it, or name another with -O"
    )


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: Is a directory; name a file"):
        config.load(str(tmp_path))


def test_a_file_without_end_is_refused() -> None:
    with pytest.raises(ConfigError, match=f"^/dev/zero: cannot be read: longer than {MAX_FILE} bytes$"):
        config.load("/dev/zero")


def test_a_file_of_somebody_else_says_what_to_do(tmp_path: Path) -> None:
    path = str(write(tmp_path / "saslauthd.conf", BASE, mode=0))
    denied = "cannot be read: Permission denied; "
    with not_root():
        with pytest.raises(ConfigError, match=f"{denied}let the daemon's user read it$"):
            config.load(path)
        with pytest.raises(ConfigError, match=f"{denied}ask its owner$"):
            config.load(path, denied="ask its owner")


def test_an_error_in_the_file_has_its_name(tmp_path: Path) -> None:
    assert (
        error(tmp_path, "ldap_scope: all")
        == f"{tmp_path}/saslauthd.conf:2: ldap_scope: 'all' is none of sub, one, base"
    )


# The password file


@pytest.mark.parametrize(
    ("written", "password"),
    [
        (b"secret", b"secret"),
        (b"secret\n", b"secret"),
        (b"secret\r\n", b"secret"),
        (b" sec ret \n", b" sec ret "),
        (b"\xff\n", b"\xff"),
        (b"#secret", b"#secret"),
        (b"x" * MAX_SECRET, b"x" * MAX_SECRET),
    ],
)
def test_the_password_is_the_file_without_one_line_end(tmp_path: Path, written: bytes, password: bytes) -> None:
    secret = write(tmp_path / "secret", written)
    settings, _, warnings, _ = load(tmp_path, "ldap_bind_dn: cn=a", f"ldap_password_file: {secret}")
    assert (settings.password, warnings) == (password, ())


def test_a_password_from_a_file_is_in_no_repr(tmp_path: Path) -> None:
    secret = write(tmp_path / "secret", "pen-guin")
    loaded = load(tmp_path, "ldap_bind_dn: cn=a", f"ldap_password_file: {secret}")
    assert loaded.settings.password == b"pen-guin"
    assert "pen-guin" not in repr(loaded) + str(loaded)


def test_a_password_of_several_lines_is_told(tmp_path: Path) -> None:
    secret = write(tmp_path / "secret", "secret\n\n")
    settings, _, (warning,), _ = load(tmp_path, "ldap_bind_dn: cn=a", f"ldap_password_file: {secret}")
    assert settings.password == b"secret\n"
    assert warning.endswith(f":3: ldap_password_file: {secret} has several lines; all of them are the password")


@pytest.mark.parametrize(
    ("written", "says"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"a\0b", "holds a NUL byte"),
        (b"x" * (MAX_SECRET + 1), f"cannot be read: longer than {MAX_SECRET} bytes"),
    ],
)
def test_a_password_file_that_cannot_be_used_is_an_error(tmp_path: Path, written: bytes, says: str) -> None:
    secret = write(tmp_path / "secret", written)
    text = error(tmp_path, "ldap_bind_dn: cn=a", f"ldap_password_file: {secret}")
    assert text == f"{tmp_path}/saslauthd.conf:3: ldap_password_file: {secret} {says}"


def test_a_missing_password_file_is_an_error(tmp_path: Path) -> None:
    text = error(tmp_path, "ldap_bind_dn: cn=a", "ldap_password_file: /nowhere/secret")
    assert text.endswith("ldap_password_file: /nowhere/secret cannot be read: No such file or directory")


def test_a_password_file_of_somebody_else_says_what_to_do() -> None:
    with folder("secret") as at:  # pytest's own are closed to others
        secret = write(at / "secret", "", mode=0)
        path = write(at / "saslauthd.conf", f"{BASE}\nldap_bind_dn: cn=a\nldap_password_file: {secret}\n", mode=0o644)
        with not_root(), pytest.raises(ConfigError) as caught:
            config.load(str(path))
    assert str(caught.value).endswith(f"{secret} cannot be read: Permission denied; let the daemon's user read it")


# Who may read secrets


def test_a_configuration_without_a_secret_may_be_read_by_all(tmp_path: Path) -> None:
    assert load(tmp_path, mode=0o644).warnings == ()


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_secret_of_the_owner_alone_is_no_doubt(tmp_path: Path, mode: int) -> None:
    assert load(tmp_path, "ldap_bind_dn: cn=a", "ldap_password: secret", mode=mode).warnings == ()


@pytest.mark.parametrize("mode", [0o604, 0o644])
def test_a_secret_that_everybody_can_read_is_told(tmp_path: Path, mode: int) -> None:
    (warning,) = load(tmp_path, "ldap_bind_dn: cn=a", "ldap_password: secret", mode=mode).warnings
    path = f"{tmp_path}/saslauthd.conf"
    assert warning == f"{path}:3: ldap_password: {path} holds a secret that everybody can read; chmod 600 {path}"


def test_a_password_file_that_everybody_can_read_is_told(tmp_path: Path) -> None:
    secret = write(tmp_path / "a secret", "secret", mode=0o644)
    (warning,) = load(tmp_path, "ldap_bind_dn: cn=a", f"ldap_password_file: {secret}").warnings
    assert warning.endswith(f"{secret} holds a secret that everybody can read; chmod 600 '{secret}'")


@pytest.mark.usefixtures("root")
def test_a_secret_that_another_group_can_read_is_told(tmp_path: Path) -> None:
    lines = "ldap_bind_dn: cn=a", "ldap_password: secret"
    (warning,) = load(tmp_path, *lines, mode=0o640, group=SOMEBODY).warnings
    assert f"holds a secret that group {SOMEBODY} can read; chmod 600" in warning
    assert load(tmp_path, *lines, mode=0o600, group=SOMEBODY).warnings == ()


@pytest.mark.usefixtures("root")
def test_a_credential_of_systemd_is_no_doubt(tmp_path: Path) -> None:
    secret = write(tmp_path / "secret", "secret", mode=0o440)
    assert load(tmp_path, "ldap_bind_dn: cn=a", f"ldap_password_file: {secret}").warnings == ()


def test_a_secret_may_be_a_credential_of_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = "ldap_password_file: ${CREDENTIALS_DIRECTORY}/bind-password"
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    write(tmp_path / "bind-password", "secret\n")
    assert load(tmp_path, "ldap_bind_dn: cn=a", line).settings.password == b"secret"
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    said = error(tmp_path, "ldap_bind_dn: cn=a", line)
    assert said.endswith(
        ":3: ldap_password_file: ${CREDENTIALS_DIRECTORY}/bind-password: there is no CREDENTIALS_DIRECTORY;"
        " LoadCredential= in the unit makes one"
    )


@pytest.mark.parametrize("path", ["${CREDENTIALS_DIRECTORY}", "${CREDENTIALS_DIRECTORY}/", "$HOME/x", "${HOME}/x", "x"])
def test_nothing_else_stands_for_a_folder(path: str, tmp_path: Path) -> None:
    assert "is not an absolute path" in error(tmp_path, "ldap_bind_dn: cn=a", f"ldap_password_file: {path}")
    assert "is not an absolute path" in error(tmp_path, f"ldap_tls_cacert_file: {path}")
