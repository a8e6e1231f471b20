"""The registration core under virtual time: each way it can go, and how long it waits."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.model.address import Endpoint
from federation.model.clocks import Monotonic
from node.sip.digest_client import DigestClient
from node.sip.locate import Hop
from node.sip.message import Response
from node.sip.registration import (
    BACKOFF_MAX,
    KEEPALIVE,
    MAX_EXPIRES,
    MAX_MOVES,
    PATIENCE,
    REFUSED_BASE,
    REFUSED_MAX,
    Changed,
    Effect,
    Registration,
    RegistrationPlan,
    RegistrationState,
    Resolve,
    Send,
)
from tests.support.sip_exchange import SeededEntropy

ONE, TWO = (Hop("UDP", Endpoint(f"192.0.2.{n}", 5060), "p.test") for n in (1, 2))
CHALLENGE = ("WWW-Authenticate", 'Digest realm="p", nonce="n", qop="auth"')
State = RegistrationState
START = Monotonic(0.0)
HERE = Endpoint("192.0.2.9", 5060)


@dataclass
class Run:
    """A registration and what it did."""

    hops: tuple[Hop, ...] = (ONE, TWO)
    registers: bool = True
    now: Monotonic = START
    sent: list[Send] = field(default_factory=list)
    states: list[tuple[State, str]] = field(default_factory=list)
    resolved: int = 0
    problem: str = ""
    outer: Endpoint = HERE
    "Where we are, as far as we know."
    seen: Endpoint | None = None
    "Where the server sees us, if it says so."

    def __post_init__(self) -> None:
        self.core = Registration(
            RegistrationPlan(
                aor="sip:u@p.test", registrar="sip:p.test", expires=600, registers=self.registers
            ),
            DigestClient("u", "secret") if self.registers else None,
            contact=lambda hop: f"sip:token@{self.outer}",
            seen=self.learn,
            entropy=SeededEntropy(1),
        )
        self.take(self.core.start(now=self.now))

    def learn(self, hop: Hop, address: Endpoint) -> None:
        self.outer = address

    def take(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send():
                    self.sent.append(effect)
                case Changed(state, reason):
                    self.states.append((state, reason))
                case Resolve():
                    self.resolved += 1
                    self.take(self.core.resolved(self.hops, self.problem, now=self.now))

    def answer(self, status: int, *headers: tuple[str, str], contact: str | None = None) -> None:
        """The last request is answered."""
        last = self.sent[-1]
        lines = list(headers)
        if contact is not None:
            lines.append(("Contact", contact))
        response = Response.answering(last.request, status, headers=lines)
        if self.seen is not None:
            via = f"SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1;received={self.seen.host}"
            response.prepend("Via", f"{via};rport={self.seen.port}")
        self.take(self.core.response(last.serial, response, now=self.now))

    def registered(self, expires: int = 600) -> None:
        self.answer(200, contact=f"<sip:token@192.0.2.9:5060>;expires={expires}")

    def next(self) -> float:
        """Let the next timer fire; how long that took."""
        due = self.core.next_timer()
        assert due is not None
        waited, self.now = due - self.now, max(due, self.now)
        self.take(self.core.handle_timer(now=self.now))
        return waited

    @property
    def contacts(self) -> list[str]:
        return self.sent[-1].request.values("Contact")

    @property
    def last(self) -> str:
        return f"{self.sent[-1].request.method} {self.sent[-1].hop.remote.host}"


def test_it_registers_keeps_alive_and_refreshes() -> None:
    run = Run()
    assert run.last == "REGISTER 192.0.2.1"
    run.answer(401, CHALLENGE)
    assert "Authorization" in run.sent[-1].request
    assert run.sent[-1].request.cseq.number == 2
    run.registered()
    assert run.states == [(State.REGISTERED, "")]
    assert run.next() == KEEPALIVE
    assert run.last == "OPTIONS 192.0.2.1"
    run.answer(405)
    while run.sent[-1].request.method == "OPTIONS":
        run.next()
        if run.sent[-1].request.method == "OPTIONS":
            run.answer(200)
    assert 600 * 0.7 <= run.now <= 600 * 0.8
    assert "Authorization" in run.sent[-1].request, "the challenge is remembered"
    assert run.core.is_registered(now=run.now)
    run.registered()
    assert run.states == [(State.REGISTERED, "")]


@pytest.mark.parametrize(
    ("granted", "lasts"),
    [("<sip:token@x>;expires=120", 120), ("<sip:other@x>;expires=5", 77), (None, 77)],
)
def test_how_long_it_was_granted(granted: str | None, lasts: int) -> None:
    run = Run()
    run.answer(200, ("Expires", "77"), contact=granted)
    assert run.core.registered_until == lasts


def test_silence_leads_to_the_next_server_and_then_to_a_wait() -> None:
    run = Run()
    assert run.next() == PATIENCE
    assert run.last == "REGISTER 192.0.2.2"
    assert run.next() == PATIENCE
    assert run.states == [(State.FAILED, "192.0.2.2:5060 does not answer")]
    waits = []
    for _ in range(12):
        waits.append(run.next())
        run.answer(500)
        run.answer(503, ("Retry-After", "1"))
    assert all(wait >= 5 for wait in waits)
    assert waits[3] > waits[0]
    assert all(BACKOFF_MAX / 2 <= wait <= BACKOFF_MAX for wait in waits[-3:])
    run.next()
    run.registered()
    assert run.states[-1] == (State.REGISTERED, "")


def test_a_server_may_ask_to_be_left_alone() -> None:
    run = Run(hops=(ONE,))
    run.answer(503, ("Retry-After", "900 (lunch)"))
    assert run.next() == 900


def test_wrong_credentials_are_tried_seldom() -> None:
    run = Run()
    run.answer(401, CHALLENGE)
    run.answer(401, CHALLENGE)
    assert run.states == [(State.REFUSED, "192.0.2.1:5060 refuses the login or password")]
    assert len(run.sent) == 2, "the second server would say the same"
    waits = []
    for _ in range(6):
        waits.append(run.next())
        run.answer(401, CHALLENGE)
        run.answer(401, CHALLENGE)
    assert waits[0] >= REFUSED_BASE / 2
    assert waits[-1] <= REFUSED_MAX
    assert waits[-1] > waits[0]


def test_a_stale_nonce_is_no_refusal() -> None:
    run = Run()
    run.answer(401, CHALLENGE)
    run.answer(401, (CHALLENGE[0], CHALLENGE[1] + ", stale=true"))
    run.registered()
    assert run.states == [(State.REGISTERED, "")]


@pytest.mark.parametrize("status", [403, 404, 301, 600])
def test_a_no_is_told(status: int) -> None:
    run = Run()
    run.answer(status)
    ((state, reason),) = run.states
    assert state is State.REFUSED
    assert f"192.0.2.1:5060 answers {status}" in reason


def test_a_longer_time_is_asked_for_once_it_is_wanted() -> None:
    run = Run()
    run.answer(423, ("Min-Expires", "1800"))
    assert run.sent[-1].request.get("Expires") == "1800"
    run.registered(1800)
    assert run.core.registered_until == 1800
    other = Run()
    other.answer(423, ("Min-Expires", str(MAX_EXPIRES + 1)))
    assert other.states[0][0] is State.REFUSED


def test_a_server_that_goes_away_is_noticed() -> None:
    run = Run()
    run.registered()
    run.next()
    run.next()
    assert run.last == "OPTIONS 192.0.2.1", "one lost datagram is nothing"
    run.next()
    assert run.last == "REGISTER 192.0.2.1"
    run.next()
    assert run.last == "REGISTER 192.0.2.2"
    run.registered()
    assert run.core.current == TWO


def test_the_old_registration_holds_while_a_refresh_fails() -> None:
    run = Run(hops=(ONE,))
    run.registered()
    while run.last != "REGISTER 192.0.2.1" or len(run.sent) == 1:
        run.next()
        if run.sent[-1].request.method == "OPTIONS":
            run.answer(200)
    run.answer(500)
    assert run.core.is_registered(now=run.now)
    assert run.core.serves(now=run.now)
    assert run.states == [(State.REGISTERED, "")]


def test_without_a_login_only_options_are_sent() -> None:
    run = Run(registers=False)
    assert run.last == "OPTIONS 192.0.2.1"
    run.next()
    assert run.last == "OPTIONS 192.0.2.2"
    run.answer(404)
    assert run.states == [(State.REACHABLE, "")]
    assert run.core.hops()[0] == TWO
    for _ in range(20):
        run.next()
        run.answer(200)
    assert {send.request.method for send in run.sent} == {"OPTIONS"}
    assert run.resolved > 1, "DNS is asked again from time to time"


def test_nowhere_to_go_is_told_in_the_words_of_dns() -> None:
    run = Run(hops=(), problem="p.test has no address in the DNS")
    assert run.states == [(State.FAILED, "p.test has no address in the DNS")]
    assert not run.core.serves(now=run.now)
    run.hops = (ONE,)
    run.next()
    run.registered()
    assert run.states[-1] == (State.REGISTERED, "")


def test_the_end_takes_the_registration_back() -> None:
    run = Run()
    run.registered()
    run.take(run.core.stop(now=run.now))
    assert run.sent[-1].request.get("Expires") == "0"
    run.answer(401, CHALLENGE)
    assert run.sent[-1].request.get("Expires") == "0"
    assert "Authorization" in run.sent[-1].request
    run.answer(401, CHALLENGE)
    assert not run.core.is_pending
    assert not run.core.serves(now=run.now)
    unregistered = Run()
    unregistered.take(unregistered.core.stop(now=unregistered.now))
    assert len(unregistered.sent) == 1, "there is nothing to take back"


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.sampled_from([0, 0, 200, 200, 401, 403, 408, 423, 500, 503, 600]),
        min_size=1,
        max_size=60,
    ),
    st.booleans(),
)
def test_whatever_servers_say_it_goes_on(statuses: list[int], registers: bool) -> None:
    """One request at a time, always a timer, never a hurry: at most one request a second."""
    run = Run(registers=registers)
    for status in statuses:
        if status and run.core.is_pending:
            run.answer(status, CHALLENGE, ("Min-Expires", "900"))
        else:
            run.next()
        assert run.core.next_timer() is not None
    assert len(run.sent) <= 3 + 3 * len(statuses)
    serials = [send.serial for send in run.sent]
    assert serials == sorted(set(serials))


NAT, NEXT = Endpoint("203.0.113.5", 41000), Endpoint("203.0.113.5", 41777)


def test_behind_a_nat_the_contact_is_where_the_first_challenge_came_to() -> None:
    """RFC 3581: no REGISTER more than without a NAT."""
    run = Run(seen=NAT)
    assert run.contacts == ["<sip:token@192.0.2.9:5060>;expires=600"]
    run.answer(401, CHALLENGE)
    assert run.contacts == ["<sip:token@203.0.113.5:41000>;expires=600"]
    run.registered()
    assert len(run.sent) == 2
    assert run.states == [(State.REGISTERED, "")]


def test_a_contact_that_leads_here_no_more_is_taken_back() -> None:
    """Told by the answer to REGISTER, or to a keepalive when the NAT took another port."""
    run = Run(seen=NAT)
    run.registered()
    assert run.contacts == [
        "<sip:token@203.0.113.5:41000>;expires=600",
        "<sip:token@192.0.2.9:5060>;expires=0",
    ]
    run.registered()
    run.next()
    assert run.last == "OPTIONS 192.0.2.1"
    run.seen = NEXT
    run.answer(200)
    assert run.contacts == [
        "<sip:token@203.0.113.5:41777>;expires=600",
        "<sip:token@203.0.113.5:41000>;expires=0",
    ]
    run.registered()
    run.take(run.core.stop(now=run.now))
    assert run.contacts == ["<sip:token@203.0.113.5:41777>;expires=0"]


def test_an_address_that_is_another_each_time_is_not_followed_for_ever() -> None:
    run = Run()
    for port in range(41000, 41100):
        run.seen = Endpoint("203.0.113.5", port)
        if run.core.is_pending:
            run.registered()
    assert len(run.sent) == 1 + MAX_MOVES
    assert run.core.state is State.REGISTERED
    while run.last.startswith("OPTIONS") or not run.core.is_pending:
        run.next()
        if run.last.startswith("OPTIONS"):
            run.answer(200)
    assert run.last == "REGISTER 192.0.2.1", "the next refresh looks again"


@pytest.mark.parametrize(
    "via",
    ["UDP 192.0.2.9;branch=z9hG4bK1", "UDP x.test;rport=9", "UDP 192.0.2.9;received=a.b;rport=9",
     "UDP 192.0.2.9;received=192.0.2.7;rport=0", "UDP 192.0.2.9;received=192.0.2.7;rport"],
)  # fmt: skip
def test_a_server_that_does_not_say_where_it_sees_us_changes_nothing(via: str) -> None:
    run = Run()
    last = run.sent[-1]
    response = Response.answering(last.request, 200)
    response.prepend("Via", f"SIP/2.0/{via}")
    run.take(run.core.response(last.serial, response, now=run.now))
    assert run.outer == HERE
    assert len(run.sent) == 1


def test_on_a_stream_the_port_seen_is_not_where_we_listen() -> None:
    run = Run(hops=(Hop("TCP", Endpoint("192.0.2.1", 5060), "p.test"),), seen=NAT)
    run.registered()
    assert (len(run.sent), run.outer.port) == (1, 5060)
