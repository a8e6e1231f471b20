"""Two transaction layers over a link that loses, repeats and reorders, under virtual time.

Whatever the link does: each client transaction ends exactly once, the other side's user sees each
request at most once, and when all is quiet both tables are empty.
"""

import random
from collections import Counter
from dataclasses import dataclass, field
from heapq import heappop, heappush

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from federation.model.address import Endpoint
from federation.model.clocks import Monotonic
from node.sip.effects import (
    AckArrived,
    CancelArrived,
    ClientFailed,
    ClientKey,
    ClientTimedOut,
    Effect,
    Malformed,
    RequestArrived,
    ResponseArrived,
    Send,
    ServerKey,
    StrayResponse,
    TransactionEnded,
)
from node.sip.flow import Flow
from node.sip.message import Request, Response
from node.sip.timers import T1
from node.sip.transaction import TransactionLayer
from tests.support.sip_exchange import SeededEntropy, request

A, B = Endpoint("192.0.2.10", 5070), Endpoint("192.0.2.1", 5060)


@dataclass(frozen=True)
class Plan:
    """What both users do about one request."""

    method: str
    start: float
    provisional: bool
    final: int | None
    answer_after: float
    cancel_after: float | None
    repeat_2xx: int


plans = st.builds(
    Plan,
    method=st.sampled_from(["INVITE", "INVITE", "OPTIONS", "MESSAGE"]),
    start=st.floats(0, 2),
    provisional=st.booleans(),
    final=st.sampled_from([200, 200, 404, 486, 603, None]),
    answer_after=st.floats(0, 40),
    cancel_after=st.none() | st.floats(0, 20),
    repeat_2xx=st.integers(0, 3),
)


@dataclass
class Link:
    """What happens to datagrams, both ways."""

    chance: random.Random
    loss: float
    repeat: float
    delay: float

    def copies(self) -> list[float]:
        count = 0 if self.chance.random() < self.loss else 1
        count += self.chance.random() < self.repeat
        return [self.chance.uniform(0, self.delay) for _ in range(count)]


@dataclass
class World:
    """The callers at A, the called at B, the link between, and what both users saw."""

    plans: list[Plan]
    link: Link
    transport: str = "UDP"
    now: Monotonic = field(default=Monotonic(0.0))
    seen: Counter[str] = field(default_factory=Counter)
    cancelled: Counter[str] = field(default_factory=Counter)
    endings: Counter[ClientKey] = field(default_factory=Counter)
    finals: Counter[ClientKey] = field(default_factory=Counter)
    accepted: Counter[ClientKey] = field(default_factory=Counter)
    silences: Counter[ClientKey] = field(default_factory=Counter)
    server_endings: Counter[ServerKey] = field(default_factory=Counter)
    keys: dict[int, ClientKey] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.a = TransactionLayer(entropy=SeededEntropy(1))
        self.b = TransactionLayer(entropy=SeededEntropy(2))
        serial = 0 if self.transport == "UDP" else 1
        self.to_b = Flow(self.transport, A, B, serial)  # type: ignore[arg-type]
        self.to_a = Flow(self.transport, B, A, serial)  # type: ignore[arg-type]
        self._queue: list[tuple[float, int, object]] = []
        self._serial = 0
        self._open: dict[str, tuple[ServerKey, Request, Plan]] = {}
        self._first: dict[bytes, float] = {}

    def at(self, moment: float, action: object) -> None:
        self._serial += 1
        heappush(self._queue, (moment, self._serial, action))

    def run(self) -> None:
        for number, plan in enumerate(self.plans):
            self.at(plan.start, ("start", number))
            if plan.cancel_after is not None:
                self.at(plan.start + plan.cancel_after, ("cancel", number))
            self.at(plan.start + 100, ("cancel", number))  # what Timer C does for a proxy
        while True:
            moments = [m for m in (self.a.next_timer(), self.b.next_timer()) if m is not None]
            if self._queue:
                moments.append(Monotonic(self._queue[0][0]))
            if not moments:
                return
            assert min(moments) >= self.now
            self.now = min(moments)
            assert self.now < 300, "something never ends"
            self.at_a(self.a.handle_timer(now=self.now))
            self.at_b(self.b.handle_timer(now=self.now))
            while self._queue and self._queue[0][0] <= self.now:
                self.act(heappop(self._queue)[2])

    def act(self, action: object) -> None:
        match action:
            case ("start", int(number)):
                message = request(
                    self.plans[number].method,
                    branch=f"z9hG4bK-{number}",
                    call_id=str(number),
                    transport=self.transport,
                )
                key, effects = self.a.request(message, self.to_b, now=self.now)
                self.keys[number] = key
                self.at_a(effects)
            case ("cancel", int(number)):
                self.at_a(self.a.cancel(self.keys[number], now=self.now))
            case ("to a", bytes(data)):
                self.at_a(self.a.receive_data(data, self.to_b, now=self.now))
            case ("to b", bytes(data)):
                # Servers remember for 64*T1 (Timers H, J, L): what is later is a new request.
                if self.now - self._first.setdefault(data, self.now) >= 64 * T1:
                    return
                self.at_b(self.b.receive_data(data, self.to_a, now=self.now))
            case ("answer", str(call_id), int(status)):
                self.answer(call_id, status)
            case _:
                raise AssertionError(action)

    def carry(self, data: bytes, target: str) -> None:
        for delay in self.link.copies():
            self.at(self.now + delay, (target, data))

    def at_a(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send(data, flow):
                    assert flow == self.to_b
                    self.carry(data, "to b")
                case ResponseArrived(key, message):
                    if message.status >= 300:
                        self.finals[key] += 1
                    elif message.status >= 200 and "INVITE" in key:
                        self.accepted[key] += 1
                    elif message.status >= 200:
                        self.finals[key] += 1
                case ClientTimedOut(key) | ClientFailed(key):
                    self.silences[key] += 1
                case TransactionEnded(key):
                    self.endings[ClientKey(key)] += 1
                case StrayResponse():
                    pass  # copies that came after the end
                case _:
                    raise AssertionError(effect)

    def at_b(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send(data, flow):
                    assert flow == self.to_a
                    self.carry(data, "to a")
                case RequestArrived(key, message, _):
                    self.arrived(key, message)
                case CancelArrived(key, message):
                    self.cancelled[message.call_id] += 1
                    assert self._open[message.call_id][0] == key
                    self.answer(message.call_id, 487)
                case TransactionEnded(key):
                    self.server_endings[ServerKey(key)] += 1
                case AckArrived():
                    pass  # for a 2xx, or so late that its INVITE is forgotten
                case Malformed():
                    raise AssertionError(effect)
                case _:
                    raise AssertionError(effect)

    def arrived(self, key: ServerKey, message: Request) -> None:
        call_id = message.call_id
        self.seen[call_id] += 1
        plan = self.plans[int(call_id)]
        self._open[call_id] = key, message, plan
        if plan.provisional:
            self.answer(call_id, 180)
        if plan.final is None and plan.method == "INVITE":
            self.at(self.now + 90, ("answer", call_id, 480))  # a phone that rings out
        elif plan.final is not None:
            for repetition in range(1 + (plan.repeat_2xx if plan.final == 200 else 0)):
                later = self.now + plan.answer_after + repetition
                self.at(later, ("answer", call_id, plan.final))

    def answer(self, call_id: str, status: int) -> None:
        key, message, _ = self._open[call_id]
        made = Response.answering(message, status, to_tag="b")
        self.at_b(self.b.respond(key, made, now=self.now))

    def check(self) -> None:
        keys = set(self.keys.values())
        assert self.endings == Counter(keys), "each client transaction ends once"
        for key in keys:
            assert self.finals[key] <= 1
            outcomes = self.finals[key] + self.silences[key] + (self.accepted[key] > 0)
            assert outcomes == 1, "each ends for one reason"
        assert all(count == 1 for count in self.seen.values()), "each request is seen once"
        assert all(count == 1 for count in self.cancelled.values())
        assert all(count == 1 for count in self.server_endings.values())
        assert len(self.server_endings) == sum(self.seen.values())
        for layer in (self.a, self.b):
            usage = layer.usage
            assert (usage.unanswered, usage.requests, usage.lingering, usage.timers) == (0,) * 4


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(plans, min_size=1, max_size=6),
    st.integers(0, 2**32),
    st.sampled_from([0.0, 0.1, 0.4, 0.9]),
    st.sampled_from([0.0, 0.3]),
    st.sampled_from([0.01, 0.7, 3.0]),
)
def test_everything_ends_once_over_a_bad_datagram_link(
    made: list[Plan], seed: int, loss: float, repeat: float, delay: float
) -> None:
    world = World(made, Link(random.Random(seed), loss, repeat, delay))
    world.run()
    world.check()


@settings(deadline=None, max_examples=60)
@given(st.lists(plans, min_size=1, max_size=6), st.integers(0, 2**32))
def test_everything_ends_once_over_a_stream(made: list[Plan], seed: int) -> None:
    world = World(made, Link(random.Random(seed), 0, 0, 0.0), transport="TCP")
    world.run()
    world.check()
    assert len(world.seen) == len(made)


@settings(deadline=None, max_examples=40)
@given(st.lists(plans, min_size=1, max_size=4), st.integers(0, 2**32))
def test_a_mild_loss_is_made_up_for(made: list[Plan], seed: int) -> None:
    """With one datagram in ten lost, every request reaches the other side's user."""
    world = World(made, Link(random.Random(seed), 0.1, 0.1, 0.05))
    world.run()
    world.check()
    assert set(world.seen) == {str(number) for number in range(len(made))}
