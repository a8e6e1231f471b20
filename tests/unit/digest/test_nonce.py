"""Nonces prove their age; their counts are remembered in bounded memory."""

import base64

import pytest

from federation.model.clocks import UnixTime
from node.sip.digest import FailureLog
from node.sip.nonce import MAX_NONCES, NONCE_LIFETIME, NONCE_WINDOW, NonceKeeper, NonceState
from tests.support.sip_exchange import SeededEntropy

NOW = UnixTime(1_800_000_000.0)


def a_keeper(limit: int = MAX_NONCES) -> NonceKeeper:
    return NonceKeeper(b"k" * 32, entropy=SeededEntropy(), limit=limit)


def test_every_nonce_is_another() -> None:
    keeper = a_keeper()
    assert len({keeper.make(now=NOW) for _ in range(1000)}) == 1000


def test_handing_nonces_out_takes_no_memory() -> None:
    keeper = a_keeper()
    for _ in range(100):
        keeper.make(now=NOW)
    assert len(keeper) == 0


@pytest.mark.parametrize("change", [0, 5, 6, 11, 12, 23])
def test_a_nonce_with_any_byte_changed_is_stale(change: int) -> None:
    keeper = a_keeper()
    raw = bytearray(base64.urlsafe_b64decode(keeper.make(now=NOW)))
    raw[change] ^= 1
    nonce = base64.urlsafe_b64encode(raw).decode()
    assert keeper.use(nonce, 1, now=NOW) is NonceState.STALE


@pytest.mark.parametrize("nonce", ["", "x", "é" * 32, "=" * 32, "a" * 33, "*" * 32])
def test_what_is_no_nonce_is_stale(nonce: str) -> None:
    assert a_keeper().use(nonce, 1, now=NOW) is NonceState.STALE


def test_a_nonce_from_the_future_is_stale() -> None:
    keeper = a_keeper()
    nonce = keeper.make(now=UnixTime(NOW + 10))
    assert keeper.use(nonce, 1, now=NOW) is NonceState.STALE


def test_a_count_is_good_once() -> None:
    keeper = a_keeper()
    nonce = keeper.make(now=NOW)
    counts = [5, 5, 6, 5, 4, 4]
    good, replayed = NonceState.GOOD, NonceState.REPLAYED
    assert [keeper.use(nonce, c, now=NOW) for c in counts] == [
        good, replayed, good, replayed, good, replayed,
    ]  # fmt: skip


def test_a_count_that_left_the_window_is_taken_for_a_replay() -> None:
    keeper = a_keeper()
    nonce = keeper.make(now=NOW)
    keeper.use(nonce, NONCE_WINDOW + 1, now=NOW)
    assert keeper.use(nonce, 1, now=NOW) is NonceState.REPLAYED
    assert keeper.use(nonce, 2, now=NOW) is NonceState.GOOD


def test_a_count_far_ahead_costs_no_memory() -> None:
    keeper = a_keeper()
    nonce = keeper.make(now=NOW)
    assert keeper.use(nonce, 1, now=NOW) is NonceState.GOOD
    assert keeper.use(nonce, 0xFFFFFFFF, now=NOW) is NonceState.GOOD
    assert keeper.use(nonce, 1, now=NOW) is NonceState.REPLAYED
    assert keeper.use(nonce, 0xFFFFFFFE, now=NOW) is NonceState.GOOD


def test_when_memory_is_full_the_oldest_goes_and_cannot_be_replayed() -> None:
    keeper = a_keeper(limit=3)
    nonces = [keeper.make(now=UnixTime(NOW + n)) for n in range(5)]
    late = UnixTime(NOW + 10)
    for nonce in nonces:
        assert keeper.use(nonce, 1, now=late) is NonceState.GOOD
    assert len(keeper) == 3
    states = [keeper.use(nonce, 1, now=late) for nonce in nonces]
    assert states == [NonceState.STALE] * 2 + [NonceState.REPLAYED] * 3


def test_expired_nonces_are_forgotten() -> None:
    keeper = a_keeper()
    for n in range(10):
        keeper.use(keeper.make(now=UnixTime(NOW + n)), 1, now=UnixTime(NOW + n))
    later = UnixTime(NOW + NONCE_LIFETIME + 20)
    assert keeper.use(keeper.make(now=later), 1, now=later) is NonceState.GOOD
    assert len(keeper) == 1


def test_failures_are_forgotten_after_a_pause_and_bounded() -> None:
    failures = FailureLog(limit=2, window=10.0)
    assert [failures.add("a", now=UnixTime(NOW + n)) for n in range(3)] == [1, 2, 3]
    assert failures.count("a", now=UnixTime(NOW + 11)) == 3
    assert failures.count("a", now=UnixTime(NOW + 12)) == 0
    failures.add("b", now=UnixTime(NOW + 3))
    failures.add("c", now=UnixTime(NOW + 3))
    assert len(failures) == 2
    assert failures.count("a", now=UnixTime(NOW + 3)) == 0
