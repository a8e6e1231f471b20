"""Leases kept in force: renewed in time, replaced when their relay is lost."""

import asyncio
from collections.abc import Sequence

from federation.model.address import Endpoint
from federation.model.clocks import Monotonic, UnixTime
from federation.model.identity import NodeId, NodeKey
from federation.relay_token import NONCE_BYTES, RelayReceipt, RelayToken
from node.control import RefusedError
from node.relaying import words
from node.relaying.lease import Lease
from node.relaying.standby import LOOK_SECONDS, RENEW_PART, Standby

SECONDS = 1800
NODES = [NodeKey(bytes([number]) * 32).id for number in range(1, 6)]
OURS = NodeKey(bytes(32)).id


class Relays:
    """Relays that lend as long as they are willing and up, and a clock."""

    def __init__(self, count: int) -> None:
        self.up = NODES[:count]
        self.willing = list(self.up)
        self.now = 1_000_000.0
        self.serial = 0
        self.ended: dict[NodeId, int] = {}
        self.used: dict[NodeId, int] = {}
        self.asked: asyncio.Event | None = None
        self.go_on: asyncio.Event | None = None

    def unix(self) -> UnixTime:
        return UnixTime(self.now)

    def monotonic(self) -> Monotonic:
        return Monotonic(self.now)

    def lend(self, node: NodeId) -> Lease:
        self.serial += 1
        end = int(self.now) + SECONDS
        nonce = self.serial.to_bytes(NONCE_BYTES, "big")
        token = RelayToken(asker=OURS, relay=node, nonce=nonce, not_after=end, quota=1)
        return Lease(node, Endpoint("192.0.2.1", 7060), token, words.Lent("", "", end, ()), SECONDS)

    async def ask(self, lease: Lease) -> Lease | int:
        return self.lend(lease.relay) if lease.relay in self.willing else words.UNWILLING

    async def borrow_beside(self, used: Sequence[NodeId], count: int) -> list[Lease]:
        free = [node for node in self.willing if node not in used and node in self.up]
        return [self.lend(node) for node in free[:count]]

    async def receipt(self, lease: Lease) -> RelayReceipt:
        if self.asked is not None and self.go_on is not None:
            self.asked.set()
            await self.go_on.wait()
        if lease.relay not in self.up:
            raise RefusedError("the relay gives no receipt", 503)
        return RelayReceipt(
            relay=lease.relay,
            asker=OURS,
            nonce=lease.token.nonce,
            begun=0,
            ended=self.ended.get(lease.relay, int(self.now)),
            bytes_to_peers=self.used.get(lease.relay, 0),
            bytes_to_clients=0,
        )


async def keeping(wanted: int, relays: int) -> tuple[Standby, Relays]:
    here = Relays(relays)
    standby = Standby(here, here)
    standby.wanted = wanted
    await standby.look()
    return standby, here


def kept(standby: Standby) -> list[NodeId]:
    return [lease.relay for lease in standby.leases]


async def test_each_lease_is_of_another_relay_and_missing_ones_are_sought_again() -> None:
    standby, here = await keeping(2, 1)
    assert kept(standby) == NODES[:1]
    here.up = here.willing = NODES[:3]
    await standby.look()
    assert kept(standby) == NODES[:2]
    before = list(standby.leases)
    await standby.look()
    assert standby.leases == before


async def test_a_lease_is_renewed_at_its_relay_before_it_ends() -> None:
    standby, here = await keeping(2, 3)
    before = list(standby.leases)
    here.now += SECONDS * (1 - RENEW_PART) - 1
    await standby.look()
    assert standby.leases == before
    here.now += 2
    await standby.look()
    assert kept(standby) == NODES[:2]
    assert all(lease.lent.not_after == int(here.now) + SECONDS for lease in standby.leases)


async def test_a_relay_that_refuses_or_is_gone_is_replaced_and_the_spare_moves_up() -> None:
    standby, here = await keeping(2, 4)
    here.up = NODES[1:4]
    await standby.look()
    assert kept(standby) == [NODES[1], NODES[2]]
    here.willing = [NODES[2], NODES[3]]
    here.now += SECONDS * (1 - RENEW_PART) + 1
    await standby.look()
    assert kept(standby) == [NODES[2], NODES[3]]


async def test_what_is_given_back_is_not_replaced() -> None:
    standby, _ = await keeping(2, 4)
    first = standby.leases[0]
    assert standby.drop(first.token.nonce) is first
    assert standby.drop(first.token.nonce) is None
    await standby.look()
    assert kept(standby) == [NODES[1]]


async def test_what_is_given_back_during_a_look_stays_given_back() -> None:
    standby, here = await keeping(2, 4)
    first = standby.leases[0]
    here.asked, here.go_on = asyncio.Event(), asyncio.Event()
    looking = asyncio.create_task(standby.look())
    await here.asked.wait()
    assert standby.drop(first.token.nonce) is first
    here.go_on.set()
    await looking
    assert kept(standby) == [NODES[1]]


async def test_where_nobody_lends_nothing_is_kept_wanted() -> None:
    here = Relays(0)
    standby = Standby(here, here)
    assert await standby.keep(2) == []
    assert standby.wanted == 0
    here.up = here.willing = NODES[:3]
    assert [lease.relay for lease in await standby.keep(1)] == NODES[:1]
    assert [lease.relay for lease in await standby.keep(2)] == NODES[:2]
    await standby.keep(1)
    assert standby.wanted == 2


async def test_a_lease_that_its_relay_has_ended_is_replaced() -> None:
    """The relay is there and gives receipts for an hour; their end stands still."""
    standby, here = await keeping(2, 3)
    for _ in range(3):
        here.now += LOOK_SECONDS
        await standby.look()
        await standby.look()
        assert kept(standby) == NODES[:2]
    here.ended[NODES[0]] = int(here.now)
    here.willing = NODES[1:3]
    here.now += LOOK_SECONDS
    await standby.look()
    assert kept(standby) == NODES[1:3]


async def test_a_lease_whose_bytes_are_used_up_is_replaced() -> None:
    standby, here = await keeping(1, 2)
    here.used[NODES[0]] = 1
    here.willing = [NODES[1]]
    await standby.look()
    assert kept(standby) == [NODES[1]]
