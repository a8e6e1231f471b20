"""Directories over real UDP sockets."""

import time
from contextlib import AsyncExitStack

import pytest

from dht.finder import Found, NotFound
from dht.record import Kind
from federation.model.identity import AccountId, AccountKey
from federation.model.network import Network
from federation.model.number import derive_number
from tests.support.dht_network import derive_quickly, quick_number
from tests.support.dht_sockets import SocketNode

NETWORK = Network.named("sockets")
GENEROUS = 2.0
"Seconds that a cold lookup may take here; alone on a machine it takes a few milliseconds."


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_three_nodes_find_each_others_records(host: str) -> None:
    """Address, user and number of each are found from the others; absence is known as well."""
    async with AsyncExitStack() as stack:
        nodes = [
            await stack.enter_async_context(
                SocketNode(number, NETWORK, host=host, derive=derive_quickly)
            )
            for number in (1, 2, 3)
        ]
        accounts = [AccountKey(bytes([50 + n]) * 32) for n in range(3)]
        for node, account in zip(nodes, accounts, strict=True):
            node.directory.publish_user("alice")
            node.directory.publish_number(quick_number(account.id), account)
        for node in nodes[1:]:
            assert await node.directory.join([nodes[0].endpoint]) >= 1
        for node, account in zip(nodes, accounts, strict=True):
            number = quick_number(account.id)
            assert await node.directory.published(Kind.USER, "alice")
            assert await node.directory.published(Kind.NUMBER, number, account.id)
        for seeker in nodes:
            for node, account in zip(nodes, accounts, strict=True):
                started = time.monotonic()
                address = await seeker.directory.find_address(node.key.id)
                elapsed = time.monotonic() - started
                assert isinstance(address, Found)
                assert elapsed < GENEROUS
                assert isinstance(await seeker.directory.find_user(node.key.id, "alice"), Found)
                claims = await seeker.directory.find_number(quick_number(account.id))
                assert isinstance(claims, Found)
                assert [record.owner for record in claims.records] == [account.id]
            started = time.monotonic()
            absent = await seeker.directory.find_user(nodes[0].key.id, "nobody")
            assert absent == NotFound()
            assert time.monotonic() - started < GENEROUS


async def test_ten_nodes_know_each_other_and_a_dead_ones_records() -> None:
    async with AsyncExitStack() as stack:
        nodes = [
            await stack.enter_async_context(SocketNode(number, NETWORK, derive=derive_quickly))
            for number in range(1, 11)
        ]
        for node in nodes[1:]:
            await node.directory.join([nodes[0].endpoint])
        for node in nodes:
            node.directory.publish_user("bob")
            assert await node.directory.published(Kind.USER, "bob")
        await nodes[4].directory.close()
        for seeker in (nodes[0], nodes[9]):
            result = await seeker.directory.find_user(nodes[4].key.id, "bob")
            assert isinstance(result, Found)


async def test_a_number_is_verified_by_the_real_derivation() -> None:
    """With the real Argon2id a claim is found, and one for another's number is not believed."""
    account = AccountKey(bytes([1]) * 32)
    number = derive_number(AccountId(account.id))
    thief = AccountKey(bytes([2]) * 32)
    async with (
        SocketNode(11, NETWORK) as one,
        SocketNode(12, NETWORK) as two,
        SocketNode(13, NETWORK) as three,
    ):
        one.directory.publish_number(number, account)
        three.directory.publish_number(number, thief)
        await two.directory.join([one.endpoint, three.endpoint])
        await three.directory.join([one.endpoint])
        assert await one.directory.published(Kind.NUMBER, number, account.id)
        await three.directory.published(Kind.NUMBER, number, thief.id)
        result = await two.directory.find_number(number)
        assert isinstance(result, Found)
        assert [record.owner for record in result.records] == [account.id]
