from itertools import pairwise

import pytest

from media_relay.counters import MAX_ECHOES_PER_SECOND, MAX_PACKETS_PER_SECOND, Drop, Hop
from media_relay.legs import (
    KEEPALIVE_SECONDS,
    MAX_SEALED_BYTES,
    OPENING_KEEPALIVE_SECONDS,
    OPENING_KEEPALIVES,
    LegPort,
    LegRoute,
)
from media_relay.routes import REPORT_SLICES, RouteTable
from media_relay.sealed import GENERATION_SHIFT, OVERHEAD_BYTES
from tests.support.relay_table import (
    ALICE,
    BOB,
    DTLS_PACKET,
    KEY_A,
    KEY_B,
    ONE_PORT,
    OTHER_PORT,
    RTCP_PACKET,
    STUN_PACKET,
    UDPTL_LATER,
    ZRTP_PACKET,
    install_pair,
    open_anchor,
    rtp,
)

ELSEWHERE = ("203.0.113.77", 777)


class Call:
    """Alice at one node, Bob at another, a sealed leg between them."""

    def __init__(self, **options: object) -> None:
        self.near, self.far = RouteTable(), RouteTable()
        self.near_port = self.near.add_leg_port("near", ipv6=False)
        self.far_port = self.far.add_leg_port("far", ipv6=False)
        install_pair(self.near, 0x01020304, self.far, 0x05060708)
        self.alice = open_anchor(self.near, 1, ALICE, **options)
        self.bob = open_anchor(self.far, 1, BOB, **options)
        self.near.join_leg(1, 0x01020304)
        self.far.join_leg(1, 0x05060708)

    @property
    def near_leg(self) -> LegRoute:
        return self.near.legs[0x01020304]

    @property
    def far_leg(self) -> LegRoute:
        return self.far.legs[0x05060708]

    def sealed(self, data: bytes, now: float = 1.0) -> bytes:
        """What goes over the wire when Alice says `data`."""
        hop = self.alice.rtp.receive(data, ALICE, now)
        assert hop is not None
        outlet, sealed, peer = hop
        assert (outlet, peer) == ("near", OTHER_PORT)
        return sealed

    def arrive(self, sealed: bytes, source: tuple[str, int] = ONE_PORT) -> Hop | None:
        return self.far_port.receive(sealed, source, 2.0)


@pytest.mark.parametrize("data", [rtp(), RTCP_PACKET, STUN_PACKET, DTLS_PACKET, ZRTP_PACKET])
def test_a_datagram_comes_out_as_it_went_in(data: bytes) -> None:
    call = Call()
    assert call.arrive(call.sealed(data)) == ("rtp1", data, BOB)


def test_rtcp_travels_as_component_2() -> None:
    call = Call()
    hop = call.alice.rtcp.receive(RTCP_PACKET, (ALICE[0], ALICE[1] + 1), 1.0)
    assert hop is not None
    assert hop[1][1] == 2
    assert call.arrive(hop[1]) == ("rtcp1", RTCP_PACKET, (BOB[0], BOB[1] + 1))


def test_udptl_passes_between_anchors_that_expect_it() -> None:
    call = Call(udptl=True)
    assert call.arrive(call.sealed(UDPTL_LATER)) == ("rtp1", UDPTL_LATER, BOB)


def test_a_peer_cannot_send_other_kinds_to_a_phone() -> None:
    call = Call(udptl=True)
    call.far.expect(1, None, None, frozenset())
    assert call.arrive(call.sealed(UDPTL_LATER)) is None
    assert call.bob.drops[Drop.UNSENT] == 1


def test_the_header_is_the_documented_one() -> None:
    call = Call()
    sealed = call.sealed(rtp())
    assert sealed[:16].hex() == "05010000050607080000000000000000"
    assert len(sealed) == len(rtp()) + OVERHEAD_BYTES
    assert call.sealed(rtp(2))[8:16].hex() == "0000000000000001"


def test_a_wrong_key_is_dropped_and_counted() -> None:
    call = Call()
    call.far.install_leg(
        0x05060708,
        peer_leg=0x01020304,
        peer=ONE_PORT,
        send_key=KEY_B,
        receive_key=bytes(16),
        confirmed=True,
        generation=1,
        highest=-1,
        now=0.0,
    )
    assert call.arrive(call.sealed(rtp()), ELSEWHERE) is None
    assert call.far_leg.drops[Drop.FORGED] == 1
    assert call.far_leg.last_heard is None
    assert call.far_leg.peer == ONE_PORT


@pytest.mark.parametrize("index", [1, 2, 8, 15, 16, 100, -1])
def test_any_changed_byte_is_noticed(index: int) -> None:
    call = Call()
    sealed = bytearray(call.sealed(rtp()))
    sealed[index] ^= 1
    assert call.arrive(bytes(sealed)) is None
    assert call.arrive(call.sealed(rtp(2))) == ("rtp1", rtp(2), BOB)


def test_a_repeated_datagram_is_dropped() -> None:
    call = Call()
    sealed = call.sealed(rtp())
    assert call.arrive(sealed) is not None
    assert call.arrive(sealed, ELSEWHERE) is None
    assert call.far_leg.drops[Drop.REPLAYED] == 1
    assert call.far_leg.peer == ONE_PORT


def test_late_datagrams_pass_once_and_do_not_move_the_peer() -> None:
    call = Call()
    first, second = call.sealed(rtp(1)), call.sealed(rtp(2))
    assert call.arrive(second) == ("rtp1", rtp(2), BOB)
    assert call.arrive(first, ELSEWHERE) == ("rtp1", rtp(1), BOB)
    assert call.far_leg.peer == ONE_PORT


def test_a_leg_follows_the_newest_authentic_datagram() -> None:
    call = Call()
    call.arrive(call.sealed(rtp()), ELSEWHERE)
    hop = call.bob.rtp.receive(rtp(), BOB, 3.0)
    assert hop is not None
    assert (hop[0], hop[2]) == ("far", ELSEWHERE)


def reinstall(call: Call, *, generation: int, highest: int, confirmed: bool = True) -> None:
    call.near.install_leg(
        0x01020304,
        peer_leg=0x05060708,
        peer=OTHER_PORT,
        send_key=KEY_A,
        receive_key=KEY_B,
        confirmed=confirmed,
        generation=generation,
        highest=highest,
        now=0.0,
    )


def test_a_raised_generation_repeats_no_nonce_and_is_accepted() -> None:
    call = Call()
    before = {call.sealed(rtp(n))[4:16] for n in range(50)}
    call.arrive(call.sealed(rtp(50)))
    reinstall(call, generation=1, highest=-1)
    after = [call.sealed(rtp(n)) for n in range(51, 60)]
    assert not before & {sealed[4:16] for sealed in after}
    assert int.from_bytes(after[0][8:16], "big") == 1 << GENERATION_SHIFT
    assert all(call.arrive(sealed) is not None for sealed in after)


def test_after_a_reinstallation_old_datagrams_are_not_taken_again() -> None:
    call = Call()
    old = call.bob.rtp.receive(rtp(), BOB, 1.0)
    assert old is not None
    assert call.near_port.receive(old[1], OTHER_PORT, 1.0) is not None
    reinstall(call, generation=1, highest=call.near_leg.window.highest)
    assert call.near_port.receive(old[1], OTHER_PORT, 1.0) is None
    assert call.near_leg.drops[Drop.REPLAYED] == 1


def test_a_told_address_gets_keepalives_only_until_it_answers() -> None:
    call = Call()
    reinstall(call, generation=1, highest=-1, confirmed=False)
    assert call.alice.rtp.receive(rtp(), ALICE, 1.0) is None
    assert call.near_leg.drops[Drop.UNSENT] == 1
    [(outlet, keepalive, peer)] = call.near.handle_timer(0.0)
    assert (outlet, len(keepalive), peer) == ("near", OVERHEAD_BYTES, OTHER_PORT)
    [(_, answer, _)] = call.far.handle_timer(0.0)
    call.near_port.receive(answer, ELSEWHERE, 1.0)
    hop = call.alice.rtp.receive(rtp(), ALICE, 1.0)
    assert hop is not None
    assert hop[2] == ELSEWHERE


def test_keepalives_come_three_at_once_and_then_every_five_seconds() -> None:
    call = Call()
    times = []
    while len(times) < OPENING_KEEPALIVES + 2:
        due = call.near.next_timer()
        assert due is not None
        assert call.near.handle_timer(due - 0.001) == []
        times += [due] * len(call.near.handle_timer(due))
    steps = [later - earlier for earlier, later in pairwise(times)]
    opening = [OPENING_KEEPALIVE_SECONDS] * (OPENING_KEEPALIVES - 1)
    assert steps == pytest.approx([*opening, KEEPALIVE_SECONDS, KEEPALIVE_SECONDS])


def test_the_first_keepalive_is_answered_once() -> None:
    """So both sides are proven, though one was installed after the other's opening ones."""
    call = Call()
    [(_, keepalive, _)] = call.near.handle_timer(0.0)
    answer = call.arrive(keepalive, ELSEWHERE)
    assert answer is not None
    assert (answer[0], answer[2]) == ("far", ELSEWHERE)
    back = call.near_port.receive(answer[1], OTHER_PORT, 1.0)
    assert back is not None
    assert call.arrive(back[1]) is None
    assert call.near_leg.proven_peer == OTHER_PORT


def test_a_keepalive_is_heard_and_goes_nowhere() -> None:
    call = Call()
    for when in (0.0, 1.0):
        [(_, keepalive, _)] = call.near.handle_timer(when)
        call.arrive(keepalive)
    assert (call.far_leg.last_heard, call.far_leg.packets_in, sum(call.far_leg.drops)) == (
        2.0,
        0,
        0,
    )


def test_a_freed_leg_sends_no_keepalives() -> None:
    call = Call()
    call.near.free_leg(0x01020304)
    assert call.near.free_leg(0x01020304) is None
    assert call.near.handle_timer(100.0) == []
    assert call.near.next_timer() is None
    assert call.alice.rtp.receive(rtp(), ALICE, 1.0) is None


def test_a_reserved_leg_counts_what_comes_early() -> None:
    call = Call()
    sealed = call.sealed(rtp())
    table = RouteTable()
    port = table.add_leg_port("x", ipv6=False)
    table.reserve_legs(0x05060706, 8)
    assert port.receive(sealed, ONE_PORT, 1.0) is None
    assert table.legs[0x05060708].drops[Drop.EARLY] == 1


def test_a_leg_takes_so_many_packets_a_second_and_no_more() -> None:
    call = Call()
    call.alice.allowance = 10 * MAX_PACKETS_PER_SECOND
    passed = sum(
        call.arrive(call.sealed(rtp(n))) is not None for n in range(MAX_PACKETS_PER_SECOND + 3)
    )
    assert passed == MAX_PACKETS_PER_SECOND
    assert call.far_leg.drops[Drop.EXCESS] == 3


@pytest.mark.parametrize(
    "junk", [b"", b"\x05", bytes(31), b"\x06" + bytes(60), b"\x05" + bytes(MAX_SEALED_BYTES)]
)
def test_what_is_no_sealed_datagram_is_a_stray(junk: bytes) -> None:
    port = LegPort({}, "x")
    assert port.receive(junk, ONE_PORT, 1.0) is None
    assert port.strays == 1


def test_a_leg_can_move_to_another_family() -> None:
    call = Call()
    six = call.far.add_leg_port("far6", ipv6=True)
    source = ("2001:db8::1", 10000, 0, 0)
    assert six.receive(call.sealed(rtp()), source, 1.0) is not None
    hop = call.bob.rtp.receive(rtp(), BOB, 3.0)
    assert hop is not None
    assert (hop[0], hop[2]) == ("far6", source)


def test_a_leg_of_a_family_without_port_is_not_installed() -> None:
    table = RouteTable()
    table.add_leg_port("four", ipv6=False)
    table.reserve_legs(1, 1)
    table.install_leg(
        1,
        peer_leg=2,
        peer=("2001:db8::1", 1, 0, 0),
        send_key=KEY_A,
        receive_key=KEY_B,
        confirmed=True,
        generation=0,
        highest=-1,
        now=0.0,
    )
    assert not table.legs[1].is_installed
    assert table.ignored_orders == 1


class Forwarded:
    """Alice's node, Bob's, and one in between that opens each datagram and seals it anew."""

    def __init__(self) -> None:
        self.near, self.middle, self.far = RouteTable(), RouteTable(), RouteTable()
        self.near.add_leg_port("near", ipv6=False)
        self.middle_port = self.middle.add_leg_port("middle", ipv6=False)
        self.far_port = self.far.add_leg_port("far", ipv6=False)
        install_pair(self.near, 11, self.middle, 21)
        install_pair(self.far, 31, self.middle, 22)
        self.alice, self.bob = open_anchor(self.near, 1, ALICE), open_anchor(self.far, 1, BOB)
        self.near.join_leg(1, 11)
        self.middle.join_legs(21, 22)
        self.far.join_leg(1, 31)

    def sealed(self, data: bytes) -> bytes:
        """What Alice's node sends to the one in between."""
        hop = self.alice.rtp.receive(data, ALICE, 1.0)
        assert hop is not None
        return hop[1]


@pytest.mark.parametrize("data", [rtp(), STUN_PACKET, DTLS_PACKET, ZRTP_PACKET])
def test_two_joined_legs_carry_a_call_on_to_a_third_node(data: bytes) -> None:
    call = Forwarded()
    before = call.sealed(data)
    hop = call.middle_port.receive(before, ONE_PORT, 2.0)
    assert hop is not None
    outlet, after, peer = hop
    assert (outlet, peer) == ("middle", ONE_PORT)
    assert after != before, "under keys of its own"
    assert call.far_port.receive(after, OTHER_PORT, 3.0) == ("rtp1", data, BOB)


def test_a_leg_that_was_joined_elsewhere_no_longer_feeds_its_partner() -> None:
    call = Forwarded()
    open_anchor(call.middle, 5, BOB)
    call.middle.join_leg(5, 21)
    assert call.middle.legs[22].partner is None
    assert call.middle_port.receive(call.sealed(rtp()), ONE_PORT, 2.0) == ("rtp5", rtp(), BOB)


def test_an_echo_on_a_leg_returns_rtp_under_another_ssrc_and_nothing_else() -> None:
    call = Call()
    call.far.echo_leg(0x05060708, 0x0F0F0F0F)
    hop = call.arrive(call.sealed(rtp(5, ssrc=0x11223344)))
    assert hop is not None
    outlet, data, peer = hop
    assert (outlet, peer) == ("far", ONE_PORT)
    assert call.near_port.receive(data, OTHER_PORT, 3.0) == (
        "rtp1",
        rtp(5, ssrc=0x11223344 ^ 0x0F0F0F0F),
        ALICE,
    )
    assert call.arrive(call.sealed(STUN_PACKET)) is None
    hop = call.alice.rtcp.receive(RTCP_PACKET, (ALICE[0], ALICE[1] + 1), 1.0)
    assert hop is not None
    assert call.arrive(hop[1]) is None
    assert call.far_leg.packets_out == 1


def test_keepalives_of_an_echoing_leg_are_answered_and_not_echoed() -> None:
    call = Call()
    call.far.echo_leg(0x05060708, 1)
    for expected in (True, False):
        hop = call.near_leg.keepalive()
        assert hop is not None
        answer = call.arrive(hop[1])
        assert (answer is not None) == expected, "the first is answered by one of our own"
        assert answer is None or answer[1][1] == 0
    assert (call.far_leg.packets_in, call.far_leg.packets_out) == (0, 0)
    assert call.far.handle_timer(100.0)


def test_an_echo_on_a_leg_returns_less_a_second() -> None:
    call = Call()
    call.far.echo_leg(0x05060708, 1)
    count = MAX_ECHOES_PER_SECOND + 9
    passed = sum(call.arrive(call.sealed(rtp(n))) is not None for n in range(count))
    assert passed == MAX_ECHOES_PER_SECOND
    for _ in range(REPORT_SLICES):
        list(call.far.next_slice())
    assert call.far_leg.allowance == 2 * MAX_ECHOES_PER_SECOND
