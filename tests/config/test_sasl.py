from __future__ import annotations

import pytest

from pysaslauthd import config

from .parsing import BASE, CUSTOM, error, parse

PLAIN = "ldap_use_sasl: yes\nldap_mech: PLAIN"
EXTERNAL = "ldap_use_sasl: yes\nldap_mech: EXTERNAL\nldap_servers: ldapi:///"
ACCOUNT = "ldap_id: userretriever\nldap_password: password"


def test_bind_becomes_fastbind() -> None:
    settings, _, warnings, _ = parse(PLAIN)
    assert settings.auth_method is config.AuthMethod.FASTBIND
    assert warnings == ("f: ldap_auth_method: bind becomes fastbind, as ldap_use_sasl is on",)


def test_fastbind_with_sasl_needs_no_dn_in_the_filter() -> None:
    settings, _, warnings, _ = parse(PLAIN, "ldap_auth_method: fastbind")
    assert (settings.filter, warnings) == ("(uid=%u)", ())


def test_custom_stays_custom() -> None:
    settings, _, warnings, _ = parse(BASE, PLAIN, CUSTOM, ACCOUNT)
    assert (settings.auth_method, settings.id, warnings) == (config.AuthMethod.CUSTOM, "userretriever", ())


@pytest.mark.parametrize("written", ["plain", "Plain", "PLAIN"])
def test_the_mechanism_is_read_in_any_case(written: str) -> None:
    assert parse("ldap_use_sasl: yes", f"ldap_mech: {written}").settings.mech == "PLAIN"


def test_a_mechanism_must_be_named() -> None:
    assert error("ldap_use_sasl: yes").startswith("f:1: ldap_use_sasl: needs ldap_mech: PLAIN")


@pytest.mark.parametrize("mech", ["DIGEST-MD5", "GSSAPI", "SCRAM-SHA-512", "PLAIN LOGIN"])
def test_another_mechanism_is_refused(mech: str) -> None:
    text = error("ldap_use_sasl: yes", f"ldap_mech: {mech}")
    assert text == f"f:2: ldap_mech: {mech!r} is not served; PLAIN over TLS, or EXTERNAL, is"


def test_an_ldif_file_has_no_sasl() -> None:
    assert error(PLAIN, "ldap_servers: ldif:///a").startswith("f:1: ldap_use_sasl: an LDIF file is searched")


@pytest.mark.parametrize("method", ["", "ldap_auth_method: bind", "ldap_auth_method: fastbind"])
def test_external_never_stands_for_a_users_password(method: str) -> None:
    # The bind succeeds as the daemon's own user: every password would be right.
    assert error(EXTERNAL, method).startswith("f:2: ldap_mech: EXTERNAL proves nothing about a user's password")


@pytest.mark.parametrize(
    "servers",
    ["ldap_servers: ldap://localhost/", "ldap_servers: ldaps://a/", "ldap_servers: ldapi:/// ldaps://a/"],
)
def test_external_needs_an_identity_on_the_connection(servers: str) -> None:
    assert "needs TLS and ldap_tls_cert, or ldapi://" in error(EXTERNAL, CUSTOM, servers)


def test_external_is_served_by_ldapi_and_by_a_certificate() -> None:
    assert parse(BASE, EXTERNAL, CUSTOM).warnings == ()
    certificate = "ldap_servers: ldaps://a/\nldap_tls_cert: /a\nldap_tls_key: /b"
    assert parse(BASE, "ldap_use_sasl: yes\nldap_mech: EXTERNAL", CUSTOM, certificate).warnings == ()


@pytest.mark.parametrize(
    ("lines", "missing"),
    [
        ((CUSTOM,), "ldap_id"),
        ((CUSTOM, "ldap_id: a"), "ldap_password or ldap_password_file"),
        (("ldap_group_dn: cn=a",), "ldap_id"),
    ],
)
def test_plain_needs_an_account_where_something_is_searched(lines: tuple[str, ...], missing: str) -> None:
    assert error(BASE, PLAIN, *lines).startswith(f"f:3: ldap_mech: PLAIN needs {missing}")


@pytest.mark.parametrize(
    ("lines", "key", "why"),
    [
        ((CUSTOM, ACCOUNT), "ldap_realm", "PLAIN and EXTERNAL have no realm"),
        ((CUSTOM, ACCOUNT), "ldap_bind_dn", "with SASL, ldap_id names the account"),
        ((), "ldap_id", "binds as the user alone"),
        ((), "ldap_password", "binds as the user alone"),
        ((), "ldap_filter", "fastbind with SASL takes the login itself"),
    ],
)
def test_a_key_without_effect_is_told(lines: tuple[str, ...], key: str, why: str) -> None:
    told = [warning for warning in parse(BASE, PLAIN, *lines, f"{key}: a").warnings if f"{key}: no effect" in warning]
    assert len(told) == 1
    assert why in told[0]


@pytest.mark.parametrize("key", ["ldap_id", "ldap_password"])
def test_external_uses_no_account(key: str) -> None:
    (warning,) = parse(BASE, EXTERNAL, CUSTOM, f"{key}: a").warnings
    assert "EXTERNAL takes the identity from the connection" in warning


@pytest.mark.parametrize(
    "props", ["none", "noanonymous", "passcred", "None, NoAnonymous", "minssf=0,maxssf=0,maxbufsize=1"]
)
def test_properties_that_plain_has_are_taken(props: str) -> None:
    settings, _, warnings, _ = parse(BASE, PLAIN, CUSTOM, ACCOUNT, f"ldap_sasl_secprops: {props}")
    assert (settings.sasl_secprops, warnings) == (props, ())


@pytest.mark.parametrize("prop", ["noplain", "noactive", "nodict", "forwardsec", "noanonymous,noplain"])
def test_properties_that_plain_lacks_are_refused(prop: str) -> None:
    text = error(PLAIN, f"ldap_sasl_secprops: {prop}")
    assert text.startswith(f"f:3: ldap_sasl_secprops: {prop.rpartition(',')[2]} rules out PLAIN")


def test_external_has_properties_of_its_own() -> None:
    assert parse(BASE, EXTERNAL, CUSTOM, "ldap_sasl_secprops: noplain,nodict").warnings == ()
    assert "passcred rules out EXTERNAL" in error(EXTERNAL, CUSTOM, "ldap_sasl_secprops: passcred")


@pytest.mark.parametrize("props", ["nosuch", "none,", "minssf=x", "minssf"])
def test_an_unknown_property_is_refused(props: str) -> None:
    assert "is none of forwardsec, noactive, noanonymous" in error(PLAIN, f"ldap_sasl_secprops: {props}")


def test_a_least_strength_needs_tls() -> None:
    strength = "ldap_sasl_secprops: minssf=56"
    assert "minssf=56 needs TLS, which ldap://a/ is reached without" in error(
        PLAIN, "ldap_servers: ldap://a/", strength
    )
    tls = "ldap_servers: ldaps://a/\nldap_auth_method: fastbind"
    assert parse(PLAIN, tls, strength).warnings == ()
    (warning,) = parse(PLAIN, tls, "ldap_sasl_secprops: minssf=256").warnings
    assert warning.startswith("f:5: ldap_sasl_secprops: minssf over 128 has no effect")
