"""What strangers can make this node hold, and the bounds of it."""

import asyncio
import threading
from typing import Any, cast

import pytest

from federation.model.identity import AccountId, AccountKey, NodeKey
from federation.model.number import Number
from node.edge import dialog, indialog, media, vouching
from node.edge.vouching import BURST, MAX_CHECKS, NumberChecks
from node.storage.verified_numbers import VerifiedNumbers
from tests.support.edges import World, sdp
from tests.support.virtual_loop import LoopClock
from tests.support.virtual_time import in_virtual_time

NUMBER = Number("023456789012345")
PEERS = [NodeKey(bytes([n]) * 32).id for n in range(1, 9)]


def account(number: int) -> AccountId:
    return AccountKey(number.to_bytes(32, "big")).id


class Rows:
    """Takes what is stored."""

    def put(self, *_: object, **__: object) -> None: ...

    def remove(self, *_: object) -> None: ...


class Checks:
    """`NumberChecks` whose derivations wait until they are let go; counts them."""

    def __init__(self) -> None:
        self.derived: list[AccountId] = []
        self.may_go = threading.Event()
        clock = LoopClock(asyncio.get_running_loop())
        known = VerifiedNumbers([], cast(Any, Rows()))
        self.checks = NumberChecks(clock, known, derive=self._derive)

    def _derive(self, key: AccountId) -> Number:
        self.may_go.wait(10)
        self.derived.append(key)
        return NUMBER

    async def finish(self, *waiting: "asyncio.Task[bool]") -> list[bool]:
        await asyncio.sleep(0)
        self.may_go.set()
        answers = await asyncio.gather(*waiting)
        self.checks.close()
        return answers


async def test_calls_of_one_account_are_checked_once() -> None:
    """Five hundred at once cost one derivation and no more of the budget than one."""
    world, loop = Checks(), asyncio.get_running_loop()
    waiting = [
        loop.create_task(world.checks.check(NUMBER, account(1), PEERS[0])) for _ in range(500)
    ]
    assert await world.finish(*waiting) == [True] * 500
    assert world.derived == [account(1)]


async def test_a_call_that_ends_leaves_the_check_to_the_others() -> None:
    world, loop = Checks(), asyncio.get_running_loop()
    first, second = (
        loop.create_task(world.checks.check(NUMBER, account(1), PEERS[0])) for _ in range(2)
    )
    await asyncio.sleep(0)
    first.cancel()
    assert await world.finish(second) == [True]


async def test_no_more_than_so_many_checks_wait() -> None:
    """However many nodes ask, a caller waits no longer than `MAX_CHECKS` derivations."""
    assert BURST * len(PEERS) > MAX_CHECKS
    world, loop = Checks(), asyncio.get_running_loop()
    waiting = [
        loop.create_task(world.checks.check(NUMBER, account(1 + n), PEERS[n % len(PEERS)]))
        for n in range(MAX_CHECKS + 5)
    ]
    assert await world.finish(*waiting) == [True] * MAX_CHECKS + [False] * 5
    assert len(world.derived) == MAX_CHECKS


async def test_a_node_has_a_budget() -> None:
    world, loop = Checks(), asyncio.get_running_loop()
    waiting = [
        loop.create_task(world.checks.check(NUMBER, account(1 + n), PEERS[0]))
        for n in range(BURST + 2)
    ]
    assert await world.finish(*waiting) == [True] * BURST + [False] * 2


async def test_the_budgets_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vouching, "MAX_BUDGETS", 4)
    world = Checks()
    world.may_go.set()
    for number, peer in enumerate(PEERS):
        assert await world.checks.check(NUMBER, account(number + 1), peer)
    assert len(world.checks._budgets) == 4
    world.checks.close()


@in_virtual_time
async def test_another_node_opens_only_so_many_dialogs(monkeypatch: pytest.MonkeyPatch) -> None:
    """One more call is refused with a reason, and there is room again when one has ended."""
    world = World()
    alice, bob = world.phone("A", "alice"), world.phone("B", "bob")
    await world.registered()
    monkeypatch.setattr(dialog, "MAX_SETS_OF_NODE", 1)
    alice.invite(world.dial(alice, "bob"))
    await world.settle()
    (arrived,) = bob.calls()
    second = alice.invite(world.dial(alice, "bob"))
    await world.settle()
    assert second.statuses == [480]
    assert second.final is not None
    assert "as many calls as it can" in (second.final.get("Reason") or "")
    assert len(bob.calls()) == 1
    arrived.respond(486)
    await world.settle()
    third = alice.invite(world.dial(alice, "bob"))
    await world.settle()
    assert len(bob.calls()) == 2
    bob.calls()[1].respond(486)
    await world.settle()
    assert third.statuses == [486]
    await world.over()


@in_virtual_time
async def test_a_phone_is_told_when_its_node_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    alice, bob = world.phone("A", "alice"), world.phone("B", "bob")
    await world.registered()
    monkeypatch.setattr(dialog, "MAX_SETS", 0)
    refused = alice.invite(world.dial(alice, "bob"))
    await world.settle()
    assert refused.statuses == [503]
    assert refused.final is not None
    assert refused.final.get("Retry-After") == "5"
    monkeypatch.setattr(dialog, "MAX_SETS", 1)
    carried = alice.invite(world.dial(alice, "bob"))
    await world.settle()
    bob.calls()[0].respond(486)
    await world.settle()
    assert carried.statuses == [486]
    await world.over()


@in_virtual_time
async def test_a_description_has_only_so_many_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "MAX_MEDIA_LINES", 2)
    world = World()
    alice, bob = world.phone("A", "alice"), world.phone("B", "bob")
    await world.registered()
    body = sdp(alice.ip)
    lines = body + b"m=audio 40002 RTP/AVP 0\r\n" * 2
    refused = alice.invite(world.dial(alice, "bob"), lines)
    await world.settle()
    assert refused.statuses == [488]
    assert bob.calls() == []
    await world.over()


@in_virtual_time
async def test_one_request_makes_only_so_many_dialogs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that answers with ever new To-tags is heard up to the bound."""
    monkeypatch.setattr(dialog, "MAX_DIALOGS", 3)
    world = World()
    alice, bob = world.phone("A", "alice"), world.phone("B", "bob")
    await world.registered()
    sent = alice.invite(world.dial(alice, "bob"))
    await world.settle()
    (arrived,) = bob.calls()
    for number in range(10):
        arrived.tag = f"tag{number}"
        arrived.respond(180)
        await world.settle()
    assert sent.statuses == [180] * 3
    sent.cancel()
    await world.settle()
    await world.over()


@in_virtual_time
async def test_requests_that_overtook_others_are_held_up_to_a_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is one too many goes on at once; nothing is lost."""
    monkeypatch.setattr(indialog, "MAX_HELD", 2)
    world = World()
    alice, bob = world.phone("A", "alice"), world.phone("B", "bob")
    await world.registered()
    sent = alice.invite(world.dial(alice, "bob"))
    await world.settle()
    (arrived,) = bob.calls()
    arrived.respond(200, sdp(bob.ip))
    await world.settle()
    talk = sent.talk()
    talk.ack()
    await world.settle()
    talk.cseq += 5  # as if five requests before these were still on their way
    infos = [talk.send("INFO") for _ in range(3)]
    await asyncio.sleep(0.1)
    assert [len(held) for held in world["B"].edge.inbound.in_dialog._held.values()] == [2]
    await world.settle(2 * indialog.OVERTAKEN)
    for info in bob.got("INFO"):
        info.respond(200)
    await world.settle()
    assert [info.status for info in infos] == [200] * 3
    bye = talk.send("BYE")
    await world.settle()
    assert bye.status == 200
    await world.over()
