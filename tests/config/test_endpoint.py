from __future__ import annotations

import pytest

from pysaslauthd.config.endpoint import TcpPlace, parse_endpoint
from pysaslauthd.config.sockets import SocketPlace
from pysaslauthd.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("127.0.0.1:9797", TcpPlace("127.0.0.1", 9797)),
        ("[::1]:9797", TcpPlace("::1", 9797)),
        ("[0:0::1]:1", TcpPlace("::1", 1)),
        ("0.0.0.0:65535", TcpPlace("0.0.0.0", 65535)),
        ("unix:/run/metrics", SocketPlace("/run/metrics", 0o660)),
        ("unix:/run/metrics:mode=0600,owner=7", SocketPlace("/run/metrics", 0o600, 7)),
    ],
)
def test_an_endpoint_is_an_address_with_a_port_or_a_path(text: str, endpoint: TcpPlace | SocketPlace) -> None:
    assert parse_endpoint(text) == endpoint


@pytest.mark.parametrize(
    "text",
    [
        "",
        "9797",
        ":9797",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:0",
        "127.0.0.1:65536",
        "127.0.0.1:97 97",
        "127.0.0.999:9797",
        "::1:9797",
        "[::1]",
        "[127.0.0.1.1]:1",
        "localhost:9797",
        "http://127.0.0.1:9797",
        "unix:run/metrics",
        "unix:",
        "unix:/run/metrics:mode=1",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_endpoint(text)


def test_an_endpoint_prints_as_it_is_written() -> None:
    assert str(TcpPlace("127.0.0.1", 9797)) == "127.0.0.1:9797"
    assert str(TcpPlace("::1", 9797)) == "[::1]:9797"
