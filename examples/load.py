r"""A load generator: so many calls a second through a node, and how long it takes to answer.

    python examples/load.py                    # 20 calls/s for 5 s on a node of its own
    python examples/load.py --server 192.0.2.7 --caller alice:SECRET --callee bob:SECRET \
        --rate 50 --seconds 30

It is SIP alone: both phones are one UDP socket each, calls last `--hold` seconds and carry no sound
(the node opens ports for it all the same). Aim it at nodes of your own. Nothing is sent twice, so
what the network loses is a failed call here.
"""

import argparse
import asyncio
import secrets
import statistics
import time
from typing import Any

from stage import run, some_nodes

from federation.model.address import Endpoint
from federation.model.clocks import SystemEntropy
from node.sip.digest_client import DigestClient
from node.sip.message import Request, Response, parse_message

PATIENCE = 5.0
"Seconds for each answer."
SDP = "v=0\r\no=- 1 1 IN IP4 {0}\r\ns=-\r\nc=IN IP4 {0}\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0\r\n"


class Device(asyncio.DatagramProtocol):
    """A phone: registers, calls, answers at once."""

    def __init__(self, account: str, server: Endpoint) -> None:
        self.login, _, password = account.partition(":")
        self.server = server
        self.digest = DigestClient(self.login, password)
        self.waiting: dict[str, asyncio.Queue[Response]] = {}

    async def open(self) -> None:
        """Take a port on the way to the server."""
        loop = asyncio.get_running_loop()
        self.transport, _ = await loop.create_datagram_endpoint(
            lambda: self, remote_addr=(self.server.host, self.server.port)
        )
        self.own = Endpoint(*self.transport.get_extra_info("sockname")[:2])

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        """Give an answer to whoever waits; ring, answer, and hang up when the other does."""
        message = parse_message(data)
        if isinstance(message, Response):
            if queue := self.waiting.get(message.call_id):
                queue.put_nowait(message)
        elif message.method == "INVITE":
            self.reply(message, 180)
            self.reply(message, 200, SDP.format(self.own.host))
        elif message.method != "ACK":
            self.reply(message, 200)

    def reply(self, request: Request, status: int, body: str = "") -> None:
        """Answer a request of the node."""
        headers = [("Contact", f"<sip:{self.login}@{self.own}>")]
        headers += [("Content-Type", "application/sdp")] if body else []
        response = Response.answering(request, status, to_tag=request.call_id[:8], headers=headers)
        response.body = body.encode()
        self.transport.sendto(response.encode())

    def request(
        self, method: str, uri: str, call_id: str, number: int, *more: tuple[str, str]
    ) -> Request:
        """A request of ours; `more` are further headers, or others in place of To."""
        lines = {
            "Via": f"SIP/2.0/UDP {self.own};rport;branch=z9hG4bK{secrets.token_hex(8)}",
            "Max-Forwards": "70",
            "From": f"<sip:{self.login}@{self.server}>;tag={call_id[:8]}",
            "To": f"<{uri}>",
            "Call-ID": call_id,
            "CSeq": f"{number} {method}",
            "Contact": f"<sip:{self.login}@{self.own}>",
        }
        lines |= {name: value for name, value in more if name != "Route"}
        routes = [(name, value) for name, value in more if name == "Route"]
        return Request.create(method, uri, [*lines.items(), *routes])

    async def ask(self, request: Request) -> Response:
        """Send a request and wait for its final response."""
        self.transport.sendto(request.encode())
        async with asyncio.timeout(PATIENCE):
            while True:
                response = await self.waiting[request.call_id].get()
                if response.status >= 200 and response.cseq == request.cseq:
                    return response

    async def prove(self, method: str, uri: str, call_id: str, *more: tuple[str, str]) -> Response:
        """Ask, and once more with the password when the node wants to know who we are."""
        body = SDP.format(self.own.host) if method == "INVITE" else ""
        for number in (1, 2, 3):  # the third time where a nonce has just become too old
            request = self.request(method, uri, call_id, number, *more)
            if body:
                request.append("Content-Type", "application/sdp")
                request.body = body.encode()
            self.digest.prove(request, SystemEntropy())
            response = await self.ask(request)
            if response.status not in (401, 407) or not self.digest.take(response):
                return response
            if method == "INVITE":
                self.acknowledge(uri, call_id, number, response)
        return response

    def acknowledge(self, uri: str, call_id: str, number: int, response: Response) -> None:
        """The ACK to a failure, which the node that sent it takes."""
        to, via = response.get("To") or "", response.get("Via") or ""
        ack = self.request("ACK", uri, call_id, number, ("To", to), ("Via", via))
        self.transport.sendto(ack.encode())

    async def register(self) -> None:
        """Register for ten minutes."""
        call_id, uri = secrets.token_hex(8), f"sip:{self.login}@{self.server}"
        self.waiting[call_id] = asyncio.Queue()
        response = await self.prove("REGISTER", uri, call_id, ("Expires", "600"))
        if response.status != 200:
            raise SystemExit(f"{self.login} is not registered: {response.status} {response.reason}")

    async def call(self, callee: str, hold: float) -> tuple[int, float]:
        """One call from INVITE to BYE; the status, and the seconds until it was answered."""
        call_id, started = secrets.token_hex(8), time.monotonic()
        self.waiting[call_id] = asyncio.Queue()
        try:
            uri = f"sip:{callee}@{self.server}"
            response = await self.prove("INVITE", uri, call_id)
            taken = time.monotonic() - started
            number = response.cseq.number
            if response.status != 200:
                self.acknowledge(uri, call_id, number, response)
                return response.status, taken
            # Inside the dialog: to the Contact, by way of those who recorded themselves.
            target = (response.get("Contact") or "").partition("<")[2].partition(">")[0]
            routes = [("Route", hop) for hop in reversed(response.values("Record-Route"))]
            inside = [("To", response.get("To") or ""), *routes]
            ack = self.request("ACK", target, call_id, number, *inside)
            self.transport.sendto(ack.encode())
            await asyncio.sleep(hold)
            await self.ask(self.request("BYE", target, call_id, number + 1, *inside))
        except TimeoutError:
            return 408, PATIENCE
        finally:
            del self.waiting[call_id]
        return 200, taken


async def generate(given: argparse.Namespace) -> int:
    """Register both, place the calls at their times, and print what became of them."""
    server = Endpoint(*Endpoint.parse(given.server, 5060))
    caller, callee = Device(given.caller, server), Device(given.callee, server)
    for device in caller, callee:
        await device.open()
        await device.register()
    print(f"{given.rate:g} calls/s for {given.seconds:g} s, each of {given.hold:g} s")
    calls: list[asyncio.Task[tuple[int, float]]] = []
    async with asyncio.TaskGroup() as group:
        start = time.monotonic()
        for number in range(round(given.rate * given.seconds)):
            await asyncio.sleep(max(0.0, start + number / given.rate - time.monotonic()))
            calls.append(group.create_task(caller.call(callee.login, given.hold)))
    for device in caller, callee:
        device.transport.close()
    taken = [seconds for status, seconds in (call.result() for call in calls) if status == 200]
    failed = sorted({call.result()[0] for call in calls} - {200})
    print(f"{len(calls)} calls, {len(taken)} answered, other answers: {failed or 'none'}")
    if len(taken) > 1:
        cuts = statistics.quantiles(taken, n=100)
        print(f"answered after {cuts[49] * 1000:.1f} ms (half), {cuts[98] * 1000:.1f} ms (99 %)")
    return 0 if len(taken) == len(calls) else 1


async def main() -> int:
    """Load a node that is given, or one of our own."""
    parser = argparse.ArgumentParser(description="Calls at a steady rate.")
    parser.add_argument("--server", metavar="HOST[:PORT]")
    parser.add_argument("--caller", metavar="LOGIN:PASSWORD")
    parser.add_argument("--callee", metavar="LOGIN:PASSWORD")
    parser.add_argument("--rate", type=float, default=20, help="calls a second (20)")
    parser.add_argument("--seconds", type=float, default=5, help="how long (5)")
    parser.add_argument("--hold", type=float, default=0.5, help="seconds of each call (0.5)")
    given = parser.parse_args()
    if given.server is not None:
        if given.caller is None or given.callee is None:
            parser.error("--server needs --caller and --callee")
        return await generate(given)
    async with some_nodes("node") as (node,):
        accounts = [await node.add_user(login) for login in ("caller", "callee")]
        given.server = accounts[0]["server"]
        given.caller, given.callee = (f"{one['login']}:{one['password']}" for one in accounts)
        return await generate(given)


if __name__ == "__main__":
    run(main)
