"""Trunks of PBXs: what a PBX is asked for, who it may be, how many calls it takes."""

import pytest

from node.accounts.account import AccountKind
from node.storage.features import Features
from node.trunks.trunk import Mode, PbxSettings
from tests.support.edge_phone import Phone, Sent, uri_of
from tests.support.edges import World, sdp
from tests.support.virtual_time import in_virtual_time


async def a_pbx(world: World, settings: PbxSettings, node: str = "B") -> Phone:
    """A PBX that has registered under the trunk `pbx`."""
    world.account(node, "pbx", AccountKind.TRUNK)
    world[node].trunks.add("pbx", settings)
    return world.phone(node, "pbx")


@pytest.mark.parametrize(
    ("mode", "dialled", "asked"),
    [
        (Mode.SINGLE, "pbx", "pbx"),
        (Mode.SINGLE, "pbx*123", "pbx"),
        (Mode.PER_USER, "pbx", "pbx"),
        (Mode.PER_USER, "pbx*123", "123"),
        (Mode.PER_USER, "pbx*112", "112"),
    ],
)
def test_what_a_pbx_is_asked_for(mode: Mode, dialled: str, asked: str) -> None:
    @in_virtual_time
    async def run() -> None:
        world = World("B")
        pbx = await a_pbx(world, PbxSettings(mode=mode))
        bob = world.phone("B", "bob")
        await world.registered()
        sent = bob.invite(f"sip:{dialled}@{bob.server}")
        await world.settle()
        (arrived,) = pbx.calls()
        assert arrived.request.uri.user == asked
        assert arrived.request.uri.host == pbx.ip
        arrived.respond(200, sdp(pbx.ip))
        await world.settle()
        talk = sent.talk()
        talk.ack()
        await world.settle()
        assert world[("B")].trunks.load.calls("pbx") == 1
        assert sent.final is not None
        assert world.hears(sent.final.body) == pbx.rtp
        talk.send("BYE")
        await world.over()

    run()


@in_virtual_time
async def test_an_extension_behind_another_nodes_pbx_is_called_by_number() -> None:
    world = World()
    pbx = await a_pbx(world, PbxSettings(mode=Mode.PER_USER))
    alice = world.phone("A", "alice")
    await world.registered()
    number = world.account("B", "pbx").number
    sent = alice.invite(f"sip:{number}*123@{alice.server}")
    await world.settle()
    (arrived,) = pbx.calls()
    assert arrived.request.uri.user == "123"
    arrived.respond(486)
    await world.settle()
    assert sent.status == 486
    await world.over()


@in_virtual_time
async def test_somebody_behind_a_pbx_calls_and_can_be_called_back() -> None:
    world = World()
    pbx = await a_pbx(world, PbxSettings(mode=Mode.PER_USER))
    alice, bob = world.phone("A", "alice"), world.phone("B", "bob")
    await world.registered()
    number = world.account("B", "pbx").number
    for callee, server in ((alice, alice.server), (bob, bob.server)):
        sent = pbx.invite(world.dial(pbx, callee.login), sender=f'"Desk" <sip:123@{pbx.server}>')
        await world.settle()
        arrived = callee.calls()[-1]
        assert uri_of(arrived.request.get("From")) == f"sip:{number}*123@{server}"
        assert f"sip:{number}*123;" in (arrived.request.get("P-Asserted-Identity") or "")
        assert "unverified" not in (arrived.request.get("From") or "")
        arrived.respond(486)
        await world.settle()
        assert sent.status == 486
        back = callee.invite(uri_of(arrived.request.get("From")))
        await world.settle()
        assert pbx.calls()[-1].request.uri.user == "123"
        pbx.calls()[-1].respond(603)
        await world.settle()
        assert back.status == 603
    await world.over()


@pytest.mark.parametrize("sender", ["bob", "0200000000000001", "1234567", "+4930123456"])
def test_a_pbx_is_nobody_else(sender: str) -> None:
    @in_virtual_time
    async def run() -> None:
        world = World("B")
        pbx = await a_pbx(world, PbxSettings(mode=Mode.PER_USER))
        bob = world.phone("B", "bob")
        await world.registered()
        sent = pbx.invite(world.dial(pbx, "bob"), sender=f"<sip:{sender}@{pbx.server}>")
        await world.settle()
        assert sent.status == 403
        assert bob.calls() == []
        await world.over()

    run()


@in_virtual_time
async def test_the_limit_of_calls_counts_both_directions() -> None:
    world = World("B")
    pbx = await a_pbx(world, PbxSettings(max_calls=2))
    bob, carol = world.phone("B", "bob"), world.phone("B", "carol")
    await world.registered()
    for_pbx = bob.invite(f"sip:pbx@{bob.server}")
    from_pbx = pbx.invite(world.dial(pbx, "carol"))
    await world.settle()
    third, fourth = carol.invite(f"sip:pbx@{carol.server}"), pbx.invite(world.dial(pbx, "bob"))
    await world.settle()
    assert third.status == 486
    assert fourth.status == 486
    pbx.calls()[0].respond(486)
    await world.settle()
    assert for_pbx.status == 486
    again = carol.invite(f"sip:pbx@{carol.server}")
    await world.settle()
    assert len(pbx.calls()) == 2
    from_pbx.cancel()
    again.cancel()
    await world.settle()
    await world.over()


@in_virtual_time
async def test_a_number_leads_to_an_extension_behind_the_pbx() -> None:
    world = World("B")
    pbx = await a_pbx(world, PbxSettings(mode=Mode.PER_USER))
    bob = world.phone("B", "bob")
    await world.registered()
    world["B"].trunks.map("49301234567", "pbx*123")
    world["B"].trunks.map("49301234568", "pbx")
    for dialled, asked in (
        ("+49301234567", "123"),
        ("0049301234567", "123"),
        ("49301234567", "123"),
        ("+49301234568", "+49301234568"),
    ):
        sent = bob.invite(f"sip:{dialled}@{bob.server}")
        await world.settle()
        arrived = pbx.calls()[-1]
        assert arrived.request.uri.user == asked
        arrived.respond(486)
        await world.settle()
        assert sent.status == 486
    await world.over()


@in_virtual_time
async def test_a_pbx_may_call_with_a_number_of_its_own() -> None:
    world = World("B")
    pbx = await a_pbx(world, PbxSettings())
    bob = world.phone("B", "bob")
    await world.registered()
    world["B"].trunks.map("49301234567", "pbx")
    sent = pbx.invite(world.dial(pbx, "bob"), sender=f"<sip:+49301234567@{pbx.server}>")
    await world.settle()
    (arrived,) = bob.calls()
    arrived.respond(486)
    await world.settle()
    assert sent.status == 486
    await world.over()


@in_virtual_time
async def test_a_pbx_with_a_fixed_address_neither_registers_nor_proves_itself() -> None:
    world = World("B")
    world.account("B", "pbx", AccountKind.TRUNK)
    pbx = world.phone("B", "pbx")
    bob = world.phone("B", "bob")
    assert bob.register()
    trunks = world["B"].trunks
    trunks.add("pbx", PbxSettings(mode=Mode.PER_USER, static=str(pbx.flow.local)))
    trunks.lines.start(world["B"].edge.ask)
    await world.settle()
    for arrived in pbx.got("OPTIONS"):
        arrived.respond(404)  # it answers, so it is there
    await world.settle()
    line = trunks.lines.get("pbx")
    assert line is not None
    assert line.core.state.value == "reachable"
    sent = bob.invite(f"sip:pbx*77@{bob.server}")
    await world.settle()
    (arrived,) = pbx.calls()
    assert str(arrived.request.uri) == f"sip:77@{pbx.flow.local}"
    arrived.respond(200, sdp(pbx.ip))
    await world.settle()
    talk = sent.talk()
    talk.ack()
    await world.settle()
    assert arrived.acked
    talk.send("BYE")
    await world.settle()
    # From the PBX: no digest, but only as one of its own.
    for user, expected in (("77", 0), ("bob", 403)):
        pbx_sent = pbx.invite(world.dial(pbx, "bob"), sender=f"<sip:{user}@{pbx.ip}>")
        await world.settle()
        assert pbx_sent.status == expected
        assert "Proxy-Authorization" not in pbx_sent.latest.request
    bob.calls()[-1].respond(486)
    await trunks.lines.close()
    await world.over()


@in_virtual_time
async def test_a_pbx_that_has_not_registered() -> None:
    world = World("B")
    world.account("B", "pbx", AccountKind.TRUNK)
    world["B"].trunks.add("pbx", PbxSettings())
    bob = world.phone("B", "bob")
    await world.registered()
    sent = bob.invite(f"sip:pbx@{bob.server}")
    await world.settle()
    assert sent.status == 480
    assert sent.final is not None
    assert "the PBX of trunk pbx is not registered" in (sent.final.get("Reason") or "")
    await world.over()


class BulkPbx(Phone):
    """A PBX that registers once for all numbers behind it (RFC 6140)."""

    @property
    def contact(self) -> str:
        return f"sip:{self.flow.local};bnc"

    def register_all(self) -> Sent:
        headers = [(name, "gin") for name in ("Require", "Proxy-Require")]
        to = f"sip:{self.login}@{self.server}"
        return self.send("REGISTER", f"sip:{self.server}", to=to, headers=headers)


@in_virtual_time
async def test_one_registration_for_all_numbers_behind_a_pbx() -> None:
    world = World("B")
    pbx = await a_pbx(world, PbxSettings(mode=Mode.PER_USER))
    pbx.__class__ = BulkPbx
    bob = world.phone("B", "bob")
    sent, _ = pbx.register_all(), bob.register()  # type: ignore[attr-defined]
    await world.settle()
    assert sent.status == 200
    assert ";bnc>" in (sent.final.get("Contact") or "")
    world["B"].trunks.map("49301234567", "pbx")
    for dialled, asked in (("pbx*123", "123"), ("+49301234567", "+49301234567"), ("pbx", "pbx")):
        call = bob.invite(f"sip:{dialled}@{bob.server}")
        await world.settle()
        arrived = pbx.calls()[-1]
        assert str(arrived.request.uri) == f"sip:{asked}@{pbx.flow.local}"
        arrived.respond(486)
        await world.settle()
        assert call.status == 486
    await world.over()


@in_virtual_time
async def test_a_user_does_not_register_for_others() -> None:
    world = World("B")
    bob = world.phone("B", "bob")
    bob.__class__ = BulkPbx
    sent = bob.register_all()  # type: ignore[attr-defined]
    await world.settle()
    assert sent.status == 403


@in_virtual_time
async def test_a_proxy_requirement_that_is_not_known_is_refused() -> None:
    world = World("B")
    bob = world.phone("B", "bob")
    to = f"sip:bob@{bob.server}"
    headers = [("Proxy-Require", "gin, magic")]
    sent = bob.send("REGISTER", f"sip:{bob.server}", to=to, headers=headers)
    await world.settle()
    assert sent.status == 420
    assert sent.final is not None
    assert sent.final.get("Unsupported") == "magic"


@in_virtual_time
async def test_a_trunks_calls_may_go_elsewhere_altogether() -> None:
    world = World("B")
    pbx = await a_pbx(world, PbxSettings())
    bob, carol = world.phone("B", "bob"), world.phone("B", "carol")
    await world.registered()
    world["B"].features.set(Features(login="pbx", always="carol"))
    sent = bob.invite(f"sip:pbx@{bob.server}")
    await world.settle()
    assert pbx.calls() == []
    (arrived,) = carol.calls()
    arrived.respond(486)
    await world.settle()
    assert sent.status in (480, 486)
    await world.over()
