"""The parts of a node, each made and joined with those it needs, in the order of a start."""

import asyncio
import contextlib
from collections.abc import Sequence
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
from node.addresses import listen_hosts, mesh_endpoints, own_addresses
from node.authenticator import authenticator
from node.certificates import Certificates, names_in_certificate
from node.config import Config
from node.desks import Desks
from node.edge.edge import Edge
from node.edge.edge_parts import EdgeParts
from node.edge.outward import OutwardParts
from node.edge.vouching import NumberChecks, Voucher
from node.loaded import Loaded
from node.media import open_relay
from node.observing import Observing
from node.opened_database import open_database
from node.outer_watch import OuterWatch
from node.outside_calls import open_outside
from node.pin_desk import PinDesk
from node.publication import Publication
from node.receiver import Receiver
from node.relaying.room import RelayRoom
from node.routing import Locator, TargetReader
from node.second_port import SecondPort
from node.sip.flow import Flow
from node.sip.registrar import Registrar
from node.sip.transports.sockets import ListenError, SipTransports
from node.software import SOFTWARE
from node.storage.bans import BanBook
from node.storage.bindings import BindingStore
from node.storage.call_records import CallRecords
from node.storage.dialogs import DialogStore
from node.storage.features import FeatureBook
from node.storage.messages import MessageStore
from node.storage.pins import PinBook
from node.storage.published import PublishedNames
from node.storage.ring_groups import RingGroups
from node.storage.storage import Storage
from node.storage.verified_numbers import VerifiedNumbers
from node.tracing.tap import Tap
from node.trunk_room import TrunkRoom
from node.turn import TurnService
from node.turn_credentials import turn_secret
from node.web.room import WebRoom

log = structlog.get_logger("node")


class Opening(Desks):
    """The part of `node.app.Node` that opens the others; each is closed in the opposite order."""

    _config: Config
    _clock: SystemClock
    _entropy: SystemEntropy
    _nonce: bytes
    _stack: contextlib.AsyncExitStack
    _addresses: Sequence[str]
    "The machine's own."

    async def _open_storage(self) -> Loaded:
        database = open_database(self._config, self._state)
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
            web_origins=self._config.sip.web_origins,
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
            outer=lambda: self.names.outer.addresses,
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
        self.outer_watch = OuterWatch(
            config.relay.external_address,
            config.mesh_port,
            self.names.outer,
            ask=self.directory.outer,
            own=lambda: self._addresses,
            on_change=self._on_outer,
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
        self._open_routing()
        voucher = Voucher(
            self._key,
            self._config.net,
            self._clock,
            checks,
            own_domain=lambda: next(iter(self.config.domains), self.names.key_name),
            proven=self.prover.cached,
        )
        small = PooledEntropy()
        self._observing = Observing(Tap(), self._config, self._trunks)
        self.counts = self._trunks.counts
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
                tap=self._observing.tap,
                counts=self.counts,
            )
        )
        self.trace_desk = self._observing.attach(self.edge, self.storage, self._clock, self)
        self._receiver.target = self.edge.inbound
        self._stack.push_async_callback(self.edge.close)
        self._stack.push_async_callback(self.links.drain)
        self.edge.start(loaded.dialogs, loaded.messages)
        self._trunks.start(self.edge)
        self._stack.push_async_callback(self._trunks.close)

    def _open_routing(self) -> None:
        """What reads a dialled target, and finds it."""
        self.locator = Locator(
            self._key.id,
            self.directory,
            self.pin_book,
            self.prover.prove,
            self._clock,
            servers=self.servers,
            offerers=self._config.dialling.offerers,
        )
        self.reader = TargetReader(
            self.names,
            self.accounts,
            emergency=frozenset(self._config.dialling.emergency_numbers),
            calls_outside=self._config.sip.outbound,
            trunks=self._trunks.book,
            has_offers=bool(self._config.dialling.offers_from),
        )

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
        self._open_monitor()

    def _open_monitor(self) -> None:
        assert self.edge is not None
        self.monitor = self._observing.monitor(self, self.edge, self.bans)
        self._web.public += self.monitor.health_routes()
        self._web.authorised += self.monitor.metrics_routes()

    def _open_web(self, loaded: Loaded) -> None:
        """Made early, so that other parts can add routes; served last, when all can answer."""
        self._web = WebRoom(
            self._config,
            loaded,
            self._storage,
            self._certificates,
            served=lambda: self.served_at,
            account=self._account,
            clock=self._clock,
            entropy=self._entropy,
        )
        self._web.public += self._transports.web.routes()
        self._web.follow(self.accounts)
        self.web_desk = self._web.desk
        self.invitation_desk = self._web.invitations
        self.provisioning_desk = self._web.provisioning

    async def _serve_web(self) -> None:
        await self._web.start(self)
        self._stack.push_async_callback(self._web.close)

    # What the parts ask and tell

    def _on_outer(self) -> None:
        """Peers see this node at another address; the directory follows `own_endpoints`."""
        outer = self.outer_watch.endpoints
        self.own_endpoints = mesh_endpoints(self._config.mesh_port, self._addresses, outer)
        self.relay.reached_at(self.names.outer.addresses)

    async def _addresses_of(self, node: NodeId) -> Sequence[Endpoint]:
        found = await self.directory.find(Kind.ADDRESS, node, "")
        payload = found.records[0].address if isinstance(found, Found) else None
        if payload is None:
            return ()
        return [end for end in payload.endpoints if may_try(end, self.own_endpoints)]

    def _on_sip(self, data: bytes, flow: Flow) -> None:
        if self.edge is not None:
            self.edge.receive(data, flow)

    def _on_flow_closed(self, flow: Flow) -> None:
        if self.edge is not None:
            self.edge.flow_closed(flow)
