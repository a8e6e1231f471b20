"""Calls that a device sends on with 3xx: to the same node, to others, round and round, nowhere."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from node.edge.redirect import MAX_REDIRECTS
from node.phone.check import hear_both, measure_call
from node.phone.choices import Answer, Ring, Tone
from node.phone.phone import Phone
from node.phone.tones import Limits
from node.storage.call_records import CallRecord, newest_call_records
from node.storage.database import Database
from tests.support.nodes import Account, NodeProcess, add_user, phone_of, running_nodes
from tests.support.sip_ua import SipUa, a_sip_ua

NOISY = Limits(loss=0.05)
"Two busy cores lose a frame now and then; a leg that is cut loses all of them."
pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass
class Nodes:
    """Alice on A; Bob and Ben on B; Carol on C; nobody's device answers by itself."""

    a: NodeProcess
    b: NodeProcess
    c: NodeProcess
    alice: Account
    bob: Account
    ben: Account
    carol: Account


@dataclass
class Scene:
    """Phones of Alice and Carol, and a device that plays everybody else."""

    nodes: Nodes
    phone_a: Phone
    phone_c: Phone
    device: SipUa


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def nodes(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Nodes]:
    folder = tmp_path_factory.mktemp("redirect")
    async with running_nodes(folder, 3) as (a, b, c):
        yield Nodes(
            a,
            b,
            c,
            await add_user(a, "alice"),
            await add_user(b, "bob"),
            await add_user(b, "ben"),
            await add_user(c, "carol"),
        )


@pytest_asyncio.fixture(loop_scope="module")
async def scene(nodes: Nodes) -> AsyncIterator[Scene]:
    async with (
        phone_of(nodes.alice) as phone_a,
        phone_of(nodes.carol) as phone_c,
        a_sip_ua([nodes.bob, nodes.ben]) as device,
    ):
        yield Scene(nodes, phone_a, phone_c, device)
    for node in (nodes.a, nodes.b, nodes.c):
        await node.command("call", "hangup", "all")


async def idle(scene: Scene) -> None:
    """All three nodes have let go of every call."""
    for node in (scene.nodes.a, scene.nodes.b, scene.nodes.c):
        await node.has(calls=0)


def key_uri(account: Account) -> str:
    return next(uri for uri in account["uri"] if uri.endswith(".ringmesh.alt"))


def key_name(account: Account) -> str:
    return key_uri(account).partition("@")[2]


@pytest.mark.parametrize("by", ["number", "key name"])
async def test_to_a_third_node(scene: Scene, by: str) -> None:
    """Both hear each other through two links; the callee sees who called first, vouched for."""
    nodes = scene.nodes
    number = f"sip:{nodes.carol['number']}@{nodes.bob['server']}"
    scene.device.redirect(nodes.bob, number if by == "number" else key_uri(nodes.carol))
    async with a_sip_ua([nodes.carol]) as beside:
        report = await measure_call(
            scene.phone_a, scene.phone_c, key_uri(nodes.bob), seconds=1, limits=NOISY
        )
        assert report.ok, str(report)
        assert report.shown is not None
        assert report.shown.uri.startswith(f"sip:{nodes.alice['number']}@")
        assert report.asserted is not None
        assert f"sip:{nodes.alice['number']};verstat=TN-Validation-Passed" in report.asserted.uri
        (invite,) = beside.invites
    assert invite.values("Diversion") == [f"<{key_uri(nodes.bob)}>;reason=unconditional"]
    (first,) = scene.device.invites
    assert first.get("Diversion") is None
    await idle(scene)


async def test_the_callee_hangs_up_through_the_node_between(scene: Scene) -> None:
    nodes = scene.nodes
    scene.device.redirect(nodes.bob, key_uri(nodes.carol))
    await scene.phone_c.set_policy(Answer(), Tone(880))
    call = await scene.phone_a.call(key_uri(nodes.bob), playing=Tone(440))
    answered = await scene.phone_c.next_call()
    await call.wait_confirmed()
    assert [len(await node.get("calls")) for node in (nodes.a, nodes.b, nodes.c)] == [1] * 3
    await answered.hang_up()
    await call.wait_ended()
    await idle(scene)


async def test_hold_and_resume_through_the_node_between(scene: Scene) -> None:
    """A re-INVITE finds its way over both links, and its answer back."""
    nodes = scene.nodes
    scene.device.redirect(nodes.bob, key_uri(nodes.carol))
    await scene.phone_c.set_policy(Answer(), Tone(880))
    call = await scene.phone_a.call(key_uri(nodes.bob), playing=Tone(440))
    answered = await scene.phone_c.next_call()
    await call.wait_confirmed()
    await call.hold()
    await answered.wait_media("remote_hold")
    await call.resume()
    await answered.wait_media("active")
    heard = await hear_both(call, answered, seconds=1, limits=NOISY)
    assert heard[0].ok, str(heard[0])
    assert heard[1].ok, str(heard[1])
    await call.hang_up()
    await answered.wait_ended()
    await idle(scene)


async def test_the_node_between_hangs_up(scene: Scene) -> None:
    """`call hangup` there ends the call at both ends."""
    nodes = scene.nodes
    scene.device.redirect(nodes.bob, key_uri(nodes.carol))
    await scene.phone_c.set_policy(Answer())
    call = await scene.phone_a.call(key_uri(nodes.bob))
    answered = await scene.phone_c.next_call()
    await call.wait_confirmed()
    (listed,) = await nodes.b.get("calls")
    await nodes.b.ask("call", "hangup", listed["id"])
    await call.wait_ended()
    await answered.wait_ended()
    await idle(scene)


async def test_the_caller_gives_up_while_the_third_node_rings(scene: Scene) -> None:
    nodes = scene.nodes
    scene.device.redirect(nodes.bob, key_uri(nodes.carol))
    await scene.phone_c.set_policy(Ring())
    call = await scene.phone_a.call(key_uri(nodes.bob))
    ringing = await scene.phone_c.next_call()
    await call.wait_ringing()
    await call.hang_up()
    assert await call.wait_ended() == 487
    assert await ringing.wait_ended() == 487
    await idle(scene)


async def test_the_records_say_how_it_sounded(scene: Scene) -> None:
    """At every node, for what either side sent; also at the one that only sends it on."""
    nodes = scene.nodes
    began = time.time()
    scene.device.redirect(nodes.bob, key_uri(nodes.carol))
    report = await measure_call(
        scene.phone_a, scene.phone_c, key_uri(nodes.bob), seconds=2, limits=NOISY
    )
    assert report.ok, str(report)
    for node, login in ((nodes.a, "alice"), (nodes.b, "bob"), (nodes.c, "carol")):
        record = await record_since(node, began)
        assert record.account == login
        for quality in (record.from_caller, record.from_callee):
            assert quality is not None
            assert quality.packets > 100, "fifty a second"
            assert quality.lost <= quality.packets * 0.05
            assert quality.jitter is not None
            assert 0 < quality.jitter < 0.1
            assert 0.01 < quality.longest_gap < 1.0
    await idle(scene)


async def test_jitter_is_known_of_codecs_without_a_number_of_their_own(nodes: Nodes) -> None:
    """iLBC has a dynamic payload type, whose clock rate stands in the SDP."""
    began = time.time()
    async with (
        phone_of(nodes.alice, codecs=("iLBC",)) as caller,
        phone_of(nodes.carol, codecs=("iLBC",)) as callee,
    ):
        await measure_call(caller, callee, key_uri(nodes.carol), seconds=1, limits=NOISY)
    for node in (nodes.a, nodes.c):
        record = await record_since(node, began)
        for quality in (record.from_caller, record.from_callee):
            assert quality is not None
            assert quality.packets > 20
            assert quality.jitter is not None


async def record_since(node: NodeProcess, began: float) -> CallRecord:
    """The record of a call that began after `began`; it is written a moment after its end."""
    database = Database.open(node.state)
    try:
        async with asyncio.timeout(10):
            while True:
                with database.read() as connection:
                    records = list(newest_call_records(connection, 1))
                if records and records[0].started_at >= began:
                    return records[0]
                await asyncio.sleep(0.1)
    finally:
        database.close()


async def test_back_to_the_callers_own_node(scene: Scene) -> None:
    """The call comes round to A as another call of the same name; both are kept apart."""
    nodes = scene.nodes
    anna = await add_user(nodes.a, "anna")
    async with phone_of(anna) as phone:
        scene.device.redirect(nodes.bob, f"sip:{anna['number']}@{nodes.bob['server']}")
        report = await measure_call(
            scene.phone_a, phone, key_uri(nodes.bob), seconds=1, limits=NOISY
        )
    assert report.ok, str(report)
    assert report.shown is not None
    assert report.shown.uri.startswith(f"sip:{nodes.alice['number']}@")
    assert report.asserted is not None
    await idle(scene)


async def test_to_another_account_of_the_same_node(scene: Scene) -> None:
    """Each account the call passed is in Diversion, the last one first."""
    nodes = scene.nodes
    dora = await add_user(nodes.b, "dora")
    scene.device.redirect(nodes.bob, f"sip:ben@{nodes.bob['server']}")
    scene.device.redirect(nodes.ben, f"sip:dora@{nodes.bob['server']}", status=301)
    async with phone_of(dora) as phone, a_sip_ua([dora]) as beside:
        report = await measure_call(
            scene.phone_a, phone, key_uri(nodes.bob), seconds=1, limits=NOISY
        )
        assert report.ok, str(report)
        (invite,) = beside.invites
    assert invite.values("Diversion") == [
        f"<{key_uri(nodes.ben)}>;reason=unconditional",
        f"<{key_uri(nodes.bob)}>;reason=unconditional",
    ]
    assert report.asserted is not None
    assert nodes.alice["number"] in report.asserted.uri
    await idle(scene)


async def test_through_two_accounts_and_on_to_a_third_node(scene: Scene) -> None:
    """The chain of statements names both accounts, and the first caller is still vouched for."""
    nodes = scene.nodes
    scene.device.redirect(nodes.bob, f"sip:ben@{nodes.bob['server']}")
    scene.device.redirect(nodes.ben, key_uri(nodes.carol))
    report = await measure_call(
        scene.phone_a, scene.phone_c, key_uri(nodes.bob), seconds=1, limits=NOISY
    )
    assert report.ok, str(report)
    assert report.asserted is not None
    assert nodes.alice["number"] in report.asserted.uri
    await idle(scene)


async def test_from_a_phone_of_the_forwarding_node(scene: Scene) -> None:
    """Ben calls Bob beside him, whose device points to Carol elsewhere."""
    nodes = scene.nodes
    scene.device.redirect(nodes.bob, key_uri(nodes.carol))
    async with phone_of(nodes.ben) as phone:
        report = await measure_call(
            phone, scene.phone_c, f"sip:bob@{nodes.bob['server']}", seconds=1, limits=NOISY
        )
    assert report.ok, str(report)
    assert report.asserted is not None
    assert nodes.ben["number"] in report.asserted.uri
    await idle(scene)


async def test_round_and_round_between_two_nodes(scene: Scene) -> None:
    nodes = scene.nodes
    arno = await add_user(nodes.a, "arno")
    async with a_sip_ua([arno]) as other:
        scene.device.redirect(nodes.bob, key_uri(arno))
        other.redirect(arno, key_uri(nodes.bob))
        call = await scene.phone_a.call(key_uri(nodes.bob))
        assert await call.wait_ended() == 480
        assert len(scene.device.invites) + len(other.invites) <= MAX_REDIRECTS + 1
    await idle(scene)


async def test_to_itself(scene: Scene) -> None:
    scene.device.redirect(scene.nodes.bob, f"sip:bob@{scene.nodes.bob['server']}")
    call = await scene.phone_a.call(key_uri(scene.nodes.bob))
    assert await call.wait_ended() == 480
    assert len(scene.device.invites) <= 2
    await idle(scene)


async def test_on_and_on_within_a_node(scene: Scene) -> None:
    """Five hops are followed, the sixth is not."""
    nodes = scene.nodes
    chain = [nodes.bob, *[await add_user(nodes.b, f"hop{n}") for n in range(MAX_REDIRECTS + 1)]]
    async with a_sip_ua(chain) as device:
        for account, following in itertools.pairwise(chain):
            for ua in (device, scene.device):
                ua.redirect(account, f"sip:{following['login']}@{following['server']}")
        call = await scene.phone_a.call(key_uri(nodes.bob))
        assert await call.wait_ended() == 480
        reached = {invite.uri.user for invite in device.invites}
    assert reached == {account["login"] for account in chain[:-1]}
    await idle(scene)


@pytest.mark.parametrize(
    "contact",
    [
        "sip:nobody@{host}",
        "sip:029999999999999@{server}",
        "sip:nobody@{server}",
        "sip:someone@invalid.invalid",
        "mailto:bob@example.org",
        "",
    ],
)
async def test_to_nowhere(scene: Scene, contact: str) -> None:
    nodes = scene.nodes
    uri = contact.format(host=key_name(nodes.carol), server=nodes.bob["server"])
    scene.device.redirect(nodes.bob, *([uri] if uri else []))
    call = await scene.phone_a.call(key_uri(nodes.bob))
    assert await call.wait_ended() in (404, 480)
    await idle(scene)


async def test_one_of_two_contacts_answers(scene: Scene) -> None:
    """All Contacts of a 3xx are tried; a bad one harms nobody."""
    nodes = scene.nodes
    scene.device.redirect(nodes.bob, f"sip:nobody@{nodes.bob['server']}", key_uri(nodes.carol))
    report = await measure_call(
        scene.phone_a, scene.phone_c, key_uri(nodes.bob), seconds=1, limits=NOISY
    )
    assert report.ok, str(report)
    await idle(scene)
