"""Directories on real UDP sockets of loopback, for tests that must see real datagrams."""

import asyncio
from pathlib import Path
from typing import Any

from dht.directory import Directory
from dht.number_claims import Derive
from federation.model.address import Endpoint
from federation.model.clocks import SystemClock, SystemEntropy
from federation.model.identity import NodeKey
from federation.model.network import Network
from tests.support.dht_network import solved


class SocketNode(asyncio.DatagramProtocol):
    """One socket and the directory behind it; `async with` opens and closes both."""

    def __init__(
        self,
        number: int,
        network: Network,
        *,
        host: str = "127.0.0.1",
        derive: Derive | None = None,
        cache: Path | None = None,
    ) -> None:
        self.key = NodeKey(bytes([number]) * 32)
        self._network, self._host, self._derive, self._cache = network, host, derive, cache

    async def __aenter__(self) -> "SocketNode":
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(
            lambda: self, local_addr=(self._host, 0)
        )
        self.endpoint = Endpoint.of(self._transport.get_extra_info("sockname"))
        self.directory = Directory(
            key=self.key,
            nonce=solved(self.key, self._network),
            network=self._network,
            send=self._transport.sendto,
            own_endpoints=lambda: (self.endpoint,),
            clock=SystemClock(),
            entropy=SystemEntropy(),
            cache=self._cache,
            derive=self._derive,
        )
        await self.directory.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.directory.close()
        self._transport.close()
        await asyncio.sleep(0)

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        if data[:1] == b"\x08":
            self.directory.datagram_received(data, Endpoint.of(addr))
