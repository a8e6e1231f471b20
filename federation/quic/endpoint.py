"""Both ends of QUIC on the one mesh socket: who a packet is for, who may begin a handshake.

Above `RETRY_THRESHOLD` handshakes under way, strangers must first show that they receive at the
address they send from (RFC 9000 8.1.2); a spoofed Initial then costs 0.02 ms and no memory, instead
of 1.8 ms and a connection. Above `MAX_HALF_OPEN`, or `MAX_HALF_OPEN_PER_GROUP` from one network,
Initials are dropped.
"""

import asyncio
from collections import Counter
from collections.abc import Callable

from aioquic.buffer import Buffer  # type: ignore[attr-defined]  # re-exported, but not said so
from aioquic.quic.configuration import SMALLEST_MAX_DATAGRAM_SIZE
from aioquic.quic.packet import (
    QuicHeader,
    QuicPacketType,
    encode_quic_retry,
    encode_quic_version_negotiation,
    pull_quic_header,
)
from aioquic.quic.retry import QuicRetryTokenHandler

from federation.model.address import Endpoint, network_group
from federation.model.clocks import Clock, Entropy
from federation.model.errors import UsageError
from federation.model.identity import NodeId, NodeKey
from federation.model.network import Network
from federation.ports import DatagramPort
from federation.quic.certificate import node_certificate, quic_configuration
from federation.quic.connection import Connection
from federation.quic.pinned import PinnedConnection

RETRY_THRESHOLD = 32
MAX_HALF_OPEN = 256
MAX_HALF_OPEN_PER_GROUP = 64
"Per /24 or /48."
_RETRY_CID_BYTES = 8

AcceptCallback = Callable[[Connection, Endpoint], None]


class QuicEndpoint:
    """Every QUIC connection of this node, dialled or accepted.

    `on_accept` gets each connection a stranger begins, before its handshake, and sets its handler.
    Whoever owns the connection calls `settled` once its peer has shown itself in full.
    """

    def __init__(
        self,
        *,
        key: NodeKey,
        network: Network,
        port: DatagramPort,
        clock: Clock,
        entropy: Entropy,
        on_accept: AcceptCallback,
    ) -> None:
        certificate = node_certificate(key)
        self._client = quic_configuration(key, certificate, network, is_client=True)
        self._server = quic_configuration(key, certificate, network, is_client=False)
        self._port = port
        self._clock = clock
        self._entropy = entropy
        self._on_accept = on_accept
        self._loop = asyncio.get_running_loop()
        self._retry = QuicRetryTokenHandler()
        self._by_cid: dict[bytes, Connection] = {}
        self._cids: dict[Connection, set[bytes]] = {}
        self._half_open: dict[Connection, bytes] = {}
        self._half_open_groups: Counter[bytes] = Counter()
        self._marked: dict[Connection, None] = {}
        self._is_flush_due = False
        self._is_closed = False

    @property
    def connection_count(self) -> int:
        """Connections in any state."""
        return len(self._cids)

    @property
    def half_open_count(self) -> int:
        """Accepted connections whose peer has not shown itself yet."""
        return len(self._half_open)

    @property
    def asks_for_retry(self) -> bool:
        """Whether strangers must prove their address first."""
        return len(self._half_open) >= RETRY_THRESHOLD

    def dial(self, endpoint: Endpoint, expected: NodeId | None) -> Connection:
        """Begin a handshake with the node at `endpoint`, pinned to `expected` if given."""
        if self._is_closed:
            raise UsageError("the endpoint is closed")
        quic = PinnedConnection(configuration=self._client)
        quic.expected = expected
        connection = self._adopt(quic)
        connection.connect(endpoint)
        return connection

    def datagram_received(self, data: bytes, source: Endpoint) -> None:
        """Take a datagram whose first byte says QUIC (RFC 9443: 64 and above)."""
        try:
            header = pull_quic_header(
                Buffer(data=data), host_cid_length=self._server.connection_id_length
            )
        except ValueError:
            return
        connection = self._by_cid.get(header.destination_cid)
        if connection is None:
            connection = self._greet(header, data, source)
        if connection is not None:
            connection.receive(data, source)

    def settled(self, connection: Connection) -> None:
        """The peer of an accepted connection has shown itself; it no longer counts as half open."""
        group = self._half_open.pop(connection, None)
        if group is not None:
            self._half_open_groups[group] -= 1
            if not self._half_open_groups[group]:
                del self._half_open_groups[group]

    def close(self) -> None:
        """Forget everything; connections were closed by their owners."""
        self._is_closed = True
        self._flush()

    # -- strangers ------------------------------------------------------------------------

    def _greet(self, header: QuicHeader, data: bytes, source: Endpoint) -> Connection | None:
        """Decide on a packet that belongs to no connection."""
        if self._is_closed or header.version is None:
            return None
        if len(data) < SMALLEST_MAX_DATAGRAM_SIZE:
            return None
        if header.packet_type == QuicPacketType.VERSION_NEGOTIATION:
            return None
        if header.version not in self._server.supported_versions:
            self._port.send(
                encode_quic_version_negotiation(
                    source_cid=header.destination_cid,
                    destination_cid=header.source_cid,
                    supported_versions=self._server.supported_versions,
                ),
                source,
            )
            return None
        if header.packet_type != QuicPacketType.INITIAL:
            return None
        group = network_group(source.ip)
        if (
            len(self._half_open) >= MAX_HALF_OPEN
            or self._half_open_groups[group] >= MAX_HALF_OPEN_PER_GROUP
        ):
            return None
        if self.asks_for_retry and not header.token:
            self._send_retry(header, source)
            return None
        original, retried = header.destination_cid, None
        if header.token:
            try:
                original = self._retry.validate_token(
                    address=(source.host, source.port),
                    destination_cid=header.destination_cid,
                    token=header.token,
                    now=self._clock.monotonic(),
                )
            except ValueError:
                return None
            retried = header.destination_cid
        return self._accept(header, source, original, retried, group)

    def _send_retry(self, header: QuicHeader, source: Endpoint) -> None:
        assert header.version is not None
        cid = self._entropy.token(_RETRY_CID_BYTES)
        token = self._retry.create_token(
            address=(source.host, source.port),
            original_destination_connection_id=header.destination_cid,
            retry_source_connection_id=cid,
            now=self._clock.monotonic(),
        )
        self._port.send(
            encode_quic_retry(
                version=header.version,
                source_cid=cid,
                destination_cid=header.source_cid,
                original_destination_cid=header.destination_cid,
                retry_token=token,
            ),
            source,
        )

    def _accept(
        self,
        header: QuicHeader,
        source: Endpoint,
        original: bytes,
        retried: bytes | None,
        group: bytes,
    ) -> Connection:
        quic = PinnedConnection(
            configuration=self._server,
            original_destination_connection_id=original,
            retry_source_connection_id=retried,
        )
        connection = self._adopt(quic)
        self.issued(header.destination_cid, connection)
        self._half_open[connection] = group
        self._half_open_groups[group] += 1
        self._on_accept(connection, source)
        return connection

    def _adopt(self, quic: PinnedConnection) -> Connection:
        connection = Connection(quic, owner=self, clock=self._clock, loop=self._loop)
        self._cids[connection] = set()
        self.issued(quic.host_cid, connection)
        return connection

    # -- what connections ask -------------------------------------------------------------

    def send(self, data: bytes, endpoint: Endpoint) -> None:
        """Send a datagram."""
        self._port.send(data, endpoint)

    def mark(self, connection: Connection) -> None:
        """Flush this connection at the end of the loop's turn, once for all that was written."""
        self._marked[connection] = None
        if not self._is_flush_due:
            self._is_flush_due = True
            self._loop.call_soon(self._flush)

    def issued(self, cid: bytes, connection: Connection) -> None:
        """Packets for this id are for this connection."""
        self._by_cid[cid] = connection
        self._cids[connection].add(cid)

    def retired(self, cid: bytes) -> None:
        """Packets for this id are for nobody."""
        connection = self._by_cid.pop(cid, None)
        if connection is not None:
            self._cids[connection].discard(cid)

    def forget(self, connection: Connection) -> None:
        """The connection is over."""
        for cid in self._cids.pop(connection, ()):
            del self._by_cid[cid]
        self._marked.pop(connection, None)
        self.settled(connection)

    def _flush(self) -> None:
        self._is_flush_due = False
        marked, self._marked = self._marked, {}
        for connection in marked:
            connection.flush()
