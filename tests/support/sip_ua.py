"""A scripted SIP device: it registers with digest over UDP and answers calls as a test says.

It makes no sound and keeps no dialogs; what it refuses or redirects, and what it was sent, is
what the tests are about.
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from federation.model.address import Endpoint
from node.sip.errors import SipParseError
from node.sip.message import Request, Response, parse_message
from tests.support.digest_client import DigestClient

ANSWERED_WITHIN = 5.0
"Seconds; bounds a failing test."
RESEND = 0.5
SIP_PORT = 5060
EXPIRES = 300


@dataclass(frozen=True, slots=True)
class Script:
    """What the device answers to an INVITE."""

    status: int
    contacts: tuple[str, ...] = ()
    "URIs, for a 3xx."


@dataclass
class SipUa(asyncio.DatagramProtocol):
    """One UDP socket with any number of registered accounts; made by `a_sip_ua`."""

    endpoint: Endpoint = field(init=False)
    invites: list[Request] = field(default_factory=list)
    "Every INVITE that came, repetitions apart."
    _scripts: dict[str, Script] = field(default_factory=dict)
    _waiting: dict[tuple[str, int], "asyncio.Future[Response]"] = field(default_factory=dict)
    _answered: dict[str, bytes] = field(default_factory=dict)
    _transport: asyncio.DatagramTransport = field(init=False)

    async def register(self, account: dict[str, Any], expires: int = EXPIRES) -> None:
        """Register an account as its device; until told otherwise it is busy."""
        login, server = account["login"], account["server"]
        self._scripts.setdefault(login, Script(486))
        client = DigestClient(login, account["password"])
        call_id, credentials = secrets.token_hex(8), ""
        for number in (1, 2):
            request = self._register_request(login, server, call_id, number, expires)
            if credentials:
                request.append("Authorization", credentials)
            response = await self._ask(request, Endpoint(server, SIP_PORT))
            if response.status == 200:
                return
            if response.status != 401:
                break
            credentials = client.answer(response.get_all("WWW-Authenticate")[0], request)
        raise AssertionError(f"{login} is not registered: {response.status} {response.reason}")

    def refuse(self, account: dict[str, Any], status: int) -> None:
        """Answer calls to an account with this status from now on."""
        self._scripts[account["login"]] = Script(status)

    def redirect(self, account: dict[str, Any], *contacts: str, status: int = 302) -> None:
        """Send calls to an account on to these URIs from now on."""
        self._scripts[account["login"]] = Script(status, contacts)

    def invites_to(self, account: dict[str, Any]) -> list[Request]:
        """The INVITEs for an account, in the order they came."""
        return [invite for invite in self.invites if invite.uri.user == account["login"]]

    # As a DatagramProtocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)
        self.endpoint = Endpoint.of(transport.get_extra_info("sockname"))

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        with contextlib.suppress(SipParseError):
            message = parse_message(data)
            if isinstance(message, Response):
                waiting = self._waiting.pop((message.call_id, message.cseq.number), None)
                if waiting is not None and not waiting.done():
                    waiting.set_result(message)
            elif message.method != "ACK":
                self._answer(message, addr)

    def close(self) -> None:
        """Close the socket."""
        self._transport.close()

    # Inside

    def _answer(self, request: Request, addr: tuple[Any, ...]) -> None:
        branch = f"{request.top_via.branch} {request.method}"
        if branch not in self._answered:
            self._answered[branch] = self._response(request).encode()
        self._transport.sendto(self._answered[branch], addr)

    def _response(self, request: Request) -> Response:
        script = Script(200)
        if request.method == "INVITE":
            self.invites.append(request)
            script = self._scripts.get(request.uri.user or "", Script(404))
        headers = [("Contact", f"<{uri}>") for uri in script.contacts]
        return Response.answering(
            request, script.status, to_tag=secrets.token_hex(4), headers=headers
        )

    def _register_request(
        self, login: str, server: str, call_id: str, number: int, expires: int
    ) -> Request:
        here = str(self.endpoint)
        lines = [
            ("Via", f"SIP/2.0/UDP {here};rport;branch=z9hG4bK{secrets.token_hex(8)}"),
            ("Max-Forwards", "70"),
            ("From", f"<sip:{login}@{server}>;tag={call_id}"),
            ("To", f"<sip:{login}@{server}>"),
            ("Call-ID", call_id),
            ("CSeq", f"{number} REGISTER"),
            ("Contact", f"<sip:{login}@{here}>"),
            ("Expires", str(expires)),
        ]
        return Request.create("REGISTER", f"sip:{server}", lines)

    async def _ask(self, request: Request, server: Endpoint) -> Response:
        """Send a request until its response comes."""
        key = (request.call_id, request.cseq.number)
        answer = self._waiting[key] = asyncio.get_running_loop().create_future()
        data = request.encode()
        async with asyncio.timeout(ANSWERED_WITHIN):
            while not answer.done():
                self._transport.sendto(data, tuple(server))
                await asyncio.wait([answer], timeout=RESEND)
        return answer.result()


@contextlib.asynccontextmanager
async def a_sip_ua(
    accounts: Sequence[dict[str, Any]], host: str = "127.0.0.1"
) -> AsyncIterator[SipUa]:
    """A device on which these accounts are registered."""
    loop = asyncio.get_running_loop()
    _, ua = await loop.create_datagram_endpoint(SipUa, local_addr=(host, 0))
    try:
        for account in accounts:
            await ua.register(account)
        yield ua
        for account in accounts:
            await ua.register(account, expires=0)
    finally:
        ua.close()
