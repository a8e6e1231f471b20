"""What owners agree to, and which relay is asked."""

import msgspec
import pytest

from dht.record import RelayOffer
from federation.model.address import Endpoint
from federation.model.clocks import UnixTime
from federation.model.identity import NodeKey
from node.relay_config import RelayConfig
from node.relaying.choice import LEAST_KBITS, RelayCandidate, in_order
from node.relaying.consent import Consent, ConsentChange, month_of
from node.setting import SettingError

MIDNIGHT = 1_800_057_600  # 2027-01-16 00:00 UTC


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def test_strangers_are_kept_out_until_somebody_agrees() -> None:
    assert not Consent().strangers
    assert not RelayConfig().consent.strangers
    assert RelayConfig(strangers=True, kbit=100).consent == Consent(strangers=True, kbit=100)


@pytest.mark.parametrize(
    ("hours", "inside", "outside"),
    [
        ("08-22", (8, 21), (7, 22, 0)),
        ("22-6", (22, 23, 0, 5), (6, 12, 21)),
        ("0-24", (), ()),
        ("18-24", (18, 23), (0, 17)),
    ],
)
def test_hours_of_the_day(hours: str, inside: tuple[int, ...], outside: tuple[int, ...]) -> None:
    if not inside:
        with pytest.raises(SettingError):
            Consent(hours=hours)
        return
    consent = Consent(hours=hours)
    assert all(consent.covers(UnixTime(MIDNIGHT + 3600 * hour + 1)) for hour in inside)
    assert not any(consent.covers(UnixTime(MIDNIGHT + 3600 * hour + 3599)) for hour in outside)


@pytest.mark.parametrize(
    "wrong",
    [
        {"kbit": 63},
        {"kbit": 10_000_001},
        {"sessions": 0},
        {"sessions": 4001},
        {"gb_month": 0.0},
        {"gb_month": 2_000_000.0},
        {"hours": "8"},
        {"hours": "08-25"},
        {"hours": "7-7"},
        {"hours": "seven-eight"},
    ],
)
def test_limits_have_bounds(wrong: dict[str, object]) -> None:
    with pytest.raises(SettingError, match="relay\\."):
        msgspec.structs.replace(Consent(), **wrong)


def test_a_command_changes_what_it_names() -> None:
    before = Consent(kbit=500, hours="08-22")
    after = ConsentChange(sessions=3).applied(before, strangers=True)
    assert after == Consent(strangers=True, kbit=500, sessions=3, hours="08-22")
    assert ConsentChange(hours="all").applied(before, strangers=True).hours is None


def test_months_are_those_of_utc() -> None:
    assert month_of(UnixTime(MIDNIGHT)) == "2027-01"
    assert month_of(UnixTime(MIDNIGHT + 16 * 86400 - 1)) == "2027-01"
    assert month_of(UnixTime(MIDNIGHT + 16 * 86400)) == "2027-02"


def candidate(
    number: int, rtt: float | None, kbits: int = 1000, sessions: int = 5
) -> RelayCandidate:
    return RelayCandidate(
        NodeKey(bytes([number]) * 32).id,
        Endpoint("192.0.2.1", number),
        rtt,
        RelayOffer(1, kbits, sessions),
    )


def test_the_nearest_that_is_not_full_is_asked_first() -> None:
    far, near, unknown = candidate(1, 0.200), candidate(2, 0.050), candidate(3, None)
    full, busy = candidate(4, 0.001, kbits=LEAST_KBITS - 1), candidate(5, 0.001, sessions=0)
    silent = RelayCandidate(near.node, near.endpoint, 0.001, None)
    assert in_order([far, unknown, full, near, busy, silent]) == [near, far, unknown]


def test_of_equally_near_ones_the_one_with_most_free() -> None:
    first, second = candidate(1, 0.050, kbits=500), candidate(2, 0.059, kbits=5000)
    third = candidate(3, 0.080, kbits=90_000)
    assert in_order([first, second, third]) == [second, first, third]
