"""Provider trunks: registration, calls out by the dial plan, calls in by number."""

import asyncio
from typing import Any

import pytest

from node.sip.message import Request
from node.trunks.load import DAY
from node.trunks.rules import Rule
from node.trunks.trunk import CallerId, ProviderSettings
from tests.support.edge_phone import Phone, uri_of
from tests.support.edge_talk import Arrived
from tests.support.edge_trunks import Provider
from tests.support.edges import World, sdp
from tests.support.virtual_time import in_virtual_time

TO_PHONE_NETWORK = (Rule("+"), Rule("00", "+"))


class Scene:
    """Node A with users alice and bob, and a provider."""

    def __init__(self, nodes: str = "A", servers: int = 1, **settings: object) -> None:
        self.world = World(nodes)
        self.alice, self.bob = self.world.phone("A", "alice"), self.world.phone("A", "bob")
        self.providers = [
            Provider(self.world.stranger("A", "provider", ip=f"198.51.100.{n + 1}"))
            for n in range(servers)
        ]
        self.provider = self.providers[0]
        self.trunks = self.world["A"].trunks
        given: dict[str, object] = {
            "servers": tuple(str(p.phone.flow.local) for p in self.providers),
            "login": "u100",
            "domain": "provider.test",
            "rules": TO_PHONE_NETWORK,
        }
        self.settings = ProviderSettings(**(given | settings))  # type: ignore[arg-type]
        self.password = "provider secret" if self.settings.login else None

    async def begin(self) -> None:
        """Phones and provider are registered."""
        await self.world.registered()
        self.trunks.add("telco", self.settings, self.password)
        self.trunks.lines.start(self.world["A"].edge.ask)
        await self.pass_time()

    async def pass_time(self, seconds: float = 0.6) -> None:
        """Let time pass, in which the provider answers what it answers by itself."""
        for _ in range(round(seconds / 0.02)):
            for provider in self.providers:
                provider.serve()
            await asyncio.sleep(0.02)

    @property
    def state(self) -> str:
        line = self.trunks.lines.get("telco")
        assert line is not None
        return str(line.core.state.value)

    @property
    def contact(self) -> str:
        """What the node registered at the provider."""
        return uri_of(self.provider.registers[-1].get("Contact"))

    async def answer(self, arrived: Arrived, phone: Phone) -> None:
        arrived.respond(180)
        await self.pass_time(0.1)
        arrived.respond(200, sdp(phone.ip))
        await self.pass_time(0.2)

    async def end(self) -> None:
        closing = asyncio.ensure_future(self.trunks.lines.close())
        await self.pass_time()
        await closing
        await self.world.over()


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
def test_the_node_registers_and_takes_it_back(algorithm: str) -> None:
    @in_virtual_time
    async def run() -> None:
        scene = Scene()
        scene.provider.algorithm = algorithm
        await scene.begin()
        assert scene.state == "registered"
        (register,) = scene.provider.registers
        assert register.raw_uri == "sip:provider.test"
        assert uri_of(register.get("To")) == "sip:u100@provider.test"
        assert register.get("Expires") == "600"
        await scene.pass_time(500)
        assert len(scene.provider.registers) == 2, "refreshed before it ends, with the nonce known"
        assert len(scene.provider.phone.got("OPTIONS")) > 10
        assert scene.state == "registered"
        await scene.end()
        assert scene.provider.registers[-1].get("Expires") == "0"

    run()


@in_virtual_time
async def test_a_call_out_is_challenged_and_the_phone_knows_nothing_of_it() -> None:
    scene = Scene(caller="49301000000")
    await scene.begin()
    sent = scene.alice.invite(f"sip:0044 20 7946 0000@{scene.alice.server}".replace(" ", ""))
    await scene.pass_time()
    arrived = scene.provider.calls()[-1]
    request = arrived.request
    assert request.raw_uri == "sip:+442079460000@provider.test"
    assert uri_of(request.get("From")) == "sip:+49301000000@provider.test"
    assert uri_of(request.get("P-Asserted-Identity")) == "sip:+49301000000@provider.test"
    assert request.get("Privacy") is None
    first = sent.latest.request.cseq.number
    assert request.cseq.number == first + 1
    await scene.answer(arrived, scene.provider.phone)
    assert sent.statuses == [180, 200]
    assert [r.cseq.number for r in sent.latest.responses if r.status > 100] == [first, first]
    talk = sent.talk()
    talk.ack()
    await scene.pass_time(0.2)
    (ack,) = arrived.acked
    assert ack.cseq.number == first + 1
    assert sent.final is not None
    assert scene.world.hears(sent.final.body) == scene.provider.phone.rtp
    assert scene.world.hears(request.body) == scene.alice.rtp
    again = talk.send("INVITE", sdp(scene.alice.ip, version=2))
    await scene.pass_time()
    update = scene.provider.phone.got("INVITE")[-1]
    assert update.request.cseq.number > first + 1
    update.respond(200, sdp(scene.provider.phone.ip, version=2))
    await scene.pass_time(0.2)
    assert again.status == 200
    talk.ack()
    await scene.pass_time(0.2)
    assert [a.cseq.number for a in update.acked] == [update.request.cseq.number]
    assert scene.trunks.load.calls("telco") == 1
    bye = arrived.talk().send("BYE")
    await scene.pass_time(0.2)
    assert bye.status == 200
    assert len(scene.alice.got("BYE")) == 1
    await scene.end()


@in_virtual_time
async def test_the_caller_hangs_up_and_the_provider_challenges_even_that() -> None:
    scene = Scene()
    scene.provider.one_time = True
    await scene.begin()
    sent = scene.alice.invite(f"sip:+442079460000@{scene.alice.server}")
    await scene.pass_time()
    arrived = scene.provider.calls()[-1]
    await scene.answer(arrived, scene.provider.phone)
    talk = sent.talk()
    talk.ack()
    await scene.pass_time(0.2)
    scene.provider.phone.answers_byes = False
    bye = talk.send("BYE")
    await scene.pass_time()
    scene.provider.phone.got("BYE")[-1].respond(200)
    await scene.pass_time(0.2)
    challenged, proven = scene.provider.phone.got("BYE")[-2:]
    assert challenged.status == 407
    assert proven.request.cseq.number == challenged.request.cseq.number + 1
    assert bye.statuses == [200]
    await scene.end()


@in_virtual_time
async def test_cancel_reaches_the_provider() -> None:
    scene = Scene()
    await scene.begin()
    sent = scene.alice.invite(f"sip:+442079460000@{scene.alice.server}")
    await scene.pass_time()
    arrived = scene.provider.calls()[-1]
    arrived.respond(180)
    await scene.pass_time(0.2)
    sent.cancel()
    await scene.pass_time(0.4)
    assert arrived.cancelled
    assert sent.status == 487
    await scene.end()


@in_virtual_time
async def test_a_wrong_password_is_told_and_never_asked_of_the_phone() -> None:
    scene = Scene()
    scene.password = "another"
    await scene.begin()
    assert scene.state == "refused"
    reason = scene.trunks.lines.why_not("telco")
    assert reason == "198.51.100.1:5062 refuses the login or password"
    sent = scene.alice.invite(f"sip:+442079460000@{scene.alice.server}")
    await scene.pass_time()
    assert sent.status == 480
    assert sent.final is not None
    assert f"trunk telco: {reason}" in (sent.final.get("Reason") or "")
    tries = len(scene.provider.phone.got("REGISTER"))
    await scene.pass_time(100)
    assert len(scene.provider.phone.got("REGISTER")) == tries, "no hammering"
    await scene.end()


@in_virtual_time
async def test_a_number_is_called_from_outside() -> None:
    scene = Scene(country="49")
    await scene.begin()
    scene.trunks.map("49301234567", "bob")
    caller = scene.provider.phone
    for target, to, sender, shown in (
        ("sip:+49301234567@10.1.0.1", None, "sip:+4989555@provider.test", "+4989555"),
        ("sip:0301234567@10.1.0.1", None, "sip:089555@provider.test", "+4989555"),
        (scene.contact, "sip:+49301234567@provider.test", "sip:+4989555@p.test", "+4989555"),
    ):
        call = caller.invite(target, to=to, sender=f'"Otto" <{sender}>')
        await scene.pass_time()
        arrived = scene.bob.calls()[-1]
        assert uri_of(arrived.request.get("From")) == f"sip:{shown}@{scene.bob.server}"
        assert "unverified" not in (arrived.request.get("From") or "")
        await scene.answer(arrived, scene.bob)
        assert call.status == 200
        talk = call.talk()
        talk.ack()
        await scene.pass_time(0.2)
        assert call.final is not None
        assert scene.world.hears(call.final.body) == scene.bob.rtp
        talk.send("BYE")
        await scene.pass_time(0.2)
        assert len(arrived.acked) == 1
    assert len(scene.bob.got("BYE")) == 3
    await scene.end()


@in_virtual_time
async def test_a_called_party_id_names_the_number() -> None:
    scene = Scene()
    await scene.begin()
    scene.trunks.map("49301234567", "bob")
    call = scene.provider.phone.invite(
        scene.contact,
        to="sip:u100@provider.test",
        sender="<sip:anonymous@anonymous.invalid>",
        headers=[("P-Called-Party-ID", "<sip:+49301234567@provider.test>")],
    )
    await scene.pass_time()
    (arrived,) = scene.bob.calls()
    assert "anonymous@anonymous.invalid" in (arrived.request.get("From") or "")
    arrived.respond(486)
    await scene.pass_time(0.2)
    assert call.status == 486
    await scene.end()


@in_virtual_time
async def test_what_a_provider_calls_must_be_mapped() -> None:
    scene = Scene()
    await scene.begin()
    for user in ("bob", "49301234567", "0200000000000001"):
        call = scene.provider.phone.invite(f"sip:{user}@10.1.0.1", sender="<sip:+4989555@p.test>")
        await scene.pass_time()
        assert call.status == 404
        assert call.final is not None
        assert f"no account here is mapped to {user}" in (call.final.get("Reason") or "")
    assert scene.bob.calls() == []
    await scene.end()


@in_virtual_time
async def test_somebody_elses_call_is_not_the_providers() -> None:
    scene = Scene()
    await scene.begin()
    scene.trunks.map("49301234567", "bob")
    other = scene.world.stranger("A", "otto", ip="198.51.100.99")
    call = other.invite("sip:+49301234567@10.1.0.1", sender="<sip:+4989555@provider.test>")
    await scene.pass_time()
    (arrived,) = scene.bob.calls()
    assert "unverified" in (arrived.request.get("From") or ""), "as plain SIP, which proves nothing"
    arrived.respond(486)
    await scene.pass_time(0.2)
    assert call.status == 486
    await scene.end()


@in_virtual_time
async def test_the_next_server_takes_over() -> None:
    scene = Scene(servers=2)
    scene.providers[0].phone.die()
    await scene.begin()
    await scene.pass_time(9)
    assert scene.state == "registered"
    assert len(scene.providers[1].registers) == 1
    sent = scene.alice.invite(f"sip:+442079460000@{scene.alice.server}")
    await scene.pass_time()
    arrived = scene.providers[1].calls()[-1]
    arrived.respond(486)
    await scene.pass_time(0.2)
    assert sent.status == 486
    await scene.end()


@pytest.mark.parametrize("how", ["503", "silent"])
def test_a_call_goes_to_the_next_server(how: str) -> None:
    @in_virtual_time
    async def run() -> None:
        scene = Scene(servers=2)
        await scene.begin()
        first, second = scene.providers
        if how == "silent":
            first.phone.die()
        sent = scene.alice.invite(f"sip:+442079460000@{scene.alice.server}")
        await scene.pass_time()
        if how == "503":
            first.calls()[-1].respond(503)
        await scene.pass_time(5)
        arrived = second.calls()[-1]
        await scene.answer(arrived, second.phone)
        assert sent.statuses == [180, 200]
        talk = sent.talk()
        talk.ack()
        await scene.pass_time(0.2)
        assert sent.final is not None
        assert scene.world.hears(sent.final.body) == second.phone.rtp
        talk.send("BYE")
        await scene.pass_time(0.5)
        assert len(second.phone.got("BYE")) >= 1
        await scene.end()

    run()


@pytest.mark.parametrize("limit", ["max_calls", "max_daily"])
def test_the_last_call_that_a_trunk_may_carry_goes_to_the_next_server_too(limit: str) -> None:
    @in_virtual_time
    async def run() -> None:
        scene = Scene(servers=2, **{limit: 1})
        await scene.begin()
        first, second = scene.providers
        sent = scene.alice.invite(f"sip:+442079460000@{scene.alice.server}")
        await scene.pass_time()
        first.calls()[-1].respond(503)
        await scene.pass_time()
        assert len(second.calls()) == 1
        second.calls()[-1].respond(486)
        await scene.pass_time(0.2)
        assert sent.status == 486
        assert scene.trunks.days["telco"][1] == 1, "one call, whatever the servers"
        await scene.end()

    run()


@in_virtual_time
async def test_a_server_that_comes_late_is_told_that_it_is_over() -> None:
    scene = Scene(servers=2)
    await scene.begin()
    first, second = scene.providers
    first.challenges_calls = False
    sent = scene.alice.invite(f"sip:+442079460000@{scene.alice.server}")
    await scene.pass_time(4.5)
    late = first.calls()[-1]
    arrived = second.calls()[-1]
    await scene.answer(arrived, second.phone)
    talk = sent.talk()
    talk.ack()
    late.respond(200, sdp(first.phone.ip))
    await scene.pass_time(0.5)
    assert sent.statuses == [180, 200]
    assert late.acked
    assert len(first.phone.got("BYE")) == 1
    talk.send("BYE")
    await scene.pass_time(0.5)
    await scene.end()


@in_virtual_time
async def test_who_calls_is_told_by_the_rules() -> None:
    scene = Scene(caller="49301000000")
    await scene.begin()
    scene.provider.challenges_calls = False
    scene.trunks.map("49301234567", "alice")

    async def told(**more: Any) -> Request:
        sent = scene.alice.invite(f"sip:+442079460000@{scene.alice.server}", **more)
        await scene.pass_time()
        arrived = scene.provider.calls()[-1]
        arrived.respond(486)
        await scene.pass_time(0.2)
        assert sent.status == 486
        return arrived.request

    request = await told()
    assert uri_of(request.get("From")) == "sip:+49301234567@provider.test"
    request = await told(sender="<sip:anonymous@anonymous.invalid>")
    assert uri_of(request.get("From")) == "sip:anonymous@anonymous.invalid"
    assert uri_of(request.get("P-Asserted-Identity")) == "sip:+49301234567@provider.test"
    assert request.get("Privacy") == "id"
    request = await told(headers=[("Privacy", "id")])
    assert uri_of(request.get("From")) == "sip:anonymous@anonymous.invalid"
    request = await told(headers=[("P-Asserted-Identity", "<sip:+1900@evil.test>")])
    assert request.get_all("P-Asserted-Identity") == ["<sip:+49301234567@provider.test>"]
    fixed = ProviderSettings(
        servers=scene.settings.servers,
        login="u100",
        rules=TO_PHONE_NETWORK,
        domain="provider.test",
        caller="49301000000",
        caller_id=CallerId.FIXED,
    )
    scene.trunks.add("telco", fixed, scene.password)
    await scene.pass_time()
    request = await told()
    assert uri_of(request.get("From")) == "sip:+49301000000@provider.test"
    await scene.end()


@in_virtual_time
async def test_limits_of_calls_at_a_time_and_a_day() -> None:
    scene = Scene(max_calls=1, max_daily=2)
    await scene.begin()
    scene.provider.challenges_calls = False

    async def call(phone: Phone) -> int:
        sent = phone.invite(f"sip:+442079460000@{phone.server}")
        await scene.pass_time()
        return sent.status

    assert await call(scene.alice) == 0
    assert await call(scene.bob) == 480
    scene.provider.calls()[-1].respond(486)
    await scene.pass_time(0.2)
    assert await call(scene.bob) == 0
    scene.provider.calls()[-1].respond(486)
    await scene.pass_time(0.2)
    assert await call(scene.bob) == 480, "two a day"
    assert scene.trunks.days["telco"][1] == 2
    await asyncio.sleep(0)
    later = scene.world.clock.unix() + DAY
    assert scene.trunks.load.out_today("telco", now=later) == 0  # type: ignore[arg-type]
    await scene.end()


@in_virtual_time
async def test_the_longest_prefix_wins_then_the_priority() -> None:
    scene = Scene(priority=5)
    await scene.begin()
    cheap = scene.world.stranger("A", "cheap", ip="198.51.100.7")
    scene.trunks.add(
        "cheap",
        ProviderSettings(servers=(str(cheap.flow.local),), rules=(Rule("+44", "9"),)),
    )
    await scene.pass_time()
    for arrived in cheap.got("OPTIONS"):
        arrived.respond(200)
    await scene.pass_time()
    first = scene.alice.invite(f"sip:+442079460000@{scene.alice.server}")
    await scene.pass_time()
    (arrived,) = cheap.calls()
    assert arrived.request.uri.user == "92079460000"
    arrived.respond(500)
    await scene.pass_time(0.6)
    fallback = scene.provider.calls()[-1]
    assert fallback.request.uri.user == "+442079460000"
    fallback.respond(404)
    await scene.pass_time(0.2)
    assert first.status == 404
    refused = scene.alice.invite(f"sip:112233@{scene.alice.server}")
    await scene.pass_time()
    assert refused.status == 404
    short = scene.alice.invite(f"sip:0@{scene.alice.server}")
    await scene.pass_time()
    assert short.status == 484
    await scene.end()


@in_virtual_time
async def test_emergency_calls_go_out_over_an_emergency_trunk_whatever_the_limits() -> None:
    scene = Scene(max_calls=1, caller="49301000000")
    await scene.begin()
    scene.provider.challenges_calls = False
    refused = scene.alice.invite(f"sip:112@{scene.alice.server}")
    await scene.pass_time()
    assert refused.status == 403
    settings = ProviderSettings(
        servers=scene.settings.servers,
        login="u100",
        domain="provider.test",
        rules=TO_PHONE_NETWORK,
        max_calls=1,
        caller="49301000000",
        emergency=True,
    )
    scene.trunks.add("telco", settings, scene.password)
    await scene.pass_time()
    busy = scene.bob.invite(f"sip:+442079460000@{scene.bob.server}")
    await scene.pass_time()
    sent = scene.alice.invite(
        f"sip:112@{scene.alice.server}", sender="<sip:anonymous@anonymous.invalid>"
    )
    await scene.pass_time()
    ordinary, emergency = scene.provider.calls()[-2:]
    assert emergency.request.raw_uri == "sip:112@provider.test"
    assert uri_of(emergency.request.get("From")) == "sip:+49301000000@provider.test"
    for arrived in (ordinary, emergency):
        arrived.respond(486)
    await scene.pass_time(0.2)
    assert (busy.status, sent.status) == (486, 486)
    urn = scene.alice.invite("urn:service:sos.fire")
    await scene.pass_time()
    assert scene.provider.calls()[-1].request.raw_uri == "sip:112@provider.test"
    scene.provider.calls()[-1].respond(486)
    other = scene.alice.invite("urn:isbn:0451450523")
    await scene.pass_time()
    assert (urn.status, other.status) == (486, 416)
    await scene.end()


@in_virtual_time
async def test_the_service_urn_of_emergencies_goes_where_their_number_goes() -> None:
    """RFC 5031."""
    scene = Scene(caller="49301000000", emergency=True)
    await scene.begin()
    scene.provider.challenges_calls = False
    sent = scene.alice.invite("urn:service:sos")
    await scene.pass_time()
    arrived = scene.provider.calls()[-1]
    assert arrived.request.raw_uri == "sip:112@provider.test"
    arrived.respond(486)
    await scene.pass_time(0.2)
    assert sent.status == 486
    await scene.end()


@in_virtual_time
async def test_a_phone_sends_its_calls_on_to_the_telephone_network() -> None:
    scene = Scene(caller="49301000000")
    await scene.begin()
    scene.provider.challenges_calls = False
    sent = scene.alice.invite(scene.world.dial(scene.alice, "bob"))
    await scene.pass_time()
    scene.bob.calls()[0].respond(
        302, headers=[("Contact", f"<sip:+442079460000@{scene.bob.server}>")]
    )
    await scene.pass_time()
    arrived = scene.provider.calls()[-1]
    assert arrived.request.uri.user == "+442079460000"
    assert "bob" in (arrived.request.get("Diversion") or "")
    await scene.answer(arrived, scene.provider.phone)
    assert sent.statuses[-1] == 200
    talk = sent.talk()
    talk.ack()
    await scene.pass_time(0.2)
    talk.send("BYE")
    await scene.pass_time(0.3)
    await scene.end()
