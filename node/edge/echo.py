"""The echo test: the node answers, and the relay worker sends the caller's own audio back.

The answer takes the first codec the caller offers, with telephone-event beside it; every other
line is declined. A caller that offers nothing (RFC 3264 late offer) is offered G.711.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from federation.messages import Leg, Legs
from federation.model.clocks import Monotonic
from federation.model.errors import PeerError
from media_relay.errors import RelayError
from node.edge.alarms import Alarm
from node.edge.context import RequestContext
from node.edge.dialog import Dialog, NodeSide, PhoneSide, ServiceSide
from node.edge.hub import TRANSACTION_LIFE, Hub
from node.edge.media import CallMedia, MediaError, Role
from node.edge.replies import description_of, is_sdp
from node.sip.message import Response
from node.sip.sdp import MediaSection, Sdp

NAME = "echo"
MAX_ECHO_TIME = 600.0
"Seconds after which an echo call is ended."
T1 = 0.5
T2 = 4.0
_BRANCH = 0
_MIRRORED = {"sendonly": "recvonly", "recvonly": "sendonly", "inactive": "inactive"}
_PLAIN = ("RTP/AVP", "RTP/AVPF")


@dataclass(slots=True)
class _EchoCall:
    """An answered echo call, whose 2xx is repeated until its ACK comes (13.3.1.4)."""

    context: RequestContext
    response: Response
    legs: Legs
    limit: Alarm
    started: Monotonic
    resend: Alarm | None = None
    interval: float = T1


@dataclass(slots=True)
class EchoService:
    """A user agent server within the edge."""

    hub: Hub
    _calls: dict[int, _EchoCall] = field(default_factory=dict)
    "By the id of the dialog set."

    def start(self, context: RequestContext) -> None:
        """Answer a request outside dialogs that was sent to the service."""
        match context.request.method:
            case "INVITE":
                try:
                    self._invite(context)
                except (PeerError, RelayError) as error:
                    context.refuse(488, str(error))
            case "OPTIONS":
                context.answer(200, Allow="INVITE, ACK, CANCEL, BYE, OPTIONS")
            case _:
                context.answer(405, Allow="INVITE, ACK, CANCEL, BYE, OPTIONS")

    def _invite(self, context: RequestContext) -> None:
        group, request = context.group, context.request
        if group is None:
            raise MediaError("an echo call needs a dialog")
        tag = self.hub.tag()
        side = ServiceSide(NAME, f"sip:{NAME}@{self._contact_host(group.caller)}")
        group.by_branch[_BRANCH] = (side, group.from_value)
        dialog = self.hub.dialogs.open(group, tag, _BRANCH)
        dialog.note_cseq(request.cseq.number, by_caller=True)
        media = group.media = CallMedia(
            self.hub.relay.session(group.call_id), self.hub.entropy, self.hub.now()
        )
        match group.caller:
            case PhoneSide(flow=flow):
                media.phone(flow, self.hub.names.host_of(flow))
            case NodeSide(node=node):
                peer_ip = self.hub.links.remote_ip(node) or ""
                media.node(peer_ip, peer_ip)
        if is_sdp(request):
            body, legs = self._answer(media, description_of(request), tag, context.upstream.legs)
        else:
            carried = media.give(_late_offer(), branch=None, tag=tag, role=Role.OFFER, forming=True)
            body, legs = carried.body, carried.legs
            dialog.offer_in_response = True
        response = Response.answering(
            request, 200, to_tag=tag, headers=[("Contact", f"<{side.contact}>")], body=body
        )
        response.set("Content-Type", "application/sdp")
        self._send(context, dialog, response, legs)

    def _send(
        self, context: RequestContext, dialog: Dialog, response: Response, legs: Legs
    ) -> None:
        dialog.ack_cseq = context.request.cseq.number
        context.confirm(dialog)
        context.finish(response, legs)
        call = _EchoCall(
            context,
            response,
            legs,
            limit=self.hub.later(MAX_ECHO_TIME, lambda: self._too_long(dialog)),
            started=self.hub.now(),
        )
        self._calls[dialog.group.id] = call
        if isinstance(dialog.group.caller, PhoneSide):
            call.resend = self.hub.later(T1, lambda: self._repeat(dialog))

    def _answer(
        self, media: CallMedia, offer: bytes, tag: str, legs: Sequence[Leg]
    ) -> tuple[bytes, Legs]:
        media.take(offer, branch=None, tag=tag, role=Role.OFFER, legs=legs, renew=True)
        answer = echo_answer(offer)
        carried = media.give(answer, branch=None, tag=tag, role=Role.ANSWER, forming=True)
        self._loop(media, answer, tag)
        return carried.body, carried.legs

    def _loop(self, media: CallMedia, description: bytes, tag: str) -> None:
        for index, line in enumerate(Sdp.parse(description).media):
            if line.port:
                media.echo(index, tag)

    def _repeat(self, dialog: Dialog) -> None:
        call = self._calls.get(dialog.group.id)
        if call is None or dialog.ack_due is None:
            return
        if self.hub.now() - call.started > TRANSACTION_LIFE:
            self.hub.endings.hang_up(dialog.group, "no ACK came")
            return
        call.context.upstream.respond(call.response, call.legs)
        call.interval = min(call.interval * 2, T2)
        call.resend = self.hub.later(call.interval, lambda: self._repeat(dialog))

    def acknowledged(self, dialog: Dialog) -> None:
        """The ACK came; what an answer in it says was learnt before."""
        call = self._calls.get(dialog.group.id)
        if call is not None and call.resend is not None:
            call.resend.cancel()

    def late_answer(self, dialog: Dialog, body: bytes, legs: Sequence[Leg], peer_ip: str) -> None:
        """The answer to a late offer came with its ACK."""
        media = dialog.group.media
        if media is not None:
            tag = dialog.callee_tag
            media.take(body, branch=None, tag=tag, role=Role.ANSWER, legs=legs, peer_ip=peer_ip)
            self._loop(media, body, tag)

    def in_dialog(self, context: RequestContext, legs: Sequence[Leg]) -> None:
        """Answer a request inside an echo call."""
        request, match = context.request, context.match
        if match is None:
            return
        if request.method not in ("INVITE", "UPDATE") or not is_sdp(request):
            context.answer(200)
            return
        media = match.dialog.group.media
        if media is None:
            context.answer(481)
            return
        try:
            body, out_legs = self._answer(
                media, description_of(request), match.dialog.callee_tag, legs
            )
        except (PeerError, RelayError) as error:
            context.refuse(488, str(error))
            return
        contact = [("Contact", f"<{match.dialog.callee.contact}>")]
        response = Response.answering(request, 200, headers=contact, body=body)
        response.set("Content-Type", "application/sdp")
        context.finish(response, out_legs)

    def forget(self, group_id: int) -> None:
        """The call ended."""
        call = self._calls.pop(group_id, None)
        if call is not None:
            call.limit.cancel()
            if call.resend is not None:
                call.resend.cancel()

    def _too_long(self, dialog: Dialog) -> None:
        self.hub.endings.hang_up(dialog.group, "the echo test is over")

    def _contact_host(self, caller: object) -> str:
        if isinstance(caller, PhoneSide):
            return self.hub.forwarder.own_uri(caller.flow)
        return self.hub.node.key_name


def echo_answer(offer: bytes) -> bytes:
    """The answer that takes the first audio line and its first codec.

    Raises:
        MediaError: no audio line that could be echoed.
        SdpError: not a description.
    """
    sdp, taken, lines = Sdp.parse(offer), False, []
    for line in sdp.media:
        if taken or line.kind != "audio" or not line.port or line.proto.upper() not in _PLAIN:
            lines.append(f"m={line.kind} 0 {line.proto} {' '.join(line.formats)}")
            continue
        taken = True
        lines += _audio(line)
    if not taken:
        raise MediaError("the echo test needs plain RTP audio")
    head = ["v=0", "o=ringmesh 1 1 IN IP4 192.0.2.1", "s=echo", "c=IN IP4 192.0.2.1", "t=0 0"]
    return ("\r\n".join(head + lines) + "\r\n").encode()


def _audio(line: MediaSection) -> list[str]:
    maps = {value.split(" ", 1)[0]: value for value in line.get_all("rtpmap")}
    formats = {value.split(" ", 1)[0]: value for value in line.get_all("fmtp")}
    events = [name for name in line.formats if "telephone-event" in maps.get(name, "").lower()]
    codecs = [name for name in line.formats if name not in events]
    if not codecs:
        raise MediaError("no codec was offered")
    chosen = [codecs[0], *events[:1]]
    out = [f"m=audio 9 {line.proto} {' '.join(chosen)}"]
    out += [f"a=rtpmap:{maps[name]}" for name in chosen if name in maps]
    out += [f"a=fmtp:{formats[name]}" for name in chosen if name in formats]
    out.append(f"a={_MIRRORED.get(line.direction, 'sendrecv')}")
    return out


def _late_offer() -> bytes:
    lines = [
        "v=0",
        "o=ringmesh 1 1 IN IP4 192.0.2.1",
        "s=echo",
        "c=IN IP4 192.0.2.1",
        "t=0 0",
        "m=audio 9 RTP/AVP 0 8",
        "a=sendrecv",
    ]
    return ("\r\n".join(lines) + "\r\n").encode()
