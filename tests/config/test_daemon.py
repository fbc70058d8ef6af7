from __future__ import annotations

from ipaddress import ip_network

import pytest

from pysaslauthd import config
from pysaslauthd.errors import ConfigError

BASE = b"ldap_search_base: ou=People,dc=hoge,dc=cxm\n"


def parse(*lines: str) -> config.Loaded:
    return config.parse(BASE + "\n".join(lines).encode(), "f")


def test_every_key_without_ldap_is_read_beside_those_with() -> None:
    loaded = parse(
        "user: pysaslauthd",
        "group: sasl",
        "login_deadline: 3.5",
        "request_timeout: 2",
        "max_connections: 100",
        "max_pending_logins: 50",
        "Cache_Stale: 86400",
        "failure_delay: 2",
        "free_failures: 3",
        "free_failures_per_address: 0",
        "failure_memory: 60",
        "trusted_networks: 192.0.2.0/24, 2001:db8::/32 198.51.100.7",
    )
    assert loaded.warnings == ()
    assert loaded.settings.search_base == "ou=People,dc=hoge,dc=cxm"
    assert loaded.daemon == config.DaemonSettings(
        user="pysaslauthd",
        group="sasl",
        login_deadline=3.5,
        request_timeout=2.0,
        max_connections=100,
        max_pending_logins=50,
        cache_stale=86400,
        failure_delay=2.0,
        free_failures=3,
        free_failures_per_address=0,
        failure_memory=60,
        trusted_networks=tuple(map(ip_network, ("192.0.2.0/24", "2001:db8::/32", "198.51.100.7"))),
    )


def test_none_of_them_is_needed() -> None:
    loaded = parse()
    assert loaded.warnings == ()
    assert loaded.daemon == config.DaemonSettings()
    assert (loaded.daemon.cache_stale, loaded.daemon.failure_delay, loaded.daemon.trusted_networks) == (0, 3.0, ())


@pytest.mark.parametrize("network", ["192.0.2.1/24", "192.0.2.0/33", "hoge.cxm", "192.0.2.0/24;"])
def test_what_is_no_network_is_named(network: str) -> None:
    with pytest.raises(ConfigError, match=f"^f:2: trusted_networks: '{network}' is not a network: .+; write 192"):
        parse(f"trusted_networks: 198.51.100.0/24 {network}")


@pytest.mark.parametrize(
    ("lines", "warning"),
    [
        (["group: sasl"], "group: no effect: user is not set"),
        (["free_failures: 3", "failure_delay: 0"], "free_failures: no effect: failure_delay is 0"),
        (["trusted_networks: ::1", "failure_delay: 0"], "trusted_networks: no effect: failure_delay is 0"),
        (["failure_dely: 0"], "failure_dely: unknown key, the line is passed over; did you mean failure_delay?"),
    ],
)
def test_a_key_without_effect_is_a_warning(lines: list[str], warning: str) -> None:
    assert parse(*lines).warnings == (f"f:2: {warning}",)


def test_a_key_of_the_daemon_has_no_second_name_with_ldap() -> None:
    (warning,) = parse("ldap_user: nobody").warnings
    assert warning.startswith("f:2: ldap_user: unknown key")
