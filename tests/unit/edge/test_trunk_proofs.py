"""What a provider is proven beside the INVITE, and where it is told that this node is."""

from federation.model.address import Endpoint
from node.edge.context import ACK_PATIENCE
from node.edge.dialog import TrunkSide
from node.edge.memory import unpack_dialog
from node.sip.message import Request
from tests.support.edge_phone import Sent, uri_of
from tests.support.edge_talk import Arrived
from tests.support.edges import sdp
from tests.support.virtual_time import in_virtual_time
from tests.unit.edge.test_trunk_provider import Scene

NUMBER = "+442079460000"
NAT = Endpoint("203.0.113.5", 41000)


async def called(scene: Scene) -> tuple[Sent, Arrived]:
    """Alice's call to the provider, answered there."""
    sent = scene.alice.invite(f"sip:{NUMBER}@{scene.alice.server}")
    await scene.pass_time()
    arrived = scene.provider.calls()[-1]
    await scene.answer(arrived, scene.provider.phone)
    return sent, arrived


def proofs(request: Request) -> list[str]:
    return request.get_all("Proxy-Authorization") + request.get_all("Authorization")


@in_virtual_time
async def test_an_ack_has_the_credentials_of_its_invite() -> None:
    """RFC 3261 13.2.2.4; nobody could challenge an ACK. A phone's own ones stay here."""
    scene = Scene()
    await scene.begin()
    sent, arrived = await called(scene)
    talk = sent.talk()
    own = (
        "Proxy-Authorization",
        'Digest username="alice", realm="ringmesh", nonce="n", response="r"',
    )
    talk.ack(headers=[own])
    await scene.pass_time(0.2)
    (ack,) = arrived.acked
    assert proofs(ack) == proofs(arrived.request)
    assert proofs(ack)
    assert not any("alice" in value for value in proofs(ack))
    again = talk.send("INVITE", sdp(scene.alice.ip, version=2))
    await scene.pass_time()
    update = scene.provider.phone.got("INVITE")[-1]
    update.respond(200, sdp(scene.provider.phone.ip, version=2))
    await scene.pass_time(0.2)
    assert again.status == 200
    talk.ack()
    await scene.pass_time(0.2)
    assert [proofs(ack) for ack in update.acked] == [proofs(update.request)]
    assert proofs(update.request) != proofs(arrived.request)
    words = 'realm="elsewhere", nonce="n", uri="sip:x", qop=auth, nc=1, cnonce="c", response="r"'
    other = ("Proxy-Authorization", f'Digest username="alice", {words}')
    talk.send("INVITE", sdp(scene.alice.ip, version=3), headers=[other])
    await scene.pass_time()
    last = scene.provider.phone.got("INVITE")[-1]
    last.respond(200, sdp(scene.provider.phone.ip, version=3))
    await scene.pass_time(0.2)
    talk.ack(headers=[other])
    await scene.pass_time(0.2)
    assert [proofs(ack) for ack in last.acked] == [proofs(last.request)]
    talk.send("BYE")
    await scene.pass_time()
    await scene.end()


@in_virtual_time
async def test_an_ack_of_the_nodes_own_has_them_too() -> None:
    scene = Scene()
    await scene.begin()
    sent, arrived = await called(scene)
    assert sent.status == 200
    scene.world["A"].edge.hang_up("all")  # the phone's ACK is waited for
    await scene.pass_time(ACK_PATIENCE + 1)
    (ack,) = arrived.acked
    assert proofs(ack) == proofs(arrived.request)
    await scene.end()


@in_virtual_time
async def test_after_a_crash_the_bye_to_the_provider_is_proven() -> None:
    """Its CSeq is above that of every request before, challenges included."""
    scene = Scene()
    await scene.begin()
    sent, arrived = await called(scene)
    sent.talk().ack()
    await scene.pass_time(0.2)
    rows = {key[0]: row["data"] for key, row in scene.world["A"].rows.table("dialogs").items()}
    clock = scene.world.clock
    group = unpack_dialog(next(iter(rows.values())), 7, now=clock.monotonic(), unix=clock.unix())
    (dialog,) = group.dialogs.values()
    assert isinstance(dialog.callee, TrunkSide)
    assert (dialog.callee.login, dialog.callee.cseq_shift) == ("trunk:telco", 1)
    again = Scene()
    again.provider.phone.answers_byes = False
    again.trunks.add("telco", again.settings, again.password)
    again.world["A"].edge.start(rows)
    await again.pass_time()
    challenged, proven = again.provider.phone.got("BYE")
    assert (challenged.status, proofs(challenged.request)) == (407, [])
    assert len(proofs(proven.request)) == 1
    assert proven.request.cseq.number == challenged.request.cseq.number + 1
    assert challenged.request.cseq.number > arrived.request.cseq.number
    proven.respond(200)
    await again.pass_time()
    assert len(again.alice.got("BYE")) == 1


@in_virtual_time
async def test_behind_a_nat_a_provider_is_told_where_it_sees_this_node() -> None:
    """In the Contact of the registration, and in Record-Route; others are told what they were."""
    scene = Scene()
    scene.provider.phone.sees = NAT
    await scene.begin()
    assert scene.state == "registered"
    assert scene.contact.endswith(f"@{NAT}")
    (register,) = scene.provider.registers
    assert len(register.values("Contact")) == 1
    sent, arrived = await called(scene)
    outer, inner = (value.uri for value in arrived.request.record_routes)
    assert (outer.host, outer.port) == NAT
    assert inner.host == scene.world["A"].ip
    sent.talk().ack()
    back = arrived.talk()
    back.send("BYE")
    await scene.pass_time()
    assert len(scene.alice.got("BYE")) == 1
    scene.trunks.map("49301234567", "bob")
    incoming = scene.provider.phone.send("INVITE", scene.contact, sdp("198.51.100.1"),
                                         to="sip:+49301234567@provider.test")  # fmt: skip
    await scene.pass_time()
    (ringing,) = scene.bob.calls()
    ringing.respond(486)
    await scene.pass_time()
    assert incoming.status == 486
    await scene.end()
    assert uri_of(scene.provider.registers[-1].get("Contact")) == uri_of(register.get("Contact"))


@in_virtual_time
async def test_a_nat_that_took_another_port_is_followed() -> None:
    scene = Scene()
    scene.provider.phone.sees = NAT
    await scene.begin()
    scene.provider.phone.sees = moved = Endpoint(NAT.host, 41777)
    await scene.pass_time(40)
    contacts = scene.provider.registers[-1].values("Contact")
    assert [uri_of(value).rpartition("@")[2] for value in contacts] == [str(moved), str(NAT)]
    assert contacts[1].endswith(";expires=0")
    await scene.end()
