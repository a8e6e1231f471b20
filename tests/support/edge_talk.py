"""What a phone in memory has under way: requests it sent, requests that reached it, dialogs."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from node.sip.effects import ServerKey
from node.sip.message import Request, Response

if TYPE_CHECKING:
    from tests.support.edge_phone import Phone

T1, T2, LIFE = 0.5, 4.0, 32.0
Headers = Sequence[tuple[str, str]]


@dataclass
class Talk:
    """A dialog as one phone sees it."""

    phone: "Phone"
    call_id: str
    local: str
    remote: str
    target: str
    routes: list[str]
    cseq: int
    ended: bool = False
    answer: "Arrived | None" = None
    "The request of the other side that this phone answered; no BYE before its ACK (RFC 3261 15)."

    def is_same(self, other: "Talk") -> bool:
        """Whether both are the same dialog."""
        return (self.call_id, self.remote) == (other.call_id, other.remote)

    def send(self, method: str, body: bytes = b"", headers: Headers = ()) -> "Sent":
        """Send a request within the dialog."""
        self.cseq += 1
        if method == "BYE":
            self.ended = True
        return self.phone.transmit(self._compose(method, self.cseq, body, headers))

    def ack(self, cseq: int | None = None, body: bytes = b"", headers: Headers = ()) -> None:
        """Acknowledge a 2xx."""
        request = self._compose("ACK", self.cseq if cseq is None else cseq, body, headers)
        self.phone.send_bare(request)

    def _compose(self, method: str, cseq: int, body: bytes, headers: Headers) -> Request:
        lines = [("Via", self.phone.via()), ("Max-Forwards", "70")]
        lines += [("Route", route) for route in self.routes]
        lines += [
            ("From", self.local),
            ("To", self.remote),
            ("Call-ID", self.call_id),
            ("CSeq", f"{cseq} {method}"),
            ("Contact", f"<{self.phone.contact}>"),
            *headers,
        ]
        if body and not any(name == "Content-Type" for name, _ in headers):
            lines.append(("Content-Type", "application/sdp"))
        return Request.create(method, self.target, lines, body)


@dataclass
class Sent:
    """A request a phone sent, with what came back."""

    phone: "Phone"
    request: Request
    responses: list[Response] = field(default_factory=list)
    over: str = ""
    "How the transaction ended without a final response."
    retry: "Sent | None" = None
    cancelled: bool = False

    @property
    def latest(self) -> "Sent":
        """The request itself, or the one that answered its challenge."""
        return self if self.retry is None else self.retry.latest

    @property
    def statuses(self) -> list[int]:
        """Every status that came, 100 left out."""
        return [r.status for r in self.latest.responses if r.status > 100]

    @property
    def final(self) -> Response | None:
        """The first final response."""
        return next((r for r in self.latest.responses if r.status >= 200), None)

    @property
    def status(self) -> int:
        """Its status; 0 before it came."""
        return 0 if self.final is None else self.final.status

    def cancel(self) -> None:
        """Give up the INVITE."""
        sent = self.latest
        self.cancelled = sent.cancelled = True
        self.phone.carry_out(
            self.phone.layer.cancel(self.phone.keys[id(sent)], now=self.phone.now())  # type: ignore[index]
        )

    def talk(self, response: Response | None = None) -> Talk:
        """The dialog that a response made."""
        request = self.latest.request
        response = response or self.final
        assert response is not None
        return Talk(
            self.phone,
            request.call_id,
            request.get("From") or "",
            response.get("To") or "",
            str(response.contacts[0].uri) if response.contacts else request.raw_uri,
            list(reversed(response.values("Record-Route"))),
            request.cseq.number,
        )


@dataclass
class Arrived:
    """A request that reached a phone."""

    phone: "Phone"
    key: ServerKey
    request: Request
    tag: str
    cancelled: bool = False
    acked: list[Request] = field(default_factory=list)
    status: int = 0
    at: float = field(default_factory=lambda: asyncio.get_running_loop().time())
    "When it came."
    spoke_at: float | None = None
    "When it was answered first, if only with a 1xx."

    def respond(
        self,
        status: int,
        body: bytes = b"",
        *,
        tag: str | None = None,
        headers: Headers = (),
        repeat: bool = True,
    ) -> None:
        """Answer; a 2xx to an INVITE is repeated until its ACK comes."""
        self.status = max(self.status, status) if status >= 200 else self.status
        if self.spoke_at is None:
            self.spoke_at = asyncio.get_running_loop().time()
        lines = [("Contact", f"<{self.phone.contact}>"), *headers]
        if body and not any(name == "Content-Type" for name, _ in headers):
            lines.append(("Content-Type", "application/sdp"))
        response = Response.answering(
            self.request, status, to_tag=tag or self.tag, headers=lines, body=body
        )
        self._send(response)
        if repeat and self.request.method == "INVITE" and 200 <= status < 300:
            asyncio.get_running_loop().call_later(T1, self._again, response, T1, T1)

    def _again(self, response: Response, waited: float, interval: float) -> None:
        if self.acked or waited > LIFE or self.phone.dead:
            return
        self._send(response)
        interval = min(2 * interval, T2)
        asyncio.get_running_loop().call_later(
            interval, self._again, response, waited + interval, interval
        )

    def _send(self, response: Response) -> None:
        phone = self.phone
        if phone.sees is not None:
            seen = response.top_via.with_received(*phone.sees)
            response.replace_first_value("Via", str(seen))
        phone.carry_out(phone.layer.respond(self.key, response, now=phone.now()))

    def talk(self, tag: str | None = None) -> Talk:
        """The dialog that an answer of ours makes."""
        request = self.request
        to = request.get("To") or ""
        if request.to.tag is None:
            to += f";tag={tag or self.tag}"
        return Talk(
            self.phone,
            request.call_id,
            to,
            request.get("From") or "",
            str(request.contacts[0].uri) if request.contacts else request.raw_uri,
            request.values("Record-Route"),
            0,
            answer=self,
        )
