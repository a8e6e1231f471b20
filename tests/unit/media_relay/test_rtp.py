import pytest

from media_relay.rtp import ALL_KINDS, MAX_DROPOUT, MEDIA_KINDS, Meter, is_rtp
from tests.support.relay_table import DTLS_PACKET, RTCP_PACKET, STUN_PACKET, rtp


def metered(packets: list[tuple[bytes, float]]) -> Meter:
    meter = Meter()
    for packet, now in packets:
        meter.take(packet, now)
    return meter


def in_time(*sequences: int) -> list[tuple[bytes, float]]:
    """These sequence numbers, each at the moment its number says."""
    return [(rtp(sequence), sequence * 0.02) for sequence in sequences]


def test_kinds_that_pass_are_those_of_rfc_7983() -> None:
    passing = {byte for byte in range(256) if MEDIA_KINDS[byte]}
    assert passing == {*range(4), *range(16, 64), *range(128, 192)}
    assert all(ALL_KINDS)


def test_rtp_is_told_from_its_neighbours() -> None:
    assert is_rtp(rtp())
    assert is_rtp(rtp(marker=True, payload_type=96))
    assert not any(map(is_rtp, (RTCP_PACKET + bytes(8), STUN_PACKET, DTLS_PACKET, rtp()[:11], b"")))


def test_a_whole_stream_loses_nothing_and_has_no_jitter() -> None:
    meter = metered(in_time(*range(100)))
    assert meter.lost == 0
    assert meter.jitter == pytest.approx(0, abs=1e-9)
    assert meter.longest_gap == pytest.approx(0.02)


def test_missing_numbers_are_lost() -> None:
    assert metered(in_time(1, 2, 5, 6)).lost == 2


def test_a_late_packet_was_not_lost() -> None:
    assert metered(in_time(1, 2, 4, 3, 5)).lost == 0


def test_sequence_numbers_wrap() -> None:
    assert metered(in_time(65533, 65534, 65535, 65536, 65538)).lost == 1


def test_a_restarted_source_counts_anew_and_keeps_its_losses() -> None:
    far = 3 + MAX_DROPOUT + 5
    meter = metered(in_time(1, 3, far, far + 1, far + 3))
    assert meter.lost == 2


def test_one_wild_number_is_no_restart() -> None:
    assert metered(in_time(1, 2, 9000, 3, 4)).lost == 0


def test_another_ssrc_counts_anew() -> None:
    packets = [(rtp(1, ssrc=1), 0.0), (rtp(3, ssrc=1), 0.04), (rtp(900, ssrc=2), 0.06)]
    assert metered(packets).lost == 1


def test_a_gap_is_silence_only_if_the_sender_says_so() -> None:
    silence = [(rtp(1), 0.0), (rtp(2, stamp=80000, marker=True), 10.0), (rtp(3), 10.02)]
    assert metered(silence).longest_gap == pytest.approx(0.02)
    assert metered([(rtp(1), 0.0), (rtp(2), 10.0)]).longest_gap == pytest.approx(10.0)


def test_jitter_is_that_of_rfc_3550() -> None:
    """Each packet arrives alternately 4 ms early and late, so each transit differs by 8 ms."""
    packets = [(rtp(n), 0.02 * n + (0.004 if n % 2 else -0.004)) for n in range(400)]
    assert metered(packets).jitter == pytest.approx(0.008, rel=1e-3)


def test_jitter_needs_a_clock_rate() -> None:
    packets = [(rtp(n, payload_type=111, stamp=n * 960), 0.02 * n) for n in range(50)]
    assert metered(packets).jitter is None
    meter = Meter()
    meter.clock_rates = {111: 48000}
    for packet, now in packets:
        meter.take(packet, now)
    assert meter.jitter == pytest.approx(0, abs=1e-9)


def test_timestamps_wrap_without_jitter() -> None:
    packets = [(rtp(n, stamp=0xFFFFFF00 + n * 160), 0.02 * n) for n in range(20)]
    assert metered(packets).jitter == pytest.approx(0, abs=1e-9)


def test_repeated_timestamps_leave_jitter_alone() -> None:
    """A telephone-event of 100 ms is five packets of one timestamp."""
    meter = metered(in_time(*range(50)))
    before = meter.jitter
    for number in range(50, 55):
        meter.take(rtp(number, stamp=49 * 160, payload_type=101), number * 0.02)
    assert meter.jitter == before


def test_muxed_rtcp_is_not_counted_as_rtp() -> None:
    meter = metered(in_time(1, 2))
    meter.take(RTCP_PACKET + bytes(20), 9.0)
    assert (meter.lost, meter.longest_gap) == (0, pytest.approx(0.02))
