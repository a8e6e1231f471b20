"""What one session wants of its worker, so that another worker can be given the same.

A core: each change returns the orders that bring it about, and `reinstall` those that bring about
everything. It follows the same rule as `RouteTable`: one join an endpoint, a new one replaces what
either side had.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from msgspec import structs

from federation.model.address import Endpoint
from federation.model.errors import UsageError
from media_relay.control import (
    Counters,
    EchoAnchor,
    EchoLeg,
    Expect,
    FreeAnchor,
    FreeLeg,
    InstallLeg,
    JoinAnchors,
    JoinLeg,
    JoinLegs,
    Latched,
    OpenAnchor,
    Order,
    ReserveLegs,
    RestoreLatch,
    Unjoin,
)
from media_relay.latch import Latch
from media_relay.orders import full_address
from media_relay.sealed import MAX_GENERATION, RTCP, RTP


@dataclass(slots=True)
class WantedAnchor:
    """An anchor, and what its worker learned."""

    expect: Expect | None = None
    latches: dict[int, Latch] = field(default_factory=lambda: {RTP: Latch(), RTCP: Latch()})
    "By component; kept in step with the worker's."


@dataclass(slots=True)
class WantedLeg:
    """A leg, and what its worker learned."""

    install: InstallLeg | None = None
    proven: bool = False
    "An authentic datagram came."


End = tuple[bool, int]
"One end of a join: whether it is a leg, and its id."


class WantedSession:
    """The anchors, legs and joins of one session."""

    def __init__(self) -> None:
        self.anchors: dict[int, WantedAnchor] = {}
        self.legs: dict[int, WantedLeg] = {}
        self._joins: dict[End, End] = {}
        self._echoes: dict[End, int] = {}
        "The masks of those that hear themselves."

    # Anchors

    def open_anchor(self, anchor_id: int) -> OpenAnchor:
        """A new anchor; its sockets go along with the order."""
        self.anchors[anchor_id] = WantedAnchor()
        return OpenAnchor(anchor_id)

    def expect(
        self,
        anchor_id: int,
        rtp: Endpoint | None,
        rtcp: Endpoint | None,
        sources: tuple[str, ...],
        *,
        mux: bool,
        udptl: bool,
        relatch: bool,
        clock_rates: Mapping[int, int],
    ) -> Expect:
        """Where an anchor's phone is said to be."""
        anchor = self._anchor(anchor_id)
        order = Expect(anchor_id, rtp, rtcp, sources, mux, udptl, relatch, dict(clock_rates))
        anchor.expect = order
        allowed = frozenset(sources)
        anchor.latches[RTP].expect(rtp, allowed, relatch=relatch)
        anchor.latches[RTCP].expect(rtcp, allowed, relatch=relatch)
        return order

    def free_anchor(self, anchor_id: int) -> list[Order]:
        """Remove an anchor; no order if there is none."""
        if self.anchors.pop(anchor_id, None) is None:
            return []
        self._part((False, anchor_id))
        return [FreeAnchor(anchor_id)]

    # Legs

    def reserve_legs(self, first_id: int, count: int) -> ReserveLegs:
        """New legs without keys."""
        for leg_id in range(first_id, first_id + count):
            self.legs[leg_id] = WantedLeg()
        return ReserveLegs(first_id, count)

    def install_leg(
        self,
        leg_id: int,
        *,
        peer_leg: int,
        peer: Endpoint,
        send_key: bytes,
        receive_key: bytes,
        told: bool,
    ) -> InstallLeg:
        """Give a leg keys and a peer; a second time, under a raised generation.

        Raises:
            UsageError: no such leg, or installed more often than there are generations.
        """
        leg = self._leg(leg_id)
        before = leg.install
        generation, highest = (before.generation + 1, before.highest) if before else (0, -1)
        if generation > MAX_GENERATION:
            raise UsageError(f"leg {leg_id} has used up its generations")
        if before is not None and before.receive_key != receive_key:
            highest = -1
        leg.proven = False
        leg.install = InstallLeg(
            leg_id, peer_leg, (*peer, 0, 0), send_key, receive_key, not told, generation, highest
        )
        return leg.install

    def free_leg(self, leg_id: int) -> list[Order]:
        """Remove a leg; no order if there is none."""
        if self.legs.pop(leg_id, None) is None:
            return []
        self._part((True, leg_id))
        return [FreeLeg(leg_id)]

    # Joins

    def join_anchors(self, one_id: int, other_id: int) -> JoinAnchors:
        """Join two anchors of this session.

        Raises:
            UsageError: not two anchors of this session.
        """
        self._anchor(one_id)
        self._anchor(other_id)
        if one_id == other_id:
            raise UsageError("an anchor is joined to another one; `echo` lets it hear itself")
        self._join((False, one_id), (False, other_id))
        return JoinAnchors(one_id, other_id)

    def join_leg(self, anchor_id: int, leg_id: int) -> JoinLeg:
        """Join an anchor and a leg of this session.

        Raises:
            UsageError: not an anchor and a leg of this session.
        """
        self._anchor(anchor_id)
        self._leg(leg_id)
        self._join((False, anchor_id), (True, leg_id))
        return JoinLeg(anchor_id, leg_id)

    def join_legs(self, one_id: int, other_id: int) -> JoinLegs:
        """Join two legs of this session.

        Raises:
            UsageError: not two legs of this session.
        """
        self._leg(one_id)
        self._leg(other_id)
        if one_id == other_id:
            raise UsageError("a leg is joined to another one; `echo_leg` turns it around")
        self._join((True, one_id), (True, other_id))
        return JoinLegs(one_id, other_id)

    def unjoin(self, anchor_id: int) -> Unjoin:
        """End an anchor's join or echo."""
        self._anchor(anchor_id)
        self._part((False, anchor_id))
        return Unjoin(anchor_id)

    def echo(self, anchor_id: int, mask: int) -> EchoAnchor:
        """Let an anchor hear itself."""
        self._anchor(anchor_id)
        self._part((False, anchor_id))
        self._echoes[False, anchor_id] = mask
        return EchoAnchor(anchor_id, mask)

    def echo_leg(self, leg_id: int, mask: int) -> EchoLeg:
        """Let the far end of a leg hear itself."""
        self._leg(leg_id)
        self._part((True, leg_id))
        self._echoes[True, leg_id] = mask
        return EchoLeg(leg_id, mask)

    # What the worker learned

    def learn_latch(self, notice: Latched) -> None:
        """Remember where an anchor's packets come from."""
        anchor = self.anchors.get(notice.anchor)
        if anchor is not None:
            anchor.latches[notice.component].restore(notice.peer, locked=notice.locked)

    def learn_leg(self, counters: Counters) -> None:
        """Remember a leg's highest counter, and its peer once proven."""
        leg = self.legs.get(counters.id)
        if leg is None or leg.install is None or counters.highest < leg.install.highest:
            return
        if counters.peer is not None and counters.highest >= 0:
            leg.proven = True
            leg.install = structs.replace(leg.install, highest=counters.highest, peer=counters.peer)

    def reinstall(self) -> list[Order]:
        """Everything, for a worker that knows nothing; generations are raised."""
        orders: list[Order] = []
        for anchor_id, anchor in self.anchors.items():
            orders.append(OpenAnchor(anchor_id))
            if anchor.expect is not None:
                orders.append(structs.replace(anchor.expect, relatch=False))
            orders.extend(
                RestoreLatch(
                    anchor_id, component, full_address(latch.peer), latch.accepted is not None
                )
                for component, latch in anchor.latches.items()
                if latch.peer is not None
            )
        for leg_id, leg in self.legs.items():
            orders.append(ReserveLegs(leg_id, 1))
            if leg.install is not None and leg.install.generation < MAX_GENERATION:
                leg.install = structs.replace(
                    leg.install,
                    generation=leg.install.generation + 1,
                    confirmed=leg.install.confirmed or leg.proven,
                )
                orders.append(leg.install)
        return orders + self._reinstalled_joins()

    def latched(self, anchor_id: int, component: int) -> Endpoint | None:
        """Where an anchor port is locked to, `None` while it is open."""
        anchor = self.anchors.get(anchor_id)
        accepted = anchor.latches[component].accepted if anchor else None
        return Endpoint.of(accepted) if accepted else None

    def is_installed(self, leg_id: int) -> bool:
        """Whether a leg exists and has keys."""
        leg = self.legs.get(leg_id)
        return leg is not None and leg.install is not None

    def proven_peer(self, leg_id: int) -> Endpoint | None:
        """Where a leg's authentic datagrams come from, `None` before the first."""
        leg = self.legs.get(leg_id)
        return Endpoint.of(leg.install.peer) if leg and leg.install and leg.proven else None

    # Inside

    def _reinstalled_joins(self) -> list[Order]:
        orders: list[Order] = []
        for (is_leg, one), (other_is_leg, other) in self._joins.items():
            if is_leg == other_is_leg:
                if one < other:
                    orders.append(JoinLegs(one, other) if is_leg else JoinAnchors(one, other))
            elif other_is_leg:
                orders.append(JoinLeg(one, other))
        for (is_leg, end_id), mask in self._echoes.items():
            orders.append(EchoLeg(end_id, mask) if is_leg else EchoAnchor(end_id, mask))
        return orders

    def _anchor(self, anchor_id: int) -> WantedAnchor:
        try:
            return self.anchors[anchor_id]
        except KeyError as error:
            raise UsageError(f"anchor {anchor_id} is not one of this session") from error

    def _leg(self, leg_id: int) -> WantedLeg:
        try:
            return self.legs[leg_id]
        except KeyError as error:
            raise UsageError(f"leg {leg_id} is not one of this session") from error

    def _join(self, one: End, other: End) -> None:
        self._part(one)
        self._part(other)
        self._joins[one] = other
        self._joins[other] = one

    def _part(self, end: End) -> None:
        other = self._joins.pop(end, None)
        if other is not None:
            del self._joins[other]
        self._echoes.pop(end, None)
