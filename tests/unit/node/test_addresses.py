"""Own addresses, what to bind, and looking names up."""

import ipaddress
from types import SimpleNamespace

import pytest

from federation.model.address import Endpoint
from node import addresses
from node.addresses import (
    attached_networks,
    listen_hosts,
    mesh_endpoints,
    own_addresses,
    resolve_targets,
)
from node.sheet import ServedAt


def with_adapters(monkeypatch: pytest.MonkeyPatch, *held: str | tuple[str, int, int]) -> None:
    adapters = [SimpleNamespace(ips=[SimpleNamespace(ip=ip) for ip in held])]
    monkeypatch.setattr(addresses.ifaddr, "get_adapters", lambda: adapters)
    monkeypatch.setattr(addresses, "_default_source", lambda: "10.0.0.9")


def test_the_farthest_reaching_address_is_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Global before private before loopback; the one with the default route before its equals."""
    with_adapters(
        monkeypatch,
        "127.0.0.1",
        "10.0.0.5",
        "10.0.0.9",
        "169.254.1.1",
        "8.8.4.4",
        ("fe80::1", 0, 2),
        ("fd00::2", 0, 0),
        ("2606:4700::1", 0, 0),
    )
    assert own_addresses(None) == (
        "8.8.4.4", "2606:4700::1", "10.0.0.9", "10.0.0.5", "fd00::2", "127.0.0.1",
    )  # fmt: skip
    assert own_addresses("0.0.0.0") == ("8.8.4.4", "10.0.0.9", "10.0.0.5", "127.0.0.1")
    assert own_addresses("::") == ("2606:4700::1", "fd00::2")


def test_an_address_that_was_given_stands_alone() -> None:
    assert own_addresses("127.0.0.3") == ("127.0.0.3",)
    assert own_addresses("0:0:0:0:0:0:0:1") == ("::1",)
    assert listen_hosts("127.0.0.3") == ("127.0.0.3",)


def test_a_machine_without_network_still_has_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    with_adapters(monkeypatch)
    assert own_addresses(None) == ("127.0.0.1",)


def test_everything_is_bound_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "has_ipv6", lambda: True)
    assert listen_hosts(None) == ("0.0.0.0", "::")
    monkeypatch.setattr(addresses, "has_ipv6", lambda: False)
    assert listen_hosts(None) == ("0.0.0.0",)


def test_this_machines_own_addresses_are_addresses() -> None:
    for text in own_addresses(None):
        assert str(ipaddress.ip_address(text)) == text


async def test_targets_are_looked_up_together() -> None:
    """What cannot be found is told and does not take the others along."""
    found, complaints = await resolve_targets(
        ["127.0.0.1:7", "[::1]", "no.invalid:1", "127.0.0.1:7"]
    )
    assert found == (Endpoint("127.0.0.1", 7), Endpoint("::1", 7060))
    assert len(complaints) == 1
    assert complaints[0].startswith("no.invalid:1 cannot be found: ")


def test_outside_a_static_nat_a_node_is_reached_by_its_external_address() -> None:
    """That is told first; and who is lent a relay is sent there, too."""
    outside = Endpoint("198.51.100.7", 7160)
    assert mesh_endpoints(7160, ("10.0.0.5", "127.0.0.1"), [outside]) == (
        outside,
        Endpoint("10.0.0.5", 7160),
        Endpoint("127.0.0.1", 7160),
    )
    assert mesh_endpoints(7060, ("10.0.0.5",)) == (Endpoint("10.0.0.5", 7060),)
    inside = ServedAt(
        key_name="k.ringmesh.alt",
        addresses=("10.0.0.5",),
        sip_port=5060,
        domains=("example.org",),
        proven=1,
    )
    lent = inside.by_address(("198.51.100.7",)).turn("")["uris"]
    assert lent[0] == "turn:198.51.100.7:3478?transport=udp"
    assert inside.by_address(()).turn("")["uris"][0].startswith("turn:10.0.0.5:")


def test_every_own_address_lies_in_an_attached_network() -> None:
    networks = attached_networks()
    for text in own_addresses(None):
        assert any(ipaddress.ip_address(text) in network for network in networks)
