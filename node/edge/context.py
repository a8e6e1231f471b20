"""One request on its way through the edge, from all its branches back to where it came from.

A context owns the response context of RFC 3261 16.7 and adds what a dialog-aware edge needs: it
notes dialogs as To-tags appear, carries descriptions between the two sides, and frees what a
failed request had been given.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from federation.messages import Leg, Legs
from federation.model.errors import PeerError
from media_relay.errors import RelayError
from node.edge import identifiers
from node.edge.alarms import Alarm
from node.edge.branches import Branch
from node.edge.dialog import Dialog, DialogSet, DialogState, Match, PhoneSide
from node.edge.hub import TRANSACTION_LIFE, Hub, Upstream
from node.edge.legs import NoIndex
from node.edge.media import Offered, Role
from node.edge.replies import (
    description_of,
    is_sdp,
    note_target,
    reason_header,
    reply,
    with_description,
)
from node.edge.session_timer import note_refresh
from node.sip.errors import SipParseError
from node.sip.forking import CancelBranch, Decision, ForkingContext, Forward
from node.sip.gruu import Device
from node.sip.message import Request, Response

ACK_PATIENCE = TRANSACTION_LIFE + 4.0
"Seconds after which a 2xx without ACK ends its dialog: the last repetition is at 64*T1."
TARGET_REFRESH = frozenset({"INVITE", "UPDATE", "SUBSCRIBE", "NOTIFY"})
"Methods whose request and 2xx may name a new remote target (RFC 3261 12.2, RFC 3311, RFC 6665)."


@dataclass(slots=True)
class RequestContext:
    """A server transaction, its branches, and the dialog it opens or belongs to."""

    hub: Hub
    upstream: Upstream
    group: DialogSet | None = None
    "The dialog set this request opens, or belongs to."
    match: Match | None = None
    "For a request inside a dialog: which, and from which side."
    done: bool = False
    "A final response went back."
    on_done: Callable[["RequestContext", Response], None] | None = None
    offer: Offered | None = None
    "What the request's own offer has changed, while no answer has accepted it."
    redirect: Callable[["RequestContext", int, Response], bool] | None = None
    "Follows a 3xx from a device; `False` leaves it as the branch's answer."
    rescue: Callable[[Response], bool] | None = None
    "Does something better than to pass the refusal that was chosen; `False`: it passes."
    on_late: Callable[[Response], None] | None = None
    "Told of a 2xx, of other requests than INVITE, that came after the final answer."
    device: Device | None = None
    "The one device that a GRUU names, where the request is for it alone (RFC 5627)."
    branches: dict[int, Branch] = field(default_factory=dict)
    "Those that may have to be cancelled; none any more when the final response went back."
    forking: ForkingContext[int] = field(init=False)
    _next_branch: int = 0
    _timer: Alarm | None = None

    def __post_init__(self) -> None:
        self.forking = ForkingContext(self.upstream.request, to_tag=self.hub.tag())

    @property
    def request(self) -> Request:
        """The request as it came."""
        return self.upstream.request

    @property
    def forms_dialog(self) -> bool:
        """Whether a 2xx to this request makes a dialog."""
        return self.group is not None and self.match is None

    def is_for_device_of(self, login: str) -> bool:
        """Whether it is for one device of this account."""
        return self.device is not None and self.device.aor == login

    def new_branch_id(self) -> int:
        """A number for the next branch; inside a dialog it is that dialog's own branch."""
        if self.match is not None:
            return self.match.dialog.branch
        self._next_branch += 1
        return self._next_branch

    # What is sent

    def trying(self) -> None:
        """Say 100 before any work, so that the caller stops repeating (17.2.1)."""
        self.upstream.respond(reply(self.hub, self.request, 100))

    def hold(self) -> None:
        """A lookup is under way: branches are still to come."""
        self.forking.hold()

    def release(self) -> None:
        """The lookup is over."""
        self._carry_out(self.forking.release(), (), "")

    def start(self, branches: Sequence[Branch]) -> None:
        """Send the request to all of these at once."""
        now = self.hub.now()
        for branch in branches:
            if self.forking.takes_branches:
                self.branches[branch.id] = branch
                self.forking.add_branch(branch.id, now=now)
        for branch in branches:
            if branch.id in self.branches:
                branch.start()
        if self.request.method == "INVITE":
            self._arm()

    def answer(self, status: int, reason: str | None = None, **headers: str) -> None:
        """Answer the request ourselves with a final response."""
        if not self.done:
            self.finish(reply(self.hub, self.request, status, reason, **headers))

    def refuse(self, status: int, text: str) -> None:
        """Answer with a status and a sentence that says why."""
        self.answer(status, Reason=reason_header(status, text))

    def finish(self, response: Response, legs: Legs = ()) -> None:
        """Send a final response that is not a branch's."""
        self.upstream.respond(response, legs)
        self._ended(response)

    def cancel(self) -> None:
        """The request was cancelled where it came from (RFC 3261 16.10)."""
        self._carry_out(self.forking.cancel(), (), "")

    # What comes back

    def on_response(
        self, branch: int, response: Response, legs: Sequence[Leg], peer_ip: str
    ) -> None:
        """A response came over one of the branches."""
        now = self.hub.now()
        try:
            identifiers.check(response)
        except SipParseError as error:
            if response.status >= 200:
                self.on_failure(branch, 502, f"Unreadable answer: {error.reason}")
            return
        if response.status == 100:
            self.forking.response(branch, response, now=now)
            return
        moved = 300 <= response.status < 400 and self.redirect is not None
        if moved and self.redirect is not None and self.redirect(self, branch, response):
            self._carry_out(self.forking.drop_branch(branch), (), "")
            return
        if self.forms_dialog and 200 <= response.status < 300 and not response.to.tag:
            self.on_failure(branch, 502, "an answer without To tag")
            return
        out = self.hub.forwarder.backward(response, self.request)
        self._carry_out(self.forking.response(branch, out, now=now), legs, peer_ip)

    def end_late(self, branch: int, response: Response) -> None:
        """A server that was given up takes the call after all: that call ends at once."""
        dialog = self._note_dialog(response, branch, response.to.tag or "")
        if dialog is not None:
            dialog.ack_cseq = response.cseq.number
            self.hub.endings.hang_up_callee(dialog, "another server was asked meanwhile")

    def on_failure(self, branch: int, status: int, reason: str) -> None:
        """A branch ended without a response: as if it had answered `status`."""
        text = reason if status in (430, 480) else None
        self._carry_out(self.forking.branch_failed(branch, status, text=text), (), "")

    def drop(self, branch: int) -> None:
        """Forget a branch in whose place another one was started."""
        self._carry_out(self.forking.drop_branch(branch), (), "")

    def _carry_out(
        self, decisions: Iterable[Decision[int]], legs: Sequence[Leg], peer_ip: str
    ) -> None:
        branches = self.branches
        for decision in decisions:
            match decision:
                case CancelBranch(branch=branch):
                    if branch in branches:
                        branches[branch].cancel()
                case Forward(response=response, branch=branch):
                    if response.status >= 300:
                        rescued = self.rescue is not None and self.rescue(response)
                        if not rescued and not self.done:
                            self.finish(response)
                    elif self.done and self.on_late is not None:
                        self.on_late(response)
                    elif branch is not None:
                        self._forward(response, branch, legs, peer_ip)

    def _forward(self, out: Response, branch: int, legs: Sequence[Leg], peer_ip: str) -> None:
        """Pass a 1xx or 2xx back, with the dialog noted and its media carried."""
        tag, success = out.to.tag or "", out.status >= 200
        dialog = self.match.dialog if self.match else self._note_dialog(out, branch, tag)
        if success and dialog is not None and self.request.method == "INVITE":
            dialog.ack_cseq = out.cseq.number
        if self.forms_dialog and self.group is not None:
            if self.group.method == "INVITE" and self._is_late(self.group, dialog, success=success):
                if success and dialog is not None:
                    self.hub.endings.hang_up_callee(dialog, "the call was over")
                    self.answer(487)
                return
            if tag and dialog is None:
                return
        if self.match is not None and self.match.dialog.group.ended and is_sdp(out):
            self._too_late(self.match, out)
            return
        try:
            out_legs = self._carry_media(out, branch, tag, legs, peer_ip)
        except NoIndex as full:
            if success:
                self._refuse_answer(dialog, 480, str(full))
            return
        except (PeerError, RelayError) as error:
            self.hub.log.warning(
                "media_refused", call_id=out.call_id, error=str(error), limit_by="media"
            )
            if success:
                self._refuse_answer(dialog, 488, str(error))
            return
        if dialog is not None:
            self._advance(dialog, out)
        self.upstream.respond(out, out_legs)
        if success:
            self._ended(out)

    def _is_late(self, group: DialogSet, dialog: Dialog | None, *, success: bool) -> bool:
        """Whether the call is over; the repetition of an answer that ends with its ACK passes."""
        if group.ended or not group.ends_with_ack:
            return group.ended
        return not success or dialog is None or dialog.answered_at is None

    def _carry_media(
        self, out: Response, branch: int, tag: str, legs: Sequence[Leg], peer_ip: str
    ) -> Legs:
        """Carry the description of a response to the side the request came from."""
        media = self.group.media if self.group is not None else None
        if media is None or not is_sdp(out):
            return ()
        role = Role.ANSWER if is_sdp(self.request) else Role.OFFER
        dialog = self.match.dialog if self.match else self._dialog_of(tag)
        from_callee = self.match is None or self.match.from_caller
        sender, receiver = (branch, None) if from_callee else (None, branch)
        tag = dialog.callee_tag if self.match and dialog else tag
        settles = out.status >= 200 and (
            self.forms_dialog or (dialog is not None and dialog.state is DialogState.CONFIRMED)
        )
        body = description_of(out)
        if settles and self.forms_dialog:
            media.reserve_final(tag)
        media.take(body, branch=sender, tag=tag, role=role, legs=legs, peer_ip=peer_ip)
        carried = media.give(body, branch=receiver, tag=tag, role=role, forming=self.forms_dialog)
        if role is Role.ANSWER:
            media.join(body, branch=branch, tag=tag, final=settles)
            self.offer = None
        elif dialog is not None and self.request.method == "INVITE":
            dialog.offer_in_response = True
        out.body = with_description(out, carried.body)
        return carried.legs

    def _dialog_of(self, tag: str) -> Dialog | None:
        return None if self.group is None else self.group.dialogs.get(tag)

    def _note_dialog(self, response: Response, branch: int, tag: str) -> Dialog | None:
        """The early or confirmed dialog of this response's To-tag, if it makes one."""
        group = self.group
        if group is None or not tag:
            return None
        if tag not in group.dialogs and not group.takes_dialogs:
            return None
        dialog = self.hub.dialogs.open(group, tag, branch)
        dialog.note_cseq(response.cseq.number, by_caller=True)
        note_target(dialog.callee, response)
        if isinstance(dialog.callee, PhoneSide):
            dialog.callee.routes = self.hub.forwarder.routes_before_ours(response)
        for side in (group.caller, dialog.callee):
            self.hub.note_way(side)
        return dialog

    def _advance(self, dialog: Dialog, response: Response) -> None:
        """Move the dialog on by a response that is passed back."""
        group, success = dialog.group, 200 <= response.status < 300
        if success:
            note_refresh(dialog, self.request.method, response, self.hub.now())
        if self.match is not None:
            if success and self.request.method in TARGET_REFRESH:
                note_target(self.match.receiver, response)
                self.hub.note_way(self.match.receiver)
            if success and self.request.method == "INVITE":
                self._await_ack(dialog, of_caller=self.match.from_caller)
            return
        if group.progress == "trying" and response.status in (180, 183):
            group.progress = "ringing"
        if not success:
            return
        if dialog.answered_at is None:
            self.confirm(dialog)
        elif dialog.state is DialogState.CONFIRMED and group.method == "INVITE":
            self._await_ack(dialog, of_caller=True)

    def confirm(self, dialog: Dialog) -> None:
        """The dialog is answered: its media is settled, and it is remembered."""
        group = dialog.group
        if dialog.state is DialogState.EARLY or group.method == "INVITE":
            dialog.state = DialogState.CONFIRMED
        dialog.answered_at, dialog.heard = self.hub.clock.unix(), self.hub.now()
        group.progress = "up"
        if group.method == "INVITE":
            self._await_ack(dialog, of_caller=True)
        if group.media is not None:
            group.media.settle(dialog.branch, dialog.callee_tag)
            self.hub.later(TRANSACTION_LIFE, group.media.release_losers)
        self.hub.on_confirmed(group)

    def _await_ack(self, dialog: Dialog, *, of_caller: bool) -> None:
        """A 2xx passed; whoever does not acknowledge it in time is gone (13.3.1.4)."""
        if dialog.ack_due is None:
            number = dialog.ack_cseq
            alarm = self.hub.later(ACK_PATIENCE, lambda: self._no_ack(dialog, number))
            dialog.ack_alarm = alarm
        dialog.ack_due = of_caller

    def _no_ack(self, dialog: Dialog, number: int) -> None:
        if dialog.ack_due is not None and dialog.ack_cseq == number:
            self.hub.endings.end_dialog(dialog, "no ACK came")

    def _too_late(self, match: Match, response: Response) -> None:
        """A description for a call that was ended meanwhile: nobody needs it any more."""
        if response.status >= 200:
            if self.request.method == "INVITE":
                self.hub.endings.acknowledge(match.dialog, to_caller=not match.from_caller)
            self.answer(481)

    def _refuse_answer(self, dialog: Dialog | None, status: int, why: str) -> None:
        """An answer whose media cannot be carried: that call ends, cleanly, on both sides."""
        if self.match is not None:
            dialog = self.match.dialog
            dialog.ack_due = self.match.from_caller
            self.refuse(status, why)
            self.hub.endings.end_dialog(dialog, why)
            return
        if dialog is not None:
            self.hub.endings.hang_up_callee(dialog, why)
        if not self.done:
            for branch in self.branches.values():
                branch.cancel()
            self.refuse(status, why)

    def _ended(self, response: Response) -> None:
        """A final response went back."""
        if self.done:
            return
        self.done = True
        self.branches, self.rescue = {}, None  # they lead back here: it goes without the collector
        if self._timer is not None:
            self._timer.cancel()
        if self.forms_dialog and self.group is not None:
            self.group.pending, self.group.abort = False, None
            if response.status >= 300 or self.group.is_over:
                self.hub.endings.forget(self.group, f"{response.status} {response.reason}")
        if self.offer is not None and response.status >= 300:
            self.offer.take_back()
        if self.on_done is not None:
            self.on_done(self, response)

    def _arm(self) -> None:
        """Wake up for Timer C (16.8)."""
        due = self.forking.next_timer()
        if self._timer is not None:
            self._timer.cancel()
        if due is not None and not self.done:
            self._timer = self.hub.later(due - self.hub.now() + 0.1, self._timer_c)

    def _timer_c(self) -> None:
        self._carry_out(self.forking.handle_timer(now=self.hub.now()), (), "")
        self._arm()
