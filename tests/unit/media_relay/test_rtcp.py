"""Receiver reports read in passing: loss and round trip (RFC 3550 6.4)."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media_relay.routes import RouteTable
from media_relay.rtcp import MAX_PACKETS, MAX_SENT, Hearing, read_rtcp
from media_relay.rtp import Meter
from media_relay.sealed import RTCP, RTP
from tests.support.relay_table import ALICE, BOB, open_anchor, rtp

MOUTH, EAR = 0x11111111, 0x22222222
SDES = struct.pack("!BBHIBB2s", 0x81, 202, 2, EAR, 1, 0, b"\0\0")


def block(ssrc: int, *, lost: int = 0, last: int = 0, delay: float = 0.0) -> bytes:
    return struct.pack("!IIIIII", ssrc, lost & 0xFFFFFF, 100, 0, last, round(delay * 65536))


def receiver(*blocks: bytes) -> bytes:
    head = struct.pack("!BBHI", 0x80 | len(blocks), 201, 1 + 6 * len(blocks), EAR)
    return head + b"".join(blocks)


def sender(ntp: int, *blocks: bytes) -> bytes:
    head = struct.pack("!BBHI", 0x80 | len(blocks), 200, 6 + 6 * len(blocks), MOUTH)
    return head + struct.pack("!QIII", ntp, 0, 0, 0) + b"".join(blocks)


def joined() -> tuple[Meter, Meter]:
    """The meters of one who speaks and one who listens."""
    mouth, ear = Meter(), Meter()
    mouth.other, ear.other = ear, mouth
    mouth.take(struct.pack("!BBHII", 0x80, 0, 1, 0, MOUTH), 0.0)
    return mouth, ear


def test_a_compound_datagram_is_read() -> None:
    about = block(MOUTH, lost=-3, last=7, delay=0.5)
    compound = read_rtcp(sender(0xAAAABBBBCCCCDDDD, about) + SDES)
    assert compound is not None
    assert compound.sent == 0xBBBBCCCC
    assert compound.blocks == ((MOUTH, -3, 7, 0.5),)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        receiver()[:7],
        receiver(block(MOUTH)) + bytes.fromhex("80000001") + bytes(10),
        receiver(block(MOUTH))[:-4],
        b"\x9f" + receiver(block(MOUTH))[1:],
        b"\x40" + receiver()[1:],
        b"\x80\x00" + receiver()[2:],
        SDES * (MAX_PACKETS + 1),
    ],
    ids=["empty", "cut", "srtcp", "short", "too many blocks", "version", "type", "too many"],
)
def test_what_is_not_rtcp_in_clear_says_nothing(data: bytes) -> None:
    assert read_rtcp(data) is None


@given(st.binary(max_size=200))
def test_any_bytes_are_read_without_complaint(data: bytes) -> None:
    read_rtcp(data)
    Hearing().take(b"\x81\xc9" + data, 1.0, Hearing(), MOUTH)


def test_loss_and_round_trip_are_those_of_the_report() -> None:
    mouth, ear = joined()
    mouth.take_rtcp(sender(0x1234_5678 << 16), 10.0)
    ear.take_rtcp(receiver(block(MOUTH, lost=4, last=0x12345678, delay=2.0)) + SDES, 12.08)
    assert ear.hearing.lost == 4
    assert ear.hearing.round_trip == pytest.approx(0.08)
    assert mouth.hearing.lost is None


def test_only_the_stream_that_was_sent_counts() -> None:
    _, ear = joined()
    ear.take_rtcp(receiver(block(EAR, lost=9)), 1.0)
    assert ear.hearing.lost is None
    ear.other = None
    ear.take_rtcp(receiver(block(MOUTH, lost=9)), 1.0)
    assert ear.hearing.lost is None


def test_losses_of_streams_one_after_the_other_add_up() -> None:
    mouth, ear = joined()
    ear.take_rtcp(receiver(block(MOUTH, lost=3)), 1.0)
    ear.take_rtcp(receiver(block(MOUTH, lost=5)), 2.0)
    mouth.take(struct.pack("!BBHII", 0x80, 0, 1, 0, EAR), 3.0)
    ear.take_rtcp(receiver(block(EAR, lost=2)), 4.0)
    ear.take_rtcp(receiver(block(EAR, lost=-1)), 5.0)
    assert ear.hearing.lost == 5


def test_a_report_that_is_too_old_or_impossible_tells_no_round_trip() -> None:
    mouth, ear = joined()
    for number in range(1, MAX_SENT + 2):
        mouth.take_rtcp(sender(number << 16), float(number))
    ear.take_rtcp(receiver(block(MOUTH, last=1)), 10.0)
    ear.take_rtcp(receiver(block(MOUTH, last=3, delay=9.0)), 10.0)
    ear.take_rtcp(receiver(block(MOUTH, last=4)), 100.0)
    assert ear.hearing.round_trip is None


@pytest.mark.parametrize("component", [RTCP, RTP], ids=["own port", "muxed"])
def test_reports_through_joined_anchors_are_noticed(component: int) -> None:
    table = RouteTable()
    open_anchor(table, 1, ALICE)
    open_anchor(table, 2, BOB)
    table.join_anchors(1, 2)
    ear = table.anchors[2]
    port = ear.rtp if component == RTP else ear.rtcp
    table.anchors[1].rtp.receive(rtp(1, ssrc=MOUTH), ALICE, 1.0)
    port.receive(receiver(block(MOUTH, lost=6)), BOB, 1.0)
    assert ear.meter.hearing.lost == 6
    table.unjoin(1)
    port.receive(receiver(block(MOUTH, lost=8)), BOB, 1.0)
    assert ear.meter.hearing.lost == 6
