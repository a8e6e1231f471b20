"""A random walk over a forwarding table, beside the plainest model of what it promises."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from federation.model.address import Endpoint
from media_relay.anchors import Echo
from media_relay.counters import Hop
from media_relay.routes import RouteTable
from tests.support.relay_table import DTLS_PACKET, KEY_A, STUN_PACKET, rtp

IPS = ("192.0.2.1", "192.0.2.2", "192.0.2.3")
ADDRESSES = st.tuples(st.sampled_from(IPS), st.sampled_from((4000, 4001)))
ANCHORS = st.integers(1, 4)
LEGS = st.integers(11, 14)
LEG_PEER = ("198.51.100.9", 9)
DATA = st.sampled_from((rtp(), STUN_PACKET, DTLS_PACKET, b"\xff", b""))


class Routes(RuleBasedStateMachine):
    """Anchors 1-4, legs 11-14, three IP addresses that phones may have."""

    @initialize()
    def begin(self) -> None:
        self.table = RouteTable()
        self.table.add_leg_port("legs", ipv6=False)
        self.allowed: dict[int, set[str]] = {}
        self.known: dict[int, set[tuple[str, int]]] = {}
        self.joined: dict[int, int] = {}
        self.legs: set[int] = set()
        self.installed: set[int] = set()
        self.now = 0.0
        # Begin amid a call, so that most walks see packets pass.
        for anchor, ip in ((1, IPS[0]), (2, IPS[1])):
            self.open(anchor)
            self.expect(anchor, (ip, 4000), frozenset(), False)
        self.join(1, 2)

    def part(self, end: int) -> None:
        other = self.joined.pop(end, end)
        self.joined.pop(other, None)

    @rule(anchor=ANCHORS)
    def open(self, anchor: int) -> None:
        self.table.open_anchor(anchor, f"rtp{anchor}", f"rtcp{anchor}")
        self.part(anchor)
        self.allowed[anchor], self.known[anchor] = set(), set()

    @rule(
        anchor=ANCHORS,
        rtp=st.none() | ADDRESSES,
        sources=st.frozensets(st.sampled_from(IPS)),
        relatch=st.booleans(),
    )
    def expect(
        self, anchor: int, rtp: tuple[str, int] | None, sources: frozenset[str], relatch: bool
    ) -> None:
        signalled = Endpoint(*rtp) if rtp else None
        self.table.expect(anchor, signalled, None, sources, relatch=relatch)
        if anchor in self.allowed:
            self.allowed[anchor] = {*sources, *([rtp[0]] if rtp else [])}
            self.known[anchor] |= {rtp} if rtp else set()

    @rule(anchor=ANCHORS)
    def free(self, anchor: int) -> None:
        existed = anchor in self.allowed
        assert (self.table.free_anchor(anchor) is not None) == existed
        self.part(anchor)
        self.allowed.pop(anchor, None)

    @rule(one=ANCHORS, other=ANCHORS)
    def join(self, one: int, other: int) -> None:
        self.table.join_anchors(one, other)
        if one in self.allowed and other in self.allowed and one != other:
            self.part(one)
            self.part(other)
            self.joined |= {one: other, other: one}

    @rule(leg=LEGS)
    def reserve(self, leg: int) -> None:
        self.table.reserve_legs(leg, 1)
        self.legs.add(leg)

    @rule(leg=LEGS)
    def install(self, leg: int) -> None:
        self.table.install_leg(
            leg,
            peer_leg=leg,
            peer=LEG_PEER,
            send_key=KEY_A,
            receive_key=KEY_A,
            confirmed=True,
            generation=0,
            highest=-1,
            now=self.now,
        )
        self.installed |= {leg} & self.legs

    @rule(leg=LEGS)
    def free_leg(self, leg: int) -> None:
        assert (self.table.free_leg(leg) is not None) == (leg in self.legs)
        self.part(leg)
        self.legs.discard(leg)
        self.installed.discard(leg)

    @rule(anchor=ANCHORS, leg=LEGS)
    def join_leg(self, anchor: int, leg: int) -> None:
        self.table.join_leg(anchor, leg)
        if anchor in self.allowed and leg in self.legs:
            self.part(anchor)
            self.part(leg)
            self.joined |= {anchor: leg, leg: anchor}

    @rule(one=LEGS, other=LEGS)
    def join_legs(self, one: int, other: int) -> None:
        self.table.join_legs(one, other)
        if one in self.legs and other in self.legs and one != other:
            self.part(one)
            self.part(other)
            self.joined |= {one: other, other: one}

    @rule(leg=LEGS)
    def echo_leg(self, leg: int) -> None:
        self.table.echo_leg(leg, 5)
        if leg in self.legs:
            self.part(leg)
            self.joined[leg] = leg

    @rule(anchor=ANCHORS)
    def unjoin(self, anchor: int) -> None:
        self.table.unjoin(anchor)
        if anchor in self.allowed:
            self.part(anchor)

    @rule(anchor=ANCHORS)
    def echo(self, anchor: int) -> None:
        self.table.echo(anchor, 5)
        if anchor in self.allowed:
            self.part(anchor)
            self.joined[anchor] = anchor

    @precondition(lambda self: self.allowed)
    @rule(anchor=ANCHORS, source=ADDRESSES, data=DATA)
    def packet(self, anchor: int, source: tuple[str, int], data: bytes) -> None:
        if anchor not in self.allowed:
            return
        port = self.table.anchors[anchor].rtp
        # A locked peer stays taken when later offers name other addresses.
        may = source[0] in self.allowed[anchor] or source == port.latch.accepted
        before = port.latch.peer, port.latch.accepted
        hop = port.receive(data, source, self.now)
        if not may:
            assert (port.latch.peer, port.latch.accepted) == before, "a stranger latched"
        if may and port.latch.peer == source:
            self.known[anchor].add(source)
        assert may or hop is None, "a stranger was heard"
        if hop is not None:
            self.check(hop, anchor)

    def check(self, hop: Hop, anchor: int) -> None:
        """A hop leaves by the one endpoint that is joined, to where that one may send."""
        outlet, _, peer = hop
        partner = self.joined[anchor]
        if partner in self.legs:
            assert partner in self.installed
            assert (outlet, peer) == ("legs", LEG_PEER)
        else:
            assert outlet == f"rtp{partner}"
            assert peer in self.known[partner], "sent to a peer nobody named or heard"

    @rule(seconds=st.floats(0, 6))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        for outlet, data, peer in self.table.handle_timer(self.now):
            assert (outlet, data[1], peer) == ("legs", 0, LEG_PEER)
        for tally in self.table.next_slice():
            assert tally.allowance > tally.packets_in

    @invariant()
    def both_sides_agree(self) -> None:
        table = self.table
        assert set(table.anchors) == set(self.allowed)
        assert set(table.legs) == self.legs
        found = {}
        for end, route in (*table.anchors.items(), *table.legs.items()):
            if isinstance(route.partner, Echo):
                found[end] = end
            elif route.partner is not None:
                assert route.partner.partner is route
                found[end] = route.partner.id
        assert found == self.joined

    @invariant()
    def only_installed_legs_keep_alive(self) -> None:
        timer = self.table.next_timer()
        assert timer is not None or not self.installed


Routes.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestRoutes = Routes.TestCase
