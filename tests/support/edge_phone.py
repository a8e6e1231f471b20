"""Phones in memory: user agents over the project's transaction layer, moved by the test.

A phone answers challenges by itself, acknowledges refusals, repeats its 2xx until the ACK comes,
and answers BYE and CANCEL. All else a test has it do.
"""

import asyncio
import itertools
import zlib
from collections.abc import Iterable
from typing import Protocol

from federation.model.address import Endpoint
from node.sip.effects import (
    AckArrived,
    CancelArrived,
    ClientFailed,
    ClientTimedOut,
    Effect,
    RequestArrived,
    ResponseArrived,
    Send,
    ServerKey,
    StrayResponse,
)
from node.sip.flow import Flow
from node.sip.headers import NameAddr
from node.sip.message import Request, Response
from node.sip.transaction import TransactionLayer
from tests.support.digest_client import DigestClient
from tests.support.edge_talk import Arrived, Sent, Talk
from tests.support.sip_exchange import SeededEntropy
from tests.support.virtual_loop import LoopClock


def sdp(
    ip: str, *lines: str, port: int = 4000, version: int = 1, connection: str | None = None
) -> bytes:
    """A description: one audio line at `port`, or the media `lines` given."""
    media = lines or (f"m=audio {port} RTP/AVP 0 101", "a=rtpmap:101 telephone-event/8000")
    head = (
        "v=0",
        f"o=- 1 {version} IN IP4 {ip}",
        "s=-",
        f"c=IN IP4 {connection or ip}",
        "t=0 0",
    )
    return "\r\n".join((*head, *media, "")).encode()


class Wire(Protocol):
    """Where phones send."""

    def to_node(self, data: bytes, phone: "Phone") -> None: ...


class Phone:
    """One device of an account."""

    def __init__(
        self, wire: Wire, flow: Flow, login: str, password: str, clock: LoopClock, server: str
    ) -> None:
        self.flow = flow
        self.login = login
        self.server = server
        self.layer = TransactionLayer(
            entropy=SeededEntropy(zlib.crc32(f"{login}{flow.local}".encode()))
        )
        self.keys: dict[int, object] = {}
        self.inbox: list[Arrived] = []
        self.acks: list[Request] = []
        self.strays: list[Response] = []
        self.wrote: list[bytes] = []
        self.contact_params = ""
        "Of the Contact in its REGISTER."
        self.register_headers: list[tuple[str, str]] = []
        self.gruu = ""
        "What it gives as Contact in dialogs."
        self.came_over: list[str] = []
        "The transport of each message that came."
        self.takes_tcp = False
        "Whether connections can be made to where it is registered over UDP."
        self.refuses_after = 0.0
        "Seconds until such a connection is refused."
        self.sees: Endpoint | None = None
        "Where it sees the node, which is behind a NAT."
        self.dead = False
        self.answers_byes = True
        self.acknowledges = False
        "Whether each 2xx to an INVITE is acknowledged at once, and ended where it was cancelled."
        self.talks: list[Talk] = []
        "The dialogs that were acknowledged so."
        self._wire = wire
        self._clock = clock
        self._digest = DigestClient(login, password)
        self._sent: dict[str, Sent] = {}
        self._serial = itertools.count(1)
        self._invalid = f"{login}{flow.local.port}.invalid"
        "What a page has for a host name (RFC 7118 B.1); the same over every connection."
        self._timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"Phone({self.login})"

    @property
    def ip(self) -> str:
        return self.flow.local.host

    @property
    def rtp(self) -> Endpoint:
        """Where `sdp(phone.ip)` says it hears."""
        return Endpoint(self.ip, 4000)

    @property
    def contact(self) -> str:
        if self.flow.is_web:
            return f"sip:{self.login}@{self._invalid};transport=ws"
        transport = "" if self.flow.transport == "UDP" else ";transport=tcp"
        return f"sip:{self.login}@{self.flow.local}{transport}"

    def now(self):  # type: ignore[no-untyped-def]
        return self._clock.monotonic()

    def via(self) -> str:
        serial = next(self._serial)
        branch = f"z9hG4bK-{self.login}-{self.flow.local.host}-{serial}"
        sent_by = self._invalid if self.flow.is_web else self.flow.local
        return f"SIP/2.0/{self.flow.transport} {sent_by};branch={branch};rport"

    # What a test has it do

    def register(self, expires: int = 600) -> Sent:
        return self.send(
            "REGISTER",
            f"sip:{self.server}",
            to=f"sip:{self.login}@{self.server}",
            headers=[("Expires", str(expires)), *self.register_headers],
        )

    def invite(self, target: str, body: bytes | None = None, **more: object) -> Sent:
        """Call someone, with an offer of one audio line unless `body` says otherwise."""
        return self.send("INVITE", target, sdp(self.ip) if body is None else body, **more)  # type: ignore[arg-type]

    def send(
        self,
        method: str,
        target: str,
        body: bytes = b"",
        *,
        to: str | None = None,
        sender: str | None = None,
        headers: Iterable[tuple[str, str]] = (),
        call_id: str | None = None,
        hops: str | None = "70",
    ) -> Sent:
        """Send a request outside dialogs; a challenge to it is answered."""
        serial = next(self._serial)
        sender = sender or f'"{self.login.title()}" <sip:{self.login}@{self.server}>'
        lines = [
            ("Via", self.via()),
            *([("Max-Forwards", hops)] if hops is not None else []),
            ("From", f"{sender};tag={self.login}{self.flow.local.port}x{serial}"),
            ("To", f"<{to or target}>"),
            ("Call-ID", call_id or f"{self.login}-{serial}@{self.ip}"),
            ("CSeq", f"1 {method}"),
            (
                "Contact",
                f"<{self.contact}>{self.contact_params}"
                if method == "REGISTER"
                else f"<{self.gruu or self.contact}>",
            ),
            *headers,
        ]
        if body and not any(name == "Content-Type" for name, _ in lines):
            lines.append(("Content-Type", "application/sdp"))
        return self.transmit(Request.create(method, target, lines, body))

    def transmit(self, request: Request) -> Sent:
        """Send a request in a transaction."""
        sent = Sent(self, request)
        key, effects = self.layer.request(request, self.flow, now=self.now())
        self._sent[key] = sent
        self.keys[id(sent)] = key
        self.carry_out(effects)
        return sent

    def send_bare(self, request: Request) -> None:
        """Send without a transaction."""
        self._wire.to_node(request.encode(), self)

    def calls(self) -> list[Arrived]:
        """The INVITEs outside dialogs that came."""
        return [a for a in self.inbox if a.request.method == "INVITE" and not a.request.to.tag]

    def got(self, method: str) -> list[Arrived]:
        """The requests of one method that came."""
        return [a for a in self.inbox if a.request.method == method]

    def die(self) -> None:
        """Say and hear nothing any more."""
        self.dead = True

    # What comes in

    def receive(self, data: bytes) -> None:
        if not self.dead:
            self.carry_out(self.layer.receive_data(data, self.flow, now=self.now()))

    def carry_out(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send(data=data):
                    if not self.dead:
                        self.wrote.append(data)
                        self._wire.to_node(data, self)
                case RequestArrived(key=key, request=request):
                    self._arrived(key, request)
                case AckArrived(request=request):
                    self.acks.append(request)
                    for arrived in self.inbox:
                        same = arrived.request.call_id == request.call_id
                        if same and arrived.request.cseq.number == request.cseq.number:
                            arrived.acked.append(request)
                case CancelArrived(key=key):
                    self._cancelled(key)
                case ResponseArrived(key=key, response=response):
                    self._response(self._sent[key], response)
                case ClientTimedOut(key=key):
                    self._sent[key].over = "timeout"
                    if self.acknowledges:
                        self._lost(self._sent[key].request)
                case ClientFailed(key=key):
                    self._sent[key].over = "failed"
                case StrayResponse(response=response):
                    self.strays.append(response)
        self._arm()

    def _arrived(self, key: ServerKey, request: Request) -> None:
        arrived = Arrived(
            self, key, request, f"{self.login}{self.flow.local.port}t{next(self._serial)}"
        )
        self.inbox.append(arrived)
        if request.method == "BYE" and self.answers_byes:
            arrived.respond(200)
            for talk in self.talks:
                if talk.call_id == request.call_id and request.from_.tag in talk.remote:
                    talk.ended = True

    def _cancelled(self, key: ServerKey) -> None:
        for arrived in self.inbox:
            if arrived.key == key:
                arrived.cancelled = True
                if not arrived.status:
                    arrived.respond(487)

    def _response(self, sent: Sent, response: Response) -> None:
        if response.status not in (401, 407) or "Authorization" in repr(sent.request.encode()):
            sent.responses.append(response)
            is_invite = sent.request.method == "INVITE"
            if self.acknowledges and is_invite and 200 <= response.status < 300:
                self._acknowledge(sent, response)
            if self.acknowledges and response.status in (408, 481):
                self._lost(sent.request)
            return
        role = "WWW" if response.status == 401 else "Proxy"
        challenge = response.get_all(f"{role}-Authenticate")[0]
        again = sent.request.copy()
        number, method = again.cseq.number + 1, again.method
        again.set("CSeq", f"{number} {method}")
        again.replace_first_value("Via", self.via())
        name = "Authorization" if role == "WWW" else "Proxy-Authorization"
        again.append(name, self._digest.answer(challenge, again))
        sent.retry = self.transmit(again)

    def _lost(self, request: Request) -> None:
        """The other side does not know the call any more: it ends (RFC 3261 12.2.1.2)."""
        if request.to.tag is None or request.method not in ("INVITE", "UPDATE"):
            return
        for talk in self.talks:
            mine = (talk.call_id, talk.local) == (request.call_id, request.get("From"))
            if mine and not talk.ended:
                talk.send("BYE")

    def _acknowledge(self, sent: Sent, response: Response) -> None:
        talk = sent.talk(response)
        talk.ack()
        if sent.request.to.tag is not None or any(t.is_same(talk) for t in self.talks):
            return
        self.talks.append(talk)
        if sent.cancelled:
            talk.send("BYE")

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self.layer.next_timer()
        if due is not None and not self.dead:
            delay = max(0.0, due - self.now()) + 1e-6
            self._timer = asyncio.get_running_loop().call_later(delay, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        if not self.dead:
            self.carry_out(self.layer.handle_timer(now=self.now()))


def uri_of(value: str | None) -> str:
    """The URI in a From, To or Contact value."""
    return str(NameAddr.parse(value or "").uri)


__all__ = ["Arrived", "Phone", "Sent", "Talk", "sdp", "uri_of"]
