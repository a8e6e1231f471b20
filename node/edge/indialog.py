"""Requests inside dialogs, and the ACK that completes an INVITE."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from federation.messages import Leg, Legs
from federation.messages import Request as MeshRequest
from federation.model.clocks import Monotonic
from federation.model.errors import PeerError
from media_relay.errors import RelayError
from node.edge.branches import (
    TXN_BYTES,
    Branch,
    MeshBranch,
    NodeAttempt,
    PhoneBranch,
    PhoneClients,
)
from node.edge.context import TARGET_REFRESH, RequestContext
from node.edge.dialog import (
    DialogSet,
    DialogState,
    Match,
    NodeSide,
    PhoneSide,
    ServiceSide,
    TrunkSide,
)
from node.edge.echo import EchoService
from node.edge.hub import Hub, Upstream
from node.edge.media import CallMedia, Offered, Role
from node.edge.replies import description_of, from_line, is_sdp, note_target, with_description
from node.edge.transfer import make_refer_to_dialable, make_refer_to_reachable
from node.edge.trunk_branch import TrunkBranch, fit_ack
from node.sip.line import Line, written
from node.sip.message import Request, Response
from node.sip.uri import Uri
from node.tracing.tap import SENT

UNHEARD = (408, 430, 480)
"Answers to a BYE that may mean that it never arrived."
OVERTAKEN = 0.5
"Seconds a request from a node waits for what it overtook: each travels on its own stream."
MAX_HELD = 32
"Requests of one side of a dialog that wait at a time; further ones pass at once."
SUBSCRIPTION_MARGIN = 60.0
"Seconds a subscription's dialog is kept beyond its time."
DEFAULT_SUBSCRIPTION = 3600.0
MAX_SUBSCRIPTION = 86_400.0
"Seconds after which a subscription that nobody refreshed is forgotten, whatever was agreed."
REFER_LIFE = 300.0


@dataclass(slots=True)
class InDialog:
    """Passes requests inside dialogs from one side to the other."""

    hub: Hub
    clients: PhoneClients
    pending: dict[bytes, MeshBranch]
    echo: EchoService
    _held: dict[tuple[int, bool], dict[int, Callable[[], None]]] = field(default_factory=dict)
    "Requests that overtook others, by dialog and side, then by CSeq."

    def request(self, upstream: Upstream, match: Match, legs: Sequence[Leg] = ()) -> RequestContext:
        """Pass a request on; its answer comes back through the context that is returned."""
        request = upstream.request
        context = RequestContext(self.hub, upstream, match.dialog.group, match)
        context.on_done = self._over
        number = request.cseq.number
        if isinstance(match.sender, NodeSide) and self._overtook(match, number):
            self._hold(match, number, lambda: self._pass_on(context, legs))
        else:
            self._pass_on(context, legs)
            self._release(match)
        return context

    # Order. Streams of one link overtake each other, and a phone refuses a lower CSeq.

    def _overtook(self, match: Match, number: int) -> bool:
        """Whether an ACK, or a request of a lower CSeq, must be on its way still."""
        dialog = match.dialog
        last = dialog.caller_cseq if match.from_caller else dialog.callee_cseq
        if dialog.ack_due is match.from_caller:
            return True
        return 0 < last < number - 1

    def _hold(self, match: Match, number: int, action: Callable[[], None]) -> None:
        """Carry out `action` when it is its turn, or after `OVERTAKEN` without that."""
        key = (id(match.dialog), match.from_caller)
        held = self._held.setdefault(key, {})
        if len(held) >= MAX_HELD or number in held:
            action()
            return
        held[number] = action

        def give_up() -> None:
            if self._held.get(key, {}).get(number) is action:
                self._take_held(key, number)
                action()
                self._release(match)

        self.hub.later(OVERTAKEN, give_up)

    def _release(self, match: Match) -> None:
        """Let those follow whose turn it is now."""
        key = (id(match.dialog), match.from_caller)
        while (held := self._held.get(key)) is not None:
            number = min(held)
            if self._overtook(match, number):
                return
            self._take_held(key, number)()

    def _take_held(self, key: tuple[int, bool], number: int) -> Callable[[], None]:
        held = self._held[key]
        action = held.pop(number)
        if not held:
            del self._held[key]
        return action

    def _pass_on(self, context: RequestContext, legs: Sequence[Leg]) -> None:
        match = context.match
        if context.done or match is None:
            return
        ways = self.hub.ways
        if ways is not None and ways.waits(match.receiver, lambda: self._pass_on(context, legs)):
            return
        request, dialog = context.request, match.dialog
        dialog.note_cseq(request.cseq.number, by_caller=match.from_caller)
        dialog.heard = self.hub.now()
        if dialog.group.ended:
            context.answer(481)
            return
        if request.method in TARGET_REFRESH:
            note_target(match.sender, request)
            self.hub.note_way(match.sender)
        if request.method == "BYE":
            dialog.state = DialogState.ENDING
        if isinstance(match.receiver, ServiceSide):
            self.echo.in_dialog(context, legs)
            return
        try:
            branch = self._branch(context, match, legs)
        except (PeerError, RelayError) as error:
            context.refuse(488, str(error))
            return
        context.start([branch])

    def _branch(self, context: RequestContext, match: Match, legs: Sequence[Leg]) -> Branch:
        request, dialog = context.request, match.dialog
        copy = self.hub.forwarder.onward(request, *_shown_other(match))
        if request.method == "REFER":
            if isinstance(match.sender, PhoneSide):
                make_refer_to_reachable(copy, self.hub.dialogs, self.hub.node)
            if isinstance(match.receiver, NodeSide):
                make_refer_to_dialable(copy, self.hub.names, match.receiver.node)
        out_legs: Legs = ()
        media = dialog.group.media
        if is_sdp(request) and media is not None:
            role = Role.OFFER
            if request.method == "PRACK" and dialog.offer_in_response:
                role, dialog.offer_in_response = Role.ANSWER, False
            else:
                context.offer = Offered(media, *_ends(match))
            copy.body, out_legs = self._carry(media, request, match, role, legs)
        match match.receiver:
            case PhoneSide() as phone:
                flow = self.hub.way_to(phone)
                phone.flow = flow
                self._name_contact(copy, phone)
                self.hub.forwarder.push_via(copy, phone)
                if isinstance(phone, TrunkSide):
                    return TrunkBranch(
                        context.new_branch_id(), self.hub, self.clients, context, copy, flow,
                        side=phone,
                    )  # fmt: skip
                return PhoneBranch(
                    context.new_branch_id(),
                    self.hub,
                    self.clients,
                    context,
                    copy,
                    flow,
                    phone.contact,
                    430,
                )
            case NodeSide(node=node, hints=hints) as side:
                self.hub.forwarder.push_via(copy, side)
                data = copy.encode()
                return MeshBranch(
                    context.new_branch_id(),
                    self.hub,
                    context,
                    [NodeAttempt(node, hints)],
                    lambda _node, txn: MeshRequest(txn=txn, sip=data, legs=out_legs),
                    lambda _attempt: None,
                    self.pending,
                )
            case ServiceSide():
                raise PeerError("services answer for themselves")

    def _carry(
        self,
        media: CallMedia,
        request: Request,
        match: Match,
        role: Role,
        legs: Sequence[Leg],
        peer_ip: str = "",
    ) -> tuple[bytes, Legs]:
        """Carry a request's description to the other side of its dialog."""
        dialog = match.dialog
        sender, receiver = _ends(match)
        tag, description = dialog.callee_tag, description_of(request)
        media.take(
            description,
            branch=sender,
            tag=tag,
            role=role,
            legs=legs,
            peer_ip=peer_ip,
            renew=role is Role.OFFER,
        )
        forming = role is Role.ANSWER
        carried = media.give(description, branch=receiver, tag=tag, role=role, forming=forming)
        if role is Role.ANSWER:
            settles = dialog.state is DialogState.CONFIRMED
            media.join(description, branch=dialog.branch, tag=tag, final=settles)
        return with_description(request, carried.body), carried.legs

    def _name_contact(self, copy: Request, phone: PhoneSide) -> None:
        """A device that gave a GRUU is sent what came for it at its Contact (RFC 5627 5.4)."""
        if ";gr" in copy.raw_uri and copy.raw_uri == phone.contact:
            copy.uri = Uri.parse(self.hub.contact_of(phone))

    # ACK

    def ack(self, request: Request, match: Match, legs: Sequence[Leg], peer_ip: str) -> None:
        """Pass the ACK to a 2xx on, and let what overtook it follow."""
        dialog, ways = match.dialog, self.hub.ways
        if ways is not None and ways.waits(
            match.receiver, lambda: self.ack(request, match, legs, peer_ip)
        ):
            return
        if dialog.ack_due is match.from_caller and request.cseq.number == dialog.ack_cseq:
            dialog.ack_due = None
            if dialog.ack_alarm is not None:
                dialog.ack_alarm.cancel()
        dialog.offer_in_response = False
        copy = self.hub.forwarder.onward(request, *_shown_other(match))
        out_legs: Legs = ()
        if isinstance(match.receiver, ServiceSide):
            if is_sdp(request):
                self.echo.late_answer(dialog, description_of(request), legs, peer_ip)
        elif is_sdp(request) and dialog.group.media is not None:
            try:
                copy.body, out_legs = self._carry(
                    dialog.group.media, request, match, Role.ANSWER, legs, peer_ip
                )
            except (PeerError, RelayError) as error:
                self.hub.endings.hang_up(dialog.group, str(error))
                return
        match match.receiver:
            case PhoneSide() as phone:
                phone.flow = self.hub.way_to(phone)
                self._name_contact(copy, phone)
                fit_ack(phone, copy)
                self.hub.forwarder.push_via(copy, phone)
                self.hub.send_stateless(copy, phone)
            case NodeSide(node=node, hints=hints) as side:
                self.hub.forwarder.push_via(copy, side)
                txn = self.hub.entropy.token(TXN_BYTES)
                frame = MeshRequest(txn=txn, sip=copy.encode(), legs=out_legs)
                self.hub.note((self.hub.now(), SENT, frame.sip, node))
                self.hub.links.send_ack(node, hints, frame)
            case ServiceSide():
                self.echo.acknowledged(dialog)
        self._release(match)
        if dialog.group.ends_with_ack and dialog.ack_due is None:
            self.hub.endings.end_dialog(dialog, dialog.group.ends_with_ack)

    # Ends

    def _over(self, context: RequestContext, response: Response) -> None:
        match, request = context.match, context.request
        if match is None:
            return
        group, now = match.dialog.group, self.hub.now()
        note_subscription(group, request, response, now)
        ended = _ends_subscription(request, response)
        if group.method == "INVITE":
            ended = request.method == "BYE" or (
                response.status == 481 and request.method in ("INVITE", "UPDATE")
            )
        if not ended:
            return
        if request.method == "BYE" and response.status in UNHEARD:
            self.hub.endings.tell_again(match.dialog, caller=not match.from_caller)
        match.dialog.state = DialogState.ENDING
        if group.is_over and not group.ended:
            self.hub.endings.forget(group, "hung up")
            if group.method == "INVITE" and group.expires is not None and group.expires > now:
                # A subscription in the call's dialog outlives the call (RFC 5057 4.2).
                self.hub.dialogs.add(group.without_call(self.hub.dialogs.new_id(), match.dialog))


def note_subscription(
    group: DialogSet, request: Request, response: Response, now: Monotonic
) -> None:
    """Keep in mind how long a dialog of SUBSCRIBE or REFER lasts (RFC 6665 4.1.2, RFC 3515)."""
    if request.method == "NOTIFY" and _ends_subscription(request, response):
        if group.method == "INVITE":
            group.expires = None
    elif 200 <= response.status < 300 and request.method in ("SUBSCRIBE", "REFER"):
        life = REFER_LIFE
        if request.method == "SUBSCRIBE":
            asked = seconds_in(request, DEFAULT_SUBSCRIPTION)
            life = min(seconds_in(response, asked), MAX_SUBSCRIPTION) + SUBSCRIPTION_MARGIN
        group.expires = Monotonic(now + life)


def seconds_in(message: Request | Response, default: float) -> float:
    """The Expires of a message."""
    text = message.get("Expires") or ""
    return float(text) if text.isascii() and text.isdigit() and len(text) < 10 else default


def _ends_subscription(request: Request, response: Response) -> bool:
    """Whether this exchange is a subscription's last."""
    if request.method == "NOTIFY":
        state = (request.get("Subscription-State") or "").partition(";")[0].strip().lower()
        return state == "terminated" or response.status == 481
    return request.method == "SUBSCRIBE" and response.status == 481


def _shown_other(match: Match) -> tuple[Line, ...]:
    """The caller as the side knows it that the request goes to."""
    group, dialog = match.dialog.group, match.dialog
    if dialog.shown_from == group.from_value:
        return ()
    if match.from_caller:
        return (from_line(dialog.shown_from, group.caller_tag),)
    return (written("To", f"{group.from_value};tag={group.caller_tag}"),)


def _ends(match: Match) -> tuple[int | None, int | None]:
    """The ends of the media that a request comes from and goes to."""
    branch = match.dialog.branch
    return (None, branch) if match.from_caller else (branch, None)
