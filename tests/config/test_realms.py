from __future__ import annotations

import os
from pathlib import Path

import pytest

from pysaslauthd import config
from pysaslauthd.config.realms import MAX_FILES
from pysaslauthd.errors import ConfigError
from rig.docs import snippet, snippets

MAIN = """\
realm_config: {folder}/realms.d
ldap_servers: ldapi://%2Frun%2Fldapi
ldap_search_base: ou=People,dc=hoge,dc=cxm
ldap_filter: (&(objectclass=mailRecipient)(mail=%U@%d))
ldap_auth_method: custom
ldap_bind_dn: cn=userretriever,dc=hoge,dc=cxm
ldap_password: password
"""


def write(path: Path, text: str, mode: int = 0o600) -> None:
    path.touch(mode)
    path.write_text(text)


def load(folder: Path, *lines: str, **realms: str) -> config.Loaded:
    """The article's configuration and further lines, with a file for each realm (an underscore is its dot)."""
    (folder / "realms.d").mkdir(exist_ok=True)
    for name, text in realms.items():
        write(folder / "realms.d" / f"{name.replace('_', '.')}.conf", text)
    write(folder / "saslauthd.conf", "\n".join([MAIN.format(folder=folder), *lines]))
    return config.load(str(folder / "saslauthd.conf"))


def error(folder: Path, *lines: str, **realms: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(folder, *lines, **realms)
    return str(caught.value)


def test_a_realm_overrides_key_by_key(tmp_path: Path) -> None:
    loaded = load(tmp_path, hoge_cxm="ldap_search_base: ou=Staff,dc=hoge,dc=cxm\nldap_auth_method: bind\n")
    (realm,) = loaded.realms.values()
    assert (realm.name, realm.file) == ("hoge.cxm", f"{tmp_path}/realms.d/hoge.cxm.conf")
    assert (realm.settings.search_base, realm.settings.auth_method) == ("ou=Staff,dc=hoge,dc=cxm", "bind")
    main = loaded.settings
    assert (realm.settings.servers, realm.settings.password) == (main.servers, b"password")
    assert realm.settings.filter == main.filter
    assert (main.search_base, main.auth_method) == ("ou=People,dc=hoge,dc=cxm", "custom")
    assert loaded.warnings == ()


def test_a_key_without_a_value_has_its_default_again(tmp_path: Path) -> None:
    text = "ldap_bind_dn:\nldap_password:\nldap_group_dn: \nldap_scope:\n"
    loaded = load(tmp_path, "ldap_group_dn: cn=mail,dc=hoge,dc=cxm", "ldap_scope: one", hoge_cxm=text)
    settings = loaded.realms[b"hoge.cxm"].settings
    assert (settings.bind_dn, settings.password, settings.checks_group, settings.scope) == ("", b"", False, "sub")
    assert loaded.settings.checks_group
    assert loaded.warnings == ()


def test_of_a_value_and_none_the_last_counts(tmp_path: Path) -> None:
    loaded = load(tmp_path, a="ldap_scope: one\nldap_scope:\n", b="ldap_scope:\nldap_scope: base\n")
    assert [realm.settings.scope for realm in loaded.realms.values()] == ["sub", "base"]


def test_in_the_main_file_every_key_has_a_value(tmp_path: Path) -> None:
    assert "ldap_scope: no value" in error(tmp_path, "ldap_scope:")


def test_one_kind_of_password_takes_the_place_of_the_other(tmp_path: Path) -> None:
    write(tmp_path / "secret", "other\n")
    loaded = load(tmp_path, hoge_cxm=f"ldap_password_file: {tmp_path}/secret")
    assert loaded.settings.password == b"password"
    assert loaded.realms[b"hoge.cxm"].settings.password == b"other"
    loaded = load(tmp_path, hoge_cxm="ldap_password: third")
    assert loaded.realms[b"hoge.cxm"].settings.password == b"third"


def test_an_attribute_that_the_main_file_names_is_not_replaced_by_a_default(tmp_path: Path) -> None:
    lines = ["ldap_group_match_method: memberof", "ldap_group_attr: isMemberOf", "ldap_group_dn: cn=a"]
    loaded = load(tmp_path, *lines, a="ldap_group_dn: cn=b", b="ldap_group_attr:")
    assert loaded.realms[b"a"].settings.group_attr == "isMemberOf"
    assert loaded.realms[b"b"].settings.group_attr == "memberOf"


@pytest.mark.parametrize("key", ["ldap_default_realm", "ldap_default_domain", "user", "login_deadline", "realm_config"])
def test_what_is_not_a_realms_own_is_refused(key: str, tmp_path: Path) -> None:
    assert error(tmp_path, hoge_cxm=f"\n{key}: 3") == (
        f"{tmp_path}/realms.d/hoge.cxm.conf:2: {key}: cannot be a realm's own; write it in {tmp_path}/saslauthd.conf"
    )


def test_an_error_names_the_realms_file(tmp_path: Path) -> None:
    where = f"{tmp_path}/realms.d/hoge.cxm.conf"
    assert error(tmp_path, hoge_cxm="\nldap_scope: deep").startswith(f"{where}:2: ldap_scope: ")
    # The method is the realm's, the filter that does not suit it the main file's.
    assert error(tmp_path, hoge_cxm="ldap_auth_method: fastbind").startswith(f"{where}: ldap_filter: ")
    (tmp_path / "realms.d" / "hoge.cxm.conf").unlink()
    (tmp_path / "realms.d" / "hoge.cxm.conf").symlink_to("nowhere")
    assert error(tmp_path) == f"{where}: cannot be read: No such file or directory; it is a link to nowhere"


def test_a_warning_names_the_realms_file_and_is_not_said_twice(tmp_path: Path) -> None:
    remote = "ldap_servers: ldap://ldap.hoge.cxm/"
    (warning,) = load(tmp_path, remote, hoge_cxm="ldap_scope: one", cxm="ldap_scope: base").warnings[1:]
    assert warning.startswith(f"{tmp_path}/saslauthd.conf:9: ldap_servers: passwords cross the network")
    warnings = load(tmp_path, hoge_cxm=remote, cxm="").warnings
    assert [each.partition(" ")[0] for each in warnings] == [f"{tmp_path}/realms.d/hoge.cxm.conf:1:"]
    warnings = load(tmp_path, remote, hoge_cxm=remote, cxm="").warnings[1:]
    assert len(warnings) == 2


def test_a_realms_file_with_a_password_is_for_its_reader_alone(tmp_path: Path) -> None:
    load(tmp_path, hoge_cxm="ldap_password: other", cxm="ldap_scope: one")
    for file in (tmp_path / "realms.d").iterdir():
        file.chmod(0o644)
    (warning,) = config.load(str(tmp_path / "saslauthd.conf")).warnings
    assert warning.startswith(f"{tmp_path}/realms.d/hoge.cxm.conf:1: ldap_password: ")


def test_a_realm_is_found_by_its_domain_in_any_case(tmp_path: Path) -> None:
    loaded = load(tmp_path, HOGE_Cxm="ldap_scope: one")
    realm = loaded.realms[b"hoge.cxm"]
    assert realm.name == "HOGE.Cxm"
    for domain in (b"hoge.cxm", b"HOGE.CXM", b"hoGe.cxm"):
        assert loaded.of(domain) is realm.settings
    for domain in (b"", b"cxm", b"mail.hoge.cxm", b"hoge.cxm.", b"../hoge.cxm", b"hoge.cxm.conf", b"hoge.cxm\0"):
        assert loaded.of(domain) is loaded.settings
    assert list(loaded.parts()) == [("", loaded.settings), ("HOGE.Cxm", realm.settings)]


def test_a_domain_beyond_ascii_is_one_in_the_files_very_bytes(tmp_path: Path) -> None:
    loaded = load(tmp_path, bücher_cxm="ldap_scope: one")
    assert loaded.of("bücher.cxm".encode()) is loaded.realms["bücher.cxm".encode()].settings
    assert loaded.of("BÜCHER.cxm".encode()) is loaded.settings


def test_unlisted_realms_can_be_refused(tmp_path: Path) -> None:
    loaded = load(tmp_path, "realm_unlisted: refuse", hoge_cxm="")
    assert loaded.of(b"hoge.cxm") is loaded.realms[b"hoge.cxm"].settings
    assert loaded.of(b"cxm") is None
    assert loaded.of(b"") is None
    assert [name for name, _ in loaded.parts()] == ["hoge.cxm"]


def test_a_main_file_that_answers_nobody_need_not_be_whole(tmp_path: Path) -> None:
    lines = ["realm_unlisted: refuse", "ldap_auth_method: fastbind", "ldap_start_tls: yes", "ldap_tls_key: /none"]
    realm = "ldap_filter: uid=%U,ou=People,dc=hoge,dc=cxm\nldap_start_tls: no\nldap_tls_key:\n"
    loaded = load(tmp_path, *lines, hoge_cxm=realm)
    assert loaded.realms[b"hoge.cxm"].settings.auth_method == "fastbind"


def test_refusing_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="realm_unlisted: refuse needs realm_config"):
        config.parse(b"realm_unlisted: refuse", "f")
    assert (
        "f:1: realm_unlisted: no effect: realm_config is not set" in config.parse(b"realm_unlisted: main", "f").warnings
    )


@pytest.mark.parametrize(
    "name", ["README", "hoge.cxm.conf~", "hoge.cxm.conf.dpkg-old", "a b.conf", "-.conf", "x@y.conf"]
)
def test_a_file_that_is_no_realms_is_told(name: str, tmp_path: Path) -> None:
    load(tmp_path, cxm="")
    write(tmp_path / "realms.d" / name, "nonsense")
    loaded = load(tmp_path)
    assert list(loaded.realms) == [b"cxm"]
    where = f"{tmp_path}/saslauthd.conf:1: realm_config: '{name}' in {tmp_path}/realms.d"
    assert loaded.warnings == (f"{where} is passed over: it is not named REALM.conf",)


def test_hidden_files_do_not_count(tmp_path: Path) -> None:
    load(tmp_path, cxm="")
    write(tmp_path / "realms.d" / ".hoge.cxm.conf.swp", "nonsense")
    write(tmp_path / "realms.d" / ".conf", "nonsense")
    loaded = load(tmp_path)
    assert (list(loaded.realms), loaded.warnings) == ([b"cxm"], ())


def test_two_files_for_one_realm_are_refused(tmp_path: Path) -> None:
    said = error(tmp_path, hoge_cxm="", HOGE_cxm="")
    assert said.endswith(
        "/HOGE.cxm.conf and " + f"{tmp_path}/realms.d/hoge.cxm.conf are for one realm: upper and lower"
        " case are the same"
    )


def test_the_folder_has_a_bound(tmp_path: Path) -> None:
    load(tmp_path)
    for number in range(MAX_FILES):
        os.mknod(tmp_path / "realms.d" / f"{number}.cxm.conf")
    assert len(load(tmp_path).realms) == MAX_FILES
    assert f"holds more than {MAX_FILES} files" in error(tmp_path, hoge_cxm="")


def test_a_folder_that_is_not_there_is_an_error_and_an_empty_one_a_doubt(tmp_path: Path) -> None:
    assert load(tmp_path).warnings == (
        f"{tmp_path}/saslauthd.conf:1: realm_config: {tmp_path}/realms.d holds no file REALM.conf",
    )
    (tmp_path / "realms.d").rmdir()
    with pytest.raises(ConfigError, match=r"realm_config: .*realms\.d cannot be listed: No such file or directory"):
        config.load(str(tmp_path / "saslauthd.conf"))


def test_tls_files_of_realms_are_tried(tmp_path: Path) -> None:
    said = error(tmp_path, hoge_cxm="ldap_servers: ldaps://127.0.0.1/\nldap_tls_cacert_file: /none.pem")
    assert said.startswith(f"{tmp_path}/realms.d/hoge.cxm.conf:2: ldap_tls_cacert_file: /none.pem cannot be read")


def test_settings_with_the_same_connections_are_told_from_others(tmp_path: Path) -> None:
    same = "ldap_search_base: dc=a\nldap_filter: (mail=%u)\nldap_auth_method: bind\nldap_group_dn: cn=a\n"
    loaded = load(tmp_path, same=same, other="ldap_timeout: 1", account="ldap_password: other")
    assert loaded.realms[b"same"].settings.connections == loaded.settings.connections
    assert len({settings.connections for _, settings in loaded.parts()}) == 3


def test_what_the_page_shows_can_be_used(tmp_path: Path) -> None:
    page, folder, secret = "how-to/realms.md", tmp_path / "realms.d", tmp_path / "fuga.cxm.password"
    folder.mkdir()
    write(secret, "fuga-password\n")
    main = snippet(page, "saslauthd.conf", {"/etc/pysaslauthd/realms.d": folder})
    realm = snippet(page, "fuga.cxm.conf", {"/etc/pysaslauthd/fuga.cxm.password": secret})
    write(tmp_path / "saslauthd.conf", main)
    write(folder / "fuga.cxm.conf", realm)
    loaded = config.load(str(tmp_path / "saslauthd.conf"))
    assert loaded.warnings == ()
    settings = loaded.of(b"fuga.cxm")
    assert settings is not None
    assert (settings.servers[0].host, settings.auth_method) == ("ldap.fuga.cxm", "bind")
    assert settings.password == b"fuga-password"
    assert snippets(page) == {"saslauthd.conf", "fuga.cxm.conf", "permissions"}
