"""Every form of every denied range."""

import ipaddress

import pytest

from federation.model.address import Endpoint, parse_ip
from media_relay.turn.peers import DENIED, MAX_REMEMBERED, PeerPolicy

EMBEDDINGS = (
    "::ffff:{dotted}",
    "::{dotted}",
    "64:ff9b::{dotted}",
    "64:ff9b:1::{dotted}",
    "2002:{high}:{low}::1",
    "2001:0:0808:0808:0:0:{not_high}:{not_low}",
    "2001:0:{high}:{low}:0:0:f7f7:f7f7",
    "2606:4700::5efe:{dotted}",
    "2606:4700::200:5efe:{dotted}",
)
EDGES = [
    str(address)
    for network in DENIED
    for address in (network[0], network[-1], network[network.num_addresses // 2])
]
PUBLIC = ("8.8.8.8", "1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0",
          "126.255.255.255", "128.0.0.0", "172.15.255.255", "172.32.0.0", "192.167.255.255",
          "223.255.255.255", "2606:4700::1111", "2001:4860:4860::8888", "fbff::1")  # fmt: skip


@pytest.mark.parametrize("host", EDGES)
def test_denied(host: str) -> None:
    policy = PeerPolicy()
    assert not policy.may_permit(host)
    assert not policy.may_send(Endpoint(host, 5000))


@pytest.mark.parametrize("host", [host for host in EDGES if "." in host])
@pytest.mark.parametrize("form", EMBEDDINGS)
def test_denied_in_every_disguise(host: str, form: str) -> None:
    number = int(ipaddress.IPv4Address(host))
    disguised = form.format(
        dotted=host,
        high=f"{number >> 16:x}",
        low=f"{number & 0xFFFF:x}",
        not_high=f"{~number >> 16 & 0xFFFF:x}",
        not_low=f"{~number & 0xFFFF:x}",
    )
    assert not PeerPolicy().may_permit(str(ipaddress.ip_address(disguised)))


@pytest.mark.parametrize("host", PUBLIC)
def test_public_addresses_may_be_peers(host: str) -> None:
    assert PeerPolicy().may_send(Endpoint(host, 5000))


@pytest.mark.parametrize("host", ["64:ff9b::808:808", "2002:808:808::1"])
def test_a_public_address_in_disguise_may_be_a_peer(host: str) -> None:
    assert PeerPolicy().may_permit(host)


def test_own_addresses_are_peers_where_they_carry_media() -> None:
    policy = PeerPolicy(
        own=[parse_ip("8.8.4.4"), parse_ip("192.168.1.2")],
        is_media_port=lambda port: port in (10000, 10001),
    )
    for host in ("8.8.4.4", "192.168.1.2"):
        assert policy.may_permit(host)
        assert policy.may_send(Endpoint(host, 10001))
        assert not policy.may_send(Endpoint(host, 5060))
    assert not policy.may_permit("64:ff9b::808:404"), "an own address in disguise"


def test_verdicts_kept_are_bounded() -> None:
    policy = PeerPolicy()
    for number in range(MAX_REMEMBERED + 10):
        policy.may_permit(str(ipaddress.IPv4Address(0x08000000 + number)))
    assert len(policy._verdicts) <= MAX_REMEMBERED


def test_not_an_address() -> None:
    assert not PeerPolicy().may_permit("example.org")
