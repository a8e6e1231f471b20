"""Phones that do whatever they like, on two nodes whose link may fail.

Whatever happened: when all is over both edges hold nothing and the relays are empty; no phone saw
an answer to something it never asked; and whoever answered and lived was acknowledged and heard
of the end.
"""

import asyncio

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.support.edge_phone import Arrived, Phone, Sent, Talk
from tests.support.edges import World, sdp
from tests.support.virtual_loop import VirtualLoop

PEOPLE = (("A", "alice"), ("A", "amy"), ("B", "bob"), ("B", "bob"), ("B", "bea"))
GIVEN_UP, FORGOTTEN = 30.0, 60.0
"""Seconds: a device that says nothing to an INVITE in 64*T1 is given up (RFC 3261 17.1.1.2; it has
to say 100 in 0.2 s), and its answer is ended cleanly for as long again."""
EVERYTHING_IS_OVER = 700.0
"Seconds: Timer C, then a CANCEL that nobody answers, then silence."


class RandomPhones(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualLoop()
        asyncio.set_event_loop(self.loop)
        self.sent: list[Sent] = []
        self.deaths: set[Phone] = set()
        self.again: list[Sent] = []
        self.pace = 0.05
        "Seconds after each step; none lets things cross."

    @initialize(loss=st.sampled_from([0.0, 0.0, 0.2]), jitter=st.sampled_from([0.0, 0.05]))
    def begin(self, loss: float, jitter: float) -> None:
        async def begin() -> None:
            self.world = World("AB")
            self.phones = [self.world.phone(node, login) for node, login in PEOPLE]
            for phone in self.phones:
                phone.acknowledges = True
            await self.world.registered()
            self.world.loss, self.world.jitter, self.world.links.jitter = loss, jitter, jitter

        self.loop.run_until_complete(begin())

    def run_for(self, seconds: float) -> None:
        self.loop.run_until_complete(asyncio.sleep(seconds))

    def do(self, action: object) -> None:
        async def act() -> None:
            action()  # type: ignore[operator]
            await asyncio.sleep(self.pace)

        self.loop.run_until_complete(act())

    # What phones may do now

    @property
    def ringing(self) -> list[Arrived]:
        """What may be answered yet: not by a phone that was given up and forgotten meanwhile."""
        return [
            a
            for phone in self.living
            for a in phone.got("INVITE")
            if not a.status and not a.cancelled and not self._forgotten(a)
        ]

    def _forgotten(self, arrived: Arrived) -> bool:
        spoke = arrived.spoke_at is not None and arrived.spoke_at - arrived.at < GIVEN_UP
        return not spoke and self.loop.time() - arrived.at > FORGOTTEN

    @property
    def talks(self) -> list[Talk]:
        return [
            t
            for phone in self.living
            for t in phone.talks
            if not t.ended and (t.answer is None or t.answer.acked)
        ]

    @property
    def living(self) -> list[Phone]:
        return [phone for phone in self.phones if phone not in self.deaths]

    @rule(
        caller=st.integers(0, 4),
        callee=st.sampled_from(["alice", "bob", "bea"]),
        late=st.booleans(),
    )
    def call(self, caller: int, callee: str, late: bool) -> None:
        phone = self.phones[caller]
        if phone not in self.deaths and len(self.sent) < 8:
            target = self.world.dial(phone, callee)
            body = b"" if late else None
            self.do(lambda: self.sent.append(phone.invite(target, body)))

    @rule(caller=st.integers(0, 4), callee=st.sampled_from(["alice", "bob", "bea"]))
    def connect(self, caller: int, callee: str) -> None:
        """A call that is answered at once, so that there is something to talk in."""
        before = len(self.ringing)
        self.call(caller, callee, False)
        self.run_for(0.2)
        for arrived in self.ringing[before:][:1]:
            self.do(lambda: self._take(arrived))  # noqa: B023 - carried out at once
        self.run_for(0.2)

    @precondition(lambda self: self.ringing)
    @rule(
        data=st.data(),
        status=st.sampled_from([180, 183]),
        with_sound=st.booleans(),
        tag=st.sampled_from([None, "other"]),
    )
    def ring(self, data: st.DataObject, status: int, with_sound: bool, tag: str | None) -> None:
        arrived = data.draw(st.sampled_from(self.ringing))
        body = sdp(arrived.phone.ip) if with_sound and arrived.request.body else b""
        self.do(lambda: arrived.respond(status, body, tag=tag and arrived.tag + tag))

    @precondition(lambda self: self.ringing)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        arrived = data.draw(st.sampled_from(self.ringing))

        self.do(lambda: self._take(arrived))

    def _take(self, arrived: Arrived) -> None:
        arrived.respond(200, sdp(arrived.phone.ip))
        if arrived.request.to.tag is None:
            arrived.phone.talks.append(arrived.talk())

    @precondition(lambda self: self.ringing)
    @rule(data=st.data(), status=st.sampled_from([302, 404, 481, 486, 488, 491, 503, 603]))
    def refuse(self, data: st.DataObject, status: int) -> None:
        arrived = data.draw(st.sampled_from(self.ringing))
        self.do(lambda: arrived.respond(status))

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        sent = data.draw(st.sampled_from(self.sent))
        if sent.phone not in self.deaths and not sent.cancelled and not sent.status:
            self.do(sent.cancel)

    @precondition(lambda self: self.talks)
    @rule(data=st.data())
    def hang_up(self, data: st.DataObject) -> None:
        talk = data.draw(st.sampled_from(self.talks))
        self.do(lambda: talk.send("BYE"))

    @precondition(lambda self: self.talks)
    @rule(
        data=st.data(),
        kind=st.sampled_from(["INVITE", "INVITE", "UPDATE", "INFO", "REFER"]),
        port=st.integers(2000, 2010),
        lines=st.integers(1, 2),
    )
    def speak(self, data: st.DataObject, kind: str, port: int, lines: int) -> None:
        talk = data.draw(st.sampled_from(self.talks))
        media = [f"m=audio {2 * port} RTP/AVP 0", f"m=video {2 * port + 40} RTP/AVP 99"][:lines]
        body = sdp(talk.phone.ip, *media) if kind in ("INVITE", "UPDATE") else b""
        headers = [("Refer-To", "<sip:bea@b.test>")] if kind == "REFER" else []
        self.do(lambda: self.again.append(talk.send(kind, body, headers)))

    @precondition(lambda self: self.living)
    @rule(data=st.data(), status=st.sampled_from([200, 488]))
    def reply(self, data: st.DataObject, status: int) -> None:
        waiting = [
            a
            for phone in self.living
            for method in ("UPDATE", "INFO", "REFER", "NOTIFY")
            for a in phone.got(method)
            if not a.status
        ]
        if waiting:
            arrived = data.draw(st.sampled_from(waiting))
            body = sdp(arrived.phone.ip) if status == 200 and arrived.request.body else b""
            self.do(lambda: arrived.respond(status, body))

    @rule(node=st.sampled_from("AB"), sure=st.integers(0, 3))
    def operator(self, node: str, sure: int) -> None:
        if sure == 0:
            self.do(lambda: self.world[node].edge.hang_up("all"))

    @precondition(lambda self: len(self.deaths) < 2)
    @rule(phone=st.integers(0, 4), sure=st.integers(0, 5))
    def crash(self, phone: int, sure: int) -> None:
        if sure == 0:
            self.deaths.add(self.phones[phone])
            self.do(self.phones[phone].die)

    @rule(seconds=st.sampled_from([0.0005, 0.003, 0.004, 0.01, 0.3, 2, 35]))
    def wait(self, seconds: float) -> None:
        self.run_for(seconds)

    @rule(pace=st.sampled_from([0.0, 0.003, 0.05]))
    def hurry(self, pace: float) -> None:
        self.pace = pace

    @rule(cut=st.integers(0, 3))
    def link(self, cut: int) -> None:
        self.world.links.cut = {self.world["B"].id} if cut == 0 else set()

    def teardown(self) -> None:
        try:
            if hasattr(self, "world"):
                self.world.loss = 0.0
                self.world.links.cut.clear()
                self.run_for(EVERYTHING_IS_OVER)
                self.world.assert_nothing_held()
                for phone in self.phones:
                    self._asked_for_all_it_got(phone)
                for phone in self.living:
                    self._heard_of_every_end(phone)
        finally:
            for task in asyncio.all_tasks(self.loop):
                task.cancel()
            self.loop.run_until_complete(asyncio.sleep(0))
            asyncio.set_event_loop(None)
            self.loop.close()

    def _asked_for_all_it_got(self, phone: Phone) -> None:
        asked = {sent.request.top_via.branch for sent in phone._sent.values()}
        for response in phone.strays:
            assert response.top_via.branch in asked, response.start_line

    def _heard_of_every_end(self, phone: Phone) -> None:
        for arrived in phone.calls():
            if arrived.status == 200:
                assert arrived.acked, f"{phone} answered and was not acknowledged"
        for talk in phone.talks:
            assert talk.ended, f"{phone} was left in a call"


RandomPhones.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestRandomPhones = RandomPhones.TestCase
