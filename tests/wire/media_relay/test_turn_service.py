"""The TURN server of relay workers on real sockets: what its shell and the control plane add."""

import asyncio
import itertools
import os
import resource
import select
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from federation.model.address import Endpoint
from media_relay.errors import NoCapacity
from media_relay.pool import RelayPool
from media_relay.stun.attributes import Attribute, MessageClass, Method
from media_relay.stun.message import Message
from media_relay.turn.quotas import QuotaLimits
from media_relay.turn_config import TurnSettings
from media_relay.turn_streams import MAX_STREAMS_A_SOURCE, MAX_WAITING
from tests.benchmarks.figures import cpu_seconds
from tests.support.ports import free_port
from tests.support.relay_wire import WirePhone, a_pool, until
from tests.support.turn_core import UDP, code_of
from tests.support.turn_pool import a_turn_pool, serving, turn_account
from tests.support.turn_wire import WireClient

TRANSPORT = (int(Attribute.REQUESTED_TRANSPORT), UDP)
CHANNEL = 0x4000
Result = TypeVar("Result")


async def beside(work: Callable[..., Result], *arguments: object) -> Result:
    """Run something that blocks beside the event loop, which the pool needs."""
    return await asyncio.to_thread(work, *arguments)


def allocated(pool: RelayPool, transport: str = "udp", **options: object) -> WireClient:
    client = WireClient(serving(pool, transport), transport=transport, **options)  # type: ignore[arg-type]
    assert code_of(client.allocate()) == 0
    return client


def exchange(client: WireClient, peer: WirePhone) -> None:
    """A datagram each way over a channel."""
    peer.socket.settimeout(5)
    client.wire.send(b"\x40\x00\x00\x05hello")
    data, relay = peer.socket.recvfrom(100)
    assert (data, relay[1]) == (b"hello", client.relayed[0].port)
    peer.socket.sendto(b"back", relay)
    assert client.wire.hear() == b"\x40\x00\x00\x04back"


def still_served(pool: RelayPool, transport: str = "udp") -> None:
    client = allocated(pool, transport)
    assert code_of(client.refresh(0)) == 0
    client.close()


async def test_two_relay_only_clients_of_one_node_meet() -> None:
    """Relays on the node's own address are peers though nothing else there is."""
    async with a_turn_pool(allow_peers=()) as pool:

        def meet() -> None:
            alice, other = allocated(pool), allocated(pool)
            assert code_of(alice.bind(CHANNEL, other.relayed[0])) == 0
            assert code_of(other.bind(CHANNEL, alice.relayed[0])) == 0
            alice.wire.send(b"\x40\x00\x00\x05hello")
            assert other.wire.hear() == b"\x40\x00\x00\x05hello"
            free = Endpoint("127.0.0.1", free_port())
            assert code_of(alice.bind(CHANNEL + 1, free)) == 403
            assert code_of(alice.permit(Endpoint("127.0.0.2", 5))) == 403
            alice.close()
            other.close()

        await beside(meet)


async def test_an_anchor_is_a_peer_too() -> None:
    async with a_turn_pool(allow_peers=()) as pool:
        session = pool.session("call")
        anchor = session.anchor("127.0.0.1")
        alice = await beside(allocated, pool)
        assert code_of(await beside(alice.bind, CHANNEL, anchor.rtp)) == 0
        assert code_of(await beside(alice.bind, CHANNEL + 1, anchor.rtcp)) == 0
        session.free_anchor(anchor)
        assert code_of(await beside(alice.bind, CHANNEL, anchor.rtp)) == 403
        alice.close()


async def test_strangers_are_not_heard_through_a_channels_connected_socket() -> None:
    """Only the peer is; others of the same address arrive as indications, as they may."""
    async with a_turn_pool(allow_peers=("127.0.0.1/32",)) as pool:
        peer, same_host, stranger = WirePhone(), WirePhone(), WirePhone("127.0.0.2")
        alice = await beside(allocated, pool)
        await beside(alice.bind, CHANNEL, peer.endpoint)
        await beside(exchange, alice, peer)
        stranger.send(b"stranger", alice.relayed[0])
        same_host.send(b"same host", alice.relayed[0])
        told = Message.decode(await beside(alice.wire.hear))
        assert (told.method, told.get(Attribute.DATA)) == (Method.DATA, b"same host")
        await beside(exchange, alice, peer)
        for phone in (peer, same_host, stranger):
            phone.close()
        alice.close()


async def test_behind_a_nat_relays_and_anchors_of_one_node_meet_on_the_machine() -> None:
    """They are named by an outer address, to which nothing leads from here."""
    async with a_turn_pool(allow_peers=()) as pool:
        pool.reached_at(["203.0.113.9"])
        session, phone = pool.session("call"), WirePhone()
        anchor, other = session.anchor("127.0.0.1"), session.anchor("127.0.0.1")
        alice, bob = await beside(allocated, pool), await beside(allocated, pool)
        assert alice.relayed[0].host == bob.relayed[0].host == "203.0.113.9"

        def relay_to_relay() -> None:
            assert code_of(alice.bind(CHANNEL, bob.relayed[0])) == 0
            assert code_of(bob.bind(CHANNEL, alice.relayed[0])) == 0
            alice.wire.send(b"\x40\x00\x00\x05hello")
            assert bob.wire.hear() == b"\x40\x00\x00\x05hello"

        await beside(relay_to_relay)
        named = Endpoint("203.0.113.9", anchor.rtp.port)
        anchor.expect(rtp=alice.relayed[0], rtcp=None, sources=frozenset())
        other.expect(rtp=phone.endpoint, rtcp=None, sources=frozenset())
        session.join(anchor, other)
        assert code_of(await beside(alice.bind, CHANNEL + 1, named)) == 0
        sound = b"\x80\x00" + bytes(170)
        await beside(alice.wire.send, b"\x40\x01" + len(sound).to_bytes(2, "big") + sound)
        assert await phone.hear() == sound
        phone.send(sound, other.rtp)
        assert await beside(alice.wire.hear) == b"\x40\x01" + len(sound).to_bytes(2, "big") + sound
        for end in (phone, alice, bob):
            end.close()


@pytest.mark.parametrize("transport", ["tcp", "tls"])
async def test_a_stream_that_closes_gives_its_port_back(transport: str, tmp_path: Path) -> None:
    async with a_turn_pool(tmp_path) as pool:
        peer = WirePhone()
        alice = await beside(allocated, pool, transport)
        await beside(alice.bind, CHANNEL, peer.endpoint)
        await beside(exchange, alice, peer)
        assert pool.turn_report().ports == 1
        alice.close()
        await until(lambda: pool.turn_report().ports == 0)
        peer.close()


async def test_both_families_in_one_allocation() -> None:
    async with a_turn_pool() as pool:

        def both() -> None:
            alice = WireClient(serving(pool))
            family6 = bytes((2, 0, 0, 0))
            alice.allocate((int(Attribute.ADDITIONAL_ADDRESS_FAMILY), family6))
            assert [end.host for end in alice.relayed] == ["127.0.0.1", "::1"]
            for number, host in enumerate(("127.0.0.1", "::1")):
                peer = WirePhone(host)
                peer.socket.settimeout(5)
                assert code_of(alice.bind(CHANNEL + number, peer.endpoint)) == 0
                alice.wire.send((CHANNEL + number).to_bytes(2, "big") + b"\0\2hi")
                data, source = peer.socket.recvfrom(100)
                assert (data, source[1]) == (b"hi", alice.relayed[number].port)
                peer.socket.sendto(b"yo", source)
                assert alice.wire.hear()[4:] == b"yo"
                peer.close()
            alice.close()

        await beside(both)


async def test_a_reserved_port_is_found_by_whichever_worker_is_asked() -> None:
    """The next higher port, once, for the account that had it reserved, by any worker."""
    async with a_turn_pool(workers=2) as pool:
        pool.turn_accounts([turn_account("bob", "bob's password")])

        def reserve() -> None:
            for _ in range(6):
                alice = WireClient(serving(pool))
                token = alice.allocate((int(Attribute.EVEN_PORT), b"\x80")).get(
                    Attribute.RESERVATION_TOKEN
                )
                assert token is not None
                assert alice.relayed[0].port % 2 == 0
                wish = TRANSPORT, (int(Attribute.RESERVATION_TOKEN), token)
                thief = WireClient(serving(pool), "bob")
                assert code_of(thief.ask(Method.ALLOCATE, wish)) == 508
                again = WireClient(serving(pool))
                again.allocate(wish[1])
                assert again.relayed[0].port == alice.relayed[0].port + 1
                third = WireClient(serving(pool))
                assert code_of(third.ask(Method.ALLOCATE, wish)) == 508
                for client in (alice, again, thief, third):
                    client.close()

        await beside(reserve)


async def test_quotas_hold_over_all_workers() -> None:
    limits = QuotaLimits(account=5, source=100, total=100)
    async with a_turn_pool(workers=2, limits=limits) as pool:

        def ask() -> list[int]:
            clients = [WireClient(serving(pool)) for _ in range(12)]
            codes = [code_of(client.ask(Method.ALLOCATE, [TRANSPORT])) for client in clients]
            for client in clients:
                client.close()
            return codes

        codes = await beside(ask)
        assert (codes.count(0), codes.count(486)) == (5, 7)
        assert pool.turn_report().ports == 5


async def test_two_workers_share_the_clients_and_a_killed_one_is_replaced() -> None:
    """Its clients allocate again at once on the same port; the other's do not notice."""
    async with a_turn_pool(workers=2) as pool:
        peer = WirePhone()
        clients = [await beside(allocated, pool) for _ in range(16)]
        for client in clients:
            assert code_of(await beside(client.bind, CHANNEL, peer.endpoint)) == 0
        pid = pool.usage().workers[0].pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await until(lambda: pool.usage().workers[0].pid not in (None, pid))
        codes = [code_of(await beside(client.refresh, 600)) for client in clients]
        assert {0, 437} == set(codes), "both workers had clients"
        await until(lambda: pool.turn_report().ports == codes.count(0))
        for client, code in zip(clients, codes, strict=True):
            if code:
                assert code_of(await beside(client.allocate)) == 0
                assert code_of(await beside(client.bind, CHANNEL, peer.endpoint)) == 0
            await beside(exchange, client, peer)
            client.close()
        peer.close()


async def test_a_client_that_never_reads_its_stream_loses_data_and_nobody_else_does() -> None:
    async with a_turn_pool() as pool:
        peer, other_peer = WirePhone(), WirePhone()
        deaf = await beside(allocated, pool, "tcp")
        await beside(deaf.bind, CHANNEL, peer.endpoint)
        await beside(exchange, deaf, peer)
        alice = await beside(allocated, pool)
        await beside(alice.bind, CHANNEL, other_peer.endpoint)

        def flood() -> None:
            for _ in range(12000):
                peer.socket.sendto(bytes(1200), deaf.relayed[0])

        before = resident_kib(pool)
        peer.socket.setblocking(True)
        await beside(flood)
        await beside(exchange, alice, other_peer)
        assert resident_kib(pool) - before < 4 * MAX_WAITING // 1024 + 4096
        for client in (deaf, alice):
            client.close()
        peer.close()
        other_peer.close()


def resident_kib(pool: RelayPool) -> int:
    pid = pool.usage().workers[0].pid
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise RuntimeError("no VmRSS")


def leave_descriptors(pid: int, count: int) -> tuple[int, int]:
    """Let a process have only so many more descriptors; the limit from before."""
    held = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
    free = (number for number in itertools.count() if number not in held)
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (next(itertools.islice(free, count, None)), hard))
    return soft, hard


async def test_without_descriptors_clients_are_refused_and_served_again_later() -> None:
    """508, and the port is given back; who is served already notices nothing."""
    async with a_turn_pool() as pool:
        pid = pool.usage().workers[0].pid
        assert pid is not None
        peer = WirePhone()
        alice = await beside(allocated, pool)
        await beside(alice.bind, CHANNEL, peer.endpoint)
        before = leave_descriptors(pid, 3)

        def codes() -> list[int]:
            clients = [WireClient(serving(pool)) for _ in range(6)]
            said = [code_of(client.allocate()) for client in clients]
            for client in clients:
                client.close()
            return said

        said = await beside(codes)
        assert said == [0] * said.count(0) + [508] * said.count(508)
        assert said.count(508) >= 3
        await beside(exchange, alice, peer)
        assert pool.turn_report().ports == 1 + said.count(0)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
        await beside(still_served, pool)
        assert pool.usage().workers[0].restarts == 0
        for end in (alice, peer):
            end.close()


async def test_without_descriptors_connections_are_turned_away_and_keep_nobody_awake() -> None:
    async with a_turn_pool() as pool:
        pid = pool.usage().workers[0].pid
        assert pid is not None
        await beside(still_served, pool, "tcp")
        await asyncio.sleep(0.3)
        before = leave_descriptors(pid, 0)
        spent = cpu_seconds(pid)

        def closed() -> list[bytes]:
            waiting = [socket.create_connection(serving(pool, "tcp"), 5) for _ in range(20)]
            said = [one.recv(10) for one in waiting]
            for one in waiting:
                one.close()
            return said

        assert await beside(closed) == [b""] * 20
        await asyncio.sleep(1)
        assert cpu_seconds(pid) - spent < 0.3
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
        await beside(still_served, pool, "tcp")


async def test_few_descriptors_are_told_at_the_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("media_relay.pool.raise_descriptor_limit", lambda: 1024)
    async with a_pool():
        pass
    said = capsys.readouterr().out
    assert "few_descriptors" in said
    assert "calls=256" in said


async def test_connections_of_one_source_are_bounded() -> None:
    async with a_turn_pool() as pool:
        server = serving(pool, "tcp")

        def connect() -> int:
            held = []
            for _ in range(MAX_STREAMS_A_SOURCE + 20):
                sock = socket.create_connection(tuple(server))
                held.append(sock)
            poll = select.poll()
            for sock in held:
                poll.register(sock, select.POLLIN)
            closed = len(poll.poll(2000))
            for sock in held:
                sock.close()
            return closed

        assert await beside(connect) >= 1
        await beside(still_served, pool)


async def test_garbage_on_every_port_changes_nothing(tmp_path: Path) -> None:
    async with a_turn_pool(tmp_path) as pool:

        def garbage() -> None:
            for name in ("tcp", "tls"):
                for data in (b"\xff" * 2000, b"GET / HTTP/1.1\r\n\r\n", bytes(20), b"\x40"):
                    with socket.create_connection(tuple(serving(pool, name))) as sock:
                        sock.sendall(data)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                for size in range(0, 3000, 7):
                    sock.sendto(os.urandom(size), tuple(serving(pool)))

        await beside(garbage)
        await beside(still_served, pool, "tls")
        assert pool.usage().workers[0].restarts == 0


async def test_icmp_errors_reach_the_client() -> None:
    """A peer's closed port is told in a Data indication with ICMP."""
    async with a_turn_pool() as pool:

        def ask() -> Message:
            alice = allocated(pool)
            nobody = Endpoint("127.0.0.1", free_port())
            alice.permit(nobody)
            alice.send(b"anybody?", nobody)
            told = Message.decode(alice.wire.hear())
            alice.close()
            return told

        told = await beside(ask)
        assert (told.method, told.kind) == (Method.DATA, MessageClass.INDICATION)
        value = told.get(Attribute.ICMP)
        assert value is not None
        assert value == bytes((0, 0, 3 << 1, 3, 0, 0, 0, 0)), "port unreachable"


async def test_what_is_refused_is_counted_by_code() -> None:
    async with a_turn_pool() as pool:

        def refused() -> None:
            client = WireClient(serving(pool))
            client.wire.send(bytes(30))
            assert code_of(client.refresh(600)) == 437
            client.close()

        await beside(refused)
        await until(lambda: pool.turn_report().refused == {0: 1, 401: 1, 437: 1})


async def test_usage_is_counted_by_account() -> None:
    async with a_turn_pool() as pool:
        peer = WirePhone()
        alice = await beside(allocated, pool)
        await beside(alice.bind, CHANNEL, peer.endpoint)
        await beside(exchange, alice, peer)
        await beside(alice.refresh, 0)
        await until(lambda: "alice" in pool.turn_report().accounts)
        used = pool.turn_report().accounts["alice"]
        assert (used.packets_to_peers, used.bytes_to_peers) == (1, 5)
        assert (used.packets_to_clients, used.bytes_to_clients) == (1, 4)
        alice.close()
        peer.close()


async def test_a_port_in_use_is_named() -> None:
    port = free_port()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", port))
        async with a_pool() as pool:
            with pytest.raises(NoCapacity, match=f"UDP 127.0.0.1 port {port}"):
                pool.turn_listen(TurnSettings(hosts=("127.0.0.1",), port=port))


async def test_an_address_that_is_not_there_is_left_out() -> None:
    async with a_pool() as pool:
        pool.turn_listen(TurnSettings(hosts=("192.0.2.1", "127.0.0.1"), port=free_port()))
        assert {end.host for _, end in pool.turn_endpoints()} == {"127.0.0.1"}
