"""The relay's side of lending, on a real pool: who is lent what, once, and what receipts say."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from federation.messages import TXN_BYTES, Request
from federation.model.clocks import SystemClock, SystemEntropy, UnixTime
from federation.model.identity import NodeId, NodeKey
from federation.model.network import Network
from federation.relay_token import RelayReceipt, RelayToken
from media_relay.guest_desk import GuestLimits
from media_relay.pool import RelayPool
from node.relaying import words
from node.relaying.lender import MAX_GRANTS_A_NODE, RelayLender
from tests.support.turn_core import code_of
from tests.support.turn_pool import a_turn_pool, serving
from tests.support.turn_wire import WireClient

ASKER, RELAY, OTHER = (NodeKey(bytes([n]) * 32) for n in (1, 2, 3))
NET = Network.named("test")


class Asked:
    """A request of another node, and what it was answered (a `ServerTransaction`)."""

    def __init__(self, what: str, data: bytes, peer: NodeId = ASKER.id) -> None:
        self.peer, self.peer_ip, self.on_cancel = peer, "192.0.2.1", None
        sip = words.request(what, data, RELAY.id.key_name)
        self.request = Request(txn=bytes(TXN_BYTES), sip=sip)
        self.answered = asyncio.Event()
        self.status, self.body = 0, b""

    def respond(self, sip: bytes, legs: object = (), *, final: bool) -> None:
        assert final
        self.status, self.body = int(sip[8:11]), words.body_of(sip)
        self.answered.set()


class Room:
    """A lender and what it depends on."""

    def __init__(self, pool: RelayPool) -> None:
        self.pool = pool
        self.refused: int | None = None
        self.now = SystemClock().unix()
        self.lender = RelayLender(
            RELAY,
            NET,
            pool,
            uris=lambda: ["turn:192.0.2.9:3478?transport=udp"],
            refusal=lambda: self.refused,
            clock=self,  # type: ignore[arg-type]
            entropy=SystemEntropy(),
        )

    def unix(self) -> UnixTime:
        return self.now

    def token(self, number: int = 1, *, quota: int = 10_000, seconds: int = 600) -> RelayToken:
        nonce = number.to_bytes(16, "big")
        until = int(self.now) + seconds
        return RelayToken(asker=ASKER.id, relay=RELAY.id, nonce=nonce, not_after=until, quota=quota)

    def ask(self, token: RelayToken, *, key: NodeKey = ASKER, peer: NodeId = ASKER.id) -> Asked:
        asked = Asked(words.ASK, token.sign(key, NET), peer)
        self.lender.on_request(asked)  # type: ignore[arg-type]
        return asked

    def say(self, what: str, nonce: bytes, peer: NodeId = ASKER.id) -> Asked:
        asked = Asked(what, nonce, peer)
        self.lender.on_request(asked)  # type: ignore[arg-type]
        return asked

    async def allocates(self, lent: words.Lent) -> int:
        def run() -> int:
            client = WireClient(serving(self.pool), lent.username)
            client.password = lent.password
            try:
                return code_of(client.allocate())
            finally:
                client.close()

        return await asyncio.to_thread(run)


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    async with a_turn_pool() as pool:
        pool.guests_open(GuestLimits(1000, 100, 1 << 40))
        made = Room(pool)
        yield made
        made.lender.close()


async def test_a_token_becomes_credentials_that_work(room: Room) -> None:
    asked = room.ask(room.token())
    assert asked.status == words.OK
    lent = words.Lent.decode(asked.body)
    assert lent.username.startswith("~")
    assert lent.uris == ("turn:192.0.2.9:3478?transport=udp",)
    assert await room.allocates(lent) == 0
    again = room.ask(room.token())
    assert words.Lent.decode(again.body) == lent
    assert len(room.lender) == 1


async def test_only_of_the_node_that_shows_it(room: Room) -> None:
    assert room.ask(room.token(), key=OTHER).status == words.MALFORMED
    assert room.ask(room.token(), peer=OTHER.id).status == words.MALFORMED
    assert room.say("sing", bytes(16)).status == words.MALFORMED
    assert len(room.lender) == 0


async def test_a_used_token_is_not_taken_again(room: Room) -> None:
    """Neither with other terms while it is in force, nor after its end."""
    room.ask(room.token())
    assert room.ask(room.token(quota=1 << 40)).status == words.MALFORMED
    ended = room.say(words.END, room.token().nonce)
    await asyncio.wait_for(ended.answered.wait(), 10)
    assert room.ask(room.token()).status == words.MALFORMED


async def test_without_consent_nothing_is_lent_and_off_ends_what_was(room: Room) -> None:
    lent = words.Lent.decode(room.ask(room.token()).body)
    room.refused = words.UNWILLING
    assert room.ask(room.token(2)).status == words.UNWILLING
    room.refused = words.FULL
    assert room.ask(room.token(2)).status == words.FULL
    room.lender.end_all()
    assert len(room.lender) == 0
    assert await room.allocates(lent) == 401


async def test_it_ends_with_its_time(room: Room) -> None:
    lent = words.Lent.decode(room.ask(room.token(seconds=600)).body)
    room.now = UnixTime(room.now + 601)
    room.lender.tick()
    assert len(room.lender) == 0
    assert await room.allocates(lent) == 401


async def test_a_receipt_is_for_the_asker_and_signed(room: Room) -> None:
    room.ask(room.token())
    nonce = room.token().nonce
    assert room.say(words.RECEIPT, nonce, OTHER.id).status == words.UNKNOWN
    assert room.say(words.RECEIPT, bytes(16)).status == words.UNKNOWN
    given = room.say(words.RECEIPT, nonce)
    assert given.status == words.OK
    receipt = RelayReceipt.verify(
        given.body, relay=RELAY.id, asker=ASKER.id, nonce=nonce, network=NET
    )
    assert (receipt.bytes_to_peers, receipt.bytes_to_clients) == (0, 0)
    assert receipt.begun == int(room.now)


async def test_one_node_has_so_many_tokens_at_most(room: Room) -> None:
    for number in range(MAX_GRANTS_A_NODE):
        assert room.ask(room.token(number)).status == words.OK
    assert room.ask(room.token(99)).status == words.FULL
