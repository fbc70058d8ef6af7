from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysaslauthd import config
from pysaslauthd.errors import ConfigError

ARTICLE = b"""\
# Postfix SMTP AUTH against 389 Directory Server
ldap_servers: ldaps://ldap.hoge.cxm/
ldap_bind_dn: cn=userretriever,dc=hoge,dc=cxm
ldap_password: password
ldap_search_base: ou=People,dc=hoge,dc=cxm
ldap_filter: (&(objectClass=mailRecipient)(mail=%U@%d))
ldap_auth_method: custom
ldap_default_realm: hoge.cxm
"""
BASE = b"ldap_search_base: ou=People,dc=hoge,dc=cxm\n"


def parse(text: bytes) -> config.Loaded:
    return config.parse(BASE + text, "f")


def only_warning(text: bytes) -> str:
    (warning,) = parse(text).warnings
    return warning


def error(text: bytes) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    return str(caught.value)


def test_the_articles_file_is_read_without_a_doubt() -> None:
    settings, _, warnings, _ = config.parse(ARTICLE, "/etc/saslauthd.conf")
    assert warnings == ()
    assert settings == config.LdapSettings(
        servers=(config.ServerUri("ldaps", "ldap.hoge.cxm", 636, "", "ldaps://ldap.hoge.cxm/"),),
        bind_dn="cn=userretriever,dc=hoge,dc=cxm",
        password=b"password",
        search_base="ou=People,dc=hoge,dc=cxm",
        filter="(&(objectClass=mailRecipient)(mail=%U@%d))",
        auth_method=config.AuthMethod.CUSTOM,
        default_realm="hoge.cxm",
    )


def test_an_empty_file_is_the_defaults() -> None:
    settings, _, warnings, _ = config.parse(b"", "f")
    assert settings == config.LdapSettings()
    assert len(warnings) == 1
    assert "ldap_search_base" in warnings[0]


def test_the_password_is_in_no_repr() -> None:
    loaded = config.parse(ARTICLE.replace(b": password\n", b": pen-guin\n"), "f")
    assert loaded.settings.password == b"pen-guin"
    assert "pen-guin" not in repr(loaded) + str(loaded)


def test_keys_are_read_in_any_case_and_indentation() -> None:
    assert parse(b" \tLDAP_Scope:\t one\n").settings.scope == "one"


def test_comments_and_blank_lines_say_nothing() -> None:
    assert parse(b"\n  \n#ldap_scope: one\n \t# \xff\n\n").warnings == ()


def test_a_file_may_end_without_a_line_end() -> None:
    assert parse(b"ldap_scope: one").settings.scope == "one"


@pytest.mark.parametrize("alias", ["ldap_password", "ldap_bind_pw", "LDAP_BIND_PW"])
def test_an_alias_is_its_key(alias: str) -> None:
    assert parse(f"ldap_bind_dn: cn=a\n{alias}: secret\n".encode()).settings.password == b"secret"


@pytest.mark.parametrize("password", [b"a b  ", b"\xff\xfe", b"#a", b'"', b"a:b", b"x" * 5000])
def test_a_password_is_taken_byte_for_byte(password: bytes) -> None:
    assert parse(b"ldap_bind_dn: cn=a\nldap_password:  " + password + b"\n").settings.password == password


def test_blanks_at_the_end_of_a_password_are_told() -> None:
    text = b"ldap_bind_dn: cn=a\nldap_password: secret \n"
    assert only_warning(text) == "f:3: ldap_password: the blanks at the end are part of the value"


def test_a_dos_file_is_read_and_told_once() -> None:
    settings, _, warnings, _ = parse(b"ldap_bind_dn: cn=a\r\nldap_password: secret\r\n\r\nldap_scope: one\r")
    assert (settings.bind_dn, settings.password, settings.scope) == ("cn=a", b"secret", "one")
    assert warnings == ("f:2: the carriage return before the line end is dropped, here and on",)


def test_a_byte_order_mark_is_passed_over_and_told() -> None:
    settings, _, warnings, _ = config.parse(b"\xef\xbb\xbf" + ARTICLE, "f")
    assert settings.default_realm == "hoge.cxm"
    assert warnings == ("f:1: the byte order mark at the start is passed over",)


def test_a_long_line_is_not_cut() -> None:
    base = "ou=" + "x" * 10_000
    assert config.parse(f"ldap_search_base: {base}\n".encode(), "f").settings.search_base == base


@pytest.mark.parametrize("line", [b"ldap_scope", b"ldap_scope = one", b"ldap_scope : one", b"LDAP_SCOPE one:"])
def test_a_known_key_without_its_colon_is_named(line: bytes) -> None:
    assert error(b"\n" + line).startswith("f:3: ldap_scope: no value: a line is written 'key: value'")


@pytest.mark.parametrize(
    "line", [b"hunter2", b"ldap_passwort hunter2", b"hunter2 ldap_password:", b": hunter2", b"\xe9:"]
)
def test_a_line_that_is_no_key_is_not_repeated(line: bytes) -> None:
    assert error(line) == "f:2: no value: a line is written 'key: value', with the colon right after the key"


@pytest.mark.parametrize("line", [b"ldap_scope:", b"ldap_scope: \t", b"LDAP_scope:\r", b"unknown:"])
def test_a_key_without_value_is_an_error(line: bytes) -> None:
    key = line.partition(b":")[0].decode().lower()
    assert error(line) == f"f:2: {key}: no value; write one, or a # before the key"


def test_a_bad_value_is_an_error_with_file_line_key_and_reason() -> None:
    with pytest.raises(ConfigError) as caught:
        parse(b"# \n\nldap_scope: subtree\n")
    found = caught.value
    assert (found.file, found.line, found.key) == ("f", 4, "ldap_scope")
    assert str(found) == "f:4: ldap_scope: 'subtree' is none of sub, one, base"


def test_an_alias_is_named_as_written() -> None:
    assert error(b"ldap_default_domain: \xff").startswith("f:2: ldap_default_domain: byte 0xff is not UTF-8")


def test_a_nul_byte_is_an_error() -> None:
    assert error(b"ldap_bind_dn: cn=a\nldap_password: a\0b") == "f:3: ldap_password: a NUL byte in the line"


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("ldap_filtr", "; did you mean ldap_filter?"),
        ("filter", "; did you mean ldap_filter?"),
        ("ldap_bind_passw", "; did you mean ldap_bind_pw?"),
        ("ldap_server", "; did you mean ldap_servers?"),
        ("ldap_tls_cacertfile", "; did you mean ldap_tls_cacert_file?"),
        ("ldap_uri", ""),
        ("something_else", ""),
    ],
)
def test_an_unknown_key_is_told_with_the_nearest_known_one(key: str, hint: str) -> None:
    assert only_warning(f"{key}: hunter2\n".encode()) == f"f:2: {key}: unknown key, the line is passed over{hint}"


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("log_level", "is not a key of saslauthd either"),
        ("krb5_keytab", "belongs to the mechanism kerberos5"),
        ("httpform_host", "belongs to the mechanism httpform"),
    ],
)
def test_a_key_of_something_else_is_told(key: str, says: str) -> None:
    assert says in only_warning(f"{key}: 10\n".encode())


def test_of_two_equal_keys_the_last_counts_and_is_told() -> None:
    settings, _, warnings, _ = parse(
        b"ldap_scope: one\nldap_default_realm: a\nldap_scope: base\nldap_default_domain: b\n"
    )
    assert (settings.scope, settings.default_realm) == ("base", "b")
    assert warnings == (
        "f:4: ldap_scope: given again; this one counts, not the one on line 2",
        "f:5: ldap_default_domain: given again; this one counts, not the one on line 3",
    )


@pytest.mark.parametrize("quote", ['"', "'"])
def test_quotes_are_part_of_the_value_and_told(quote: str) -> None:
    text = f"ldap_default_realm: {quote}hoge.cxm{quote} \n".encode()
    assert parse(text).settings.default_realm == f"{quote}hoge.cxm{quote}"
    assert only_warning(text) == "f:2: ldap_default_realm: the quotes are part of the value; values are written without"


def test_a_message_stays_on_one_line() -> None:
    assert (
        error(b"ldap_filter: (uid=%u\x1b\xc2\x85")
        == "f:2: ldap_filter: a parenthesis is not closed in (uid=%u\\x1b\\x85"
    )
    (warning,) = config.parse(b"", "a\nb").warnings
    assert warning.startswith("a\\nb: ldap_search_base: ")


NAMES = st.sampled_from([*config.KEYS, "ldap_bind_pw", "ldap_sasl_mech", "log_level", "ldap_unknown"])
VALUES = st.one_of(
    st.sampled_from(
        ["yes", "no", "2", "custom", "fastbind", "filter", "PLAIN", "EXTERNAL", "ldap://h/", "ldapi:///", "ldaps://h",
         "ldif:///a", "uid=%u", "(uid=%s)", "uid=%u,ou=a", "cn=%D", "/a", "noplain", "minssf=1", "a b", '"a"', "a\r"]
    ).map(str.encode),
    st.binary(max_size=20),
)  # fmt: skip
LINES = st.tuples(NAMES, VALUES).map(lambda pair: pair[0].encode() + b": " + pair[1])


def read(text: bytes) -> config.Loaded | ConfigError:
    try:
        return config.parse(text, "f")
    except ConfigError as error:
        return error


@given(st.one_of(st.binary(), st.lists(LINES, max_size=12).map(b"\n".join)))
def test_any_bytes_give_settings_or_config_error(text: bytes) -> None:
    found = read(text)
    lines = [str(found)] if isinstance(found, ConfigError) else found.warnings
    assert all(line.startswith("f:") and line.isprintable() for line in lines)


@given(st.lists(LINES, max_size=8), st.sampled_from(["ldap_password", "ldap_bind_pw"]))
def test_no_message_holds_the_password(lines: list[bytes], key: str) -> None:
    found = read(b"\n".join([*lines, key.encode() + b": pen-guin"]))
    assert "pen-guin" not in repr(found) + str(found)
