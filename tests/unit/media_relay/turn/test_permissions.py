"""Permissions, channels and data, RFC 8656 sections 9 to 12."""

from ipaddress import ip_address

import pytest

from federation.model.address import Endpoint
from federation.model.clocks import Monotonic
from media_relay.stun.attributes import Attribute, Family, MessageClass, Method
from media_relay.stun.message import Message
from media_relay.stun.values import read_xor_address
from media_relay.turn.allocation import MAX_CHANNELS, MAX_PERMISSIONS
from media_relay.turn.config import TurnConfig
from media_relay.turn.effects import DataToClient, SendToPeer
from media_relay.turn.peers import PeerPolicy, read_network
from tests.support.turn_core import PEER, PEER6, RELAY_HOST, Shell, TurnClient, code_of

STRANGER = Endpoint("192.0.2.8", 5000)


def allocated(shell: Shell | None = None) -> TurnClient:
    client = TurnClient(shell or Shell())
    assert code_of(client.allocate()) == 0
    return client


def from_peer(client: TurnClient, data: bytes, peer: Endpoint = PEER) -> list[DataToClient]:
    shell = client.shell
    effects = shell.server.receive_from_peer(1, data, peer, now=Monotonic(shell.now))
    return [effect for effect in effects if isinstance(effect, DataToClient)]


def test_without_a_permission_nothing_passes() -> None:
    alice = allocated()
    assert alice.send(b"hello") == []
    assert from_peer(alice, b"hello") == []


def test_a_permission_is_for_an_address_and_every_port() -> None:
    alice = allocated()
    assert code_of(alice.permit(PEER)) == 0
    other_port = Endpoint(PEER.host, 6000)
    assert alice.send(b"hello", other_port) == [SendToPeer(1, b"hello", other_port)]
    (told,) = from_peer(alice, b"answer", other_port)
    message = Message.decode(told.data)
    assert (message.method, message.kind) == (Method.DATA, MessageClass.INDICATION)
    assert message.get(Attribute.DATA) == b"answer"
    peer = message.get(Attribute.XOR_PEER_ADDRESS)
    assert peer is not None
    assert read_xor_address(peer, message.transaction_id)[1] == other_port
    assert from_peer(alice, b"answer", STRANGER) == []


def test_a_permission_ends_after_five_minutes_unless_renewed() -> None:
    alice = allocated()
    alice.permit(PEER)
    alice.shell.pass_time(299)
    assert alice.send(b"in time")
    alice.shell.pass_time(2)
    assert alice.send(b"late") == []
    alice.permit(PEER)
    assert alice.send(b"again")


def test_several_peers_are_permitted_together_or_not_at_all() -> None:
    alice = allocated()
    assert code_of(alice.permit(PEER, STRANGER)) == 0
    assert code_of(alice.permit(Endpoint("192.0.2.9", 1), Endpoint("127.0.0.1", 1))) == 403
    assert alice.send(b"hello", Endpoint("192.0.2.9", 1)) == []
    assert code_of(alice.permit(Endpoint("192.0.2.9", 1), PEER6)) == 443
    assert code_of(alice.permit()) == 400


def test_permissions_and_channels_are_bounded() -> None:
    alice = allocated()
    peers = [Endpoint(f"192.0.2.{number}", 1) for number in range(MAX_PERMISSIONS)]
    for start in range(0, MAX_PERMISSIONS, 16):
        assert code_of(alice.permit(*peers[start : start + 16])) == 0
    assert code_of(alice.permit(Endpoint("198.51.100.9", 1))) == 508
    assert code_of(alice.bind(0x4000, Endpoint("198.51.100.9", 1))) == 508
    for number in range(MAX_CHANNELS):
        assert code_of(alice.bind(0x4000 + number, Endpoint("192.0.2.1", 1000 + number))) == 0
    assert code_of(alice.bind(0x4FFF, Endpoint("192.0.2.1", 1))) == 508


def test_a_channel_passes_both_ways_and_permits_its_peer() -> None:
    alice = allocated()
    assert code_of(alice.bind(0x4001)) == 0
    assert alice.shell.routes == {(1, alice.client, 0x4001, PEER)}
    assert alice.channel_data(0x4001, b"hello") == [SendToPeer(1, b"hello", PEER)]
    (told,) = from_peer(alice, b"answer")
    assert (told.data, told.size) == (b"\x40\x01\x00\x06answer", 6)
    assert from_peer(alice, b"", PEER)[0].data == b"\x40\x01\0\0"


def test_channel_data_that_does_not_fit_is_dropped() -> None:
    alice = allocated()
    alice.bind(0x4001)
    assert alice.channel_data(0x4002, b"unbound") == []
    for data in (b"\x40", b"\x40\x01", b"\x40\x01\0\4abc", b"\x40\x01\0"):
        assert alice.shell.take(data, alice.client) == []
    assert alice.shell.take(b"\x40\x01\0\1abc", alice.client) == [SendToPeer(1, b"a", PEER)]


def test_a_channel_has_one_peer_and_a_peer_one_channel() -> None:
    alice = allocated()
    alice.bind(0x4001)
    assert code_of(alice.bind(0x4001)) == 0
    assert code_of(alice.bind(0x4001, STRANGER)) == 400
    assert code_of(alice.bind(0x4002, PEER)) == 400
    assert len(alice.shell.routes) == 1


@pytest.mark.parametrize(
    ("number", "code"), [(0x3FFF, 400), (0x4000, 0), (0x7FFF, 0), (0x8000, 400)]
)
def test_channel_numbers(number: int, code: int) -> None:
    assert code_of(allocated().bind(number)) == code


def test_a_channels_route_ends_with_its_permission_and_comes_back() -> None:
    alice = allocated()
    alice.bind(0x4001)
    alice.shell.pass_time(301)
    assert alice.shell.routes == set()
    assert alice.channel_data(0x4001, b"late") == []
    alice.permit(PEER)
    assert alice.shell.routes == {(1, alice.client, 0x4001, PEER)}
    alice.shell.pass_time(200)
    alice.refresh(600)
    alice.permit(PEER)
    alice.shell.pass_time(100)
    assert alice.shell.routes == set(), "ten minutes after the bind the channel itself ends"
    assert code_of(alice.bind(0x4002)) == 0


def test_denied_peers() -> None:
    own = PeerPolicy(own=[Endpoint("198.51.100.1", 1).ip], is_media_port=lambda port: port == 10000)
    alice = allocated(Shell(policy=own))
    assert code_of(alice.bind(0x4001, Endpoint("10.0.0.1", 5))) == 403
    assert code_of(alice.bind(0x4001, Endpoint("198.51.100.1", 22))) == 403
    assert code_of(alice.bind(0x4001, Endpoint("198.51.100.1", 10000))) == 0
    assert alice.send(b"to a relay", Endpoint("198.51.100.1", 10000))
    assert alice.send(b"to sshd", Endpoint("198.51.100.1", 22)) == []
    assert alice.send(b"to port 0", Endpoint("198.51.100.1", 0)) == []


def test_opened_networks_may_be_peers() -> None:
    policy = PeerPolicy(allow=[read_network("10.1.0.0/16")])
    alice = allocated(Shell(policy=policy))
    assert code_of(alice.permit(Endpoint("10.1.2.3", 1))) == 0
    assert code_of(alice.permit(Endpoint("10.2.2.3", 1))) == 403


def test_dont_fragment_is_passed_on() -> None:
    alice = allocated()
    alice.permit(PEER)
    effects = alice.send(b"whole", PEER, (int(Attribute.DONT_FRAGMENT), b""))
    assert effects == [SendToPeer(1, b"whole", PEER, dont_fragment=True)]
    assert alice.send(b"odd", PEER, (0x7777, b"")) == []


def test_icmp_errors_are_told_to_those_who_may_know() -> None:
    alice = allocated()
    now = Monotonic(alice.shell.now)
    assert alice.shell.server.receive_icmp(1, PEER, 3, 3, 0, now=now) == []
    alice.permit(PEER)
    (told,) = alice.shell.server.receive_icmp(1, PEER, 3, 4, 1400, now=now)
    assert isinstance(told, DataToClient)
    message = Message.decode(told.data)
    value = message.get(Attribute.ICMP)
    assert value is not None
    assert value == bytes((0, 0, 3 << 1, 4)) + (1400).to_bytes(4, "big")
    assert message.get(Attribute.DATA) is None


def test_a_foreign_client_does_not_reach_an_allocation() -> None:
    """The same host from another port, or another listener, is another 5-tuple."""
    shell = Shell()
    alice = allocated(shell)
    alice.bind(0x4001)
    other = TurnClient(shell, port=4001)
    assert other.channel_data(0x4001, b"hello") == []
    assert other.send(b"hello") == []
    assert code_of(other.ask(Method.REFRESH)) == 437


OUTER = "203.0.113.200"
INNER = RELAY_HOST[Family.IPV4]


def behind_a_nat() -> TurnClient:
    return allocated(Shell(TurnConfig(external={Family.IPV4: OUTER})))


def named_in(told: DataToClient) -> Endpoint:
    message = Message.decode(told.data)
    peer = message.get(Attribute.XOR_PEER_ADDRESS)
    assert peer is not None
    return read_xor_address(peer, message.transaction_id)[1]


def test_a_port_of_this_node_named_by_its_outer_address_is_reached_on_the_machine() -> None:
    alice, told, wire = behind_a_nat(), Endpoint(OUTER, 12000), Endpoint(INNER, 12000)
    assert code_of(alice.permit(told)) == 0
    assert alice.send(b"hello", told) == [SendToPeer(1, b"hello", wire)]
    (answer,) = from_peer(alice, b"answer", wire)
    assert named_in(answer) == told
    assert alice.send(b"hello", wire) == []


def test_a_channel_to_a_port_of_this_node_has_its_route_there() -> None:
    alice, told, wire = behind_a_nat(), Endpoint(OUTER, 12000), Endpoint(INNER, 12000)
    assert code_of(alice.bind(0x4000, told)) == 0
    assert {route[3] for route in alice.shell.routes} == {wire}
    (answer,) = from_peer(alice, b"answer", wire)
    assert answer.data == b"\x40\x00\x00\x06answer"
    assert code_of(alice.bind(0x4001, wire)) == 400
    assert code_of(alice.bind(0x4000, told)) == 0
    alice.shell.pass_time(601)
    assert not alice.shell.routes


def test_a_client_inside_may_name_such_a_port_as_it_is() -> None:
    alice, wire = behind_a_nat(), Endpoint(INNER, 12000)
    alice.permit(wire)
    assert alice.send(b"hello", wire) == [SendToPeer(1, b"hello", wire)]
    (answer,) = from_peer(alice, b"answer", wire)
    assert named_in(answer) == wire


def test_an_outer_address_that_was_lost_leads_to_no_other_port_of_the_machine() -> None:
    """The address is some stranger's then, but an allocation still has it for this machine's."""
    alice, told = behind_a_nat(), Endpoint(OUTER, 12000)
    alice.permit(told)
    alice.shell.server.policy = PeerPolicy(
        own=[ip_address(INNER)], is_media_port=lambda port: port == told.port
    )
    alice.shell.server.configure(TurnConfig())
    assert alice.send(b"hello", told) == [SendToPeer(1, b"hello", Endpoint(INNER, told.port))]
    assert alice.send(b"hello", Endpoint(OUTER, 5060)) == []
    assert code_of(alice.bind(0x4000, Endpoint(OUTER, 5060))) == 403
