"""MESSAGE for users who are not there: kept, and delivered once, in order, at the next REGISTER."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from federation.model.clocks import UnixTime
from node.accounts.account import Account
from node.control import RefusedError
from node.edge import mailboxes
from node.edge.mailboxes import (
    MAX_BODY,
    MAX_REFUSALS,
    QUOTA,
    QUOTA_BYTES,
    QUOTA_OF_NODE,
    QUOTA_OF_STRANGERS,
    STRANGERS,
    Mailboxes,
)
from node.edge.mailroom import DAY, EXPIRY_DAYS, PATIENCE, Mailroom
from node.edge.vouching import Voucher
from node.message_desk import MessageDesk
from node.sip_config import SipConfig
from node.storage.errors import StorageError
from node.storage.messages import KeptMessage, MessageStore
from tests.support.edge_phone import Phone, Sent
from tests.support.edges import World
from tests.support.strangers import rebuilt, stranger
from tests.support.virtual_time import in_virtual_time

TEXT = [("Content-Type", "text/plain;charset=UTF-8")]


class Disk:
    """Stands for the storage: what is committed, and when."""

    def __init__(self) -> None:
        self.kept: dict[int, KeptMessage] = {}
        self.delay = 0.01
        self.is_full = False

    async def add(self, message: KeptMessage) -> None:
        await asyncio.sleep(self.delay)
        if self.is_full:
            raise StorageError("no space left")
        self.kept[message.id] = message

    def remove(self, message_id: int) -> None:
        self.kept.pop(message_id, None)


def with_disk(world: World, node: str, disk: Disk | None = None, **more: Any) -> Disk:
    """Give a node where messages are kept; what it holds already waits on."""
    disk = disk or Disk()
    rebuilt(world, node, messages=cast(MessageStore, disk), **more)
    room_of(world, node).boxes.restore(disk.kept.values())
    return disk


def room_of(world: World, node: str) -> Mailroom:
    room = world[node].edge._calls.mailroom
    assert room is not None
    return room


async def met(nodes: str = "AB") -> tuple[World, Phone, Phone, Disk]:
    """Alice at A is there, bob at the last node is not."""
    world = World(nodes)
    disk = with_disk(world, nodes[-1])
    alice = world.phone("A", "alice")
    await world.registered()
    return world, alice, world.phone(nodes[-1], "bob"), disk


def write(sender: Phone, target: str, text: str = "hello", **more: Any) -> Sent:
    return sender.send("MESSAGE", target, text.encode(), headers=TEXT, **more)


def take(phone: Phone, status: int = 200) -> list[bytes]:
    """Answer every message that was not answered yet; what they said."""
    said = []
    for arrived in phone.got("MESSAGE"):
        if not arrived.status:
            arrived.respond(status)
            said.append(arrived.request.body)
    return said


async def taken(world: World, phone: Phone, count: int) -> list[bytes]:
    said: list[bytes] = []
    for _ in range(count + 2):
        await world.settle()
        said += take(phone)
    return said


@pytest.mark.parametrize("nodes", ["A", "AB"])
def test_a_message_waits_until_its_receiver_registers(nodes: str) -> None:
    @in_virtual_time
    async def run() -> None:
        world, alice, bob, disk = await met(nodes)
        date = ("Date", "Sat, 13 Nov 2010 23:29:00 GMT")
        sent = alice.send("MESSAGE", world.dial(alice, "bob"), b"h\xc3\xa9", headers=[*TEXT, date])
        await world.settle()
        assert sent.status == 202
        assert len(disk.kept) == 1
        bob.register()
        await world.settle()
        (arrived,) = bob.got("MESSAGE")
        request = arrived.request
        number = world.account("A", "alice").number
        assert request.body == b"h\xc3\xa9"
        assert request.get("Content-Type") == TEXT[0][1]
        assert request.get("Date") == date[1]
        assert (request.get("From") or "").startswith(f'"Alice" <sip:{number}@')
        assert f"sip:{number};verstat=TN-Validation-Passed" in (
            request.get("P-Asserted-Identity") or ""
        )
        arrived.respond(200)
        await world.settle()
        assert disk.kept == {}
        bob.register()
        await world.settle()
        assert len(bob.got("MESSAGE")) == 1
        await world.over()

    run()


@in_virtual_time
async def test_messages_come_in_order_and_later_ones_behind_them() -> None:
    world, alice, bob, _ = await met()
    for number in range(5):
        write(alice, world.dial(alice, "bob"), str(number))
        await world.settle()
    bob.register()
    await world.settle()
    late = write(alice, world.dial(alice, "bob"), "late")  # bob is there now, but has to read first
    said = await taken(world, bob, 6)
    assert said == [b"0", b"1", b"2", b"3", b"4", b"late"]
    assert late.status == 202
    direct = write(alice, world.dial(alice, "bob"), "direct")
    await world.settle()
    assert take(bob) == [b"direct"]
    await world.settle()
    assert direct.status == 200
    await world.over()


@in_virtual_time
async def test_a_message_is_kept_over_a_restart() -> None:
    world, alice, bob, disk = await met()
    for number in range(3):
        write(alice, world.dial(alice, "bob"), str(number))
        await world.settle()
    with_disk(world, "B", disk)
    bob.register()
    assert await taken(world, bob, 3) == [b"0", b"1", b"2"]
    assert disk.kept == {}
    await world.over()


@in_virtual_time
async def test_the_sender_hears_202_only_when_the_message_is_on_the_disk() -> None:
    world, alice, bob, disk = await met()
    disk.delay = 5.0
    sent = write(alice, world.dial(alice, "bob"))
    await world.settle(4.0)
    assert sent.status == 0
    bob.register()
    await world.settle()
    assert bob.got("MESSAGE") == []
    await world.settle(2.0)
    assert sent.status == 202
    assert take(bob) == [b"hello"]
    await world.over()


@in_virtual_time
async def test_a_message_that_cannot_be_written_is_refused() -> None:
    world, alice, bob, disk = await met()
    disk.is_full = True
    sent = write(alice, world.dial(alice, "bob"))
    await world.settle()
    assert sent.status == 480
    assert len(room_of(world, "B").boxes) == 0
    bob.register()
    await world.settle()
    assert bob.got("MESSAGE") == []
    await world.over()


@in_virtual_time
async def test_one_device_gets_it_and_the_next_one_if_the_first_does_not_answer() -> None:
    world, alice, bob, disk = await met()
    second = world.phone("B", "bob")
    write(alice, world.dial(alice, "bob"))
    await world.settle()
    bob.register()
    second.register()
    await world.settle()
    (first,) = [device for device in (bob, second) if device.got("MESSAGE")]
    other = second if first is bob else bob
    assert other.got("MESSAGE") == []
    first.die()
    await world.settle(33)
    assert take(other) == [b"hello"]
    await world.settle()
    assert disk.kept == {}
    await world.over()


@in_virtual_time
async def test_what_devices_refuse_keeps_no_other_back_and_is_dropped_in_the_end() -> None:
    world, alice, bob, disk = await met()
    write(alice, world.dial(alice, "bob"), "bad")
    await world.settle()
    write(alice, world.dial(alice, "bob"), "good")
    await world.settle()
    for number in range(MAX_REFUSALS):
        bob.register()
        await world.settle()
        assert take(bob, 415) == [b"bad"]
        await world.settle()
        assert take(bob) == ([b"good"] if number == 0 else [])
        await world.settle()
    assert disk.kept == {}
    await world.over()


@in_virtual_time
async def test_a_device_that_says_nothing_counts_as_absent() -> None:
    world, alice, bob, disk = await met()
    bob.register()
    await world.settle()
    bob.dead = True
    sent = write(alice, world.dial(alice, "bob"))
    await world.settle(PATIENCE + 1)
    assert sent.status == 202
    assert len(disk.kept) == 1
    await world.settle(40)
    bob.dead = False
    bob.register()
    assert await taken(world, bob, 1) == [b"hello"]
    await world.over()


@in_virtual_time
async def test_a_device_that_answers_late_has_it_once() -> None:
    world, alice, bob, disk = await met()
    bob.register()
    await world.settle()
    sent = write(alice, world.dial(alice, "bob"))
    await world.settle(PATIENCE + 1)
    assert sent.status == 202
    assert take(bob) == [b"hello"]
    await world.settle()
    assert disk.kept == {}
    bob.register()
    await world.settle()
    assert len(bob.got("MESSAGE")) == 1
    await world.over()


@in_virtual_time
async def test_a_device_that_answers_while_the_message_is_written_has_it_once() -> None:
    world, alice, bob, disk = await met()
    bob.register()
    await world.settle()
    disk.delay = 4.0
    sent = write(alice, world.dial(alice, "bob"))
    await world.settle(PATIENCE + 1)
    assert take(bob) == [b"hello"]
    await world.settle(10)
    assert sent.status == 200
    assert disk.kept == {}
    assert len(room_of(world, "B").boxes) == 0
    await world.over()


@pytest.mark.parametrize(("answer", "heard"), [(480, 202), (486, 486), (415, 415), (200, 200)])
def test_what_a_device_answers(answer: int, heard: int) -> None:
    @in_virtual_time
    async def run() -> None:
        world, alice, bob, _ = await met()
        bob.register()
        await world.settle()
        sent = write(alice, world.dial(alice, "bob"))
        await world.settle()
        bob.got("MESSAGE")[0].respond(answer)
        await world.settle()
        assert sent.status == heard
        await world.over()

    run()


@in_virtual_time
async def test_that_somebody_is_typing_is_not_kept() -> None:
    world, alice, _, disk = await met()
    kind = [("Content-Type", "application/im-iscomposing+xml")]
    sent = alice.send("MESSAGE", world.dial(alice, "bob"), b"<isComposing/>", headers=kind)
    await world.settle()
    assert sent.status == 480
    assert disk.kept == {}
    await world.over()


@in_virtual_time
async def test_a_node_can_be_told_to_keep_none() -> None:
    world, alice, _, disk = await met()
    with_disk(world, "B", disk, sip=SipConfig(keep_messages_days=0))
    sent = write(alice, world.dial(alice, "bob"))
    await world.settle()
    assert sent.status == 480
    await world.over()


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [(None, EXPIRY_DAYS * DAY), ("3600", 3600), ("99999999", EXPIRY_DAYS * DAY)],
)
def test_messages_expire(asked: str | None, seconds: float) -> None:
    @in_virtual_time
    async def run() -> None:
        world, alice, bob, disk = await met()
        more = [] if asked is None else [("Expires", asked)]
        alice.send("MESSAGE", world.dial(alice, "bob"), b"old", headers=[*TEXT, *more])
        await world.settle()
        (kept,) = disk.kept.values()
        assert kept.expires_at - kept.kept_at == seconds
        if asked == "3600":
            await world.settle(3610)
            assert disk.kept == {}
            bob.register()
            await world.settle()
            assert bob.got("MESSAGE") == []
        await world.over()

    run()


@in_virtual_time
async def test_an_account_that_goes_takes_its_messages_along() -> None:
    world, alice, _, _ = await met()
    write(alice, world.dial(alice, "bob"))
    await world.settle()
    world["B"].edge.end_account("bob")
    assert len(room_of(world, "B").boxes) == 0
    await world.over()


@in_virtual_time
async def test_strangers_are_counted_apart_and_shown_as_such() -> None:
    world, _, bob, disk = await met()
    carol = stranger(world, "B")
    sent = write(carol, f"sip:bob@{bob.server}")
    await world.settle()
    assert sent.status == 202
    assert [message.source for message in disk.kept.values()] == [STRANGERS]
    bob.register()
    await world.settle()
    shown = bob.got("MESSAGE")[0].request
    assert (shown.get("From") or "").startswith('"unverified: Carol" <sip:carol@elsewhere.test>')
    assert shown.get("P-Asserted-Identity") is None
    take(bob)
    await world.over()


@in_virtual_time
async def test_a_message_is_kept_where_the_senders_number_has_to_be_checked_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The check holds the answer back, and its end must not give one."""
    world, alice, _, disk = await met()
    disk.delay = 1.0
    monkeypatch.setattr(Voucher, "needs_check", lambda self, statement: True)
    sent = write(alice, world.dial(alice, "bob"))
    await world.settle(3)
    assert sent.status == 202
    assert len(disk.kept) == 1
    await world.over()


# Quotas


def message(number: int, source: str = "account", size: int = 1, login: str = "bob") -> KeptMessage:
    return KeptMessage(
        id=number,
        login=login,
        source=source,
        display="",
        number=None,
        uri="alice@a.test",
        verified=True,
        anonymous=False,
        headers=(),
        body=b"x" * size,
        sent_at="",
        kept_at=UnixTime(0.0),
        expires_at=UnixTime(10.0),
    )


def filled(count: int, source: Callable[[int], str] = lambda n: "account", size: int = 1) -> Any:
    boxes = Mailboxes()
    for number in range(1, count + 1):
        boxes.add(message(number, source(number), size))
    return boxes


@pytest.mark.parametrize(
    ("boxes", "source", "size", "fits"),
    [
        (filled(0), "account", MAX_BODY, True),
        (filled(0), "account", MAX_BODY + 1, False),
        (filled(QUOTA - 1), "account", 1, True),
        (filled(QUOTA), "account", 1, False),
        (filled(16, size=QUOTA_BYTES // 16), "account", 1, False),
        (filled(QUOTA_OF_NODE, lambda n: "node:x"), "node:x", 1, False),
        (filled(QUOTA_OF_NODE, lambda n: "node:x"), "node:y", 1, True),
        (filled(QUOTA_OF_STRANGERS, lambda n: STRANGERS), STRANGERS, 1, False),
        (filled(QUOTA_OF_STRANGERS, lambda n: STRANGERS), "account", 1, True),
    ],
)
def test_a_box_has_bounds(boxes: Mailboxes, source: str, size: int, fits: bool) -> None:
    assert (boxes.lack_of_room("bob", source, size) is None) is fits
    assert boxes.lack_of_room("carol", source, 1) is None


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("MAX_MESSAGES", "account"),
        ("MAX_OF_NODE", "node:x"),
        ("MAX_OF_STRANGERS", STRANGERS),
        ("MAX_BYTES", "account"),
    ],
)
def test_all_boxes_together_have_bounds(
    monkeypatch: pytest.MonkeyPatch, name: str, source: str
) -> None:
    monkeypatch.setattr(mailboxes, name, 10)
    boxes = Mailboxes()
    for number in range(10):
        assert boxes.lack_of_room(f"user{number}", source, 1) is None
        boxes.add(message(number + 1, source, login=f"user{number}"))
    assert boxes.lack_of_room("another", source, 1) is not None
    assert boxes.remove(boxes.of("user0")[0])
    assert boxes.lack_of_room("another", source, 1) is None
    assert boxes.new_id() == 11


# By command


def desk_of(world: World, node: str) -> MessageDesk:
    home = world[node]

    def account(login: str) -> Account:
        found = home.accounts.by_login(login)
        if found is None:
            raise RefusedError(f"no account {login!r} here", 404)
        return found

    return MessageDesk(account, lambda: home.edge, home.id.key_name)


@in_virtual_time
async def test_a_message_by_command_arrives_or_is_kept() -> None:
    world, _, bob, disk = await met()
    desk, number = desk_of(world, "A"), str(world.account("B", "bob").number)
    sent = await desk.send("alice", number, "are you there?")
    assert sent["kept"] is True
    (waiting,) = desk_of(world, "B").waiting("bob")
    assert waiting["from"] == world.account("A", "alice").number
    assert waiting["verified"] is True
    assert "text" not in waiting
    bob.register()
    await world.settle()
    assert take(bob) == [b"are you there?"]
    await world.settle()
    assert desk_of(world, "B").waiting("bob") == []
    answering = asyncio.get_running_loop().call_later(0.2, lambda: take(bob))
    assert (await desk.send("alice", number, "h\u00e9"))["kept"] is False
    answering.cancel()
    assert bob.got("MESSAGE")[-1].request.body == "h\u00e9".encode()
    assert disk.kept == {}
    await world.over()


@pytest.mark.parametrize(
    ("sender", "to", "text"),
    [
        ("nobody", "bob", "x"),
        ("alice", "", "x"),
        ("alice", "bob", ""),
        ("alice", "bob", "x" * (MAX_BODY + 1)),
        ("alice", "sip:", "x"),
        ("alice", "carol", "x"),
        ("alice", "bob", "\udcff"),
        ("alice", "9" * 400, "x"),
    ],
)
def test_what_cannot_be_sent_is_refused_with_a_sentence(sender: str, to: str, text: str) -> None:
    @in_virtual_time
    async def run() -> None:
        world, _, _, disk = await met("A")
        with pytest.raises(RefusedError):
            await desk_of(world, "A").send(sender, to, text)
        assert disk.kept == {}
        await world.over()

    run()


@in_virtual_time
async def test_a_command_waits_for_an_answer_no_longer_than_is_told() -> None:
    world = World("A")
    alice, bob = world.phone("A", "alice"), world.phone("A", "bob")
    await world.registered()
    bob.die()
    with pytest.raises(RefusedError, match="no answer"):
        await desk_of(world, "A").send(alice.login, "bob", "x")
    await world.over()
