"""One request on its way through the edge, from all its branches back to where it came from.

A context owns the response context of RFC 3261 16.7 and adds what a dialog-aware edge needs: it
notes dialogs as To-tags appear, carries descriptions between the two sides, and frees what a
failed request had been given.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from federation.messages import Leg, Legs
from federation.model.errors import PeerError
from media_relay.errors import RelayError
from node.edge.branches import Branch
from node.edge.dialog import Dialog, DialogSet, DialogState, Match, PhoneSide
from node.edge.hub import TRANSACTION_LIFE, Hub, Upstream
from node.edge.legs import NoIndex
from node.edge.media import CallMedia, Role
from node.edge.replies import is_sdp, note_target, reason_header, reply
from node.sip.forking import CancelBranch, Decision, ForkingContext, Forward
from node.sip.message import Request, Response

MAX_EARLY_DIALOGS = 32
"To-tags one request may be answered with; further ones are not passed on."


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
    redirect: Callable[["RequestContext", int, Response], bool] | None = None
    "Follows a 3xx from a device; `False` leaves it as the branch's answer."
    branches: dict[int, Branch] = field(default_factory=dict)
    forking: ForkingContext[int] = field(init=False)
    _next_branch: int = 0
    _timer: asyncio.TimerHandle | None = None

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
        if response.status == 100:
            self.forking.response(branch, response, now=now)
            return
        moved = 300 <= response.status < 400 and self.redirect is not None
        if moved and self.redirect is not None and self.redirect(self, branch, response):
            self._carry_out(self.forking.drop_branch(branch), (), "")
            return
        out = self.hub.forwarder.backward(response, self.request)
        self._carry_out(self.forking.response(branch, out, now=now), legs, peer_ip)

    def on_failure(self, branch: int, status: int, reason: str) -> None:
        """A branch ended without a response: as if it had answered `status`."""
        text = reason if status == 480 else None
        self._carry_out(self.forking.branch_failed(branch, status, text=text), (), "")

    def _carry_out(
        self, decisions: Iterable[Decision[int]], legs: Sequence[Leg], peer_ip: str
    ) -> None:
        for decision in decisions:
            match decision:
                case CancelBranch(branch=branch):
                    self.branches[branch].cancel()
                case Forward(response=response, branch=branch):
                    if response.status >= 300:
                        if not self.done:
                            self.finish(response)
                    elif branch is not None:
                        self._forward(response, branch, legs, peer_ip)

    def _forward(self, out: Response, branch: int, legs: Sequence[Leg], peer_ip: str) -> None:
        """Pass a 1xx or 2xx back, with the dialog noted and its media carried."""
        tag = out.to.tag or ""
        dialog = self.match.dialog if self.match else self._note_dialog(out, branch, tag)
        if self.forms_dialog and tag and dialog is None:
            return
        out_legs: Legs = ()
        media = self.group.media if self.group is not None else None
        if media is not None and is_sdp(out):
            try:
                out_legs = self._carry_media(media, out, branch, tag, legs, peer_ip)
            except NoIndex as error:
                if out.status >= 200:
                    self._refuse_answer(dialog, str(error))
                return
            except (PeerError, RelayError) as error:
                self.hub.log.warning("media_refused", call_id=out.call_id, error=str(error))
                self._refuse_answer(dialog, str(error))
                return
        if dialog is not None:
            self._advance(dialog, out)
        self.upstream.respond(out, out_legs)
        if out.status >= 200:
            self._ended(out)

    def _carry_media(
        self,
        media: CallMedia,
        out: Response,
        branch: int,
        tag: str,
        legs: Sequence[Leg],
        peer_ip: str,
    ) -> Legs:
        """Carry the description of a response to the side the request came from."""
        role = Role.ANSWER if is_sdp(self.request) else Role.OFFER
        from_callee = self.match is None or self.match.from_caller
        sender, receiver = (branch, None) if from_callee else (None, branch)
        tag = self.match.dialog.callee_tag if self.match else tag
        final = out.status >= 200
        body = out.body
        if final and self.forms_dialog:
            media.reserve_final(tag)
        media.take(body, branch=sender, tag=tag, role=role, legs=legs, peer_ip=peer_ip)
        carried = media.give(body, branch=receiver, tag=tag, role=role, forming=self.forms_dialog)
        if role is Role.ANSWER:
            media.join(body, branch=branch, tag=tag, final=final)
        elif self.forms_dialog and self.group is not None:
            self.group.dialogs[tag].offered_by_callee = True
        out.body = carried.body
        return carried.legs

    def _note_dialog(self, response: Response, branch: int, tag: str) -> Dialog | None:
        """The early or confirmed dialog of this response's To-tag, if it makes one."""
        group = self.group
        if group is None or not tag:
            return None
        if tag not in group.dialogs and len(group.dialogs) >= MAX_EARLY_DIALOGS:
            return None
        dialog = self.hub.dialogs.open(group, tag, branch)
        dialog.note_cseq(response.cseq.number, by_caller=True)
        note_target(dialog.callee, response)
        if isinstance(dialog.callee, PhoneSide):
            dialog.callee.routes = self.hub.forwarder.routes_before_ours(response)
        return dialog

    def _advance(self, dialog: Dialog, response: Response) -> None:
        """Move the dialog on by a response that is passed back."""
        group, success = dialog.group, 200 <= response.status < 300
        if self.match is not None:
            if success:
                note_target(self.match.receiver, response)
                dialog.awaiting_ack = dialog.awaiting_ack or self.request.method == "INVITE"
            return
        if group.progress == "trying" and response.status in (180, 183):
            group.progress = "ringing"
        if success and dialog.state is DialogState.EARLY:
            self.confirm(dialog)

    def confirm(self, dialog: Dialog) -> None:
        """The dialog is answered: its media is settled, and it is remembered."""
        group = dialog.group
        dialog.state = DialogState.CONFIRMED
        dialog.awaiting_ack = group.method == "INVITE"
        dialog.answered_at = self.hub.clock.unix()
        group.progress = "up"
        if group.media is not None:
            group.media.settle(dialog.branch, dialog.callee_tag)
            self.hub.later(TRANSACTION_LIFE, group.media.release_losers)
        self.hub.on_confirmed(group)

    def _refuse_answer(self, dialog: Dialog | None, why: str) -> None:
        """An answer whose media cannot be carried: that call ends, cleanly, on both sides."""
        if self.match is None:
            for branch in self.branches.values():
                branch.cancel()
            if dialog is not None:
                dialog.state = DialogState.CONFIRMED
                self.hub.endings.hang_up_callee(dialog, why)
        self.refuse(480, why)

    def _ended(self, response: Response) -> None:
        """A final response went back."""
        if self.done:
            return
        self.done = True
        if self._timer is not None:
            self._timer.cancel()
        if self.forms_dialog and response.status >= 300 and self.group is not None:
            self.hub.endings.forget(self.group, f"{response.status} {response.reason}")
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
