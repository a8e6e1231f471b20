"""Guests on real sockets: their rate and their month hold, and accounts do not feel them."""

import asyncio
import socket
import time
from collections.abc import Callable

import pytest

from federation.model.address import Endpoint
from media_relay.guest_desk import GuestLimits
from media_relay.pool import RelayPool
from media_relay.stun.attributes import Code
from tests.support.turn_core import code_of
from tests.support.turn_pool import a_turn_pool, serving, turn_account
from tests.support.turn_wire import WireClient

GUEST = "~guest"
PAYLOAD = 500


def opened(pool: RelayPool, kbits: int, *, ports: int = 10, bytes_left: int = 1 << 40) -> None:
    pool.turn_accounts([turn_account(GUEST, f"{GUEST}'s password")])
    pool.guests_open(GuestLimits(kbits, ports, bytes_left))


def flood(client: WireClient, seconds: float, pace: float = 0.0005) -> tuple[int, float]:
    """Send to a peer of ours as fast as it goes; bytes that came, and in how many seconds."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 21)
        peer.bind(("127.0.0.1", 0))
        peer.setblocking(False)
        assert code_of(client.bind(0x4000, Endpoint.of(peer.getsockname()))) == 0
        head = b"\x40\x00" + PAYLOAD.to_bytes(2, "big")
        came, begin = 0, time.monotonic()
        while (now := time.monotonic()) < begin + seconds:
            client.wire.send(head + bytes(PAYLOAD))
            came += received(peer)
            time.sleep(pace)
        return came + received(peer), now - begin


def received(peer: socket.socket) -> int:
    size = 0
    while True:
        try:
            size += len(peer.recv(2048))
        except BlockingIOError:
            return size


async def in_thread(pool: RelayPool, work: Callable[[WireClient], object], login: str) -> object:
    def run() -> object:
        client = WireClient(serving(pool), login)
        try:
            return work(client)
        finally:
            client.close()

    return await asyncio.to_thread(run)


def allocated_flood(client: WireClient) -> tuple[int, float]:
    assert code_of(client.allocate()) == 0
    return flood(client, 3.0)


async def test_the_rate_of_guests_holds_within_two_percent() -> None:
    """Beyond one slice and one datagram a worker at the beginning; accounts are not slowed."""
    async with a_turn_pool(workers=2) as pool:
        opened(pool, kbits=800)
        guest, account = await asyncio.gather(
            in_thread(pool, allocated_flood, GUEST), in_thread(pool, allocated_flood, "alice")
        )
        assert isinstance(guest, tuple)
        assert isinstance(account, tuple)
        came, seconds = guest
        rate = 800 * 125
        assert came <= 1.02 * rate * seconds + rate * 0.1 + 2 * PAYLOAD
        assert came >= 0.8 * rate * seconds
        assert account[0] > 2 * came
        await asyncio.sleep(0.2)
        report = pool.guest_report()
        assert report.passed == pytest.approx(came, abs=PAYLOAD)
        assert report.dropped > came


async def test_the_months_bytes_end_guests_and_nobody_else() -> None:
    async with a_turn_pool() as pool:
        opened(pool, kbits=8000, bytes_left=100_000)
        came, _ = await in_thread(pool, allocated_flood, GUEST)  # type: ignore[misc]
        assert 100_000 - PAYLOAD <= came <= 100_000 + PAYLOAD
        await asyncio.sleep(0.2)
        assert not pool.guest_report().is_open
        refused = await in_thread(pool, lambda c: code_of(c.allocate()), GUEST)
        assert refused == Code.INSUFFICIENT_CAPACITY
        assert await in_thread(pool, lambda c: code_of(c.allocate()), "alice") == 0


async def test_sessions_are_limited_and_off_is_at_once() -> None:
    async with a_turn_pool() as pool:
        opened(pool, kbits=1000, ports=1)

        def first_and_second(client: WireClient) -> list[int]:
            codes = [code_of(client.allocate())]
            other = WireClient(serving(pool), GUEST)
            codes.append(code_of(other.allocate()))
            other.close()
            return [*codes, code_of(client.refresh(600))]

        assert await in_thread(pool, first_and_second, GUEST) == [0, 486, 0]
        assert pool.guest_report().ports == 1
        pool.guests_close()
        refused = await in_thread(pool, lambda c: code_of(c.allocate()), GUEST)
        assert refused == Code.INSUFFICIENT_CAPACITY
        assert pool.guest_report().ports == 0
        pool.turn_accounts(remove=[GUEST])
        unknown = await in_thread(pool, lambda c: code_of(c.ask_to_allocate()), GUEST)
        assert unknown == Code.UNAUTHENTICATED


async def test_what_guests_send_over_tcp_and_as_indications_is_counted_too() -> None:
    async with a_turn_pool() as pool:
        opened(pool, kbits=8000, bytes_left=3000)

        def indications(client: WireClient) -> int:
            assert code_of(client.allocate()) == 0
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
                peer.bind(("127.0.0.1", 0))
                peer.setblocking(False)
                end = Endpoint.of(peer.getsockname())
                assert code_of(client.permit(end)) == 0
                came = 0
                for _ in range(30):
                    client.send(bytes(PAYLOAD), end)
                    time.sleep(0.03)
                    came += received(peer)
                return came

        came = await in_thread(pool, indications, GUEST)
        assert isinstance(came, int)
        assert 3000 - PAYLOAD <= came <= 3000 + PAYLOAD
