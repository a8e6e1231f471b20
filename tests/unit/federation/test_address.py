"""Endpoints in one form, and how far addresses reach."""

import pytest

from federation.model.address import (
    AddressError,
    Endpoint,
    Scope,
    network_group,
    parse_ip,
    scope_of,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.2.3.4:5", Endpoint("1.2.3.4", 5)),
        ("[::1]:7060", Endpoint("::1", 7060)),
        ("[::ffff:1.2.3.4]:5", Endpoint("1.2.3.4", 5)),
        ("[2001:DB8:0:0::1]:65535", Endpoint("2001:db8::1", 65535)),
    ],
)
def test_text_is_read_into_normal_form(text: str, expected: Endpoint) -> None:
    endpoint = Endpoint.parse(text)
    assert endpoint == expected
    assert Endpoint.parse(str(endpoint)) == endpoint


def test_a_default_port_fills_in() -> None:
    assert Endpoint.parse("1.2.3.4", 7060) == Endpoint("1.2.3.4", 7060)
    assert Endpoint.parse("::1", 7060) == Endpoint("::1", 7060)
    assert Endpoint.parse("[::1]", 7060) == Endpoint("::1", 7060)


@pytest.mark.parametrize(
    "text",
    ["", "1.2.3.4", "1.2.3.4:", "1.2.3.4:x", "1.2.3.4:65536", "host:5", "[::1", "[::1]5", "::1"],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(AddressError):
        Endpoint.parse(text)


def test_what_sockets_give_is_normalised() -> None:
    assert Endpoint.of(("::ffff:10.0.0.1", 5, 0, 0)) == Endpoint("10.0.0.1", 5)
    assert Endpoint.of(("::1", 5, 0, 0)) == Endpoint("::1", 5)


def test_packed_addresses_round_trip() -> None:
    for endpoint in (Endpoint("10.0.0.1", 5), Endpoint("2001:db8::1", 7)):
        assert Endpoint.unpack(endpoint.packed, endpoint.port) == endpoint
    for packed, port in ((b"abc", 5), (b"abcd", 0), (b"abcd", 65536)):
        with pytest.raises(AddressError):
            Endpoint.unpack(packed, port)


@pytest.mark.parametrize(
    ("ip", "scope"),
    [
        ("127.9.9.9", Scope.LOOPBACK),
        ("::1", Scope.LOOPBACK),
        ("169.254.1.1", Scope.LINK_LOCAL),
        ("fe80::1", Scope.LINK_LOCAL),
        ("10.1.2.3", Scope.PRIVATE),
        ("192.168.1.1", Scope.PRIVATE),
        ("100.64.0.1", Scope.PRIVATE),
        ("fd00::1", Scope.PRIVATE),
        ("8.8.8.8", Scope.GLOBAL),
        ("2606:4700::1", Scope.GLOBAL),
        ("::ffff:8.8.8.8", Scope.GLOBAL),
        ("224.0.0.1", Scope.FORBIDDEN),
        ("ff02::1", Scope.FORBIDDEN),
        ("0.0.0.0", Scope.FORBIDDEN),
        ("::", Scope.FORBIDDEN),
        ("255.255.255.255", Scope.FORBIDDEN),
        ("240.0.0.1", Scope.FORBIDDEN),
    ],
)
def test_scopes(ip: str, scope: Scope) -> None:
    assert scope_of(parse_ip(ip)) is scope


def test_networks_group_by_24_and_48() -> None:
    assert network_group(parse_ip("10.1.2.3")) == network_group(parse_ip("10.1.2.200"))
    assert network_group(parse_ip("10.1.2.3")) != network_group(parse_ip("10.1.3.3"))
    assert network_group(parse_ip("2001:db8:1::1")) == network_group(parse_ip("2001:db8:1:f::2"))
    assert network_group(parse_ip("2001:db8:1::1")) != network_group(parse_ip("2001:db8:2::1"))
