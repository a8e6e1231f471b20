"""What the SIP path itself costs: the messages of calls and registrations, handed to an edge.

No socket, no turn of an event loop, no database and no load generator: what is left is the way of
a message from the transport's callback to the next datagram, in CPU time of this process. It is
the tool to work with, since it says within seconds what a change brought; `bench_sip.py` says what
a node costs. `--profile` prints where the time goes, `--json` one object.
"""

import asyncio
import cProfile
import gc
import json
import os
import pstats
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, cast

from federation.model.address import Endpoint
from federation.model.clocks import Monotonic, UnixTime
from node.config import LogConfig
from node.logs import configure
from node.sip.flow import Flow
from node.sip.message import Message, Request, Response, parse_message
from tests.benchmarks.figures import show, title
from tests.support.digest_client import DigestClient
from tests.support.edges import PASSWORD, SIP_PORT, EdgeNode, World

BATCH = 100
"Calls that go through each step together."
ROUNDS = 30
"Batches, of which the cheapest counts: whatever else the machine does only adds."
LINGER = 45.0
"Seconds after which nothing of a transaction is left."
CALLERS = 10

STEPS = ("INVITE", "180", "200", "ACK", "BYE", "200 to BYE", "ends")


class JumpingClock:
    """The machine's clocks, which can be put forward."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def monotonic(self) -> Monotonic:
        return Monotonic(time.monotonic() + self.ahead)

    def unix(self) -> UnixTime:
        return UnixTime(time.time() + self.ahead)


class SinkNode(EdgeNode):
    """A node that keeps what it sends."""

    def send(self, data: bytes, flow: Flow) -> None:
        self.sent.append(data)


class Bench(World):
    """One node, driven by hand."""

    def _open(self) -> None:
        self.clock = cast(Any, JumpingClock())
        node = SinkNode(self, "A", 1)
        node.sent = []
        self.nodes["A"] = node
        node.edge.start({})
        self.node, self.edge = node, node.edge
        self.spent: dict[str, float] = {}
        self.profile: cProfile.Profile | None = None
        self._serial = 0
        self.callers = [f"caller{n}" for n in range(CALLERS)]
        self.callees = [f"callee{n}" for n in range(CALLERS)]
        for login in (*self.callers, *self.callees):
            self.account("A", login)
        self._digests = {login: DigestClient(login, PASSWORD) for login in self.callers}

    # What is timed

    def feed(self, step: str, messages: Iterable[bytes], flow: Flow) -> list[bytes]:
        """Hand messages over and return what is sent because of them."""
        self.node.sent.clear()
        receive = self.edge.receive

        def work() -> None:
            for data in messages:
                receive(data, flow)

        self._timed(step, work)
        return list(self.node.sent)

    def end_all(self, step: str) -> None:
        """Let every transaction end that lingers."""
        self.clock.ahead += LINGER

        def work() -> None:
            self.edge._hub.alarms._ring()

        self._timed(step, work)

    def _timed(self, step: str, work: Callable[[], None]) -> None:
        profile = self.profile
        if profile is not None:
            profile.enable()
        begin = time.process_time()
        work()
        spent = time.process_time() - begin
        if profile is not None:
            profile.disable()
        self.spent[step] = self.spent.get(step, 0.0) + spent

    # Phones

    def phone(self, number: int) -> Flow:  # type: ignore[override]
        """The way between the node and one address outside."""
        return Flow("UDP", Endpoint(self.node.ip, SIP_PORT), Endpoint(f"10.1.0.{number}", 5070))

    def challenge(self, method: str, login: str) -> str:
        """A challenge for one caller."""
        uri = f"sip:{self.node.ip}:{SIP_PORT}"
        data = self.request(method, login, uri if method == "REGISTER" else f"sip:x@{self.node.ip}")
        self.node.sent.clear()
        self.edge.receive(data, self.phone(10))
        answer = parse_message(self.node.sent[-1])
        field = "WWW-Authenticate" if method == "REGISTER" else "Proxy-Authenticate"
        return answer.get_all(field)[-1]

    def request(
        self, method: str, login: str, uri: str, *, lines: str = "", to: str | None = None
    ) -> bytes:
        """A request outside dialogs as SIPp sends it."""
        self._serial += 1
        serial, server = self._serial, f"{self.node.ip}:{SIP_PORT}"
        return (
            f"{method} {uri} SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP 10.1.0.10:5070;branch=z9hG4bK-4711-{serial}-1;rport\r\n"
            f"From: <sip:{login}@{server}>;tag=4711s{serial}\r\n"
            f"To: <sip:{to or login}@{server}>\r\n"
            f"Call-ID: {serial}-4711@10.1.0.10\r\n"
            f"CSeq: 1 {method}\r\n"
            f"Contact: <sip:{login}@10.1.0.10:5070>\r\n"
            f"{lines}User-Agent: SIPp\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
        ).encode()

    def registered(self) -> None:
        """Every callee has one contact, at one address."""
        flow = self.phone(20)
        for login in self.callees:
            challenge = self.challenge("REGISTER", login)
            uri = f"sip:{self.node.ip}:{SIP_PORT}"
            digest = DigestClient(login, PASSWORD)
            line = digest.answer(challenge, Request.create("REGISTER", uri, ()))
            data = self.request("REGISTER", login, uri, lines=f"Authorization: {line}\r\n")
            self.edge.receive(data.replace(b"10.1.0.10", b"10.1.0.20"), flow)

    # Loads

    def calls(self, count: int) -> None:
        """INVITE-100-180-200-ACK-BYE-200, and the ends of all transactions."""
        caller, callee = self.phone(10), self.phone(20)
        self.registered()
        challenges = {login: self.challenge("INVITE", login) for login in self.callers}
        invites = []
        for number in range(count):
            login = self.callers[number % CALLERS]
            aim = self.callees[number % CALLERS]
            uri = f"sip:{aim}@{self.node.ip}:{SIP_PORT}"
            asked = Request.create("INVITE", uri, ())
            line = self._digests[login].answer(challenges[login], asked)
            proof = f"Proxy-Authorization: {line}\r\n"
            invites.append(self.request("INVITE", login, uri, lines=proof, to=aim))
        sent = self.feed("INVITE", invites, caller)
        arrived = [parse_message(data) for data in sent if data.startswith(b"INVITE")]
        assert len(arrived) == count, sent[-1]
        self.feed("180", [answer(m, n, 180) for n, m in enumerate(arrived)], callee)
        sent = self.feed("200", [answer(m, n, 200) for n, m in enumerate(arrived)], callee)
        answers = [parse_message(data) for data in sent]
        assert len(answers) == count
        sent = self.feed("ACK", [inside(m, "ACK", 1) for m in answers], caller)
        assert len(sent) == count
        sent = self.feed("BYE", [inside(m, "BYE", 2) for m in answers], caller)
        byes = [parse_message(data) for data in sent]
        assert len(byes) == count
        sent = self.feed("200 to BYE", [answer(m, n, 200) for n, m in enumerate(byes)], callee)
        assert len(sent) == count
        self.end_all("ends")
        assert self.edge.leftovers["dialog_sets"] == 0
        assert self.edge._hub.layer.usage.lingering == 0

    def registrations(self, count: int) -> None:
        """REGISTER-401-REGISTER-200."""
        flow, uri = self.phone(10), f"sip:{self.node.ip}:{SIP_PORT}"
        logins = [self.callers[number % CALLERS] for number in range(count)]
        first = [self.request("REGISTER", login, uri) for login in logins]
        sent = self.feed("REGISTER", first, flow)
        second = []
        for login, data in zip(logins, sent, strict=True):
            challenge = parse_message(data).get_all("WWW-Authenticate")[-1]
            line = DigestClient(login, PASSWORD).answer(
                challenge, Request.create("REGISTER", uri, ())
            )
            proof = f"Authorization: {line}\r\nExpires: 300\r\n"
            second.append(self.request("REGISTER", login, uri, lines=proof))
        sent = self.feed("REGISTER with proof", second, flow)
        assert all(data.startswith(b"SIP/2.0 200") for data in sent)
        self.end_all("ends of both")
        assert self.edge._hub.layer.usage.lingering == 0


def answer(request: Message, number: int, status: int) -> bytes:
    """What the called phone says."""
    to = request.get("To") or ""
    lines = [f"SIP/2.0 {status} OK"]
    lines += [f"Via: {value}" for value in request.get_all("Via")]
    lines += [f"From: {request.get('From')}"]
    lines += [f"To: {to}" if ";tag=" in to else f"To: {to};tag=4711a{number}"]
    lines += [f"Call-ID: {request.get('Call-ID')}", f"CSeq: {request.get('CSeq')}"]
    lines += [f"Record-Route: {value}" for value in request.get_all("Record-Route")]
    lines += ["Contact: <sip:10.1.0.20:5070>", "Content-Length: 0", "", ""]
    return "\r\n".join(lines).encode()


def inside(response: Request | Response, method: str, number: int) -> bytes:
    """A request of the caller inside the dialog that a 200 made."""
    branch = f"z9hG4bK-{response.call_id}-{number}-{method}"
    lines = [f"{method} {response.contacts[0].uri} SIP/2.0"]
    lines += [f"Via: SIP/2.0/UDP 10.1.0.10:5070;branch={branch};rport"]
    lines += [f"Route: {value}" for value in reversed(response.values("Record-Route"))]
    lines += [f"From: {response.get('From')}", f"To: {response.get('To')}"]
    lines += [f"Call-ID: {response.get('Call-ID')}", f"CSeq: {number} {method}"]
    lines += ["User-Agent: SIPp", "Max-Forwards: 70", "Content-Length: 0", "", ""]
    return "\r\n".join(lines).encode()


def measured(load: Callable[[int], None], bench: Bench, rounds: int) -> dict[str, float]:
    """Microseconds a call for each step, of the cheapest batch."""
    best: dict[str, float] = {}
    load(BATCH)  # what is remembered over messages is remembered
    for _ in range(rounds):
        bench.spent.clear()
        gc.collect()
        load(BATCH)
        each = {step: spent / BATCH * 1e6 for step, spent in bench.spent.items()}
        best = {step: min(best.get(step, value), value) for step, value in each.items()}
    return best


async def main() -> int:
    """Print the figures."""
    with Path(os.devnull).open("w") as nowhere:
        configure(LogConfig(format="json"), nowhere)
        return _main()


def _main() -> int:
    bench = Bench("A")
    gc.collect()
    gc.freeze()
    gc.disable()
    profiled = "--profile" in sys.argv
    if profiled:
        bench.profile = cProfile.Profile()
    calls = measured(bench.calls, bench, 1 if profiled else ROUNDS)
    if bench.profile is not None:
        statistics = pstats.Stats(bench.profile)
        statistics.sort_stats("tottime").print_stats(45)
        return 0
    registrations = measured(bench.registrations, bench, ROUNDS)
    if "--json" in sys.argv:
        print(json.dumps({"call": calls, "register": registrations}))
        return 0
    title("The SIP path in this process, microseconds of CPU:")
    for name, steps in (("call", calls), ("REGISTER, challenged", registrations)):
        for step, value in steps.items():
            show(f"  {step}", value, "us")
        show(f"{name}, all of it", sum(steps.values()), "us")
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
