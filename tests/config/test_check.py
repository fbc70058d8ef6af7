from __future__ import annotations

import pytest

from .parsing import BASE, CUSTOM, error, parse

FASTBIND = "ldap_auth_method: fastbind"
USER_DN = "ldap_filter: uid=%u,ou=People,dc=hoge,dc=cxm"
ACCOUNT = "ldap_bind_dn: cn=userretriever,dc=hoge,dc=cxm\nldap_password: password"
BY_FILTER = "ldap_group_match_method: filter\nldap_group_filter: (member=%D)"
MEMBEROF = "ldap_group_match_method: memberof\nldap_group_dn: cn=a"


# Filters


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("uid=%u", "(uid=%u)"),
        ("&(uid=%u)(objectClass=mailRecipient)", "(&(uid=%u)(objectClass=mailRecipient))"),
        ("!(uid=%u)", "(!(uid=%u))"),
    ],
)
def test_a_filter_without_outer_parentheses_gets_them(written: str, read: str) -> None:
    settings, _, warnings, _ = parse(BASE, f"ldap_filter: {written}")
    assert settings.filter == read
    assert warnings == (f"f:2: ldap_filter: no outer parentheses; read as {read}",)


def test_a_group_filter_without_outer_parentheses_gets_them() -> None:
    settings, _, warnings, _ = parse(BASE, "ldap_group_match_method: filter", "ldap_group_filter: member=%D")
    assert settings.group_filter == "(member=%D)"
    assert warnings == ("f:3: ldap_group_filter: no outer parentheses; read as (member=%D)",)


def test_a_filter_with_its_parentheses_stays_as_it_is() -> None:
    settings, _, warnings, _ = parse(BASE, r"ldap_filter: (&(uid=%u)(cn=\28a\29))")
    assert (settings.filter, warnings) == (r"(&(uid=%u)(cn=\28a\29))", ())


@pytest.mark.parametrize("written", ["(uid=%u", "((uid=%u)", "&(uid=%u"])
def test_an_open_parenthesis_is_an_error(written: str) -> None:
    assert error(BASE, f"ldap_filter: {written}") == f"f:2: ldap_filter: a parenthesis is not closed in {written}"


@pytest.mark.parametrize("written", ["(uid=%u)(cn=a)", "uid=%u)", "(uid=%u) x", ")uid=%u("])
def test_more_than_one_filter_is_an_error(written: str) -> None:
    assert error(BASE, f"ldap_filter: {written}").startswith("f:2: ldap_filter: the first parenthesis closes before")


def test_a_filter_without_the_user_is_told() -> None:
    assert parse(BASE, "ldap_filter: (mail=a)").warnings == (
        "f:2: ldap_filter: neither %u nor %U: every login means the same entry",
    )


def test_the_service_in_the_place_of_the_user_is_told() -> None:
    assert parse(BASE, "ldap_filter: (mail=%s)").warnings == (
        "f:2: ldap_filter: neither %u nor %U: every login means the same entry; %s is the service, did you mean %u?",
    )


@pytest.mark.parametrize(
    "lines",
    [
        (BASE, "ldap_filter: (&(uid=%u)(memberOf=cn=%s))"),
        (BASE, "ldap_filter: (mail=%U@%d)"),
        ("ldap_search_base: uid=%u,dc=hoge,dc=cxm", "ldap_filter: (objectClass=*)"),
        (FASTBIND, USER_DN),
    ],
)
def test_a_user_in_filter_or_base_is_enough(lines: tuple[str, ...]) -> None:
    assert parse(*lines).warnings == ()


def test_a_percent_sign_before_u_is_no_user() -> None:
    assert "neither %u nor %U" in parse(BASE, "ldap_filter: (uid=%%u)").warnings[0]


@pytest.mark.parametrize("line", ["ldap_filter: (&(uid=%u)(member=%D))", "ldap_search_base: %D"])
def test_the_users_dn_outside_of_group_keys_is_told(line: str) -> None:
    key = line.partition(":")[0]
    assert f"{key}: %D is empty here" in " ".join(parse(line).warnings)


def test_a_search_from_the_root_is_told() -> None:
    assert parse().warnings == (
        "f: ldap_search_base: not set: the search starts at the root, where most servers find nobody",
    )


# Fastbind


def test_the_dn_of_fastbind_gets_no_parentheses() -> None:
    settings, _, warnings, _ = parse(FASTBIND, "ldap_filter: uid=%u,ou=(staff),dc=hoge")
    assert (settings.filter, warnings) == ("uid=%u,ou=(staff),dc=hoge", ())


@pytest.mark.parametrize(("lines", "line"), [((FASTBIND,), "f"), ((FASTBIND, "ldap_filter: (mail=%u)"), "f:2")])
def test_a_filter_for_fastbind_is_an_error(lines: tuple[str, ...], line: str) -> None:
    assert error(*lines).startswith(f"{line}: ldap_filter: (")
    assert "is a filter; for fastbind, write the user's DN" in error(*lines)


# Groups


def test_the_base_of_the_group_search_is_the_users_where_not_set() -> None:
    assert parse(BASE, BY_FILTER).settings.group_search_base == "ou=People,dc=hoge,dc=cxm"
    own = parse(BASE, BY_FILTER, "ldap_group_search_base: ou=Groups").settings
    assert own.group_search_base == "ou=Groups"


@pytest.mark.parametrize(
    "lines", [("ldap_group_dn: cn=a",), ("ldap_group_filter: (a=%D)", "ldap_group_match_method: filter")]
)
def test_a_group_is_checked_where_dn_or_filter_is_set(lines: tuple[str, ...]) -> None:
    settings, _, warnings, _ = parse(BASE, *lines)
    assert settings.checks_group
    assert warnings == ()
    assert not parse(BASE).settings.checks_group


def test_a_group_filter_that_the_method_does_not_use_is_an_error() -> None:
    # The original compares with an empty group DN: nobody gets in.
    assert error(BASE, "ldap_group_filter: (a=%D)").startswith("f:2: ldap_group_filter: needs ldap_group_match_method")


def test_the_method_filter_without_filter_is_an_error() -> None:
    text = error(BASE, "ldap_group_dn: cn=a", "ldap_group_match_method: filter")
    assert text.startswith("f:3: ldap_group_match_method: filter needs ldap_group_filter")


def test_a_group_filter_that_asks_the_same_of_everybody_is_told() -> None:
    (warning,) = parse(BASE, "ldap_group_match_method: filter", "ldap_group_filter: (cn=mail)").warnings
    assert warning == "f:3: ldap_group_filter: none of %D, %u, %U: it asks the same of every user"


def test_memberof_names_the_attribute_of_the_user() -> None:
    assert parse(BASE, MEMBEROF).settings.group_attr == "memberOf"
    assert parse(BASE, MEMBEROF, "ldap_group_attr: isMemberOf").settings.group_attr == "isMemberOf"
    assert parse(BASE, "ldap_group_dn: cn=a").settings.group_attr == "uniqueMember"


def test_memberof_needs_the_user_s_entry() -> None:
    text = error(FASTBIND, USER_DN, ACCOUNT, MEMBEROF)
    assert text.startswith("f:5: ldap_group_match_method: memberof needs the user's entry, which fastbind")


def test_the_user_s_dn_is_no_group() -> None:
    (warning,) = parse(BASE, "ldap_group_match_method: memberof", "ldap_group_dn: %D").warnings
    assert warning == "f:3: ldap_group_dn: %D is the user's own DN, no group's"


def test_a_group_filter_is_no_group_for_memberof() -> None:
    text = error(BASE, "ldap_group_filter: (a=%D)", "ldap_group_match_method: memberof")
    assert text.startswith("f:2: ldap_group_filter: needs ldap_group_match_method: filter")


def test_fastbind_that_reads_groups_anonymously_is_told() -> None:
    (warning,) = parse(FASTBIND, USER_DN, "ldap_group_dn: cn=a").warnings
    assert warning.startswith("f:3: ldap_group_dn: the group is read anonymously")
    assert parse(FASTBIND, USER_DN, "ldap_group_dn: cn=a", ACCOUNT).warnings == ()


# Service account


def test_password_and_password_file_together_are_an_error() -> None:
    text = error(BASE, ACCOUNT, "ldap_password_file: /run/secret")
    assert text == "f:4: ldap_password_file: ldap_password is given too; keep one of the two"


def test_a_bind_dn_without_password_is_told() -> None:
    (warning,) = parse(BASE, "ldap_bind_dn: cn=a").warnings
    assert warning == "f:2: ldap_bind_dn: no effect: without ldap_password, searches are anonymous"


@pytest.mark.parametrize("line", ["ldap_password: secret", "ldap_password_file: /run/secret"])
def test_a_password_without_bind_dn_is_told_and_dropped(line: str) -> None:
    settings, _, (warning,), _ = parse(BASE, line)
    assert warning == f"f:2: {line.partition(':')[0]}: no effect: ldap_bind_dn is not set"
    assert (settings.password, settings.password_file) == (b"", "")


# Protocol version and TLS


@pytest.mark.parametrize("line", ["ldap_start_tls: yes", "ldap_use_sasl: yes\nldap_mech: PLAIN"])
def test_version_2_becomes_3_with_start_tls_and_sasl(line: str) -> None:
    settings, _, warnings, _ = parse("ldap_version: 2", BASE, line)
    assert settings.version == 3
    assert "f:1: ldap_version: taken as 3, which SASL, StartTLS and ldap_watch need" in warnings


def test_version_2_stays_2_otherwise() -> None:
    settings, _, warnings, _ = parse(BASE, "ldap_version: 2")
    assert (settings.version, warnings) == (2, ())


@pytest.mark.parametrize("servers", ["ldaps://a/", "ldap://b/ ldaps://a/"])
def test_start_tls_on_ldaps_is_an_error(servers: str) -> None:
    assert error(BASE, f"ldap_servers: {servers}", "ldap_start_tls: yes").startswith(
        "f:3: ldap_start_tls: StartTLS is for"
    )


@pytest.mark.parametrize(("one", "other"), [("cert", "key"), ("key", "cert")])
def test_a_certificate_and_its_key_belong_together(one: str, other: str) -> None:
    text = error(BASE, "ldap_servers: ldaps://a/", f"ldap_tls_{one}: /a")
    assert text == f"f:3: ldap_tls_{one}: needs ldap_tls_{other} too"


def test_an_unverified_server_is_told() -> None:
    (warning,) = parse(BASE, "ldap_servers: ldaps://a/", "ldap_tls_check_peer: no").warnings
    assert warning.startswith("f:3: ldap_tls_check_peer: the server is not verified")


def test_passwords_in_clear_to_another_host_are_told() -> None:
    (warning,) = parse(BASE, ACCOUNT, "ldap_servers: ldap://10.0.0.1/ ldap://localhost/ ldaps://b/ ldapi:///").warnings
    assert warning.startswith("f:4: ldap_servers: passwords cross the network to ldap://10.0.0.1/ in clear")


@pytest.mark.parametrize(
    ("servers", "line", "uses"),
    [
        ("ldap://a/", "", False),
        ("ldaps://a/", "", True),
        ("ldapi:/// ldaps://a/", "", True),
        ("ldapi:///", "", False),
        ("ldap://a/", "ldap_start_tls: yes", True),
        ("ldif:///a", "ldap_start_tls: yes", False),
    ],
)
def test_the_use_of_tls_is_known(servers: str, line: str, uses: bool) -> None:
    assert parse(BASE, f"ldap_servers: {servers}", line).settings.uses_tls is uses


def test_a_base_in_a_uri_is_told() -> None:
    (warning,) = parse(BASE, "ldap_servers: ldap://localhost/dc=hoge,dc=cxm").warnings
    assert warning.startswith(
        "f:2: ldap_servers: what follows the slash in ldap://localhost/dc=hoge,dc=cxm has no effect"
    )


# Keys without effect: (lines that make it so, key, a value, why)

SASL_OFF = "ldap_use_sasl is off"
LDIF = "an LDIF file is searched"
NO_TLS = "no server is reached by TLS"
NO_GROUP = "no group is checked"
IDLE = [
    ("", "ldap_debug", "-1", "there is no libldap to trace"),
    *(("", f"ldap_{key}", "a", SASL_OFF) for key in ("mech", "id", "authz_id", "realm", "sasl_secprops")),
    ("", "ldap_tls_check_peer", "no", NO_TLS),
    ("", "ldap_tls_ciphers", "HIGH", NO_TLS),
    *(("", f"ldap_tls_{key}", "/a", NO_TLS) for key in ("cacert_file", "cacert_dir")),
    ("", "ldap_password_attr", "a", "only custom compares passwords"),
    ("", "ldap_hash_limit", "5", "only custom compares passwords"),
    ("", "ldap_group_attr", "member", NO_GROUP),
    ("", "ldap_group_match_method", "filter", NO_GROUP),
    ("", "ldap_group_search_base", "a", NO_GROUP),
    ("", "ldap_group_scope", "one", NO_GROUP),
    ("ldap_group_dn: cn=a", "ldap_group_filter", "(a=%D)", "ldap_group_match_method is attr"),
    ("ldap_group_dn: cn=a", "ldap_group_search_base", "a", "ldap_group_match_method is attr"),
    ("ldap_group_dn: cn=a", "ldap_group_scope", "one", "ldap_group_match_method is attr"),
    (MEMBEROF, "ldap_group_filter", "(a=%D)", "ldap_group_match_method is memberof"),
    (MEMBEROF, "ldap_group_scope", "one", "ldap_group_match_method is memberof"),
    (f"{FASTBIND}\n{USER_DN}", "ldap_account_state", "no", "fastbind reads no entry"),
    (f"{CUSTOM}\nldap_account_state: no", "ldap_must_change", "accept", "custom does not look for it"),
    ("ldap_servers: ldif:///a\nldap_account_state: no", "ldap_must_change", "accept", "an LDIF file does not tell"),
    (f"ldap_servers: ldif:///a\n{FASTBIND}\n{USER_DN}", "ldap_must_change", "accept", "an LDIF file does not tell"),
    (BY_FILTER, "ldap_group_dn", "cn=a", "ldap_group_match_method is filter"),
    (BY_FILTER, "ldap_group_attr", "member", "ldap_group_match_method is filter"),
    (f"{FASTBIND}\n{USER_DN}", "ldap_bind_dn", "cn=a", "binds as the user alone"),
    (f"{FASTBIND}\n{USER_DN}", "ldap_scope", "one", "fastbind searches for no user"),
    (f"{FASTBIND}\n{USER_DN}", "ldap_size_limit", "2", "fastbind searches for no user"),
    (f"{FASTBIND}\n{USER_DN}", "ldap_time_limit", "2", "fastbind searches for no user"),
    (f"{FASTBIND}\n{USER_DN}", "ldap_deref", "find", "fastbind searches for no user"),
    *(
        ("ldap_servers: ldif:///a", f"ldap_{key}", value, LDIF)
        for key, value in {
            "start_tls": "yes", "tls_check_peer": "no", "tls_cacert_file": "/a", "bind_dn": "cn=a", "password": "a",
            "password_file": "/a", "connect_timeout": "1", "timeout": "1", "time_limit": "1", "version": "2",
            "referrals": "yes", "restart": "no", "deref": "find",
        }.items()
    ),
]  # fmt: skip


@pytest.mark.parametrize(("lines", "key", "value", "why"), IDLE)
def test_a_key_without_effect_is_told_once(lines: str, key: str, value: str, why: str) -> None:
    before = parse(BASE, lines).warnings
    added = [warning for warning in parse(BASE, lines, f"{key}: {value}").warnings if warning not in before]
    told = [warning for warning in added if f": {key}: no effect" in warning]
    assert len(told) == 1
    assert why in told[0]


EFFECTIVE = [
    ("", "ldap_debug", "0"),
    ("", "ldap_restart", "no"),
    ("", "ldap_referrals", "yes"),
    ("", "ldap_connect_timeout", "0.5"),
    (CUSTOM, "ldap_password_attr", "a"),
    (CUSTOM, "ldap_hash_limit", "5"),
    ("ldap_servers: ldif:///people.ldif", "ldap_hash_limit", "5"),
    (CUSTOM, "ldap_account_state", "no"),
    ("", "ldap_account_state", "no"),
    (CUSTOM, "ldap_must_change", "accept"),
    ("ldap_account_state: no", "ldap_must_change", "accept"),
    (f"{FASTBIND}\n{USER_DN}\n{ACCOUNT}\n{BY_FILTER}", "ldap_must_change", "accept"),
    ("ldap_servers: ldif:///a", "ldap_must_change", "accept"),
    (MEMBEROF, "ldap_group_attr", "isMemberOf"),
    ("ldap_start_tls: yes", "ldap_tls_ciphers", "HIGH"),
    ("ldap_group_dn: cn=a", "ldap_group_attr", "member"),
    (BY_FILTER, "ldap_group_scope", "one"),
    (f"{FASTBIND}\n{USER_DN}\n{ACCOUNT}\n{BY_FILTER}", "ldap_time_limit", "2"),
    ("ldap_servers: ldif:///a", "ldap_size_limit", "2"),
]


@pytest.mark.parametrize(("lines", "key", "value"), EFFECTIVE)
def test_a_key_with_effect_is_not_told(lines: str, key: str, value: str) -> None:
    assert parse(BASE, lines, f"{key}: {value}").warnings == ()


# Changes


def test_with_a_watch_a_fastbind_needs_the_service_account() -> None:
    assert parse(USER_DN, FASTBIND, ACCOUNT, "ldap_watch: yes").warnings == ()
    assert any("ldap_bind_dn: no effect" in each for each in parse(USER_DN, FASTBIND, ACCOUNT).warnings)


def test_a_watch_needs_version_3() -> None:
    settings, _, warnings, *_ = parse(BASE, "ldap_version: 2", "ldap_watch: yes")
    assert settings.version == 3
    assert "f:2: ldap_version: taken as 3, which SASL, StartTLS and ldap_watch need" in warnings


@pytest.mark.parametrize(
    ("line", "key"), [("ldap_referrals: yes", "ldap_referrals"), ("ldap_deref: find", "ldap_deref")]
)
def test_where_a_watch_cannot_tell_of_all_that_is_said(line: str, key: str) -> None:
    (warning,) = parse(BASE, "ldap_watch: yes", line).warnings
    assert warning.startswith(f"f:2: ldap_watch: with {key}, who is found may be changed where nobody watches")


def test_a_grace_without_a_watch_has_no_effect() -> None:
    assert parse(BASE, "ldap_watch_grace: 5").warnings == ("f:2: ldap_watch_grace: no effect: ldap_watch is off",)
    assert parse("ldap_servers: ldif:///p.ldif", BASE, "ldap_watch: yes", "ldap_watch_grace: 5").warnings == (
        "f:4: ldap_watch_grace: no effect: an LDIF file is never out of sight",
    )


def test_the_search_base_of_a_fastbind_by_sasl_is_what_is_watched() -> None:
    sasl = ("ldap_use_sasl: yes", "ldap_mech: PLAIN", BASE)
    assert any("ldap_search_base: no effect" in each for each in parse(*sasl).warnings)
    assert not any("ldap_search_base" in each for each in parse(*sasl, "ldap_watch: yes").warnings)
