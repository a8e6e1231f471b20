"""The node: every part made, joined, started and stopped (`node.process` runs it)."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import structlog

from dht.asn_map import AsnMap, load_asn_map
from dht.directory import Directory
from dht.finder import Found
from dht.record import Kind
from dht.scope import may_try
from federation.domain_proof import DnsResolver, DomainProof
from federation.mesh import MeshSocket
from federation.model.address import Endpoint
from federation.model.clocks import PooledEntropy, SystemClock, SystemEntropy
from federation.model.errors import ConfigError
from federation.model.identity import NodeId
from federation.peers import Links
from node.accounts.book import AccountBook
from node.accounts.keeper import AccountKeeper
from node.accounts.login import Reserved
from node.addresses import listen_hosts, mesh_endpoints, own_addresses, resolve_targets
from node.authenticator import authenticator
from node.certificates import Certificates, names_in_certificate
from node.config import Config
from node.desks import Desks
from node.discovery import Discovery
from node.domain_desk import DomainNames
from node.edge.edge import Edge, EdgeParts
from node.edge.outward import OutwardParts
from node.edge.vouching import NumberChecks, Voucher
from node.loaded import Loaded
from node.media import open_relay
from node.names import OwnNames
from node.neighbours import Neighbours
from node.outside_calls import open_outside
from node.pin_desk import PinDesk
from node.process import Identity
from node.publication import Publication
from node.receiver import Receiver
from node.relaying.room import RelayRoom
from node.routing import Locator, TargetReader
from node.second_port import SecondPort
from node.sheet import ServedAt
from node.sip.flow import Flow
from node.sip.registrar import Registrar
from node.sip.transports.sockets import ListenError, SipTransports
from node.software import SOFTWARE
from node.state import StateFolder
from node.storage.bans import BanBook
from node.storage.bindings import BindingStore
from node.storage.call_records import CallRecords
from node.storage.database import Database
from node.storage.dialogs import DialogStore
from node.storage.features import FeatureBook
from node.storage.messages import MessageStore
from node.storage.pins import PinBook
from node.storage.published import PublishedNames
from node.storage.ring_groups import RingGroups
from node.storage.storage import Storage
from node.storage.verified_numbers import VerifiedNumbers
from node.trunk_room import TrunkRoom
from node.turn import TurnService
from node.turn_credentials import turn_secret

log = structlog.get_logger("node")


class Node(Desks):
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

    # Start, part by part; each part is closed in the opposite order

    async def _start(self) -> None:
        config = self._config
        addresses = own_addresses(config.listen)
        self.names = OwnNames(
            self._key.id,
            domains=config.domains,
            addresses=addresses,
            sip_port=config.sip_port,
            tls_port=config.tls_port,
        )
        self.node_id = self._key.id
        self.started_at = self._clock.monotonic()
        self.clock = self._clock
        self.config = config
        self.own_endpoints = self._mesh_endpoints(addresses)
        loaded = await self._open_storage()
        self._domain_names = DomainNames(config.domains, loaded.domains)
        self._take_domains()
        self.served_at = ServedAt.of(self.config, self._key.id)
        await self._open_sockets()
        await self._open_relay(loaded)
        self._open_mesh(await self._read_asn_map())
        self._open_edge(loaded)
        await self._open_directory(loaded)

    async def _open_storage(self) -> Loaded:
        database = Database.open(self._state.path)
        self._stack.callback(database.close)
        loaded = Loaded.from_database(database, entropy=self._entropy, now=self._clock.unix())
        self._storage = Storage(database)
        self._storage.start()
        self.storage = self._storage
        self._stack.push_async_callback(self._storage.close)
        self.accounts = AccountBook(loaded.accounts)
        self.pin_book = PinBook(loaded.pins, self._storage)
        self.pin_desk = PinDesk(self.pin_book, self._clock)
        self._verified = VerifiedNumbers(loaded.verified, self._storage)
        self.features = FeatureBook(loaded.features, self._storage)
        self.bans = BanBook(loaded.bans, self._storage, now=self._clock.unix())
        self.ring_groups = RingGroups(loaded.ring_groups, self._storage)
        self._bindings = BindingStore(self._storage)
        self.registrar = Registrar()
        self.registrar.restore(loaded.bindings, now=self._clock.unix())
        self.keeper = AccountKeeper(
            self.accounts,
            self._storage,
            clock=self._clock,
            entropy=self._entropy,
            domains=lambda: self.served_at.login_domains,
            reserved=Reserved(emergency=frozenset(self._config.dialling.emergency_numbers)),
        )
        self._stack.push_async_callback(self.keeper.close)
        return loaded

    async def _open_sockets(self) -> None:
        hosts = listen_hosts(self._config.listen)
        names = names_in_certificate(lambda: self.served_at)
        self._certificates = Certificates(self._config.tls, self._state, names, self._clock)
        self._certificates.open()
        self._transports = SipTransports(
            on_data=self._on_sip,
            on_closed=self._on_flow_closed,
            clock=self._clock,
            tls=self._certificates,
        )
        try:
            await self._transports.start(hosts, self._config.sip_port, self._config.tls_port)
        except ListenError as error:
            if not error.is_in_use:
                raise ConfigError(
                    f"SIP port: {error.transport} {error.listen} cannot be bound "
                    f"({error.strerror}); use an address of this machine with --listen"
                ) from error
            raise ConfigError(
                f"SIP port: {error.transport} {error.listen} is in use by another program; "
                "stop it, or choose other ports with --port-offset"
            ) from error
        self._stack.push_async_callback(self._transports.close)
        self.mesh = MeshSocket(hosts, self._config.mesh_port)
        await self.mesh.start()
        self._stack.callback(self.mesh.close)
        self._second_port = SecondPort(hosts)
        self._stack.callback(self._second_port.close)

    async def _open_relay(self, loaded: Loaded) -> None:
        self.relay = await open_relay(self._config, clock=self._clock, entropy=self._entropy)
        self._stack.push_async_callback(self.relay.close)
        self.turn_secret = turn_secret(self._config, loaded.turn_secret)
        self._turn = TurnService(
            self.relay, self.accounts, lambda: self._certificates.pair, self.turn_secret
        )
        self.relaying = RelayRoom(
            self._key,
            self._config,
            loaded,
            self.relay,
            self.storage,
            served=lambda: self.served_at,
            own=lambda: self.own_endpoints,
            clock=self._clock,
            entropy=self._entropy,
        )
        self._turn.start(self._config, own_addresses(self._config.listen))

    async def _read_asn_map(self) -> AsnMap | None:
        path = self._config.dht.asn_map
        if path is None:
            return None
        read = await asyncio.to_thread(load_asn_map, Path(path))
        log.info("asn_map_read", path=path, entries=read.entries)
        return read

    def _open_mesh(self, asn_map: AsnMap | None) -> None:
        config = self._config
        self.directory = Directory(
            key=self._key,
            nonce=self._nonce,
            network=config.net,
            send=self.mesh.send,
            own_endpoints=lambda: self.own_endpoints,
            clock=self._clock,
            entropy=self._entropy,
            cache=self._state.peer_cache,
            send_apart=self._second_port.send,
            asn_of=None if asn_map is None else asn_map.asn_of,
            sealed=config.dht.sealed,
        )
        self.mesh.on_dht = self.directory.datagram_received
        self._receiver = Receiver(self.relaying.hears)
        self.links = Links(
            key=self._key,
            network=config.net,
            mesh=self.mesh,
            addresses=self._addresses_of,
            receiver=self._receiver,
            clock=self._clock,
            entropy=self._entropy,
            domains=lambda: self.config.domains,
            software=SOFTWARE,
        )
        self._resolver = DnsResolver(config.dns.endpoints)
        self.prover = DomainProof(
            identify=self._careful(self.links.identify),
            clock=self._clock,
            resolver=self._resolver,
        )
        self._stack.push_async_callback(self.prover.close)

    def _open_edge(self, loaded: Loaded) -> None:
        checks = NumberChecks(self._clock, self._verified)
        self._stack.callback(checks.close)
        outward = self._open_outside()
        self._open_trunks(loaded)
        self.locator = Locator(
            self._key.id,
            self.directory,
            self.pin_book,
            self.prover.prove,
            self._clock,
            servers=self.servers,
        )
        self.reader = TargetReader(
            self.names,
            self.accounts,
            emergency=frozenset(self._config.dialling.emergency_numbers),
            calls_outside=self._config.sip.outbound,
            trunks=self._trunks.book,
        )
        voucher = Voucher(
            self._key,
            self._config.net,
            self._clock,
            checks,
            own_domain=lambda: next(iter(self.config.domains), self.names.key_name),
            proven=self.prover.cached,
        )
        small = PooledEntropy()
        self.edge = Edge(
            EdgeParts(
                node=self._key.id,
                names=self.names,
                token_secret=loaded.route_secret,
                wires=self._transports,
                links=self.links,
                relay=self.relay,
                accounts=self.accounts,
                digest=authenticator(self.accounts, entropy=self._entropy, nonces=small),
                registrar=self.registrar,
                reader=self.reader,
                locator=self.locator,
                voucher=voucher,
                overload=self._transports.overload,
                store_bindings=self._bindings.apply,
                dialogs=DialogStore(self._storage),
                records=CallRecords(self._storage),
                features=self.features,
                ring_groups=self.ring_groups,
                media_timeout=self._config.media.timeout,
                bans=self.bans,
                limits=self._config.limits,
                clock=self._clock,
                entropy=small,
                sip=self._config.sip,
                outward=outward,
                messages=MessageStore(self._storage),
                trunks=self._trunks.parts,
            )
        )
        self._receiver.target = self.edge.inbound
        self._stack.push_async_callback(self.edge.close)
        self._stack.push_async_callback(self.links.drain)
        self.edge.start(loaded.dialogs, loaded.messages)
        self._trunks.start(self.edge)
        self._stack.push_async_callback(self._trunks.close)

    def _open_trunks(self, loaded: Loaded) -> None:
        self._trunks = TrunkRoom(
            loaded,
            self._storage,
            self._transports,
            self.names,
            self._config,
            self.registrar,
            clock=self._clock,
            entropy=self._entropy,
        )

    def _open_outside(self) -> OutwardParts | None:
        """What calls to other SIP networks need, where they are allowed."""
        if not self._config.sip.outbound:
            return None
        self.servers, parts = open_outside(
            self._config,
            self.names,
            self._transports,
            lambda: self.served_at.domains[0] if self.served_at.proven else None,
            clock=self._clock,
            entropy=self._entropy,
        )
        self._stack.push_async_callback(self.servers.close)
        return parts

    async def _open_directory(self, loaded: Loaded) -> None:
        for account, number in loaded.verified:
            self.directory.trust_number(number, account)
        await self.directory.start()
        self._stack.push_async_callback(self.directory.close)
        self._publication = Publication(
            self.accounts,
            self.directory,
            PublishedNames(loaded.published, self._storage),
            self._clock,
            self._trunks.book,
        )
        self._publication.start(self._key.id, self.config.domains)
        self.keeper.start()
        self.relaying.join(self.links, self.directory)
        self._open_desks()
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
        tasks.append(asyncio.create_task(self._certificates.watch()))
        tasks.append(asyncio.create_task(self._turn.follow()))
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
        self.own_endpoints = self._mesh_endpoints(addresses)
        self.names.set_addresses(addresses)
        self._serve(self._proven)

    # What the parts ask and tell

    def _mesh_endpoints(self, addresses: Sequence[str]) -> tuple[Endpoint, ...]:
        return mesh_endpoints(self._config, addresses)

    async def _addresses_of(self, node: NodeId) -> Sequence[Endpoint]:
        found = await self.directory.find(Kind.ADDRESS, node, "")
        payload = found.records[0].address if isinstance(found, Found) else None
        if payload is None:
            return ()
        return [end for end in payload.endpoints if may_try(end, self.own_endpoints)]

    def _on_found(self, node: NodeId, endpoints: tuple[Endpoint, ...]) -> None:
        for endpoint in endpoints:
            if may_try(endpoint, self.own_endpoints):
                self.directory.add_candidate(endpoint)

    def _on_sip(self, data: bytes, flow: Flow) -> None:
        if self.edge is not None:
            self.edge.receive(data, flow)

    def _on_flow_closed(self, flow: Flow) -> None:
        if self.edge is not None:
            self.edge.flow_closed(flow)
