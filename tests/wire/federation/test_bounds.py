"""Tables of the mesh that strangers can grow, and that they stay small."""

import asyncio
import socket
from contextlib import AsyncExitStack

import pytest
from aioquic.quic.connection import QuicConnection

from federation import admission, link, peers, posts, session
from federation import mesh as mesh_module
from federation.client import MAX_OPEN
from federation.codec import MAX_FRAME_BYTES
from federation.mesh import MeshSocket
from federation.messages import Bye
from federation.model.address import Endpoint
from federation.model.clocks import Monotonic
from federation.posts import Post, Posts
from federation.quic import endpoint as quic_endpoint
from federation.quic.certificate import node_certificate, quic_configuration
from federation.quic.pinned import MAX_STREAMS
from tests.support.mesh_nodes import (
    NETWORK,
    SocketNode,
    answering,
    key,
    new_txn,
    sorted_keys,
    status,
)

LOW, MIDDLE, HIGH = sorted_keys(3)


async def test_addresses_to_reply_from_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forged sources push each other out; whoever writes now is answered from where it wrote to."""
    monkeypatch.setattr(mesh_module, "MAX_REPLY_ADDRESSES", 4)
    async with MeshSocket(["0.0.0.0"], 0) as mesh:
        heard: list[Endpoint] = []
        mesh.on_dht = lambda data, source: heard.append(source)
        port = mesh.local_endpoints[0].port
        sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(10)]
        try:
            for sock in sockets:
                sock.bind(("127.0.0.9", 0))
                sock.sendto(b"\x08", ("127.0.0.7", port))
            async with asyncio.timeout(5):
                while len(heard) < len(sockets):
                    await asyncio.sleep(0.005)
            assert len(mesh._reply_from) == 4
            mesh.send(b"\x08back", heard[-1])
            sockets[-1].settimeout(5)
            assert await asyncio.to_thread(sockets[-1].recvfrom, 100) == (
                b"\x08back",
                ("127.0.0.7", port),
            )
        finally:
            for sock in sockets:
                sock.close()


def an_initial(target: Endpoint) -> bytes:
    stranger = key(99)
    certificate = node_certificate(stranger)
    configuration = quic_configuration(stranger, certificate, NETWORK, is_client=True)
    connection = QuicConnection(configuration=configuration)
    connection.connect((target.host, target.port), now=0.0)
    return connection.datagrams_to_send(now=0.0)[0][0]


async def test_half_open_handshakes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quic_endpoint, "MAX_HALF_OPEN", 2)
    async with SocketNode(LOW) as a, MeshSocket(["127.0.0.1"], 0) as mesh:
        for _ in range(6):
            mesh.send(an_initial(a.endpoint), a.endpoint)
        await asyncio.sleep(0.2)
        assert a.links.half_open_count == 2


async def test_links_are_bounded_and_the_idle_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """A link under use stays; where all are in use, a new one is refused."""
    monkeypatch.setattr(admission, "MAX_LINKS", 1)
    async with SocketNode(LOW) as a, SocketNode(MIDDLE) as b, SocketNode(HIGH) as c:
        a.receiver.answer = answering(200)
        first = b.call(a, a.endpoint)
        await first.until_end()
        a.receiver.answer = answering(180)
        second = c.call(a, a.endpoint)
        await second.until(lambda owner: owner.accepted == 1)
        assert [info.node for info in a.links.peers()] == [c.id]
        third = b.call(a, a.endpoint)
        await third.until_end()
        assert third.failures
        assert [info.node for info in a.links.peers()] == [c.id]


async def test_one_network_gets_few_of_the_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stranger's keys push each other out; links dialled from here or elsewhere stay."""
    monkeypatch.setattr(admission, "MAX_LINKS_FROM_GROUP", 2)
    strangers = [key(200 + n) for n in range(5)]
    async with AsyncExitStack() as stack:
        a = await stack.enter_async_context(SocketNode(LOW))
        a.receiver.answer = answering(200)
        ours = await stack.enter_async_context(SocketNode(MIDDLE, host="127.0.0.2"))
        ours.receiver.answer = answering(200)
        await a.call(ours, ours.endpoint).until_end()
        elsewhere = await stack.enter_async_context(SocketNode(HIGH, host="127.0.0.3"))
        await elsewhere.call(a, a.endpoint).until_end()
        for stranger in strangers:
            node = await stack.enter_async_context(SocketNode(stranger, host="127.0.0.2"))
            await node.call(a, a.endpoint).until_end()
        linked = {info.node for info in a.links.peers()}
        assert linked == {ours.id, elsewhere.id, strangers[-1].id, strangers[-2].id}


async def test_links_with_calls_stay_and_the_next_of_their_network_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(admission, "MAX_LINKS_FROM_GROUP", 1)
    async with SocketNode(LOW) as a, SocketNode(MIDDLE) as b, SocketNode(HIGH) as c:
        a.receiver.answer = answering(180)
        ringing = b.call(a, a.endpoint)
        await ringing.until(lambda owner: owner.accepted == 1)
        refused = c.call(a, a.endpoint)
        await refused.until_end()
        assert refused.failures
        assert [info.node for info in a.links.peers()] == [b.id]
        assert ringing.failures == []


async def test_a_peer_that_takes_nothing_may_not_pile_up_what_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It stops acknowledging; above the backlog its link ends, and with it the memory."""
    monkeypatch.setattr(link, "MAX_BACKLOG_BYTES", 200_000)
    monkeypatch.setattr(link, "BACKLOG_CHECK_BYTES", 50_000)
    async with SocketNode(LOW) as a, SocketNode(HIGH) as b:
        a.receiver.answer = answering(180)
        b.receiver.answer = answering(200)
        await b.call(a, a.endpoint).until(lambda owner: owner.accepted == 1)
        assert a.links.is_linked(b.id)
        b.mesh.on_quic = lambda data, source: None
        written = 0
        while a.links.is_linked(b.id) and written < 4_000_000:
            a.links.push_2xx(b.id, new_txn(), status(200, 60_000))
            written += 60_000
            await asyncio.sleep(0)
        assert 200_000 < written < 600_000
        assert b.id in a.receiver.down


async def test_streams_without_an_exchange_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids left out open streams as well; above the surplus, seen twice, the link ends."""
    monkeypatch.setattr(link, "MAX_SURPLUS_STREAMS", 40)
    monkeypatch.setattr(session, "ACCEPTOR_PING_INTERVAL", 0.05)
    monkeypatch.setattr(session, "BUSY_PING_INTERVAL", -0.9)
    async with SocketNode(LOW) as a, SocketNode(HIGH) as b:
        a.receiver.answer = answering(200)
        await b.call(a, a.endpoint).until_end()
        held = a.links._peers[b.id].link
        assert held is not None
        ours = b.links._peers[a.id].link
        assert ours is not None
        ours.connection.write(4 * 30, b"\0")
        await asyncio.sleep(0.3)
        assert a.links.is_linked(b.id)
        ours.connection.write(4 * 100, b"\0")
        async with asyncio.timeout(5):
            while a.links.is_linked(b.id):
                await asyncio.sleep(0.01)
        assert held.connection.is_over


async def test_remembered_endpoints_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "MAX_REMEMBERED_ENDPOINTS", 3)
    async with SocketNode(LOW) as a:
        nodes = [key(number).id for number in range(1, 9)]
        for node in nodes:
            a.links.note_endpoint(node, Endpoint("127.0.0.1", 9))
        assert [node for node in nodes if a.links.last_endpoint(node)] == nodes[-3:]


async def test_frames_that_wait_for_a_link_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is one too many is settled at once: nobody waits for it."""
    monkeypatch.setattr(posts, "MAX_WAITING", 2)
    loop, waiting = asyncio.get_running_loop(), Posts()
    answers = [loop.create_future() for _ in range(3)]
    bye = Bye(call_id="c", sender_tag="a", receiver_tag="b", reason="")
    for answer in answers:
        waiting.add(Post(bye, Monotonic(9.0), answer))
    assert [answer.done() for answer in answers] == [False, False, True]
    waiting.fail()
    assert [answer.result() for answer in answers] == [None, None, None]


def test_the_bounds_are_those_that_were_reckoned_with() -> None:
    """Five hundred calls ring at once between two nodes, with room to spare."""
    assert MAX_OPEN >= 500 * 2
    assert admission.MAX_LINKS_FROM_GROUP * 16 <= admission.MAX_LINKS
    assert link.MAX_SURPLUS_STREAMS < MAX_STREAMS
    assert link.MAX_BACKLOG_BYTES >= 100 * MAX_FRAME_BYTES
    assert posts.MAX_WAITING >= 500
