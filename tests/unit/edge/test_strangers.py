"""Plain SIP from elsewhere: it reaches accounts, as somebody unverified, and nothing else."""

import pytest

from federation.model.address import Endpoint
from federation.model.clocks import Monotonic, UnixTime
from node.edge.dialog import (
    MAX_SETS_OF_NETWORK,
    MAX_SETS_OF_STRANGERS,
    DialogSet,
    DialogTable,
    PlainSide,
)
from node.edge.strangers import (
    BURST,
    MAX_NETWORKS,
    PER_SECOND,
    TOTAL_BURST,
    Pace,
)
from node.sip.flow import Flow
from node.sip.message import Request
from node.sip_config import SipConfig
from tests.support.edge_phone import Phone, sdp
from tests.support.edges import World
from tests.support.strangers import rebuilt, stranger
from tests.support.virtual_time import in_virtual_time


async def met(nodes: str = "A") -> tuple[World, Phone, Phone]:
    """Alice at A, and carol of another network."""
    world = World(nodes)
    alice = world.phone("A", "alice")
    await world.registered()
    return world, alice, stranger(world, "A")


def at(phone: Phone) -> str:
    return f"sip:{phone.login}@{phone.server}"


@in_virtual_time
async def test_a_call_from_another_network_is_heard_both_ways() -> None:
    world, alice, carol = await met()
    sent = carol.invite(at(alice))
    await world.settle()
    (arrived,) = alice.calls()
    shown = arrived.request.from_
    assert str(shown.uri) == "sip:carol@elsewhere.test"
    assert shown.display == "unverified: Carol"
    assert arrived.request.get("P-Asserted-Identity") is None
    arrived.respond(200, sdp(alice.ip))
    await world.settle()
    assert sent.status == 200
    assert sent.final is not None
    assert (sent.final.get("From") or "").startswith('"Carol" <sip:carol@elsewhere.test>')
    talk = sent.talk()
    talk.ack()
    await world.settle()
    assert arrived.acked
    assert world.hears(sent.final.body) == alice.rtp
    assert world.hears(arrived.request.body) == carol.rtp
    update = talk.send("INFO")
    await world.settle()
    alice.got("INFO")[0].respond(200)
    await world.settle()
    assert update.status == 200
    arrived.talk().send("BYE")
    await world.settle()
    assert len(carol.got("BYE")) == 1
    await world.over()


@in_virtual_time
async def test_media_of_a_stranger_goes_only_where_its_signalling_comes_from() -> None:
    """An offer that names a third party must not make us send there."""
    world, alice, carol = await met()
    sent = carol.invite(at(alice), sdp("203.0.113.9"))
    await world.settle()
    (arrived,) = alice.calls()
    arrived.respond(200, sdp(alice.ip))
    await world.settle()
    sent.talk().ack()
    await world.settle()
    assert world.hears(arrived.request.body) is None
    assert world.hears(sent.final.body if sent.final else b"") == alice.rtp
    sent.talk().send("BYE")
    await world.over()


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("sip:nobody@{node}", 404),
        ("sip:echo@{node}", 404),
        ("sip:*43@{node}", 404),
        ("sip:112@{node}", 404),
        ("sip:0{far}@{node}", 404),
        ("sip:bob@b.test", 407),
        ("sip:carol@elsewhere.test", 407),
        ("sip:bob@198.51.100.1", 407),
        ("tel:+4930123456", 407),
        ("sip:alice@{node}", 200),
        ("sip:alice@a.test", 200),
        ("sip:alice@{key}", 200),
        ("sip:{number}@{node}", 200),
    ],
)
def test_a_stranger_reaches_accounts_here_and_nothing_else(target: str, status: int) -> None:
    @in_virtual_time
    async def run() -> None:
        world, alice, carol = await met("AB")
        bob = world.phone("B", "bob")
        await world.registered()
        number = world.account("A", "alice").number
        far = str(world.account("B", "bob").number)[1:]
        text = target.format(node=alice.server, number=number, key=world["A"].id.key_name, far=far)
        carol.send("MESSAGE", text, b"hello", headers=[("Content-Type", "text/plain")])
        await world.settle()
        for arrived in alice.got("MESSAGE"):
            arrived.respond(200)
        await world.settle()
        assert phone_answers(carol)[0] == status
        assert bob.inbox == []
        await world.over()

    run()


def phone_answers(phone: Phone) -> list[int]:
    """Final statuses in the order in which they came."""
    found = []
    for sent in phone._sent.values():
        if sent.retry is not None:
            found.append(407)
        elif sent.final is not None:
            found.append(sent.final.status)
    return found


@pytest.mark.parametrize("login", ["alice", "nobody"])
def test_a_stranger_cannot_learn_who_is_here_by_claiming_to_be_one(login: str) -> None:
    """The same challenge for a name that exists and for one that does not."""

    @in_virtual_time
    async def run() -> None:
        world, alice, _ = await met()
        liar = stranger(world, "A", login, domain=alice.server)
        liar.invite(at(alice))
        await world.settle()
        assert phone_answers(liar)[0] == 407
        assert alice.inbox == []
        await world.over()

    run()


@in_virtual_time
async def test_key_names_do_not_call_by_plain_sip() -> None:
    world, alice, _ = await met("AB")
    liar = stranger(world, "A", "bob", domain=world["B"].id.key_name)
    sent = liar.invite(at(alice))
    await world.settle()
    assert sent.status == 403
    assert alice.inbox == []
    await world.over()


@pytest.mark.parametrize("method", ["SUBSCRIBE", "REFER", "PUBLISH", "INFO", "NOTIFY", "BYE"])
def test_other_methods_are_refused_with_what_is_allowed(method: str) -> None:
    @in_virtual_time
    async def run() -> None:
        world, alice, carol = await met()
        sent = carol.send(method, at(alice))
        await world.settle()
        assert sent.status == 405
        assert sent.final is not None
        assert sent.final.get("Allow") == "INVITE, OPTIONS, MESSAGE, ACK, CANCEL, BYE"
        assert alice.inbox == []
        await world.over()

    run()


@in_virtual_time
async def test_subscriptions_of_strangers_are_a_setting() -> None:
    world = World("A")
    rebuilt(world, "A", sip=SipConfig(strangers_subscribe=True))
    alice, carol = world.phone("A", "alice"), stranger(world, "A")
    await world.registered()
    asked = [("Event", "presence"), ("Expires", "600")]
    sent = carol.send("SUBSCRIBE", at(alice), headers=asked)
    await world.settle()
    alice.got("SUBSCRIBE")[0].respond(200, headers=[("Expires", "600")])
    await world.settle()
    assert sent.status == 200
    over = [("Event", "presence"), ("Subscription-State", "terminated")]
    notify = alice.got("SUBSCRIBE")[0].talk().send("NOTIFY", headers=over)
    await world.settle()
    carol.got("NOTIFY")[0].respond(200)
    await world.settle()
    assert notify.status == 200
    await world.over()


@in_virtual_time
async def test_a_closed_node_challenges_everybody() -> None:
    world = World("A")
    rebuilt(world, "A", sip=SipConfig(open=False))
    alice, carol = world.phone("A", "alice"), stranger(world, "A")
    await world.registered()
    carol.invite(at(alice))
    await world.settle()
    assert phone_answers(carol)[0] == 407
    assert alice.inbox == []
    await world.over()


@in_virtual_time
async def test_a_stranger_cancels() -> None:
    world, alice, carol = await met()
    sent = carol.invite(at(alice))
    await world.settle()
    alice.calls()[0].respond(180)
    await world.settle()
    sent.cancel()
    await world.settle()
    assert sent.status == 487
    assert alice.calls()[0].cancelled
    await world.over()


@in_virtual_time
async def test_another_address_cannot_speak_in_a_strangers_call() -> None:
    world, alice, carol = await met()
    sent = carol.invite(at(alice))
    await world.settle()
    alice.calls()[0].respond(200, sdp(alice.ip))
    await world.settle()
    talk = sent.talk()
    talk.ack()
    await world.settle()
    mallory = stranger(world, "A", "mallory", ip="203.0.113.66")
    forged = talk._compose("BYE", 9, b"", ())
    forged.replace_first_value("Via", mallory.via())
    answer = mallory.transmit(forged)
    await world.settle()
    assert answer.status == 481
    assert alice.got("BYE") == []
    talk.send("BYE")
    await world.over()


@in_virtual_time
async def test_a_strangers_call_that_falls_silent_ends() -> None:
    world, alice, carol = await met()
    sent = carol.invite(at(alice))
    await world.settle()
    alice.calls()[0].respond(200, sdp(alice.ip))
    await world.settle()
    sent.talk().ack()
    carol.die()
    await world.settle(200)
    assert len(alice.got("BYE")) == 1
    alice.got("BYE")[0].respond(200)
    await world.over()


@in_virtual_time
async def test_routes_of_a_stranger_lead_nowhere() -> None:
    world, alice, carol = await met()
    routes = [("Route", f"<sip:{alice.server};lr>"), ("Route", "<sip:203.0.113.5;lr>")]
    carol.send("MESSAGE", at(alice), headers=routes)
    await world.settle()
    (arrived,) = alice.got("MESSAGE")
    assert arrived.request.get("Route") is None
    arrived.respond(200)
    await world.over()


@in_virtual_time
async def test_a_network_that_floods_is_slowed_and_others_are_not() -> None:
    world, alice, carol = await met()
    world["A"].edge.guard.offend = lambda *_: None  # type: ignore[method-assign]  # the pace alone
    sent = [carol.send("OPTIONS", f"sip:nobody{n}@{alice.server}") for n in range(BURST + 5)]
    await world.settle()
    statuses = [one.status for one in sent]
    assert statuses.count(404) == BURST
    assert statuses.count(480) == 5
    answers = [one.final for one in sent if one.status == 480]
    assert {answer.get("Retry-After") for answer in answers if answer} == {"30"}
    other = stranger(world, "A", "dave", ip="203.0.113.80").send("MESSAGE", at(alice))
    await world.settle()
    alice.got("MESSAGE")[0].respond(200)
    await world.settle(2 / PER_SECOND)
    assert other.status == 200
    again = carol.send("OPTIONS", f"sip:nobody@{alice.server}")
    await world.settle()
    assert again.status == 404
    await world.over()


def test_one_network_counts_as_one_and_all_together_have_a_bound() -> None:
    pace, now = Pace(), Monotonic(100.0)
    assert sum(pace.allows(b"one", now) for _ in range(BURST + 10)) == BURST
    rest = sum(pace.allows(b"%d" % n, now) for n in range(2 * TOTAL_BURST))
    assert rest == TOTAL_BURST - BURST
    assert pace.allows(b"new", Monotonic(now + 1.0))


def test_networks_that_are_remembered_have_a_bound() -> None:
    pace = Pace()
    for n in range(MAX_NETWORKS + 50):
        pace.allows(b"%d" % n, Monotonic(float(n)))
    assert len(pace) == MAX_NETWORKS


def side_of(ip: str) -> PlainSide:
    flow = Flow("UDP", Endpoint("10.1.0.1", 5060), Endpoint(ip, 5060))
    return PlainSide.from_flow(flow, "10.1.0.1:5060")


def opened(table: DialogTable, side: PlainSide) -> DialogSet:
    number = table.new_id()
    group = DialogSet(
        id=number,
        call_id=str(number),
        method="INVITE",
        caller_tag="t",
        caller=side,
        from_value="",
        to_value="",
        created=Monotonic(0.0),
        created_at=UnixTime(0.0),
    )
    table.add(group)
    return group


def test_the_calls_of_one_network_have_a_bound() -> None:
    table = DialogTable()
    first = [opened(table, side_of(f"198.51.100.{n}")) for n in range(MAX_SETS_OF_NETWORK)]
    assert not table.has_room_for(side_of("198.51.100.200"))
    assert table.has_room_for(side_of("198.51.101.1"))
    table.remove(first[0])
    assert table.has_room_for(side_of("198.51.100.200"))


def test_the_calls_of_all_strangers_have_a_bound() -> None:
    table = DialogTable()
    for n in range(MAX_SETS_OF_STRANGERS):
        opened(table, side_of(f"10.{n // 250}.{n % 250}.1"))
    assert not table.has_room_for(side_of("203.0.113.1"))


@pytest.mark.parametrize("user", ["nobody", "alice"])
def test_a_forged_source_gets_no_more_than_was_sent_in_its_name(user: str) -> None:
    """No refusal is repeated to somebody who never asked; alice has no device here."""

    @in_virtual_time
    async def run() -> None:
        world = World("A")
        world.account("A", "alice")
        victim = stranger(world, "A")
        request = Request.create(
            "INVITE",
            f"sip:{user}@{world['A'].ip}",
            [
                ("Via", victim.via()),
                ("From", "<sip:x@elsewhere.test>;tag=1"),
                ("To", f"<sip:{user}@{world['A'].ip}>"),
                ("Call-ID", "forged"),
                ("CSeq", "1 INVITE"),
                ("Contact", f"<{victim.contact}>"),
                ("Content-Type", "application/sdp"),
            ],
            sdp(victim.ip),
        )
        got: list[bytes] = []
        victim.receive = got.append  # type: ignore[method-assign]
        victim.send_bare(request)
        await world.settle(60)
        assert [data.split(b" ")[1] for data in got] in ([b"100", b"404"], [b"100", b"480"])
        assert sum(map(len, got)) < 3 * len(request.encode())
        await world.over()

    run()
