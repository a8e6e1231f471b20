"""The rate of an account on real sockets, with clients in several workers at a time."""

import asyncio
import contextlib
import socket
import threading
import time

import pytest

from federation.model.address import Endpoint
from media_relay.pool import RelayPool
from media_relay.turn.quotas import QuotaLimits
from tests.support.turn_core import code_of
from tests.support.turn_pool import a_turn_pool, serving
from tests.support.turn_wire import WireClient

PAYLOAD = 500
KBITS = 800
RATE = KBITS * 125
CLIENTS = 6
"So many that workers share them."
HEAD = b"\x40\x00" + PAYLOAD.to_bytes(2, "big")


def flood(pool: RelayPool, seconds: float) -> tuple[int, float]:
    """Clients of one account send as fast as it goes; bytes that came, and in how many seconds."""
    with contextlib.ExitStack() as stack:
        peer = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 21)
        peer.bind(("127.0.0.1", 0))
        peer.settimeout(0.2)
        clients = [WireClient(serving(pool)) for _ in range(CLIENTS)]
        for client in clients:
            stack.callback(client.close)
            assert code_of(client.allocate()) == 0
            assert code_of(client.bind(0x4000, Endpoint.of(peer.getsockname()))) == 0
        time.sleep(1.2)  # for a first report of all workers
        ends = threading.Event()

        def send() -> None:
            while not ends.wait(0.001):
                for client in clients:
                    client.wire.send(HEAD + bytes(PAYLOAD))

        sending = threading.Thread(target=send)
        begin = time.monotonic()
        sending.start()
        came = 0
        while (now := time.monotonic()) < begin + seconds:
            with contextlib.suppress(TimeoutError):
                came += len(peer.recv(2048))
        ends.set()
        sending.join()
        return came, now - begin


async def test_the_rate_of_an_account_holds_within_two_percent_over_all_workers() -> None:
    async with a_turn_pool(workers=2, account_kbits=KBITS) as pool:
        came, seconds = await asyncio.to_thread(flood, pool, 3.0)
        slack = RATE * 0.1 + 2 * PAYLOAD
        assert came <= 1.02 * RATE * seconds + slack
        assert came >= 0.85 * RATE * seconds
        await asyncio.sleep(1.2)
        relayed = pool.turn_report().accounts["alice"]
        assert relayed.bytes_to_peers >= came
        assert relayed.bytes_dropped > came


async def test_without_a_limit_everything_passes() -> None:
    async with a_turn_pool(workers=2) as pool:
        came, seconds = await asyncio.to_thread(flood, pool, 1.0)
        assert came > 4 * RATE * seconds


@pytest.mark.parametrize(
    ("limits", "allowed"), [(QuotaLimits(account=2), 2), (QuotaLimits(source=3), 3)]
)
async def test_ports_of_an_account_and_of_a_source_are_counted_over_all_workers(
    limits: QuotaLimits, allowed: int
) -> None:
    async with a_turn_pool(workers=2, limits=limits) as pool:

        def codes() -> list[int]:
            clients = [WireClient(serving(pool)) for _ in range(CLIENTS)]
            said = [code_of(client.allocate()) for client in clients]
            for client in clients:
                client.close()
            return said

        said = await asyncio.to_thread(codes)
        assert said == [0] * allowed + [486] * (CLIENTS - allowed)
