"""Directories joined by an in-memory network that can delay, lose, partition and stop nodes."""

import asyncio
import random
from collections.abc import Callable
from pathlib import Path

from dht.directory import Directory
from dht.overlay_id import OverlayId, solve
from federation.model.address import Endpoint
from federation.model.clocks import SystemEntropy
from federation.model.identity import AccountId, NodeKey
from federation.model.network import Network
from federation.model.number import Number
from tests.support.virtual_loop import LoopClock

TESTNET = Network.named("test", puzzle_bits=0)


class SeededEntropy:
    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def token(self, size: int) -> bytes:
        return self._random.randbytes(size)


def quick_number(account: AccountId) -> Number:
    """Stands in for Argon2id where a test is not about it: digits of the key itself."""
    return Number(f"0{2 * 10**13 + int.from_bytes(account, 'big') % (8 * 10**13)}")


async def derive_quickly(account: AccountId) -> Number:
    return quick_number(account)


async def check_inline(check: Callable[[], OverlayId]) -> OverlayId:
    return check()


class MemoryNode:
    def __init__(
        self, network: "MemoryNetwork", number: int, endpoint: Endpoint, cache: Path | None
    ) -> None:
        self.network, self.endpoint = network, endpoint
        self.key = NodeKey(bytes([number % 256, number // 256]) + bytes([7]) * 30)
        self.clock = LoopClock(asyncio.get_running_loop())
        self.is_up = True
        self.endpoints = [endpoint]
        self.directory = Directory(
            key=self.key,
            nonce=bytes(8),
            network=TESTNET,
            send=lambda data, to: network.carry(data, self, to),
            own_endpoints=lambda: tuple(self.endpoints),
            clock=self.clock,
            entropy=SeededEntropy(number),
            cache=cache,
            send_apart=network.apart(self) if network.confirming else None,
            derive=derive_quickly,
            offload=check_inline,
        )


class MemoryNetwork:
    """Datagrams take 10-40 ms. `loss` is the share that is lost, `island` splits by endpoint.

    With `confirming`, nodes have a second port and seek confirmation that they are reached.
    """

    def __init__(self, seed: int = 1, loss: float = 0.0, confirming: bool = False) -> None:
        self.confirming = confirming
        self.filtered: dict[Endpoint, set[Endpoint]] = {}
        "Behind a firewall that lets only answers in: whom each of these nodes has sent to."
        self.nodes: dict[Endpoint, MemoryNode] = {}
        self.loss = loss
        self.island: Callable[[Endpoint], object] = lambda _: None
        self.bytes = 0
        self.tap: Callable[[bytes, Endpoint, Endpoint], None] | None = None
        self._random = random.Random(seed)

    async def node(
        self, number: int, *, endpoint: Endpoint | None = None, cache: Path | None = None
    ) -> MemoryNode:
        endpoint = endpoint or Endpoint(f"127.0.{number // 250}.{number % 250 + 1}", 7060)
        node = MemoryNode(self, number, endpoint, cache)
        self.nodes[endpoint] = node
        await node.directory.start()
        return node

    def apart(self, node: MemoryNode) -> Callable[[bytes, Endpoint], None]:
        """How a node sends from its second port."""
        port = Endpoint(node.endpoint.host, 1)
        return lambda data, to: self._carry(data, port, to)

    def carry(self, data: bytes, sender: MemoryNode, to: Endpoint) -> None:
        self._carry(data, sender.endpoint, to)

    def _carry(self, data: bytes, source: Endpoint, to: Endpoint) -> None:
        if source in self.filtered:
            self.filtered[source].add(to)
        self.bytes += len(data)
        if self.tap is not None:
            self.tap(data, source, to)
        if self._random.random() < self.loss or self.island(source) != self.island(to):
            return
        delay = 0.01 + 0.03 * self._random.random()
        asyncio.get_running_loop().call_later(delay, self._deliver, data, source, to)

    def _deliver(self, data: bytes, source: Endpoint, to: Endpoint) -> None:
        node = self.nodes.get(to)
        if source not in self.filtered.get(to, (source,)):
            return
        if node is not None and node.is_up:
            node.directory.datagram_received(data, source)

    async def stop(self, node: MemoryNode) -> None:
        node.is_up = False
        await node.directory.close()
        del self.nodes[node.endpoint]

    async def close(self) -> None:
        for node in list(self.nodes.values()):
            await self.stop(node)


def solved(key: NodeKey, network: Network) -> bytes:
    return solve(key.id, network, entropy=SystemEntropy(), threads=1)
