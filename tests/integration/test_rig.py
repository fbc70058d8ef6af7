"""The rig itself, proven with the original saslauthd."""

from __future__ import annotations

import pytest

from rig import Authority, DirectoryServer, Ds389, Saslauthd, Slapd, article, people

FILTER = "(&(objectclass=mailRecipient)(mail=%u))"


@pytest.mark.parametrize("method", ["bind", "custom"])
def test_the_original_lets_people_in_with_the_right_password_only(server: DirectoryServer, method: str) -> None:
    with Saslauthd.running(article(server, method, ldap_filter=FILTER)) as saslauthd:
        assert saslauthd.probe(people.PENGUIN, people.PENGUIN_PASSWORD).accepted
        assert saslauthd.probe("u1@hoge.cxm", "u1-pass").accepted
        assert not saslauthd.probe(people.PENGUIN, "wrong").accepted
        assert not saslauthd.probe("nobody@hoge.cxm", people.PENGUIN_PASSWORD).accepted
        assert saslauthd.ask(people.PENGUIN, people.PENGUIN_PASSWORD) == b"OK"


@pytest.mark.parametrize("way", ["ldaps", "StartTLS"])
def test_tls_holds_with_the_right_authority_only(
    server: DirectoryServer, way: str, authority: Authority, wrong_authority: Authority
) -> None:
    tls = {"ldap_servers": server.ldaps_uri} if way == "ldaps" else {"ldap_start_tls": "yes"}
    for trusted, accepted in ((authority, True), (wrong_authority, False)):
        keys = {"ldap_filter": FILTER, "ldap_tls_cacert_file": str(trusted.certificate), **tls}
        with Saslauthd.running(article(server, "bind", **keys)) as saslauthd:
            assert saslauthd.probe(people.PENGUIN, people.PENGUIN_PASSWORD).accepted is accepted


def test_ldapi_reaches_the_same_people(server: DirectoryServer) -> None:
    with Saslauthd.running(article(server, "bind", ldap_filter=FILTER, ldap_servers=server.ldapi_uri)) as saslauthd:
        assert saslauthd.probe(people.PENGUIN, people.PENGUIN_PASSWORD).accepted


def test_a_person_can_be_added_changed_and_deleted(server: DirectoryServer) -> None:
    server.add(people.person("otter", ["{SSHA}unknown", people.ssha("one")], more="description: an otter\n"))
    dn = people.dn("otter")
    assert "description: an otter" in server.search("(uid=otter)", "description")
    server.replace(dn, "userPassword", people.ssha("two"))
    with Saslauthd.running(article(server, "bind", ldap_filter=FILTER)) as saslauthd:
        assert saslauthd.probe("otter@hoge.cxm", "two").accepted
        assert not saslauthd.probe("otter@hoge.cxm", "one").accepted
    server.delete(dn)
    assert server.search("(uid=otter)", "uid").strip() == ""


def test_389_ds_hashes_a_password_with_the_scheme_asked_for(ds389: Ds389) -> None:
    ds389.add(people.person("seal"))
    for scheme in ("PBKDF2-SHA512", "SSHA512", "CRYPT-SHA512"):
        stored = ds389.set_password(people.dn("seal"), "seal-2", scheme)
        assert stored.startswith("{crypt}$6$" if scheme.startswith("CRYPT") else f"{{{scheme}}}")


@pytest.mark.parametrize("kind", [Slapd, Ds389])
def test_a_server_comes_back_with_its_data_after_a_stop_and_after_a_pause(
    kind: type[DirectoryServer], authority: Authority
) -> None:
    with kind(authority, users=1) as server:
        server.stop()
        with pytest.raises(AssertionError, match="Can't contact LDAP server"):
            server.search("(uid=u0)")
        server.start()
        server.pause()
        server.resume()
        assert "uid: u0" in server.search("(uid=u0)", "uid")
