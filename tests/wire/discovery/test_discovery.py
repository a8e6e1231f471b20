"""Nodes on one machine find each other by multicast DNS over the loopback interface."""

import asyncio
import socket
import struct
from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from federation.model.address import Endpoint
from federation.model.identity import NodeId, NodeKey
from federation.model.network import Network
from node import discovery
from node.discovery import Discovery

Found = dict[NodeId, tuple[Endpoint, ...]]
NETWORK = Network.named("discovery-test")


def _multicast_works() -> bool:
    """Whether this machine lets a packet go to the group over loopback and come back."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        try:
            receiver.bind(("", 0))
            group = socket.inet_aton("224.0.0.251") + socket.inet_aton("127.0.0.1")
            receiver.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
            sender.setsockopt(
                socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1")
            )
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, struct.pack("b", 1))
            sender.sendto(b"x", ("224.0.0.251", receiver.getsockname()[1]))
            receiver.settimeout(1)
            return receiver.recv(1) == b"x"
        except OSError:
            return False


needs_multicast = pytest.mark.skipif(
    not _multicast_works(), reason="no multicast over loopback on this machine"
)


def a_node(
    seed: int, found: Found, *, network: Network = NETWORK, address: str = "127.0.0.1"
) -> Discovery:
    return Discovery(
        node=key(seed),
        network=network,
        port=7000 + seed,
        addresses=(address,),
        on_found=found.__setitem__,
    )


def key(seed: int) -> NodeId:
    return NodeKey(bytes([seed]) * 32).id


async def until(condition: Callable[[], bool], seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


@needs_multicast
async def test_two_nodes_find_each_other_within_a_second() -> None:
    """One of the two knowing the other is enough to meet; both do, the second by its question."""
    by_first: Found = {}
    by_second: Found = {}
    first, second = a_node(1, by_first), a_node(2, by_second, address="127.0.0.2")
    await first.start()
    await second.start()
    try:
        await until(lambda: key(2) in by_first or key(1) in by_second, 1.0)
        await until(lambda: key(2) in by_first and key(1) in by_second, 3.0)
    finally:
        await asyncio.gather(first.close(), second.close())
    assert by_first == {key(2): (Endpoint("127.0.0.2", 7002),)}
    assert by_second == {key(1): (Endpoint("127.0.0.1", 7001),)}


@needs_multicast
async def test_nodes_of_other_networks_are_not_reported() -> None:
    """The third node proves that the second one's announcement would have been heard."""
    found: Found = {}
    other, same = a_node(4, {}, network=Network.named("elsewhere")), a_node(5, {})
    node = a_node(3, found)
    await node.start()
    await other.start()
    await same.start()
    try:
        await until(lambda: key(5) in found, 3.0)
    finally:
        await asyncio.gather(node.close(), other.close(), same.close())
    assert set(found) == {key(5)}


async def test_without_multicast_the_node_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line in the log, nothing raised, and closing is as harmless as before."""

    def refuse(**_: object) -> None:
        raise OSError(19, "No such device")

    monkeypatch.setattr(discovery, "AsyncZeroconf", refuse)
    node = a_node(6, {})
    with capture_logs() as lines:
        await node.start()
    assert [(line["event"], line["log_level"]) for line in lines] == [
        ("mdns_unavailable", "warning")
    ]
    assert not node.is_active
    await node.close()


@needs_multicast
async def test_closing_twice_is_harmless() -> None:
    node = a_node(7, {})
    await node.start()
    assert node.is_active
    await node.close()
    await node.close()
    assert not node.is_active
