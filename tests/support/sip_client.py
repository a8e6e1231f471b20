"""SIP by hand over one UDP socket, of either family: for what no proper phone would send."""

import asyncio
import itertools
import secrets
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from federation.model.address import Endpoint
from node.sip.message import Request, Response, parse_message
from tests.support.digest_client import DigestClient

ANSWER_WITHIN = 5.0
"Seconds for each response; a busy machine is slow."
_ASKED = {
    401: ("WWW-Authenticate", "Authorization"),
    407: ("Proxy-Authenticate", "Proxy-Authorization"),
}


class SipClient(asyncio.DatagramProtocol):
    """Sends any request of any account from one port; obtained from `sip_client`."""

    def __init__(self, server: Endpoint) -> None:
        self.server = server
        self.received: list[bytes] = []
        "Every datagram that came, in order."
        self._queue: asyncio.Queue[Request | Response] = asyncio.Queue()
        self._transport: asyncio.DatagramTransport
        self._numbers = itertools.count(1)
        self.own: Endpoint
        self.closed = asyncio.Event()
        "Set once the port is free again."

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self.own = Endpoint(*transport.get_extra_info("sockname")[:2])

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set()

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        self.received.append(data)
        self._queue.put_nowait(parse_message(data))

    def send(self, message: Request | Response | bytes) -> None:
        """Send a message, or bytes as they are."""
        data = message if isinstance(message, bytes) else message.encode()
        self._transport.sendto(data, tuple(self.server))

    def request(
        self,
        method: str,
        uri: str | None = None,
        *,
        login: str = "somebody",
        to: str | None = None,
        call_id: str | None = None,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
    ) -> Request:
        """A well-formed request to the node."""
        own, server = _host(self.own), _host(self.server)
        call_id = call_id or secrets.token_hex(8)
        identity = f"<sip:{login}@{server}>"
        uri = uri or f"sip:{server}"
        lines = [
            ("Via", f"SIP/2.0/UDP {own};rport;branch=z9hG4bK{secrets.token_hex(8)}"),
            ("Max-Forwards", "70"),
            ("From", f"{identity};tag={call_id}"),
            ("To", to or (identity if method == "REGISTER" else f"<{uri}>")),
            ("Call-ID", call_id),
            ("CSeq", f"{next(self._numbers)} {method}"),
        ]
        if method in ("INVITE", "REGISTER"):
            lines.append(("Contact", f"<sip:{login}@{own}>"))
        return Request.create(method, uri, [*lines, *headers], body)

    async def heard(self, within: float = ANSWER_WITHIN) -> Request | Response:
        """The next message."""
        async with asyncio.timeout(within):
            return await self._queue.get()

    async def ask(self, request: Request, within: float = ANSWER_WITHIN) -> Response:
        """Send a request and wait for its final response; an INVITE's failure is acknowledged."""
        self.send(request)
        while True:
            message = await self.heard(within)
            if (
                isinstance(message, Response)
                and message.status >= 200
                and message.cseq == request.cseq
                and message.call_id == request.call_id
            ):
                if request.method == "INVITE" and message.status >= 300:
                    self.send(self.ack(request, message))
                return message

    async def ask_as(
        self, digest: DigestClient, request: Request, *, within: float = ANSWER_WITHIN
    ) -> Response:
        """Ask, and once more with credentials if challenged."""
        response = await self.ask(request, within)
        if response.status not in _ASKED:
            return response
        return await self.ask(self.again(digest, request, response), within)

    def again(self, digest: DigestClient, request: Request, challenge: Response) -> Request:
        """The request once more, in a new transaction, with the answer to a challenge."""
        asked, answers = _ASKED[challenge.status]
        again = self.fresh(request)
        again.remove(answers)
        again.append(answers, digest.answer(md5_in(challenge.get_all(asked)), again))
        return again

    def fresh(self, request: Request) -> Request:
        """A copy with a branch and a CSeq of its own."""
        copy = request.copy()
        assert isinstance(copy, Request)
        own = _host(self.own)
        branch = f"SIP/2.0/UDP {own};rport;branch=z9hG4bK{secrets.token_hex(8)}"
        copy.replace_first_value("Via", branch)
        copy.set("CSeq", f"{next(self._numbers)} {request.method}")
        return copy

    def ack(self, request: Request, response: Response) -> Request:
        """The ACK of a failure (RFC 3261 17.1.1.3)."""
        lines = [(name, request.get(name) or "") for name in ("Via", "Max-Forwards", "From")]
        lines += [("To", response.get("To") or ""), ("Call-ID", request.call_id)]
        lines.append(("CSeq", f"{request.cseq.number} ACK"))
        return Request.create("ACK", request.raw_uri, lines)

    async def register(
        self,
        login: str,
        password: str,
        *,
        contact: str | None = None,
        expires: int = 300,
        headers: Iterable[tuple[str, str]] = (),
    ) -> Response:
        """Register this socket, or another contact, and return the answer to the credentials."""
        lines = [("Expires", str(expires)), *headers]
        request = self.request("REGISTER", login=login, headers=lines)
        if contact is not None:
            request.set("Contact", contact)
        return await self.ask_as(DigestClient(login, password), request)


def md5_in(challenges: list[str]) -> str:
    """The MD5 challenge of several."""
    return next(value for value in challenges if "MD5" in value or "algorithm" not in value)


def _host(endpoint: Endpoint) -> str:
    return str(endpoint)


@asynccontextmanager
async def sip_client(
    server: Endpoint, *, ip: str | None = None, port: int = 0
) -> AsyncIterator[SipClient]:
    """A client on a port of its own, by default on the server's own address."""
    transport, client = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: SipClient(server), local_addr=(ip or server.host, port)
    )
    try:
        yield client
    finally:
        transport.close()
        await client.closed.wait()
