"""Hundreds of calls at once between two accounts: phones that are nothing but SIP over UDP."""

import asyncio
import secrets
import socket
from collections.abc import Callable
from typing import Any

from node.sip.message import Request, Response, parse_message
from node.spawned import Place
from tests.support.digest_client import DigestClient

RECEIVE_BUFFER = 4 * 2**20
REPEAT = 1.0
"Seconds until a message without an answer is sent again."
SDP = (
    "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n"
    "m=audio {port} RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n"
)


class ManyPhone(asyncio.DatagramProtocol):
    """One account on one socket. Every call that it gets rings until it is cancelled."""

    def __init__(self, login: str, password: str, home: Place) -> None:
        self.login = login
        self.ringing: dict[str, Request] = {}
        "Calls that ring here, by Call-ID."
        self._digest = DigestClient(login, password)
        self._challenge = ""
        self._home = home
        self._responses: dict[tuple[str, str], list[Response]] = {}
        self._heard = asyncio.Event()
        self._transport: asyncio.DatagramTransport

    async def __aenter__(self) -> "ManyPhone":
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        sock.bind((self._home.ip, 0))
        sock.setblocking(False)
        self._port = sock.getsockname()[1]
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, sock=sock)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._transport.close()

    async def register(self) -> None:
        """Register for ten minutes; the challenge serves the calls that follow, too."""
        contact = ("Contact", f"<sip:{self.login}@{self._home.ip}:{self._port}>")
        for number in (1, 2):
            request = self._request("REGISTER", self._server, "reg", number, contact)
            self._send(request)
            final = await self._final("reg", "REGISTER", number)
            if final.status == 200:
                return
            self._learn(final)
        raise AssertionError(f"{self.login} cannot register: {final.start_line}")

    async def ring_all(self, uri: str, calls: int, *, rate: float, within: float) -> list[Request]:
        """Dial `uri` so many times; returns the INVITEs once each of them rings.

        Raises:
            AssertionError: some did not ring in time, or were refused.
        """
        invites: list[Request] = []
        for _ in range(calls):
            invite = self._request("INVITE", uri, secrets.token_hex(8), 1)
            invites.append(invite)
            self._send(invite)
            await asyncio.sleep(1 / rate)
        await self._until(invites, "180", lambda i: self._status(i) >= 180, within, self._send)
        refused = [self._status(i) for i in invites if self._status(i) >= 200]
        assert not refused, f"{len(refused)} of {calls} were refused: {sorted(set(refused))}"
        return invites

    async def cancel_all(self, invites: list[Request], *, within: float) -> None:
        """Give all of them up; each ends with 487.

        Raises:
            AssertionError: some did not.
        """
        for invite in invites:
            self._cancel(invite)
            await asyncio.sleep(0.001)
        await self._until(invites, "487", lambda i: self._status(i) >= 200, within, self._cancel)
        assert {self._status(invite) for invite in invites} == {487}

    # Inside

    @property
    def _server(self) -> str:
        return f"sip:{self._home.ip}:{self._home.sip_port}"

    async def _until(
        self,
        invites: list[Request],
        what: str,
        holds: Callable[[Request], bool],
        within: float,
        again: Callable[[Request], None],
    ) -> None:
        """Wait until `holds` of each; those that were not answered at all are sent again."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within
        while missing := [invite for invite in invites if not holds(invite)]:
            assert loop.time() < deadline, f"{len(missing)} of {len(invites)} without {what}"
            await asyncio.sleep(REPEAT)
            for invite in missing:
                if not holds(invite) and self._status(invite) != 100:
                    again(invite)

    def _status(self, invite: Request) -> int:
        heard = self._responses.get((invite.call_id, "INVITE"), [])
        return max((response.status for response in heard), default=0)

    async def _final(self, call_id: str, method: str, number: int) -> Response:
        async with asyncio.timeout(10):
            while True:
                for response in self._responses.get((call_id, method), []):
                    if response.status >= 200 and response.cseq.number == number:
                        return response
                self._heard.clear()
                await self._heard.wait()

    def _learn(self, response: Response) -> None:
        offered = response.get_all("WWW-Authenticate")
        assert offered, response.start_line
        plain = next(value for value in offered if "SHA" not in value)
        self._challenge = plain if "algorithm" in plain else f"{plain}, algorithm=MD5"

    def _request(
        self, method: str, uri: str, call_id: str, number: int, *headers: tuple[str, str]
    ) -> Request:
        own = f"{self._home.ip}:{self._port}"
        identity = f"<sip:{self.login}@{self._home.ip}:{self._home.sip_port}>"
        lines = [
            ("Via", f"SIP/2.0/UDP {own};rport;branch=z9hG4bK{secrets.token_hex(8)}"),
            ("Max-Forwards", "70"),
            ("From", f"{identity};tag={call_id}"),
            ("To", identity if method == "REGISTER" else f"<{uri}>"),
            ("Call-ID", call_id),
            ("CSeq", f"{number} {method}"),
            *headers,
        ]
        body = b""
        if method == "INVITE":
            lines.append(("Contact", f"<sip:{self.login}@{own}>"))
            lines.append(("Content-Type", "application/sdp"))
            body = SDP.format(ip=self._home.ip, port=self._port).encode()
        request = Request.create(method, uri, lines, body)
        if self._challenge:
            name = "Authorization" if method == "REGISTER" else "Proxy-Authorization"
            request.append(name, self._digest.answer(self._challenge, request))
        return request

    def _cancel(self, invite: Request) -> None:
        """RFC 3261 9.1."""
        names = ("Via", "Max-Forwards", "From", "To", "Call-ID")
        lines = [(name, invite.get(name) or "") for name in names]
        lines.append(("CSeq", f"{invite.cseq.number} CANCEL"))
        self._send(Request.create("CANCEL", invite.raw_uri, lines))

    def _send(self, message: Request | Response) -> None:
        self._transport.sendto(message.encode(), (self._home.ip, self._home.sip_port))

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        """Note responses, acknowledge failures, ring for calls."""
        message = parse_message(data)
        if isinstance(message, Response):
            heard = self._responses.setdefault((message.call_id, message.cseq.method), [])
            heard.append(message)
            self._heard.set()
            if message.status >= 300 and message.cseq.method == "INVITE":
                self._acknowledge(message)
        elif message.method == "INVITE":
            self.ringing[message.call_id] = message
            contact = (("Contact", f"<sip:{self.login}@{self._home.ip}:{self._port}>"),)
            self._send(Response.answering(message, 180, to_tag="ringing", headers=contact))
        elif message.method == "CANCEL":
            self._send(Response.answering(message, 200, to_tag="ringing"))
            invite = self.ringing.pop(message.call_id, None)
            if invite is not None:
                self._send(Response.answering(invite, 487, to_tag="ringing"))

    def _acknowledge(self, response: Response) -> None:
        """ACK a failure: the response itself holds all that it takes."""
        lines = [(name, response.get(name) or "") for name in ("Via", "From", "To")]
        lines += [("Max-Forwards", "70"), ("Call-ID", response.call_id)]
        lines.append(("CSeq", f"{response.cseq.number} ACK"))
        self._send(Request.create("ACK", self._server, lines))
