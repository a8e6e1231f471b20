"""What the directory remembers of strangers, and that it stays little."""

import asyncio

import pytest

from dht import acquaintances, cookie, finder
from dht.acquaintances import Acquaintances, Met
from dht.cookie import GLOBAL_BURST, RateLimiter
from dht.finder import Inconclusive
from dht.messages import CLIENT, Observed, Part, Pong
from dht.number_claims import MAX_WAITERS, ClaimVerifier
from dht.overlay_id import OverlayId
from dht.table import SecureTable
from federation.model.address import Endpoint
from federation.model.clocks import Monotonic, SystemClock
from federation.model.identity import AccountId, AccountKey, NodeKey
from federation.model.number import Number
from tests.support.dht_network import MemoryNetwork, quick_number
from tests.support.virtual_loop import run_virtually

NOW = Monotonic(100.0)


def test_rate_buckets_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forged sources push out the network heard longest ago; one that goes on stays limited."""
    monkeypatch.setattr(cookie, "MAX_GROUPS", 3)
    limiter = RateLimiter()
    loud = Endpoint("5.6.7.8", 7060)
    while limiter.allows(loud, now=NOW):
        pass
    for number in range(20):
        assert limiter.allows(Endpoint(f"9.9.{number}.1", 7060), now=NOW)
        assert not limiter.allows(loud, now=NOW)
        assert len(limiter._buckets) <= 3


def test_a_network_shares_its_rate() -> None:
    """A /24, or a /48, is one source: its owner has many addresses."""
    limiter = RateLimiter()
    taken = 0
    while limiter.allows(Endpoint(f"5.6.7.{taken % 250}", 7060), now=NOW):
        taken += 1
    assert taken == GLOBAL_BURST
    assert limiter.allows(Endpoint("5.6.8.1", 7060), now=NOW)


def test_acquaintances_beside_the_table_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients are remembered and stand in no table; the one met first is forgotten first."""
    monkeypatch.setattr(acquaintances, "MAX_ACQUAINTANCES", 5)
    table = SecureTable(OverlayId(bytes(32)))
    circle = Acquaintances(
        table,
        on_contact=lambda contact: None,
        on_lost=lambda contact: None,
        clock=SystemClock(),
    )
    ids = [OverlayId(bytes([n + 1]) * 32) for n in range(20)]
    for n, id_ in enumerate(ids):
        endpoint = Endpoint(f"9.9.{n}.1", 7060)
        observed = Observed(endpoint, bytes(16))
        part = Part(0, 1, observed, Pong(0, bytes(32), CLIENT, 0))
        met = Met(id_, NodeKey(bytes([n + 1]) * 32).id, bytes(8), endpoint, part, 0.01)
        circle.meet(met, now=NOW)
    assert len(circle) == 5
    assert len(table) == 0
    assert [circle.known(id_) is not None for id_ in ids] == [False] * 15 + [True] * 5


def test_lookups_at_a_time_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """One too many is inconclusive at once; when one has ended there is room again."""
    monkeypatch.setattr(finder, "MAX_LOOKUPS", 2)

    async def run() -> None:
        network = MemoryNetwork()
        one, two = [await network.node(n) for n in (1, 2)]
        await two.directory.join([one.endpoint])
        await asyncio.sleep(5)
        one.is_up = False
        running = [
            asyncio.ensure_future(two.directory.find_user(one.key.id, f"user{n}")) for n in range(2)
        ]
        await asyncio.sleep(0)
        started = asyncio.get_running_loop().time()
        refused = await two.directory.find_user(one.key.id, "carol")
        assert refused == Inconclusive("too many lookups are running")
        assert asyncio.get_running_loop().time() == started
        await asyncio.gather(*running)
        one.is_up = True
        assert await two.directory.find_user(one.key.id, "carol") != refused
        await network.close()

    run_virtually(run())


async def test_storers_that_wait_for_one_claim_are_bounded() -> None:
    """The same claim sent again and again costs one derivation and a few callbacks."""
    derived: list[AccountId] = []

    async def derive(account: AccountId) -> Number:
        derived.append(account)
        return quick_number(account)

    verifier = ClaimVerifier(derive, clock=SystemClock())
    account = AccountKey(bytes([5]) * 32).id
    verdicts: list[bool] = []
    for _ in range(10 * MAX_WAITERS):
        assert verifier.enqueue(quick_number(account), account, verdicts.append)
    assert verifier.queued == 1
    work = asyncio.ensure_future(verifier.run())
    async with asyncio.timeout(10):
        while not verdicts:
            await asyncio.sleep(0)
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    await verifier.close()
    assert verdicts == [True] * MAX_WAITERS
    assert derived == [account]
