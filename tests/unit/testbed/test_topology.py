"""The topology: what follows from it, and what it is refused for."""

from ipaddress import IPv4Address
from pathlib import Path

import pytest

from federation.model.address import Scope, parse_ip, scope_of
from testbed.topology import INTERNET, TOPOLOGY, Host, TopologyError, read


def test_what_follows_from_where_things_are() -> None:
    topology = read()
    assert topology.supernode == "super"
    assert topology.mesh_target("super") == "11.3.0.1:7060"
    assert topology.sip_server("east2") == "11.1.0.1:5070"
    assert topology.server_of("bob") == topology.sip_server("east2")
    assert topology.server_of("dave") == "10.2.0.12:5070"
    assert topology.sip_server("super") == "11.3.0.1:5060"
    assert topology.way_out("home3") == ("home3", "carrier", "internet")
    assert topology.entered("east", "home3") == 2
    assert topology.entered("home3", "carrier") == topology.entered("east", "east") == 0
    hosts = {host.name: host for host in topology.hosts()}
    inner = (("home3", IPv4Address("192.168.3.1")), ("carrier", IPv4Address("100.64.0.33")))
    assert hosts["home3-gw"] == Host("home3-gw", inner, IPv4Address("100.64.0.1"))
    assert hosts["super"].via is None
    assert "firm" not in hosts
    assert {"firm", "firm-desk"} < {host.name for host in topology.hosts(pbx=True)}


def test_the_internet_counts_as_public_and_its_hosts_as_far_apart() -> None:
    """Otherwise nodes would not name each other's addresses, or believe that they are reached."""
    topology = read()
    public = [
        address
        for host in topology.hosts(pbx=True, provider=True)
        for network, address in host.links
        if network == INTERNET
    ]
    assert {scope_of(parse_ip(str(address))) for address in public} == {Scope.GLOBAL}
    seen = [topology.external_address(name).packed[:2] for name in topology.nodes]
    assert len(set(seen)) == 3  # super, and two gateways


@pytest.mark.parametrize(
    ("before", "after", "complaint"),
    [
        ('node = "east2"', 'node = "east3"', "bob is at 'east3', which is no node"),
        ('address = "10.1.0.12"', 'address = "10.1.0.11"', "the address 10.1.0.11 in east is"),
        ('address = "10.1.0.12"', 'address = "10.9.0.1"', "east2 has 10.9.0.1, which east has not"),
        ('address = "10.1.0.12"', 'address = "10.1.0.254"', "10.1.0.254, which east has not for"),
        ("port_offset = 10", "port_offset = 0", "east-gw would forward udp 3478 to two nodes"),
        ("[10200, 10399]", "[10100, 10399]", "east-gw would forward udp 10100 to two nodes"),
        ('outside = "carrier"', 'outside = "home3"', "home3-gw does not lead to 'internet'"),
        ('inside = "west"', 'inside = "east"', "the inside east is there twice"),
        ('network = "home1"', 'network = "moon"', "alice is in 'moon', which is no network"),
        ('leads_to = "carol"', 'leads_to = "bob"', "telco leads to 'bob', no phone at its node"),
        ('\nports = "random"', '\nports = "odd"', "Invalid enum value 'odd'"),
        ('address = "11.3.0.1"', 'adress = "11.3.0.1"', "unknown field `adress`"),
        ("[nodes.super]", "[nodes.super", "topology.toml: "),
        ('network = "west"', 'network = "home3"', "west1 is behind two gateways"),
    ],
)
def test_contradictions_are_refused(
    before: str, after: str, complaint: str, tmp_path: Path
) -> None:
    text = TOPOLOGY.read_text(encoding="utf-8")
    assert before in text
    changed = tmp_path / "topology.toml"
    address = ("10.2.0.11", "192.168.3.77") if "west1" in complaint else ("", "")
    changed.write_text(text.replace(before, after, 1).replace(*address, 1), encoding="utf-8")
    with pytest.raises(TopologyError) as caught:
        read(changed)
    assert complaint in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(TopologyError, match="No such file"):
        read(tmp_path / "none.toml")
