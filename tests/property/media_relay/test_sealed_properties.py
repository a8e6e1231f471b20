from hypothesis import given, settings
from hypothesis import strategies as st

from media_relay.control import decode_notice, decode_order
from media_relay.errors import ControlError
from media_relay.routes import RouteTable
from media_relay.rtp import Meter
from media_relay.sealed import REPLAY_WINDOW, ReplayWindow
from tests.support.relay_table import (
    ALICE,
    BOB,
    ONE_PORT,
    install_pair,
    open_anchor,
    rtp,
)

COUNTERS = st.one_of(st.integers(0, 400), st.integers(0, (1 << 64) - 1))


def a_far_node() -> tuple[RouteTable, RouteTable]:
    near, far = RouteTable(), RouteTable()
    near.add_leg_port("near", ipv6=False)
    far.add_leg_port("far", ipv6=False)
    install_pair(near, 1, far, 2)
    open_anchor(near, 1, ALICE)
    open_anchor(far, 1, BOB)
    near.join_leg(1, 1)
    far.join_leg(1, 2)
    return near, far


@given(st.lists(COUNTERS, max_size=60))
@settings(deadline=None)
def test_a_window_takes_what_a_plain_set_would(counters: list[int]) -> None:
    """Each counter once, if it is within the window of the highest so far."""
    window, seen = ReplayWindow(), set()
    for counter in counters:
        highest = max(seen, default=-1)
        expected = counter not in seen and counter > highest - REPLAY_WINDOW
        assert window.admits(counter) == expected
        if expected:
            assert window.record(counter) == (counter > highest)
            seen.add(counter)
    assert window.highest == max(seen, default=-1)


@given(st.one_of(st.binary(max_size=200), st.binary(max_size=60).map(lambda b: b"\x05" + b)))
@settings(deadline=None)
def test_no_bytes_on_a_leg_port_raise_or_pass(data: bytes) -> None:
    _, far = a_far_node()
    leg_header = b"\x05\x01\0\0\0\0\0\x02"
    port = far.add_leg_port("far", ipv6=False)
    for datagram in (data, leg_header + data):
        assert port.receive(datagram, ONE_PORT, 1.0) is None
    assert far.legs[2].last_heard is None
    assert far.legs[2].window.highest == -1


@given(st.data())
@settings(deadline=None)
def test_a_sealed_datagram_passes_whole_or_not_at_all(data: st.DataObject) -> None:
    near, far = a_far_node()
    payload = bytes([128]) + data.draw(st.binary(max_size=300))
    hop = near.anchors[1].rtp.receive(payload, ALICE, 1.0)
    assert hop is not None
    sealed = bytearray(hop[1])
    port = far.add_leg_port("far", ipv6=False)
    index = data.draw(st.integers(0, len(sealed) - 1))
    flip = data.draw(st.integers(1, 255))
    sealed[index] ^= flip
    assert port.receive(bytes(sealed), ONE_PORT, 1.0) is None
    cut = data.draw(st.integers(0, len(sealed) - 1))
    assert port.receive(hop[1][:cut], ONE_PORT, 1.0) is None
    assert port.receive(hop[1], ONE_PORT, 1.0) == ("rtp1", payload, BOB)
    assert port.receive(hop[1], ONE_PORT, 1.0) is None


@given(st.lists(st.permutations(range(8)).map(list), min_size=1, max_size=1))
@settings(deadline=None)
def test_reordered_datagrams_all_arrive_once(orders: list[list[int]]) -> None:
    near, far = a_far_node()
    port = far.add_leg_port("far", ipv6=False)
    sealed = []
    for number in range(8):
        hop = near.anchors[1].rtp.receive(rtp(number), ALICE, 1.0)
        assert hop is not None
        sealed.append(hop[1])
    for number in orders[0]:
        assert port.receive(sealed[number], ONE_PORT, 1.0) == ("rtp1", rtp(number), BOB)


@given(st.binary(max_size=300))
@settings(deadline=None)
def test_no_bytes_on_an_anchor_raise(data: bytes) -> None:
    near, _ = a_far_node()
    for port in (near.anchors[1].rtp, near.anchors[1].rtcp):
        port.receive(data, (ALICE[0], 1), 1.0)
    near.echo(1, 1)
    near.anchors[1].rtp.receive(data, (ALICE[0], 1), 1.0)


@given(st.lists(st.tuples(st.binary(min_size=11, max_size=30), st.floats(0, 1e6)), max_size=30))
@settings(deadline=None)
def test_no_packets_make_a_meter_lie(packets: list[tuple[bytes, float]]) -> None:
    meter = Meter()
    for data, now in packets:
        meter.take(b"\x80" + data, now)
    assert meter.lost >= 0
    assert meter.longest_gap >= 0
    assert meter.jitter is None or meter.jitter >= 0


@given(st.binary(max_size=100))
@settings(deadline=None)
def test_control_decoders_know_one_error(data: bytes) -> None:
    for decode in (decode_order, decode_notice):
        try:
            decode(data)
        except ControlError:
            continue
