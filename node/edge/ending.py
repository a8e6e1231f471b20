"""How calls end that no phone ended: on command, at drain, with dead media or a dead peer.

The edge speaks for the far party: it sends BYE to its own phones and a `bye` frame to the other
node, frees the media and writes the call record. Nothing is done twice.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from federation.messages import Bye
from federation.model.clocks import Monotonic
from federation.model.identity import NodeId
from node.edge.branches import PhoneClients
from node.edge.dialog import Dialog, DialogSet, DialogState, NodeSide, PhoneSide
from node.edge.forward import MAX_FORWARDS
from node.edge.hub import Hub
from node.edge.owed import KEPT, OwedBye, OwedByes
from node.edge.replies import reason_header
from node.edge.trunk_branch import TrunkBranch, fit_ack
from node.sip.errors import SipParseError
from node.sip.message import Request, Response
from node.sip.uri import Uri
from node.tracing.tap import SENT, bye_text

BYE_FRAME_TIMEOUT = 2.0
"Seconds to wait for the other node's answer to a `bye` frame."


@dataclass(slots=True)
class Endings:
    """Ends dialog sets and forgets them."""

    hub: Hub
    clients: PhoneClients
    on_forgotten: Callable[[DialogSet, str], None] = lambda group, reason: None
    "Told once for each set: writes its record and deletes what was stored."
    waiting: int = 0
    "BYEs and `bye` frames not yet answered; drain waits for them."
    owed: OwedByes = field(default_factory=OwedByes)
    _branch: int = field(default=-1)

    def forget(self, group: DialogSet, reason: str) -> None:
        """Drop a set whose dialogs ended by themselves, and free its media."""
        if group.ended:
            return
        group.ended = True
        self.hub.dialogs.remove(group)
        if group.media is not None:
            group.media.close()
        self.on_forgotten(group, reason)
        group.let_go()

    def hang_up(self, group: DialogSet, reason: str, *, spare: NodeId | None = None) -> None:
        """End a set from the middle; `spare` names a node that knows already."""
        if group.ended:
            return
        if group.abort is not None and group.pending:
            group.abort()
        for dialog in group.dialogs.values():
            if dialog.state is DialogState.CONFIRMED:
                self._end(dialog, reason, spare)
        self.forget(group, reason)

    def hang_up_in_order(self, group: DialogSet, reason: str) -> None:
        """End a set from the middle, a 2xx that is under way with its ACK (RFC 3261 15).

        A BYE that overtakes the 2xx would leave its receiver in a call that is over.
        """
        if all(dialog.ack_due is None for dialog in group.dialogs.values()):
            self.hang_up(group, reason)
            return
        group.ends_with_ack = reason
        if group.abort is not None and group.pending:
            group.abort()
        for dialog in group.dialogs.values():
            if dialog.state is DialogState.CONFIRMED and dialog.ack_due is None:
                self._end(dialog, reason, None)

    def end_dialog(self, dialog: Dialog, reason: str, *, spare: NodeId | None = None) -> None:
        """End one dialog of a set from the middle, and the set with its last one."""
        if dialog.state is DialogState.CONFIRMED and not dialog.group.ended:
            self._end(dialog, reason, spare)
            if dialog.group.is_over:
                self.forget(dialog.group, reason)

    def tell_again(self, dialog: Dialog, *, caller: bool) -> None:
        """A phone's BYE did not reach the node of one party: it hears of the end by a `bye`."""
        side = dialog.side(of_caller=caller)
        if isinstance(side, NodeSide):
            self._bye_frame(dialog, side.node, node_is_caller=caller, reason="hung up")

    def retry(self) -> None:
        """Send what is owed to nodes that can be reached now, or may be."""
        for owed in self.owed.take(self.hub.links.is_linked, now=self.hub.now()):
            self._send_bye_frame(owed)

    def hang_up_callee(self, dialog: Dialog, reason: str) -> None:
        """End one answer that is not passed on: its ACK, then BYE, to the callee alone.

        For each repetition of the answer there is one more ACK, but no second BYE.
        """
        is_new = dialog.state is not DialogState.ENDING
        dialog.state = DialogState.ENDING
        match dialog.callee:
            case PhoneSide() as phone:
                self._ack(dialog, phone, to_caller=False)
                if is_new:
                    self._bye(dialog, phone, to_caller=False, reason=reason)
            case NodeSide(node=node) if is_new:
                self._bye_frame(dialog, node, node_is_caller=False, reason=reason)

    def acknowledge(self, dialog: Dialog, *, to_caller: bool) -> None:
        """Send the ACK that the other side will not send any more; between nodes there is none."""
        side = dialog.side(of_caller=to_caller)
        if isinstance(side, PhoneSide):
            self._ack(dialog, side, to_caller=to_caller)

    def _end(self, dialog: Dialog, reason: str, spare: NodeId | None) -> None:
        dialog.state = DialogState.ENDING
        if dialog.group.method != "INVITE":
            return  # a subscription has no request that ends it from its middle
        for of_caller in (True, False):
            match dialog.side(of_caller=of_caller):
                case PhoneSide() as phone:
                    if dialog.ack_due is not None and dialog.ack_due is not of_caller:
                        # It still repeats its 2xx, and may take no BYE before the ACK.
                        self._ack(dialog, phone, to_caller=of_caller)
                    self._bye(dialog, phone, to_caller=of_caller, reason=reason)
                case NodeSide(node=node) if node != spare:
                    self._bye_frame(dialog, node, node_is_caller=of_caller, reason=reason)

    def _ack(self, dialog: Dialog, phone: PhoneSide, *, to_caller: bool) -> None:
        number = dialog.ack_cseq
        request = self._compose("ACK", dialog, phone, to_caller=to_caller, number=number)
        if request is not None:
            fit_ack(phone, request)
            phone.flow = self.hub.way_to(phone)
            self.hub.forwarder.push_via(request, phone)
            self.hub.send_stateless(request, phone)

    def _bye(self, dialog: Dialog, phone: PhoneSide, *, to_caller: bool, reason: str) -> None:
        number = (dialog.callee_cseq if to_caller else dialog.caller_cseq) + 1
        dialog.note_cseq(number, by_caller=not to_caller)
        request = self._compose("BYE", dialog, phone, to_caller=to_caller, number=number)
        if request is None:
            return
        request.append("Reason", reason_header(480, reason))
        phone.flow = self.hub.way_to(phone)
        self.hub.forwarder.push_via(request, phone)
        self._branch -= 1
        self.waiting += 1
        owner = _ByeOwner(self)
        TrunkBranch(
            self._branch, self.hub, self.clients, owner, request, phone.flow, side=phone
        ).start()

    def _compose(
        self, method: str, dialog: Dialog, phone: PhoneSide, *, to_caller: bool, number: int
    ) -> Request | None:
        """A request to one party in the name of the other."""
        group = dialog.group
        caller = f"{group.from_value if to_caller else dialog.shown_from};tag={group.caller_tag}"
        callee = f"{group.to_value};tag={dialog.callee_tag}"
        try:
            target = Uri.parse(self.hub.contact_of(phone))
        except SipParseError:
            return None
        request = Request.create(
            method,
            target,
            [
                ("Max-Forwards", str(MAX_FORWARDS)),
                ("From", callee if to_caller else caller),
                ("To", caller if to_caller else callee),
                ("Call-ID", group.call_id),
                ("CSeq", f"{number} {method}"),
            ],
        )
        for value in reversed(phone.routes):
            request.prepend("Route", value)
        return request

    def _bye_frame(
        self, dialog: Dialog, node: NodeId, *, node_is_caller: bool, reason: str
    ) -> None:
        group = dialog.group
        ours, theirs = dialog.callee_tag, group.caller_tag
        if not node_is_caller:
            ours, theirs = theirs, ours
        frame = Bye(
            call_id=group.call_id, sender_tag=ours, receiver_tag=theirs, reason=reason[:120]
        )
        self._send_bye_frame(OwedBye(node, frame, Monotonic(self.hub.now() + KEPT)))

    def _send_bye_frame(self, owed: OwedBye) -> None:
        text = bye_text(owed.frame)
        self.hub.note((self.hub.now(), SENT, text, owed.node))
        self.waiting += 1
        self.hub.spawn(self._deliver(owed))

    async def _deliver(self, owed: OwedBye) -> None:
        try:
            links = self.hub.links
            answer = await links.send_bye(owed.node, owed.frame, timeout=BYE_FRAME_TIMEOUT)
        finally:
            self.waiting -= 1
        if answer is None:
            self.owed.add(owed)


@dataclass(slots=True)
class _ByeOwner:
    """Waits for the answer to one BYE of ours."""

    endings: Endings
    answered: bool = False

    def on_response(self, branch: int, response: Response, legs: object, peer_ip: str) -> None:
        if response.status >= 200:
            self._done()

    def on_failure(self, branch: int, status: int, reason: str) -> None:
        self._done()

    def _done(self) -> None:
        if not self.answered:
            self.answered = True
            self.endings.waiting -= 1
