"""A phone over UDP that is nothing but SIP: it registers, calls, rings, and reads the clock."""

import asyncio
import itertools
import secrets
import time
from dataclasses import dataclass
from typing import Any, Self

from node.sip.message import Request, Response, parse_message
from node.spawned import Place
from tests.support.digest_client import DigestClient

ANSWER_WITHIN = 10.0
"Seconds for each response."
_CHALLENGES = {
    401: ("WWW-Authenticate", "Authorization"),
    407: ("Proxy-Authenticate", "Proxy-Authorization"),
}


@dataclass(frozen=True, slots=True)
class Dialled:
    """How a call went on."""

    status: int
    "Of the first response that says more than 100, after the challenge."
    delay: float
    "Seconds from the first INVITE to it, the challenge included."


class UdpPhone(asyncio.DatagramProtocol):
    """One account on one port of its own. Calls that it gets ring until their CANCEL."""

    def __init__(self, login: str, password: str, home: Place) -> None:
        self.login = login
        self._digest = DigestClient(login, password)
        self._home = home
        self._numbers = itertools.count(1)
        self._answers: asyncio.Queue[tuple[Response, float]] = asyncio.Queue()
        self._transport: asyncio.DatagramTransport
        self._port = 0

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(
            lambda: self, local_addr=(self._home.ip, self._port)
        )
        self._port = self._transport.get_extra_info("sockname")[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._transport.close()

    @property
    def port(self) -> int:
        """Where it listens; kept when it is opened again."""
        return self._port

    def become(self, login: str, password: str) -> Self:
        """Use another account from now on."""
        self.login, self._digest = login, DigestClient(login, password)
        return self

    async def register(self, expires: int = 600) -> None:
        """Register for so many seconds; 0 takes the device away."""
        contact = ("Contact", f"<sip:{self.login}@{self._home.ip}:{self._port}>")
        lasting = ("Expires", str(expires))
        response, _ = await self._transact("REGISTER", self._server, (contact, lasting))
        if response.status != 200:
            raise RuntimeError(f"REGISTER of {self.login}: {response.start_line}")

    async def credentials(self, method: str, uri: str) -> tuple[DigestClient, str]:
        """A challenge to such a request, and who can answer it again and again."""
        request = self._request(method, uri, secrets.token_hex(8))
        response, _ = await self._exchange(request)
        if method == "INVITE":
            self._acknowledge(request, response)
        return self._digest, _md5_challenge(response)

    async def dial(self, uri: str) -> Dialled:
        """Call until it rings or is refused; a ringing call is given up again."""
        started = time.monotonic()
        response, request = await self._transact("INVITE", uri)
        heard = self._heard
        if response.status >= 200:
            self._acknowledge(request, response)
            return Dialled(response.status, heard - started)
        self._send(self._like(request, "CANCEL"))
        final = response
        while final.status < 300 or final.cseq.method != "INVITE":
            final, _ = await self._next()
        self._acknowledge(request, final)
        return Dialled(response.status, heard - started)

    # Inside

    @property
    def _server(self) -> str:
        return f"sip:{self._home.ip}:{self._home.sip_port}"

    async def _transact(
        self, method: str, uri: str, headers: tuple[tuple[str, str], ...] = ()
    ) -> tuple[Response, Request]:
        call_id = secrets.token_hex(8)
        request = self._request(method, uri, call_id, headers)
        response, self._heard = await self._exchange(request)
        if response.status in _CHALLENGES:
            if method == "INVITE":
                self._acknowledge(request, response)
            name = _CHALLENGES[response.status][1]
            again = self._request(method, uri, call_id, headers)
            again.append(name, self._digest.answer(_md5_challenge(response), again))
            request = again
            response, self._heard = await self._exchange(request)
        return response, request

    async def _exchange(self, request: Request) -> tuple[Response, float]:
        self._send(request)
        while True:
            response, heard = await self._next()
            if response.status > 100 and response.cseq == request.cseq:
                return response, heard

    async def _next(self) -> tuple[Response, float]:
        async with asyncio.timeout(ANSWER_WITHIN):
            return await self._answers.get()

    def _request(
        self, method: str, uri: str, call_id: str, headers: tuple[tuple[str, str], ...] = ()
    ) -> Request:
        own = f"{self._home.ip}:{self._port}"
        identity = f"<sip:{self.login}@{self._home.ip}:{self._home.sip_port}>"
        lines = (
            ("Via", f"SIP/2.0/UDP {own};rport;branch=z9hG4bK{secrets.token_hex(8)}"),
            ("Max-Forwards", "70"),
            ("From", f"{identity};tag={call_id}"),
            ("To", identity if method == "REGISTER" else f"<{uri}>"),
            ("Call-ID", call_id),
            ("CSeq", f"{next(self._numbers)} {method}"),
        )
        contact = (("Contact", f"<sip:{self.login}@{own}>"),) if method == "INVITE" else ()
        return Request.create(method, uri, (*lines, *contact, *headers))

    def _like(self, invite: Request, method: str, to: str | None = None) -> Request:
        """The CANCEL of an INVITE, or the ACK to its failure (RFC 3261 9.1, 17.1.1.3)."""
        lines = [(name, invite.get(name) or "") for name in ("Via", "Max-Forwards", "From")]
        lines += [("To", to or invite.get("To") or ""), ("Call-ID", invite.call_id)]
        lines.append(("CSeq", f"{invite.cseq.number} {method}"))
        return Request.create(method, invite.raw_uri, lines)

    def _acknowledge(self, invite: Request, response: Response) -> None:
        self._send(self._like(invite, "ACK", response.get("To")))

    def _send(self, message: Request | Response) -> None:
        self._transport.sendto(message.encode(), (self._home.ip, self._home.sip_port))

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        """Queue responses with the time they came; ring for calls."""
        heard = time.monotonic()
        message = parse_message(data)
        if isinstance(message, Response):
            self._answers.put_nowait((message, heard))
        elif message.method == "INVITE":
            self._ringing = message
            contact = (("Contact", f"<sip:{self.login}@{self._home.ip}:{self._port}>"),)
            self._send(Response.answering(message, 180, to_tag="ringing", headers=contact))
        elif message.method == "CANCEL":
            self._send(Response.answering(message, 200, to_tag="ringing"))
            self._send(Response.answering(self._ringing, 487, to_tag="ringing"))


def _md5_challenge(response: Response) -> str:
    if response.status not in _CHALLENGES:
        raise RuntimeError(f"no challenge but {response.start_line}")
    offered = response.get_all(_CHALLENGES[response.status][0])
    plain = next(value for value in offered if "SHA" not in value)
    return plain if "algorithm" in plain else f"{plain}, algorithm=MD5"
