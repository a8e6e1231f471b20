"""Hundreds of calls at a time from one socket, by the book: transactions, digest, ACK, BYE.

A `LoadPhone` is one device of one account. It calls, gives up, sends messages and registers, each
as a coroutine that ends with what came of it; calls that reach it are taken, refused or left to
ring, as its `manner` says. What was lost on the way is repeated as the RFC has it, so that whatever
fails under ordinary loss is the node's doing. No sound is sent.
"""

import asyncio
import enum
import itertools
import secrets
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Self

from federation.model.address import Endpoint
from federation.model.clocks import PooledEntropy, SystemClock
from node.sip.effects import (
    AckArrived,
    CancelArrived,
    ClientFailed,
    ClientKey,
    ClientTimedOut,
    Effect,
    RequestArrived,
    ResponseArrived,
    Send,
    ServerKey,
    TransactionEnded,
)
from node.sip.flow import Flow
from node.sip.message import Request, Response
from node.sip.transaction import TransactionLayer
from node.spawned import Place
from tests.support.digest_client import DigestClient
from tests.support.sip_client import md5_in

T1, T2, LIFE = 0.5, 4.0, 32.0
"RFC 3261 17.1.1.1 and 13.3.1.4: how a 2xx is repeated until its ACK comes."
PATIENCE = 5.0
"Seconds a caller that will give up waits for the 180, which may be lost for good."
RECEIVE_BUFFER = 4 * 2**20
SDP = (
    "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n"
    "m=audio {port} RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\n"
)
Headers = Iterable[tuple[str, str]]
_ANSWERS = {401: "Authorization", 407: "Proxy-Authorization"}
_ASKS = {401: "WWW-Authenticate", 407: "Proxy-Authenticate"}


class Manner(enum.Enum):
    """What a phone does with calls."""

    TAKES = "rings, answers, waits for the BYE"
    BUSY = "486"
    RINGS = "rings until it is cancelled"


@dataclass
class Counted:
    """What became of the calls that reached a phone."""

    offered: int = 0
    answered: int = 0
    acknowledged: int = 0
    ended: int = 0
    "By a BYE."
    cancelled: int = 0
    messages: int = 0


@dataclass
class _Client:
    """One request under way."""

    final: asyncio.Future[Response]
    rings: asyncio.Event = field(default_factory=asyncio.Event)
    "Set by the first response that says more than 100."
    key: ClientKey = field(init=False)
    ack: bytes = b""
    "Sent again for each repetition of the 2xx."


@dataclass
class _Taken:
    """A call that was answered here."""

    acked: bool = False
    over: bool = False


class LoadPhone(asyncio.DatagramProtocol):
    """One account on one port; a context manager."""

    def __init__(
        self, login: str, password: str, home: Place, *, manner: Manner = Manner.TAKES
    ) -> None:
        self.login = login
        self.manner = manner
        self.counted = Counted()
        self._home = home
        self._digest = DigestClient(login, password)
        self._challenges: dict[int, str] = {}
        "The newest challenge of each kind, answered in advance as phones do."
        self._layer = TransactionLayer(entropy=PooledEntropy())
        self._now = SystemClock().monotonic
        self._clients: dict[ClientKey, _Client] = {}
        self._ringing: dict[ServerKey, Request] = {}
        self._taken: dict[str, _Taken] = {}
        self._numbers = itertools.count(1)
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.DatagramTransport

    async def __aenter__(self) -> Self:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        sock.setblocking(False)
        sock.bind((self._home.ip, 0))
        own = Endpoint.of(sock.getsockname())
        self._flow = Flow("UDP", own, Endpoint(self._home.ip, self._home.sip_port))
        self._contact = ("Contact", f"<sip:{self.login}@{own}>")
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, sock=sock)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._transport.close()

    @property
    def open_calls(self) -> int:
        """Calls that ring here, or were answered and neither acknowledged nor ended."""
        waiting = [call for call in self._taken.values() if not call.acked and not call.over]
        return len(self._ringing) + len(waiting)

    # What it does

    async def register(self, expires: int = 600) -> int:
        """Register; the status that came of it."""
        server = f"sip:{self._home.ip}:{self._home.sip_port}"
        headers = (self._contact, ("Expires", str(expires)))
        _, response = await self._ask("REGISTER", server, headers)
        return response.status

    async def call(self, uri: str, *, talk: float, with_sdp: bool = True) -> int:
        """Call, talk, hang up; the status of the INVITE, or of the BYE where that is not 200."""
        client, response = await self._ask("INVITE", uri, (self._contact,), self._sdp(with_sdp))
        if response.status != 200:
            return response.status
        await asyncio.sleep(talk)
        _, ended = await self._transact(self._inside("BYE", response))
        client.ack = b""
        return ended.status

    async def give_up(self, uri: str, *, after: float) -> int:
        """Call, let it ring for a while, cancel; 487 as a rule."""
        invite = self._request("INVITE", uri, (self._contact,), self._sdp(with_sdp=True))
        client = self._start(invite)
        rings = asyncio.ensure_future(client.rings.wait())
        await asyncio.wait(
            [rings, client.final], timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED
        )
        rings.cancel()
        if not client.final.done():
            await asyncio.sleep(after)
            self._carry_out(self._layer.cancel(client.key, now=self._now()))
        response = await client.final
        if response.status in _ANSWERS:
            self._learn(response)
            return await self.give_up(uri, after=after)
        if response.status == 200:
            await self._transact(self._inside("BYE", response))
        return response.status

    async def message(self, uri: str, text: str) -> int:
        """Send a MESSAGE; the status that came of it."""
        headers = (("Content-Type", "text/plain"),)
        _, response = await self._ask("MESSAGE", uri, headers, text.encode())
        return response.status

    # Requests

    async def _ask(
        self, method: str, uri: str, headers: Headers = (), body: bytes = b""
    ) -> tuple[_Client, Response]:
        """Send a request outside dialogs, once more with credentials if challenged."""
        headers = tuple(headers)
        for _ in range(3):  # a stale nonce is told, and replaced
            client, response = await self._transact(self._request(method, uri, headers, body))
            if response.status not in _ANSWERS:
                break
            self._learn(response)
        return client, response

    async def _transact(self, request: Request) -> tuple[_Client, Response]:
        client = self._start(request)
        return client, await client.final

    def _start(self, request: Request) -> _Client:
        client = _Client(asyncio.get_running_loop().create_future())
        client.key, effects = self._layer.request(request, self._flow, now=self._now())
        self._clients[client.key] = client
        self._carry_out(effects)
        return client

    def _sdp(self, with_sdp: bool) -> bytes:
        if not with_sdp:
            return b""
        return SDP.format(ip=self._home.ip, port=20_000 + secrets.randbelow(10_000) * 2).encode()

    def _request(self, method: str, uri: str, headers: Headers, body: bytes) -> Request:
        call_id = secrets.token_hex(8)
        identity = f"<sip:{self.login}@{self._home.ip}>"
        lines = [
            ("Via", self._via()),
            ("Max-Forwards", "70"),
            ("From", f"{identity};tag={call_id}"),
            ("To", identity if method == "REGISTER" else f"<{uri}>"),
            ("Call-ID", call_id),
            ("CSeq", f"{next(self._numbers)} {method}"),
            *headers,
        ]
        if body and method == "INVITE":
            lines.append(("Content-Type", "application/sdp"))
        request = Request.create(method, uri, lines, body)
        kind = 401 if method == "REGISTER" else 407
        if (challenge := self._challenges.get(kind)) is not None:
            request.append(_ANSWERS[kind], self._digest.answer(challenge, request))
        return request

    def _inside(self, method: str, answer: Response) -> Request:
        """A request in the dialog that an answer made (RFC 3261 12.2.1.1)."""
        number = answer.cseq.number if method == "ACK" else next(self._numbers)
        lines = [("Via", self._via()), ("Max-Forwards", "70")]
        lines += [("Route", value) for value in reversed(answer.values("Record-Route"))]
        lines += [(name, answer.get(name) or "") for name in ("From", "To", "Call-ID")]
        lines.append(("CSeq", f"{number} {method}"))
        return Request.create(method, answer.contacts[0].uri, lines)

    def _via(self) -> str:
        return f"SIP/2.0/UDP {self._flow.local};rport;branch=z9hG4bK{secrets.token_hex(8)}"

    def _learn(self, response: Response) -> None:
        status = response.status
        challenge = md5_in(response.get_all(_ASKS[status]))
        self._challenges[status] = (
            challenge if "algorithm" in challenge else f"{challenge}, algorithm=MD5"
        )

    # What comes in

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        self._carry_out(self._layer.receive_data(data, self._flow, now=self._now()))

    def _carry_out(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send(data=data):
                    self._send(data)
                case ResponseArrived(key=key, response=response):
                    self._responded(self._clients[key], response)
                case RequestArrived(key=key, request=request):
                    self._arrived(key, request)
                case AckArrived(request=request):
                    self._acknowledged(request)
                case CancelArrived(key=key):
                    self._cancelled(key)
                case ClientTimedOut(key=key) | ClientFailed(key=key):
                    self._fail(self._clients[key])
                case TransactionEnded(key=key):
                    self._clients.pop(ClientKey(key), None)
                case _:
                    pass
        self._arm()

    def _responded(self, client: _Client, response: Response) -> None:
        if response.status > 100:
            client.rings.set()
        if response.status < 200:
            return
        if response.cseq.method == "INVITE" and response.status < 300:
            client.ack = client.ack or self._inside("ACK", response).encode()
            self._send(client.ack)
        if not client.final.done():
            client.final.set_result(response)

    def _fail(self, client: _Client) -> None:
        if not client.final.done():
            client.final.set_exception(TimeoutError(f"{self.login}: no final response"))

    def _arrived(self, key: ServerKey, request: Request) -> None:
        if request.method == "INVITE" and request.to.tag is None:
            self._rung(key, request)
            return
        if request.method == "BYE":
            self.counted.ended += 1
            call = self._taken.pop(request.call_id, None)
            if call is not None:
                call.over = True
        elif request.method == "MESSAGE":
            self.counted.messages += 1
        self._answer(key, request, 200)

    def _rung(self, key: ServerKey, request: Request) -> None:
        self.counted.offered += 1
        if self.manner is Manner.BUSY:
            self._answer(key, request, 486)
            return
        self._answer(key, request, 180)
        self._ringing[key] = request
        if self.manner is Manner.TAKES:
            asyncio.get_running_loop().call_later(0.1, self._take, key)

    def _take(self, key: ServerKey) -> None:
        request = self._ringing.pop(key, None)
        if request is None:
            return  # cancelled meanwhile
        self.counted.answered += 1
        call = self._taken[request.call_id] = _Taken()
        self._repeat(key, request, call, waited=0.0, interval=T1)

    def _repeat(
        self, key: ServerKey, request: Request, call: _Taken, *, waited: float, interval: float
    ) -> None:
        """Send the 2xx until its ACK comes (RFC 3261 13.3.1.4)."""
        if call.acked or call.over or waited > LIFE or self._transport.is_closing():
            return
        self._answer(key, request, 200)

        def again() -> None:
            later = min(2 * interval, T2)
            self._repeat(key, request, call, waited=waited + interval, interval=later)

        asyncio.get_running_loop().call_later(interval, again)

    def _answer(self, key: ServerKey, request: Request, status: int) -> None:
        is_offer = request.method == "INVITE" and status == 200
        body = self._sdp(with_sdp=bool(request.body)) if is_offer else b""
        headers = [self._contact] if request.method == "INVITE" else []
        if body:
            headers.append(("Content-Type", "application/sdp"))
        tag = f"{self.login}{request.call_id[:16]}"
        response = Response.answering(request, status, to_tag=tag, headers=headers, body=body)
        self._carry_out(self._layer.respond(key, response, now=self._now()))

    def _acknowledged(self, request: Request) -> None:
        call = self._taken.get(request.call_id)
        if call is not None and not call.acked:
            call.acked = True
            self.counted.acknowledged += 1

    def _cancelled(self, key: ServerKey) -> None:
        request = self._ringing.pop(key, None)
        if request is not None:
            self.counted.cancelled += 1
            self._answer(key, request, 487)

    # Wire and time

    def _send(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.sendto(data, tuple(self._flow.remote))

    def _arm(self) -> None:
        """Wake up for the next repetition; one timer, only ever moved earlier."""
        due = self._layer.next_timer()
        if due is None or self._transport.is_closing():
            return
        loop = asyncio.get_running_loop()
        delay = max(0.0, due - self._now())
        if self._timer is not None:
            if self._timer.when() <= loop.time() + delay:
                return
            self._timer.cancel()
        self._timer = loop.call_later(delay, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._carry_out(self._layer.handle_timer(now=self._now()))


__all__ = ["Counted", "LoadPhone", "Manner"]
