"""The node: every part made, joined, started and stopped (`node.process` runs it)."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

import structlog

from dht.scope import may_try
from federation.model.address import Endpoint
from federation.model.clocks import SystemClock, SystemEntropy
from federation.model.identity import NodeId
from node.addresses import attached_networks, mesh_endpoints, own_addresses, resolve_targets
from node.config import Config
from node.discovery import Discovery
from node.domain_desk import DomainNames
from node.names import OwnNames
from node.neighbours import Neighbours
from node.opening import Opening
from node.outer import OuterAddresses
from node.process import Identity
from node.sheet import ServedAt
from node.state import StateFolder

log = structlog.get_logger("node")


class Node(Opening):
    """One running node. What people ask of it is answered by `Answers`."""

    def __init__(self, config: Config, state: StateFolder, identity: Identity) -> None:
        self._config = config
        self._state = state
        self._key = identity.key
        self._nonce = identity.nonce
        self._clock = SystemClock()
        self._entropy = SystemEntropy()
        self._stack = contextlib.AsyncExitStack()
        self._failure: asyncio.Future[str] | None = None

    # Life

    async def start(self) -> None:
        """Bind, load, join; on return calls are taken.

        Raises:
            RingmeshError: a person must change something; everything opened is closed again.
        """
        self._failure = asyncio.get_running_loop().create_future()
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        self.ready = True

    async def stop(self) -> None:
        """End calls, tell peers, close everything."""
        self.ready = False
        try:
            if self.edge is not None:
                await self.edge.drain()
        finally:
            await self._stack.aclose()

    async def failed(self) -> str:
        """Return, with a sentence, only if the node cannot go on."""
        assert self._failure is not None
        return await self._failure

    def reload(self) -> None:
        """Read again what may be changed while the node runs: certificates."""
        self._certificates.look(again=True)

    async def _start(self) -> None:
        config = self._config
        self._addresses = addresses = own_addresses(config.listen)
        self.names = OwnNames(
            self._key.id,
            domains=config.domains,
            addresses=addresses,
            sip_port=config.sip_port,
            tls_port=config.tls_port,
            outer=OuterAddresses(config.relay.external_address, config.relay.inside_networks),
        )
        outer = [Endpoint(host, config.mesh_port) for host in self.names.outer.addresses]
        self.names.outer.set_attached(attached_networks())
        self.node_id = self._key.id
        self.started_at = self._clock.monotonic()
        self.clock = self._clock
        self.config = config
        self.own_endpoints = mesh_endpoints(config.mesh_port, addresses, outer)
        loaded = await self._open_storage()
        self._domain_names = DomainNames(config.domains, loaded.domains)
        self._take_domains()
        self.served_at = ServedAt.of(self.config, self._key.id)
        await self._open_sockets()
        self._open_web(loaded)
        await self._open_relay(loaded)
        self._open_mesh(await self._read_asn_map())
        self._open_edge(loaded)
        await self._open_directory(loaded)
        await self._serve_web()
        await self._stack.enter_async_context(self._company())

    @contextlib.asynccontextmanager
    async def _company(self) -> AsyncIterator[None]:
        """Looks for other nodes while the node runs; none of it holds the start up."""
        neighbours = Neighbours(
            own_addresses(self._config.listen),
            look=lambda: own_addresses(self._config.listen),
            on_moved=self._on_moved,
            announcer=self._announcer,
        )
        tasks = [asyncio.create_task(self._join()), asyncio.create_task(neighbours.follow())]
        tasks.append(asyncio.create_task(self._looks.run()))
        tasks.append(asyncio.create_task(self._observing.run()))
        tasks.append(asyncio.create_task(self._certificates.watch()))
        tasks.append(asyncio.create_task(self._turn.follow()))
        tasks.append(asyncio.create_task(self.outer_watch.follow()))
        tasks.append(asyncio.create_task(self.relaying.run()))
        if self._config.mesh.mdns:
            tasks.append(asyncio.create_task(neighbours.discover()))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _join(self) -> None:
        endpoints, complaints = await resolve_targets(self._config.mesh.join)
        for complaint in complaints:
            log.warning("join_unknown", reason=complaint)
        if endpoints:
            known = await self.directory.join(endpoints)
            log.info("joined", asked=len(endpoints), known=known)

    def _announcer(self) -> Discovery:
        return Discovery(
            node=self._key.id,
            network=self._config.net,
            port=self._config.mesh_port,
            addresses=self.served_at.addresses,
            on_found=self._on_found,
        )

    def _on_moved(self, addresses: Sequence[str]) -> None:
        """This machine has other addresses; the directory follows `own_endpoints` by itself."""
        self._addresses = addresses
        self.names.set_addresses(addresses)
        self.names.outer.set_attached(attached_networks())
        self.outer_watch.look()
        self._on_outer()
        self._serve(self._proven)

    def _on_found(self, node: NodeId, endpoints: tuple[Endpoint, ...]) -> None:
        for endpoint in endpoints:
            if may_try(endpoint, self.own_endpoints):
                self.directory.add_candidate(endpoint)
