"""Everything the relay does for one call.

All methods return at once: sockets are bound here, and orders to the worker are queued in order.
A worker that dies is replaced behind the scenes; anchors keep their ports, legs their ids.
"""

import socket
from collections.abc import Mapping, Sequence
from typing import Protocol

from federation.model.address import AddressError, Endpoint, parse_ip
from federation.model.clocks import Clock, Entropy
from federation.model.errors import UsageError
from media_relay.control import (
    MAX_CLOCK_RATES,
    MAX_LEGS_A_BLOCK,
    MAX_SOURCES,
    Counters,
    Latched,
    OpenAnchor,
    Order,
)
from media_relay.outer import OuterHosts
from media_relay.ports import PortPool
from media_relay.reports import EndpointReport, Ledger, SessionReport
from media_relay.sealed import RTCP, RTP
from media_relay.sockets import bind_from
from media_relay.wanted import WantedSession


class Carrier(Protocol):
    """The worker a session lives in, as the session sees it."""

    def post(self, order: Order, sockets: Sequence[socket.socket] = ()) -> None:
        """Queue an order, and sockets that go with it."""

    def leg_endpoint(self, facing: str) -> Endpoint:
        """Where other nodes send sealed legs for this worker."""

    def new_anchor_id(self, session: "RelaySession") -> int:
        """An id unused in this worker; notices about it go to `session`."""

    def new_leg_ids(self, session: "RelaySession", count: int) -> int:
        """The first of consecutive ids unused in this worker; notices go to `session`."""

    def forget(self, session: "RelaySession") -> None:
        """The session has ended."""


class Anchor:
    """A pair of ports facing one phone. Made by `RelaySession.anchor`."""

    def __init__(self, session: "RelaySession", anchor_id: int, rtp: Endpoint) -> None:
        self._session = session
        self.id = anchor_id
        self.rtp = rtp
        "Where the phone sends RTP; an even port."
        self.rtcp = Endpoint(rtp.host, rtp.port + 1)
        "Where the phone sends RTCP."

    def expect(
        self,
        *,
        rtp: Endpoint | None,
        rtcp: Endpoint | None,
        sources: frozenset[str],
        mux: bool = False,
        udptl: bool = False,
        relatch: bool = False,
        clock_rates: Mapping[int, int] | None = None,
    ) -> None:
        """Say what the phone's SDP says now.

        Args:
            rtp: where to send RTP at once; `None` to send only to where packets come from. An
                address of the other family, multicast or 0.0.0.0 counts as `None`.
            rtcp: the same for RTCP.
            sources: IP addresses that may latch besides those of `rtp` and `rtcp`; the first
                `MAX_SOURCES` in sorted order are heeded.
            mux: RTCP goes out by the RTP port (RFC 5761).
            udptl: m=image, so datagrams of every kind pass and each may latch.
            relatch: open the lock, so that the next media packet from a source locks anew.
            clock_rates: hertz by payload type, for jitter; static types are known.

        Raises:
            AddressError: a host that is not an IP address.
            UsageError: the anchor was freed.
        """
        self._session.expect(
            self,
            self._reachable(rtp),
            self._reachable(rtcp),
            tuple(sorted(str(parse_ip(source)) for source in sources)[:MAX_SOURCES]),
            mux=mux,
            udptl=udptl,
            relatch=relatch,
            clock_rates=clock_rates or {},
        )

    def _reachable(self, endpoint: Endpoint | None) -> Endpoint | None:
        if endpoint is None or not 0 < endpoint.port <= 65535:
            return None
        ip = parse_ip(endpoint.host)
        if ip.is_multicast or ip.is_unspecified or str(ip) == "255.255.255.255":
            return None
        reached = Endpoint.from_ip(ip, endpoint.port)
        return reached if reached.is_ipv6 == self.rtp.is_ipv6 else None

    def __repr__(self) -> str:
        return f"Anchor({self.id}, {self.rtp})"


class RelaySession:
    """Anchors, sealed legs and joins of one call; made by `RelayPool.session`."""

    def __init__(
        self,
        label: str,
        carrier: Carrier,
        *,
        ports: PortPool,
        outer: OuterHosts,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self.label = label
        "What the caller calls it, in logs and reports."
        self._carrier = carrier
        self._ports = ports
        self._outer = outer
        self._clock = clock
        self._entropy = entropy
        self._wanted = WantedSession()
        self._sockets: dict[int, list[socket.socket]] = {}
        self._pairs: dict[int, int] = {}
        self._ledgers: dict[tuple[bool, int], Ledger] = {}
        self._closed = False

    # Anchors

    def anchor(self, local_ip: str) -> Anchor:
        """Bind an even RTP port and the RTCP port above it on `local_ip`.

        Raises:
            NoCapacity: no pair is left, or the address cannot be bound.
            AddressError: not an IP address.
        """
        self._check_open()
        host = str(parse_ip(local_ip))
        port, sockets = bind_from(self._ports, host, 2, now=self._clock.monotonic())
        anchor_id = self._carrier.new_anchor_id(self)
        self._sockets[anchor_id] = sockets
        self._pairs[anchor_id] = port
        self._ports.mark(port)
        self._ports.mark(port + 1)
        self._ledgers[False, anchor_id] = Ledger(anchor_id)
        self._post(self._wanted.open_anchor(anchor_id))
        return Anchor(self, anchor_id, Endpoint(host, port))

    def expect(
        self,
        anchor: Anchor,
        rtp: Endpoint | None,
        rtcp: Endpoint | None,
        sources: tuple[str, ...],
        *,
        mux: bool,
        udptl: bool,
        relatch: bool,
        clock_rates: Mapping[int, int],
    ) -> None:
        """See `Anchor.expect`, which checks the addresses."""
        local = anchor.rtp.host
        rates = {
            payload_type: rate
            for payload_type, rate in clock_rates.items()
            if 0 <= payload_type < MAX_CLOCK_RATES and 0 < rate <= 0xFFFFFFFF
        }
        self._post(
            self._wanted.expect(
                anchor.id,
                None if rtp is None else self._outer.inward(rtp, local),
                None if rtcp is None else self._outer.inward(rtcp, local),
                tuple(sorted(self._outer.sources(sources, local))[:MAX_SOURCES]),
                mux=mux,
                udptl=udptl,
                relatch=relatch,
                clock_rates=rates,
            )
        )

    def free_anchor(self, anchor: Anchor) -> None:
        """Give an anchor's ports back and end its join; once freed, nothing happens."""
        for order in self._wanted.free_anchor(anchor.id):
            self._post(order)
            self._release(anchor.id)

    # Legs

    def leg_port(self, facing: str) -> Endpoint:
        """Where the other node sends sealed datagrams of this session.

        `facing` is our address on the way to it: it chooses the family, and is the host returned
        where the port is bound to every address.

        Raises:
            NoCapacity: legs of that family have no port here.
            AddressError: not an IP address.
        """
        return self._carrier.leg_endpoint(facing)

    def leg_block(self, count: int) -> int:
        """Reserve `count` consecutive receive ids and return the first.

        What comes for them is dropped and counted until they are installed.

        Raises:
            UsageError: not between 1 and `MAX_LEGS_A_BLOCK`.
        """
        self._check_open()
        if not 1 <= count <= MAX_LEGS_A_BLOCK:
            raise UsageError(f"a block has 1 to {MAX_LEGS_A_BLOCK} legs, not {count}")
        first = self._carrier.new_leg_ids(self, count)
        for leg_id in range(first, first + count):
            self._ledgers[True, leg_id] = Ledger(leg_id)
        self._post(self._wanted.reserve_legs(first, count))
        return first

    def install_leg(
        self,
        leg_id: int,
        *,
        peer_leg: int,
        peer: Endpoint,
        send_key: bytes,
        receive_key: bytes,
        told: bool,
    ) -> None:
        """Give a reserved leg its keys, its peer's leg id and its peer's address.

        With `told` the address is hearsay: only keepalives go there until an authentic datagram
        came. Afterwards every leg follows the source of authentic datagrams.

        Raises:
            AddressError: the peer cannot be an address of one node.
            NoCapacity: legs of the peer's family have no port here.
            UsageError: no such leg, or a key or id of the wrong size.
        """
        if len(send_key) != 16 or len(receive_key) != 16 or not 0 <= peer_leg <= 0xFFFFFFFF:
            raise UsageError("a leg has two keys of 16 bytes and a peer id of 32 bits")
        ip = parse_ip(peer.host)
        if ip.is_multicast or ip.is_unspecified or not 0 < peer.port <= 65535:
            raise AddressError(f"{peer} cannot be the address of a node")
        self._carrier.leg_endpoint(peer.host)
        self._post(
            self._wanted.install_leg(
                leg_id,
                peer_leg=peer_leg,
                peer=Endpoint.from_ip(ip, peer.port),
                send_key=send_key,
                receive_key=receive_key,
                told=told,
            )
        )

    def free_leg(self, leg_id: int) -> None:
        """End a leg and its join; once freed, nothing happens."""
        for order in self._wanted.free_leg(leg_id):
            self._post(order)

    # Joins

    def join(self, one: Anchor | int, other: Anchor | int) -> None:
        """Join two anchors, an anchor and a leg (by its id), or two legs.

        Whatever either side was joined to before is dropped and counted from now on.

        Raises:
            UsageError: not endpoints of this session.
        """
        wanted = self._wanted
        match one, other:
            case Anchor(), Anchor():
                self._post(wanted.join_anchors(one.id, other.id))
            case Anchor(), int():
                self._post(wanted.join_leg(one.id, other))
            case int(), Anchor():
                self._post(wanted.join_leg(other.id, one))
            case int(), int():
                self._post(wanted.join_legs(one, other))

    def unjoin(self, anchor: Anchor) -> None:
        """End an anchor's join or echo.

        Raises:
            UsageError: not an anchor of this session.
        """
        self._post(self._wanted.unjoin(anchor.id))

    def echo(self, end: Anchor | int) -> None:
        """Send the phone at an anchor, or the node at a leg, its own RTP under another SSRC.

        Other datagrams are not returned; keepalives of a leg go on as ever.

        Raises:
            UsageError: not an endpoint of this session.
        """
        mask = int.from_bytes(self._entropy.token(4), "big") or 1
        if isinstance(end, Anchor):
            self._post(self._wanted.echo(end.id, mask))
        else:
            self._post(self._wanted.echo_leg(end, mask))

    # Reports and the end

    def report(self) -> SessionReport:
        """The latest counters of all anchors, and of all legs that were installed or met anything.

        They are at most a second old; those of the last second come a moment after `close`.
        """
        reports = [
            (is_leg, self._addressed(is_leg, endpoint_id, ledger))
            for (is_leg, endpoint_id), ledger in self._ledgers.items()
            if not is_leg or ledger.has_entries or self._wanted.is_installed(endpoint_id)
        ]
        return SessionReport(
            label=self.label,
            anchors=tuple(report for is_leg, report in reports if not is_leg),
            legs=tuple(report for is_leg, report in reports if is_leg),
        )

    def close(self) -> None:
        """Free everything; a second time nothing happens."""
        if self._closed:
            return
        self._closed = True
        for anchor_id in list(self._wanted.anchors):
            for order in self._wanted.free_anchor(anchor_id):
                self._post(order)
            self._release(anchor_id)
        for leg_id in list(self._wanted.legs):
            self.free_leg(leg_id)
        self._carrier.forget(self)

    @property
    def endpoints(self) -> int:
        """Anchors and legs that exist now."""
        return len(self._wanted.anchors) + len(self._wanted.legs)

    # From the worker

    def worker_counted(self, counters: Counters, *, clock_offset: float) -> None:
        """A report about one endpoint came."""
        ledger = self._ledgers.get((counters.is_leg, counters.id))
        if ledger is not None:
            ledger.enter(counters, clock_offset=clock_offset)
        if counters.is_leg:
            self._wanted.learn_leg(counters)

    def worker_latched(self, notice: Latched) -> None:
        """An anchor's port found its peer."""
        self._wanted.learn_latch(notice)

    def worker_replaced(self) -> None:
        """Another worker, which knows nothing, takes over: give it everything."""
        for ledger in self._ledgers.values():
            ledger.begin_anew()
        for order in self._wanted.reinstall():
            self._post(order)

    # Inside

    def _post(self, order: Order) -> None:
        sockets = self._sockets[order.anchor] if isinstance(order, OpenAnchor) else ()
        self._carrier.post(order, sockets)

    def _release(self, anchor_id: int) -> None:
        for sock in self._sockets.pop(anchor_id):
            sock.close()
        self._ports.give_back(self._pairs.pop(anchor_id), now=self._clock.monotonic())

    def _check_open(self) -> None:
        if self._closed:
            raise UsageError(f"session {self.label} is closed")

    def _addressed(self, is_leg: bool, endpoint_id: int, ledger: Ledger) -> EndpointReport:
        wanted = self._wanted
        if is_leg:
            return ledger.addressed(wanted.proven_peer(endpoint_id), None)
        return ledger.addressed(wanted.latched(endpoint_id, RTP), wanted.latched(endpoint_id, RTCP))
