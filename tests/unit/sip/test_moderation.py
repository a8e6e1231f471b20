"""When a socket counts as busy."""

from node.sip.transports.moderation import BUSY, CALM, PAUSE, WINDOW, Moderation


def fed(moderation: Moderation, rate: float, *, since: float, seconds: float) -> float:
    """Let messages arrive at a rate; the time afterwards."""
    now, step = since, PAUSE
    while now < since + seconds:
        now += step
        moderation.note(round(rate * step), now)
    return now


def test_a_socket_is_busy_from_its_rate_on_and_quiet_again_below_another() -> None:
    moderation = Moderation(0.0)
    now = fed(moderation, CALM, since=0.0, seconds=0.2)
    assert not moderation.is_busy
    now = fed(moderation, BUSY * 2, since=now, seconds=0.2)
    assert moderation.is_busy
    now = fed(moderation, (BUSY + CALM) / 2 + PAUSE, since=now, seconds=0.2)
    assert moderation.is_busy
    fed(moderation, 0, since=now, seconds=0.2)
    assert not moderation.is_busy


def test_a_burst_within_a_window_does_not_count_before_its_end() -> None:
    moderation = Moderation(0.0)
    assert not moderation.note(64, WINDOW / 2)
    assert moderation.note(0, WINDOW)
    assert not moderation.note(0, 2 * WINDOW)


def test_nobody_waits_longer_than_four_milliseconds() -> None:
    assert PAUSE <= 0.004
