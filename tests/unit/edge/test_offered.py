"""Calls of other nodes to telephone numbers that a trunk here offers them."""

import pytest

from federation.model.clocks import UnixTime
from node.trunks.load import DAY, offered
from node.trunks.rules import Rule
from tests.support.edge_phone import Phone, Sent, sdp
from tests.support.edge_talk import Arrived
from tests.support.virtual_time import in_virtual_time
from tests.unit.edge.test_trunk_provider import Scene

NUMBER = "+49301234567"


class Offering(Scene):
    """Node A offers +49 over its provider; carol is at node B, which may use it or not."""

    def __init__(self, *, to_b: bool = True, **settings: object) -> None:
        super().__init__("AB")
        world = self.world
        self.carol = world.phone("B", "carol")
        world["A"].offers = True
        nodes = (world["B"].id.text,) if to_b else ("a" * 52,)
        given: dict[str, object] = {
            "servers": self.settings.servers,
            "login": "u100",
            "domain": "provider.test",
            "rules": (Rule("+"), Rule("00", "+")),
            "offers": ("49",),
            "offer_to": nodes,
            "caller": "49301000000",
        }
        self.settings = type(self.settings)(**(given | settings))  # type: ignore[arg-type]

    async def dial(self, number: str = NUMBER, caller: Phone | None = None, **more: object) -> Sent:
        phone = caller or self.carol
        sent = phone.invite(f"sip:{number}@{phone.server}", **more)
        await self.pass_time()
        return sent

    @property
    def held(self) -> tuple[int, int]:
        """Calls of other nodes now, and today."""
        load, now = self.trunks.load, self.world.clock.unix()
        return load.calls(offered("telco")), load.out_today(offered("telco"), now=now)


async def hang_up(scene: Offering, sent: Sent, arrived: Arrived) -> None:
    await scene.answer(arrived, scene.provider.phone)
    talk = sent.talk()
    talk.ack()
    talk.send("BYE")
    await scene.pass_time()


@in_virtual_time
async def test_a_call_goes_out_over_the_trunk_of_another_node_and_back() -> None:
    """The provider sees the trunk's number, and never who calls at the other node."""
    scene = Offering()
    await scene.begin()
    sent = await scene.dial()
    (arrived,) = scene.provider.calls()
    request = arrived.request
    assert request.raw_uri == f"sip:{NUMBER}@provider.test"
    assert str(request.from_.uri) == "sip:+49301000000@provider.test"
    assert request.get("P-Asserted-Identity") == "<sip:+49301000000@provider.test>"
    assert scene.held == (1, 1)
    assert scene.trunks.load.calls("telco") == 1
    assert scene.trunks.days[offered("telco")][1] == 1
    await scene.answer(arrived, scene.provider.phone)
    assert sent.status == 200
    talk = sent.talk()
    talk.ack()
    await scene.pass_time(0.2)
    assert arrived.acked
    assert scene.world.hears(request.body) == scene.carol.rtp
    assert scene.world.hears(sent.final.body) == scene.provider.phone.rtp  # type: ignore[union-attr]
    talk.send("BYE")
    await scene.pass_time()
    assert scene.held == (0, 1)
    await scene.end()


@pytest.mark.parametrize("dialled", ["0049301234567", "+49-30-1234567"])
def test_other_ways_to_write_an_international_number(dialled: str) -> None:
    @in_virtual_time
    async def run() -> None:
        scene = Offering()
        await scene.begin()
        sent = await scene.dial(dialled)
        (arrived,) = scene.provider.calls()
        assert arrived.request.raw_uri == f"sip:{NUMBER}@provider.test"
        arrived.respond(486)
        await scene.pass_time()
        assert sent.status == 486
        await scene.end()

    run()


@in_virtual_time
async def test_nothing_goes_out_that_is_not_offered_or_not_to_that_node() -> None:
    """Other prefixes, emergency numbers, national forms, messages; and another node."""
    scene = Offering()
    await scene.begin()
    for number in ("+442079460000", "112", "0301234567", "123456789"):
        assert (await scene.dial(number)).status in (403, 404, 484)
    text = scene.carol.send(
        "MESSAGE",
        f"sip:{NUMBER}@{scene.carol.server}",
        b"hi",
        headers=[("Content-Type", "text/plain")],
    )
    await scene.pass_time()
    assert text.status == 404
    assert scene.provider.phone.calls() == []
    await scene.end()
    stranger = Offering(to_b=False)
    await stranger.begin()
    assert (await stranger.dial()).status == 404
    assert stranger.provider.phone.calls() == []
    await stranger.end()


@in_virtual_time
async def test_a_caller_who_is_not_verified_is_refused() -> None:
    scene = Offering()
    await scene.begin()
    sent = await scene.dial(sender="<sip:anonymous@anonymous.invalid>")
    assert sent.status == 403
    assert scene.provider.phone.calls() == []
    await scene.end()


@in_virtual_time
async def test_their_calls_at_a_time_and_in_a_day_are_limited_and_own_ones_are_not() -> None:
    scene = Offering(offer_calls=1, offer_daily=2)
    await scene.begin()
    first = await scene.dial()
    second = await scene.dial()
    assert second.status == 480
    assert "as many calls of other nodes" in (second.final.get("Reason") or "")  # type: ignore[union-attr]
    await hang_up(scene, first, scene.provider.calls()[-1])
    third = await scene.dial()
    await hang_up(scene, third, scene.provider.calls()[-1])
    assert (await scene.dial()).status == 480
    own = await scene.dial(caller=scene.alice)
    await hang_up(scene, own, scene.provider.calls()[-1])
    assert scene.held == (0, 2)
    tomorrow = UnixTime(scene.world.clock.unix() + DAY)
    assert scene.trunks.load.out_today(offered("telco"), now=tomorrow) == 0
    await scene.end()


@in_virtual_time
async def test_the_trunks_own_limits_hold_too() -> None:
    scene = Offering(max_calls=1)
    await scene.begin()
    own = await scene.dial(caller=scene.alice)
    assert (await scene.dial()).status == 480
    await hang_up(scene, own, scene.provider.calls()[-1])
    await scene.end()


@in_virtual_time
async def test_a_number_that_is_mapped_here_is_reached_here() -> None:
    scene = Offering()
    await scene.begin()
    scene.trunks.map(NUMBER[1:], "bob")
    sent = await scene.dial()
    assert scene.provider.phone.calls() == []
    scene.bob.calls()[0].respond(200, sdp(scene.bob.ip))
    await scene.pass_time()
    assert sent.status == 200
    sent.talk().ack()
    sent.talk().send("BYE")
    await scene.end()


@in_virtual_time
async def test_a_trunk_of_ones_own_goes_before_an_offer() -> None:
    scene = Offering()
    await scene.begin()
    sent = await scene.dial(caller=scene.alice)
    assert scene.held == (0, 0)
    scene.provider.calls()[0].respond(486)
    await scene.pass_time()
    assert sent.status == 486
    await scene.end()
