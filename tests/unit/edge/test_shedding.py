"""New work is refused while messages wait; what is under way goes on."""

from node.edge.shedding import KNOWN_BURST, KNOWN_PER_SECOND, MAX_REFUSED
from node.edge.watch import INTERVAL
from node.sip.overload import BEGIN, LOOKS, PEAK, Backlog
from tests.support.edges import World, sdp
from tests.support.virtual_time import in_virtual_time


def fall_behind(world: World, *, allowance: bool = False) -> Backlog:
    """More waits than can be done; registered devices have no `allowance` left as a rule."""
    edge = world["A"].edge
    backlog = Backlog(edge._overload)
    for _ in range(LOOKS):
        backlog.left(BEGIN)
    if not allowance:
        while edge.shedding._is_allowed():
            pass
    return backlog


@in_virtual_time
async def test_registered_phones_are_heard_in_a_flood_of_others() -> None:
    """Up to their allowance, which comes back with time; who is not registered gets 503."""
    world = World("A")
    alice = world.phone("A", "alice")
    await world.registered()
    stranger = world.phone("A", "newcomer")
    fall_behind(world, allowance=True)
    first = stranger.register()
    taken = [alice.register() for _ in range(int(KNOWN_BURST / 2))]  # each is challenged first
    await world.settle(0.01)
    beyond = [alice.register() for _ in range(3)]
    await world.settle(0.005)
    assert first.status == 503
    assert {sent.status for sent in taken} == {200}
    assert [sent.status for sent in beyond] == [503] * 3
    assert world["A"].edge.shedding.figures["refused"] == 4
    await world.settle(3 / KNOWN_PER_SECOND)
    later = alice.register()
    await world.settle(0.01)
    assert later.status == 200
    await world.over()


@in_virtual_time
async def test_what_was_refused_is_refused_again_when_it_comes_again() -> None:
    """A repetition that waited behind it must not make a call that the caller gave up."""
    world = World("A")
    alice = world.phone("A", "alice")
    world.phone("A", "bob")
    await world.registered()
    fall_behind(world)
    shedding = world["A"].edge.shedding
    invite = alice.invite(world.dial(alice, "bob"))
    await world.settle(3 / KNOWN_PER_SECOND)
    assert invite.status == 503
    heard = len(alice.inbox)
    for _ in range(2):
        alice.send_bare(invite.request)
    await world.settle(0.005)
    assert shedding.figures["refused"] == 3
    assert len(alice.inbox) == heard
    later = alice.register()  # the allowance is there for what is new
    await world.settle(0.02)
    assert later.status == 200
    assert shedding.figures["refused"] == 3
    while shedding._is_allowed():
        pass
    for number in range(MAX_REFUSED + 3):
        assert not shedding._is_taken_on(b"%d" % number)
    assert len(shedding._refused) == MAX_REFUSED
    await world.over()


@in_virtual_time
async def test_new_work_is_refused_and_calls_go_on() -> None:
    world = World("A")
    alice, bob = world.phone("A", "alice"), world.phone("A", "bob")
    await world.registered()
    talk, back = await world.call(alice, bob)
    ringing = alice.invite(world.dial(alice, "bob"))
    await world.settle()
    backlog = fall_behind(world)
    refused = [
        alice.invite(world.dial(alice, "bob")),
        alice.send("MESSAGE", world.dial(alice, "bob")),
        bob.register(),
    ]
    again = talk.send("INVITE", sdp(alice.ip, version=2))
    info = back.send("INFO")
    bob.calls()[-1].respond(200, sdp(bob.ip))
    await world.settle()
    assert [sent.status for sent in refused] == [503, 503, 503]
    assert all(sent.final and sent.final.get("Retry-After") for sent in refused)
    assert ringing.status == 200
    arrived = bob.got("INVITE")[-1]
    assert arrived.request.to.tag is not None
    arrived.respond(200, sdp(bob.ip, version=2))
    alice.got("INFO")[0].respond(200)
    await world.settle()
    assert again.status == info.status == 200
    talk.ack(again.request.cseq.number)
    ringing.talk().ack()
    await world.settle()
    talk.send("BYE")
    ringing.talk().send("BYE")
    await world.settle()
    backlog.done()
    later = alice.send("MESSAGE", world.dial(alice, "bob"))
    await world.settle()
    bob.got("MESSAGE")[-1].respond(200)
    await world.settle()
    assert later.status == 200
    await world.over()


@in_virtual_time
async def test_a_refusal_leaves_nothing_behind_and_a_repetition_of_what_was_taken_is_absorbed() -> (
    None
):
    world = World("A")
    alice, bob = world.phone("A", "alice"), world.phone("A", "bob")
    await world.registered()
    sent = alice.invite(world.dial(alice, "bob"))
    await world.settle()
    fall_behind(world)
    held = world["A"].held
    invite = next(data for data in reversed(alice.wrote) if data.startswith(b"INVITE"))
    alice._wire.to_node(invite, alice)  # the network had it twice
    other = alice.invite(world.dial(alice, "bob"))
    await world.settle()
    assert world["A"].held == held
    assert other.status == 503
    assert sent.status == 0
    assert world["A"].edge.shedding.figures == {"now": True, "refused": 1}
    bob.calls()[0].respond(486)
    await world.settle()
    assert sent.status == 486
    await world.over()


@in_virtual_time
async def test_an_overload_is_over_some_time_after_its_last_refusal() -> None:
    world = World("A")
    alice = world.phone("A", "alice")
    await world.registered()
    backlog = fall_behind(world)
    alice.register()
    await world.settle(0.01)
    backlog.done()
    await world.settle(PEAK + 2 * INTERVAL)
    assert world["A"].edge.shedding.figures == {"now": False, "refused": 1}
    assert not world["A"].edge._overload.is_alert
    await world.over()
