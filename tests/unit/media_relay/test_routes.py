import pytest

from media_relay.counters import (
    MAX_DATAGRAM_BYTES,
    MAX_ECHOES_PER_SECOND,
    MAX_PACKETS_PER_SECOND,
    Drop,
    Hop,
    Tally,
)
from media_relay.routes import REPORT_SLICES, RouteTable
from tests.support.relay_table import (
    ALICE,
    BOB,
    DTLS_PACKET,
    RTCP_PACKET,
    STRANGER,
    STUN_PACKET,
    UDPTL_LATER,
    UDPTL_PACKET,
    ZRTP_PACKET,
    open_anchor,
    rtp,
)

ALICE_RTCP = (ALICE[0], ALICE[1] + 1)
BOB_RTCP = (BOB[0], BOB[1] + 1)


def a_call() -> RouteTable:
    """Anchor 1 faces Alice, anchor 2 faces Bob, joined."""
    table = RouteTable()
    open_anchor(table, 1, ALICE)
    open_anchor(table, 2, BOB)
    table.join_anchors(1, 2)
    return table


def dropped(tally: Tally) -> dict[str, int]:
    return {reason.name: tally.drops[reason] for reason in Drop if tally.drops[reason]}


def from_alice(table: RouteTable, data: bytes, source: tuple[str, int] = ALICE) -> Hop | None:
    return table.anchors[1].rtp.receive(data, source, 1.0)


@pytest.mark.parametrize(
    "data", [rtp(), RTCP_PACKET, STUN_PACKET, DTLS_PACKET, ZRTP_PACKET, bytes([191])]
)
def test_media_of_each_kind_passes_unopened(data: bytes) -> None:
    assert from_alice(a_call(), data) == ("rtp2", data, BOB)


def test_rtcp_goes_by_the_ports_above() -> None:
    table = a_call()
    hop = table.anchors[1].rtcp.receive(RTCP_PACKET, ALICE_RTCP, 1.0)
    assert hop == ("rtcp2", RTCP_PACKET, BOB_RTCP)


def test_with_mux_rtcp_leaves_by_the_rtp_port() -> None:
    table = a_call()
    open_anchor(table, 2, BOB, mux=True)
    table.join_anchors(1, 2)
    hop = table.anchors[1].rtcp.receive(RTCP_PACKET, ALICE_RTCP, 1.0)
    assert hop == ("rtp2", RTCP_PACKET, BOB)


@pytest.mark.parametrize("first", [4, 15, 64, 127, 192, 255])
def test_other_kinds_are_dropped_and_counted(first: int) -> None:
    table = a_call()
    assert from_alice(table, bytes([first]) * 20) is None
    assert dropped(table.anchors[1]) == {"KIND": 1}


def test_empty_and_oversized_datagrams_are_dropped() -> None:
    table = a_call()
    longest = bytes([128]) * MAX_DATAGRAM_BYTES
    assert from_alice(table, longest) == ("rtp2", longest, BOB)
    assert from_alice(table, longest + b"x") is None
    assert from_alice(table, b"") is None
    assert dropped(table.anchors[1]) == {"KIND": 2}


def test_udptl_passes_only_where_it_was_signalled() -> None:
    table = a_call()
    assert from_alice(table, UDPTL_LATER) is None
    table.expect(1, table.anchors[1].rtp.latch.signalled, None, frozenset(), udptl=True)
    assert from_alice(table, UDPTL_LATER) is None, "the other side did not agree"
    assert dropped(table.anchors[2]) == {"UNSENT": 1}
    table.expect(2, table.anchors[2].rtp.latch.signalled, None, frozenset(), udptl=True)
    assert from_alice(table, UDPTL_LATER) == ("rtp2", UDPTL_LATER, BOB)


def test_udptl_locks_though_it_looks_like_stun() -> None:
    table = a_call()
    table.expect(1, table.anchors[1].rtp.latch.signalled, None, frozenset(), udptl=True)
    from_alice(table, UDPTL_PACKET)
    assert table.anchors[1].rtp.latch.accepted == ALICE


def test_a_stranger_is_neither_heard_nor_sent_to() -> None:
    table = a_call()
    assert from_alice(table, rtp(), STRANGER) is None
    assert dropped(table.anchors[1]) == {"SOURCE": 1}
    assert table.anchors[2].rtp.receive(rtp(), BOB, 1.0) == ("rtp1", rtp(), ALICE)


def test_each_change_of_a_latch_is_told_once() -> None:
    table = a_call()
    from_alice(table, rtp(1))
    assert table.latched == {table.anchors[1].rtp}
    table.latched.clear()
    from_alice(table, rtp(2))
    from_alice(table, rtp(2), STRANGER)
    assert table.latched == set()


def test_a_join_replaces_what_either_side_had() -> None:
    table = a_call()
    carol = ("192.0.2.30", 4000)
    open_anchor(table, 3, carol)
    table.join_anchors(1, 3)
    assert from_alice(table, rtp()) == ("rtp3", rtp(), carol)
    assert table.anchors[2].rtp.receive(rtp(), BOB, 1.0) is None
    assert dropped(table.anchors[2]) == {"UNJOINED": 1}


def test_an_unjoined_anchor_hears_and_forwards_nothing() -> None:
    table = a_call()
    table.unjoin(1)
    assert from_alice(table, rtp()) is None
    assert table.anchors[2].rtp.receive(rtp(), BOB, 1.0) is None
    assert table.anchors[1].last_heard == 1.0
    assert dropped(table.anchors[1]) == dropped(table.anchors[2]) == {"UNJOINED": 1}


def test_without_a_peer_nothing_is_sent_until_a_packet_came() -> None:
    table = RouteTable()
    open_anchor(table, 1, ALICE)
    open_anchor(table, 2, None, sources=frozenset({BOB[0]}))
    table.join_anchors(1, 2)
    assert from_alice(table, rtp()) is None
    assert dropped(table.anchors[2]) == {"UNSENT": 1}
    table.anchors[2].rtp.receive(rtp(), BOB, 1.0)
    assert from_alice(table, rtp(2)) == ("rtp2", rtp(2), BOB)


def test_a_freed_anchor_parts_from_its_partner_and_is_freed_once() -> None:
    table = a_call()
    freed = table.free_anchor(2)
    assert freed is not None
    assert table.free_anchor(2) is None
    assert from_alice(table, rtp()) is None
    assert dropped(table.anchors[1]) == {"UNJOINED": 1}


def test_an_echo_returns_rtp_under_another_ssrc_and_nothing_else() -> None:
    table = RouteTable()
    anchor = open_anchor(table, 1, ALICE)
    table.echo(1, 0x0F0F0F0F)
    packet = rtp(5, ssrc=0x11223344, payload=b"speech")
    turned = rtp(5, ssrc=0x11223344 ^ 0x0F0F0F0F, payload=b"speech")
    assert from_alice(table, packet) == ("rtp1", turned, ALICE)
    assert from_alice(table, STUN_PACKET) is None
    assert from_alice(table, RTCP_PACKET + bytes(8)) is None
    assert anchor.rtcp.receive(RTCP_PACKET, ALICE_RTCP, 1.0) is None


def test_a_join_ends_an_echo() -> None:
    table = a_call()
    table.echo(1, 1)
    assert table.anchors[2].partner is None
    table.join_anchors(1, 2)
    assert from_alice(table, rtp()) == ("rtp2", rtp(), BOB)


def test_a_packet_cannot_circle_without_end() -> None:
    """Two anchors whose signalling names each other's ports send on what they get."""
    table = a_call()
    passed = sum(from_alice(table, rtp(n)) is not None for n in range(MAX_PACKETS_PER_SECOND + 9))
    assert passed == MAX_PACKETS_PER_SECOND
    assert dropped(table.anchors[1]) == {"EXCESS": 9}
    for _ in range(REPORT_SLICES):
        list(table.next_slice())
    assert from_alice(table, rtp()) is not None


def test_an_echo_returns_less_a_second() -> None:
    table = RouteTable()
    open_anchor(table, 1, ALICE)
    table.echo(1, 1)
    passed = sum(from_alice(table, rtp(n)) is not None for n in range(MAX_ECHOES_PER_SECOND + 9))
    assert passed == MAX_ECHOES_PER_SECOND


def test_each_endpoint_is_in_one_slice_a_second() -> None:
    table = RouteTable()
    for anchor_id in range(1, 38):
        open_anchor(table, anchor_id, ALICE)
    table.reserve_legs(100, 5)
    seen = [tally.id for _ in range(REPORT_SLICES) for tally in table.next_slice()]
    assert sorted(seen) == [*range(1, 38), *range(100, 105)]


def test_orders_about_nothing_are_counted_and_harm_nobody() -> None:
    table = a_call()
    table.expect(9, None, None, frozenset())
    table.join_anchors(1, 9)
    table.join_leg(1, 9)
    table.unjoin(9)
    table.echo(9, 1)
    table.join_legs(9, 9)
    table.echo_leg(9, 1)
    table.restore_latch(9, 1, ALICE, locked=True)
    assert table.ignored_orders == 9
    assert from_alice(table, rtp()) == ("rtp2", rtp(), BOB)


def test_counters_count_both_ways() -> None:
    table = a_call()
    from_alice(table, rtp(1))
    from_alice(table, rtp(3))
    one, other = table.anchors[1], table.anchors[2]
    assert (one.packets_in, one.bytes_in, one.packets_out, one.bytes_out) == (2, 344, 0, 0)
    assert (other.packets_in, other.bytes_in, other.packets_out, other.bytes_out) == (0, 0, 2, 344)
    assert (one.meter.lost, other.meter.lost) == (1, 0)
