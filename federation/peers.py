"""`Links`: the one object through which a node talks to other nodes."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Protocol

import structlog

from federation.admission import room_for
from federation.dialler import DIAL_TIMEOUT, Dialler
from federation.host import Forgettable
from federation.link import Link, LinkEvents
from federation.mesh import DatagramCallback
from federation.messages import (
    MAX_DOMAINS,
    Bye,
    Cancel,
    Hello,
    Legs,
    LinkError,
    Request,
    Response,
    StreamError,
)
from federation.model.address import Endpoint
from federation.model.clocks import Clock, Entropy
from federation.model.errors import UsageError
from federation.model.identity import NodeId, NodeKey
from federation.model.network import Network
from federation.pairing import prefers
from federation.peer import Peer
from federation.ports import (
    AddressLookup,
    ClientOwner,
    DatagramPort,
    Failure,
    LinkReceiver,
)
from federation.quic.connection import Connection
from federation.quic.endpoint import QuicEndpoint

MAX_REMEMBERED_ENDPOINTS = 4_096
DRAIN_TIMEOUT = 2.0
"Seconds that `drain` waits for answers."
_DRAIN_STEP = 0.05
_log = structlog.get_logger("links")


class MeshPort(DatagramPort, Protocol):
    """The mesh socket, as far as links need it (`mesh.MeshSocket`)."""

    on_quic: DatagramCallback | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkInfo:
    """One link, for people."""

    node: NodeId
    endpoint: Endpoint | None
    age: float
    "Seconds since both hellos were through."
    rtt: float | None
    "Seconds of the latest ping."
    is_dialler: bool
    "Whether this node began it."
    open: int
    "Transactions without a final response, both directions."
    software: str
    domains: tuple[str, ...]


class ClientTransaction:
    """A request that was handed to `Links.request`."""

    __slots__ = ("_peer", "txn")

    def __init__(self, peer: Peer, txn: bytes) -> None:
        self._peer = peer
        self.txn = txn

    def cancel(self, reason: str = "") -> None:
        """Cancel an INVITE; the owner hears how it ends.

        Not sent yet: `on_unreachable(CANCELLED)` before this returns. Sent: a cancel follows it,
        and the end is its final response, or `CANCELLED` after 32 s.
        """
        self._peer.cancel(self.txn, reason)


class Links:
    """Links to other nodes, at most one each, dialled when there is something to say.

    Args:
        mesh: the socket; its `on_quic` is taken.
        addresses: looks up a node's fresh address record; asked beside every dial.
        receiver: gets what other nodes send.
        domains: the names this node claims in its hello, asked for each new link.
        software: program name and version, for people.
    """

    def __init__(
        self,
        *,
        key: NodeKey,
        network: Network,
        mesh: MeshPort,
        addresses: AddressLookup,
        receiver: LinkReceiver,
        clock: Clock,
        entropy: Entropy,
        domains: Callable[[], Sequence[str]] = tuple,
        software: str = "ringmesh",
        features: Sequence[str] = (),
    ) -> None:
        self.clock = clock
        self.entropy = entropy
        self.receiver = receiver
        self.addresses = addresses
        self.is_draining = False
        self._id = key.id
        self._domains = domains
        self._software = software
        self._features = tuple(features)
        self._peers: dict[NodeId, Peer] = {}
        self._endpoints: OrderedDict[NodeId, Endpoint] = OrderedDict()
        self._serials = count(1)
        self._greeting: set[Link] = set()
        self._probes: set[Dialler] = set()
        self._quic = QuicEndpoint(
            key=key,
            network=network,
            port=mesh,
            clock=clock,
            entropy=entropy,
            on_accept=self._accept,
        )
        mesh.on_quic = self._quic.datagram_received

    # -- what a node does -----------------------------------------------------------------

    def request(
        self, node: NodeId, hints: Iterable[Endpoint], request: Request, owner: ClientOwner
    ) -> ClientTransaction:
        """Send a SIP request to a node, dialling it first if need be.

        The owner hears of everything that follows, never before this has returned.

        Raises:
            CodecError: the request is too long or malformed.
            UsageError: its txn is in use, or the node is this one.
        """
        peer = self._peer(node)
        if self.is_draining:
            asyncio.get_running_loop().call_soon(
                owner.on_unreachable, request.txn, Failure.SHUTDOWN
            )
        else:
            peer.request(hints, request, owner)
        return ClientTransaction(peer, request.txn)

    def send_ack(self, node: NodeId, hints: Iterable[Endpoint], request: Request) -> None:
        """Send the ACK to a 2xx: once, without answer; a lost one is called for by the 2xx.

        Raises:
            CodecError: the request is too long or malformed.
            UsageError: it is no ACK, or the node is this one.
        """
        self._peer(node).ack(hints, request)

    async def send_bye(
        self,
        node: NodeId,
        bye: Bye,
        timeout: float = 2.0,  # noqa: ASYNC109  # also how long the frame waits for a link
    ) -> bool | None:
        """Ask a node to end a dialog; whether it knew the dialog.

        `None` stands for no answer within `timeout` seconds.
        """
        return await self._peer(node).bye(bye, timeout)

    def push_2xx(self, node: NodeId, txn: bytes, sip: bytes, legs: Legs = ()) -> None:
        """Send a further or retransmitted 2xx of a request that was answered.

        Raises:
            CodecError: too long, or not a SIP response.
            UsageError: not a 2xx, or the node is this one.
        """
        self._peer(node).further_2xx(txn, sip, legs)

    async def identify(self, endpoints: Iterable[Endpoint]) -> tuple[NodeId, Hello] | None:
        """Find out which node answers at one of these addresses, and what it claims to be.

        The link that this makes is kept like any other. `None` after `DIAL_TIMEOUT` of silence.
        """
        found: asyncio.Future[Link | None] = asyncio.get_running_loop().create_future()
        dialler = Dialler(
            None,
            make_link=self.make_link,
            on_up=found.set_result,
            on_failed=lambda: found.set_result(None),
        )
        self._probes.add(dialler)
        try:
            dialler.start(endpoints, None)
            async with asyncio.timeout(2 * DIAL_TIMEOUT):
                link = await found
        except TimeoutError:
            return None
        finally:
            self._probes.discard(dialler)
            dialler.abort()
        if link is None or link.peer is None or link.hello is None:
            return None
        self._admit(link)
        return link.peer, link.hello

    # -- what a node asks -----------------------------------------------------------------

    def peers(self) -> tuple[LinkInfo, ...]:
        """Every link that is up."""
        now = self.clock.monotonic()
        return tuple(
            LinkInfo(
                node=peer.node,
                endpoint=link.endpoint,
                age=now - link.up_at,
                rtt=link.rtt,
                is_dialler=link.is_dialler,
                open=peer.open_count,
                software=link.hello.software,
                domains=link.hello.domains,
            )
            for peer in self._peers.values()
            if (link := peer.link) is not None and link.hello is not None
            if link.up_at is not None
        )

    def remote_ip(self, node: NodeId) -> str | None:
        """The IP the node's packets come, or last came, from."""
        peer = self._peers.get(node)
        if peer is not None:
            return peer.remote_ip
        endpoint = self._endpoints.get(node)
        return None if endpoint is None else endpoint.host

    def is_linked(self, node: NodeId) -> bool:
        """Whether a link to the node is up."""
        peer = self._peers.get(node)
        return peer is not None and peer.link is not None

    @property
    def half_open_count(self) -> int:
        """Strangers that have begun a handshake and not shown themselves."""
        return self._quic.half_open_count

    # -- the end --------------------------------------------------------------------------

    async def drain(self) -> None:
        """Take nothing new, wait a little for answers, say goodbye, close everything."""
        self.is_draining = True
        loop = asyncio.get_running_loop()
        until = loop.time() + DRAIN_TIMEOUT
        while self._waits_for_answers() and loop.time() < until:  # noqa: ASYNC110  # once in a life
            await asyncio.sleep(_DRAIN_STEP)
        for peer in self._peers.values():
            if peer.link is not None:
                peer.link.goodbye("shutting down")
        self.close()

    def _waits_for_answers(self) -> bool:
        return any(peer.has_pending for peer in self._peers.values())

    def close(self) -> None:
        """End everything now. Open requests end with `Failure.SHUTDOWN`."""
        self.is_draining = True
        for dialler in list(self._probes):
            dialler.abort()
        for link in list(self._greeting):
            link.close(LinkError.SHUTDOWN, "shutting down")
        for peer in list(self._peers.values()):
            peer.close(LinkError.SHUTDOWN, "shutting down")
        self._peers.clear()
        self._quic.close()

    # -- what peers ask (`host.PeerHost`) -------------------------------------------------

    def make_link(self, endpoint: Endpoint, expected: NodeId | None, events: LinkEvents) -> Link:
        """Dial one address."""
        connection = self._quic.dial(endpoint, expected)
        return self._link(connection, is_dialler=True, events=events)

    def own_id(self) -> NodeId:
        """This node."""
        return self._id

    def last_endpoint(self, node: NodeId) -> Endpoint | None:
        """Where a link to that node was, the last time."""
        return self._endpoints.get(node)

    def note_endpoint(self, node: NodeId, endpoint: Endpoint) -> None:
        """Remember where a link to that node is."""
        self._endpoints[node] = endpoint
        self._endpoints.move_to_end(node)
        if len(self._endpoints) > MAX_REMEMBERED_ENDPOINTS:
            self._endpoints.popitem(last=False)

    def peer_changed(self, peer: Forgettable) -> None:
        """Forget a peer with nothing left to remember."""
        if peer.is_idle and self._peers.get(peer.node) is peer:
            del self._peers[peer.node]

    # -- links that are beginning ---------------------------------------------------------

    def _peer(self, node: NodeId) -> Peer:
        if node == self._id:
            raise UsageError("a node has no link to itself")
        peer = self._peers.get(node)
        if peer is None:
            peer = self._peers[node] = Peer(node, self)
        return peer

    def _link(self, connection: Connection, *, is_dialler: bool, events: LinkEvents) -> Link:
        hello = Hello(
            features=self._features,
            domains=tuple(self._domains())[:MAX_DOMAINS],
            software=self._software,
        )
        return Link(
            connection,
            serial=next(self._serials),
            is_dialler=is_dialler,
            hello=hello,
            events=events,
            clock=self.clock,
        )

    def _accept(self, connection: Connection, source: Endpoint) -> None:
        self._greeting.add(self._link(connection, is_dialler=False, events=self))

    def link_established(self, link: Link) -> None:
        """A stranger has shown its key; its hello will say that it chose this connection."""

    def link_up(self, link: Link) -> None:
        """A stranger has said hello."""
        self._greeting.discard(link)
        self._quic.settled(link.connection)
        self._admit(link)

    def link_closed(self, link: Link, reason: str) -> None:
        """A stranger did not come as far as its hello."""
        self._greeting.discard(link)
        _log.debug("greeting_failed", address=str(link.endpoint), why=reason)

    def link_received(
        self, link: Link, stream: int, frame: Request | Response | Cancel | Bye
    ) -> None:
        """Nothing is received before a link is up."""

    def link_stream_ended(self, link: Link, stream: int, error: StreamError) -> None:
        """There is no stream to end before a link is up."""

    def link_leaving(self, link: Link, reason: str) -> None:
        """Nobody leaves before a link is up."""

    def _admit(self, link: Link) -> None:
        """Bring a link that is up to its peer, or close it."""
        node = link.peer
        if node is None or node == self._id or self.is_draining:
            link.close(LinkError.SHUTDOWN, "not now")
            return
        if not self._make_room(node, link):
            link.close(LinkError.FULL, "too many links")
            return
        peer = self._peer(node)
        if prefers(peer.link, link, own=self._id, now=self.clock.monotonic()):
            link.close(LinkError.DUPLICATE, "the other link is kept")
        else:
            source = "" if link.endpoint is None else link.endpoint.host
            _log.debug("link_made", node=str(node), limit_by=source)
            peer.adopt(link)

    def _make_room(self, node: NodeId, newcomer: Link) -> bool:
        others = [
            peer.link
            for peer in self._peers.values()
            if peer.link is not None and peer.node != node
        ]
        leaving = room_for(newcomer, others)
        for link in leaving or ():
            link.close(LinkError.FULL, "making room")
        return leaving is not None
