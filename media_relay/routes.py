"""The forwarding table of one worker: anchors, sealed legs, and which is joined to which.

This is the whole of what a worker knows. Sockets appear as opaque outlets; a datagram goes into
`AnchorPort.receive` or `LegPort.receive` and comes out as a `Hop` or not at all. Control messages
call the methods below. Orders about an endpoint that does not exist are counted and otherwise
ignored: one confused call must not take the others of its worker with it.

An endpoint is joined to one other at most, and both sides always agree; a join replaces what either
side had. The one exception is echo, where an endpoint is its own partner.
"""

import heapq
import struct
from collections.abc import Iterator, Mapping

from federation.model.address import Endpoint
from media_relay.anchors import AnchorPort, AnchorRoute, Echo
from media_relay.counters import Hop, Outlet, Tally
from media_relay.latch import SocketAddress
from media_relay.legs import (
    KEEPALIVE_SECONDS,
    OPENING_KEEPALIVE_SECONDS,
    OPENING_KEEPALIVES,
    LegPort,
    LegRoute,
)
from media_relay.sealed import RTP

REPORT_SLICES = 10
"Endpoints are reported in this many parts a second, so that no report delays packets for long."

_LEG_ID = struct.Struct("!I")


class RouteTable:
    """Every anchor, leg and join of one worker."""

    def __init__(self) -> None:
        self.anchors: dict[int, AnchorRoute] = {}
        self.legs: dict[int, LegRoute] = {}
        self.latched: set[AnchorPort] = set()
        "Ports whose peer or lock changed since the shell last looked; it clears the set."
        self.ignored_orders = 0
        self._legs_by_header: dict[bytes, LegRoute] = {}
        self._leg_ports: dict[bool, LegPort] = {}
        self._keepalives: list[tuple[float, int, LegRoute]] = []
        self._keepalive_serial = 0
        self._slice = 0

    # Sockets

    def add_leg_port(self, outlet: Outlet, *, ipv6: bool) -> LegPort:
        """Open the port of sealed legs for one family of addresses."""
        port = LegPort(self._legs_by_header, outlet)
        self._leg_ports[ipv6] = port
        return port

    def open_anchor(self, anchor_id: int, rtp: Outlet, rtcp: Outlet) -> AnchorRoute:
        """Enter an anchor with its two sockets; it passes nothing until told what to expect."""
        self.free_anchor(anchor_id)
        anchor = self.anchors[anchor_id] = AnchorRoute(anchor_id, rtp, rtcp, self.latched)
        return anchor

    def free_anchor(self, anchor_id: int) -> AnchorRoute | None:
        """Remove an anchor and its join; the anchor that was removed, once."""
        anchor = self.anchors.pop(anchor_id, None)
        if anchor is not None:
            self._part(anchor)
            self.latched.discard(anchor.rtp)
            self.latched.discard(anchor.rtcp)
        return anchor

    def expect(
        self,
        anchor_id: int,
        rtp: Endpoint | None,
        rtcp: Endpoint | None,
        sources: frozenset[str],
        *,
        mux: bool = False,
        udptl: bool = False,
        relatch: bool = False,
        clock_rates: Mapping[int, int] | None = None,
    ) -> None:
        """Tell an anchor about its phone."""
        anchor = self._anchor(anchor_id)
        if anchor is not None:
            anchor.expect(
                rtp,
                rtcp,
                sources,
                mux=mux,
                udptl=udptl,
                relatch=relatch,
                clock_rates=clock_rates or {},
            )
            if isinstance(anchor.partner, LegRoute):
                anchor.partner.meter.clock_rates = anchor.meter.clock_rates

    def restore_latch(
        self, anchor_id: int, component: int, peer: SocketAddress, *, locked: bool
    ) -> None:
        """Put back what the worker before this one had learned."""
        anchor = self._anchor(anchor_id)
        if anchor is not None:
            port = anchor.rtp if component == RTP else anchor.rtcp
            port.latch.restore(peer, locked=locked)

    # Legs

    def reserve_legs(self, first_id: int, count: int) -> None:
        """Enter `count` legs that have no keys yet."""
        for leg_id in range(first_id, first_id + count):
            if leg_id not in self.legs:
                leg = LegRoute(leg_id)
                self.legs[leg_id] = self._legs_by_header[_LEG_ID.pack(leg_id)] = leg

    def install_leg(
        self,
        leg_id: int,
        *,
        peer_leg: int,
        peer: SocketAddress,
        send_key: bytes,
        receive_key: bytes,
        confirmed: bool,
        generation: int,
        highest: int,
        now: float,
    ) -> None:
        """Give a reserved leg its keys; its first keepalive is due at once."""
        leg = self.legs.get(leg_id)
        port = self._leg_ports.get(":" in peer[0])
        if leg is None or port is None:
            self.ignored_orders += 1
            return
        if leg.is_installed:
            self._keepalives = [entry for entry in self._keepalives if entry[2] is not leg]
            heapq.heapify(self._keepalives)
        leg.install(
            peer_leg=peer_leg,
            peer=peer,
            outlet=port.outlet,
            send_key=send_key,
            receive_key=receive_key,
            confirmed=confirmed,
            generation=generation,
            highest=highest,
        )
        self._schedule(leg, now)

    def free_leg(self, leg_id: int) -> LegRoute | None:
        """Remove a leg and its join; the leg that was removed, once."""
        leg = self.legs.pop(leg_id, None)
        if leg is not None:
            del self._legs_by_header[_LEG_ID.pack(leg_id)]
            self._part(leg)
        return leg

    # Joins

    def join_anchors(self, one_id: int, other_id: int) -> None:
        """Let two anchors hear each other and nobody else."""
        one, other = self._anchor(one_id), self._anchor(other_id)
        if one is not None and other is not None and one is not other:
            self._join(one, other)

    def join_leg(self, anchor_id: int, leg_id: int) -> None:
        """Let an anchor and a leg hear each other and nobody else."""
        anchor, leg = self._anchor(anchor_id), self._leg(leg_id)
        if anchor is not None and leg is not None:
            self._join(anchor, leg)
            leg.meter.clock_rates = anchor.meter.clock_rates

    def join_legs(self, one_id: int, other_id: int) -> None:
        """Let two legs hear each other: what one opens the other seals."""
        one, other = self._leg(one_id), self._leg(other_id)
        if one is not None and other is not None and one is not other:
            self._join(one, other)

    def unjoin(self, anchor_id: int) -> None:
        """End the join of an anchor; both sides then drop and count."""
        anchor = self._anchor(anchor_id)
        if anchor is not None:
            self._part(anchor)

    def echo(self, anchor_id: int, mask: int) -> None:
        """Let an anchor hear itself, its SSRC changed by a non-zero 32-bit `mask`."""
        anchor = self._anchor(anchor_id)
        if anchor is not None:
            self._echo(anchor, mask)

    def echo_leg(self, leg_id: int, mask: int) -> None:
        """The same for a leg: its peer gets its own RTP back over it."""
        leg = self._leg(leg_id)
        if leg is not None:
            self._echo(leg, mask)

    # Time

    def next_timer(self) -> float | None:
        """When `handle_timer` is next needed; `None` while no leg is installed."""
        return self._keepalives[0][0] if self._keepalives else None

    def handle_timer(self, now: float) -> list[Hop]:
        """The keepalives due by `now`. Calling early is harmless."""
        hops = []
        while self._keepalives and self._keepalives[0][0] <= now:
            _, _, leg = heapq.heappop(self._keepalives)
            if self.legs.get(leg.id) is not leg:
                continue
            leg.keepalives += 1
            hop = leg.keepalive()
            if hop is not None:
                hops.append(hop)
            opening = leg.keepalives < OPENING_KEEPALIVES
            self._schedule(leg, now + (OPENING_KEEPALIVE_SECONDS if opening else KEEPALIVE_SECONDS))
        return hops

    def next_slice(self) -> Iterator[Tally]:
        """A tenth of all endpoints, in turn, with their next second's packets allowed.

        The shell asks ten times a second, and reports those whose counters moved.
        """
        self._slice = (self._slice + 1) % REPORT_SLICES
        for anchor in self.anchors.values():
            if anchor.id % REPORT_SLICES == self._slice:
                anchor.allowance = anchor.packets_in + anchor.pace
                yield anchor
        for leg in self.legs.values():
            if leg.id % REPORT_SLICES == self._slice:
                leg.allowance = leg.packets_in + leg.pace
                yield leg

    @property
    def is_empty(self) -> bool:
        """Whether there is no endpoint, and so nothing to report."""
        return not self.anchors and not self.legs

    @property
    def strays(self) -> int:
        """Datagrams on leg ports that were for no leg."""
        return sum(port.strays for port in self._leg_ports.values())

    # Inside

    def _anchor(self, anchor_id: int) -> AnchorRoute | None:
        anchor = self.anchors.get(anchor_id)
        if anchor is None:
            self.ignored_orders += 1
        return anchor

    def _leg(self, leg_id: int) -> LegRoute | None:
        leg = self.legs.get(leg_id)
        if leg is None:
            self.ignored_orders += 1
        return leg

    def _join(self, one: AnchorRoute | LegRoute, other: AnchorRoute | LegRoute) -> None:
        self._part(one)
        self._part(other)
        one.partner = other
        other.partner = one
        one.meter.other = other.meter
        other.meter.other = one.meter

    def _echo(self, endpoint: AnchorRoute | LegRoute, mask: int) -> None:
        self._part(endpoint)
        endpoint.partner = Echo(endpoint, mask)
        endpoint.allowance = endpoint.packets_in + endpoint.pace

    @staticmethod
    def _part(endpoint: AnchorRoute | LegRoute) -> None:
        partner, endpoint.partner = endpoint.partner, None
        if isinstance(partner, AnchorRoute | LegRoute):
            partner.partner = None
            partner.meter.other = endpoint.meter.other = None

    def _schedule(self, leg: LegRoute, when: float) -> None:
        self._keepalive_serial += 1
        heapq.heappush(self._keepalives, (when, self._keepalive_serial, leg))
