"""Rings an account of this node: its devices, its group's members, or where its calls go on to.

Where nothing was set for an account and its devices are equal, a request is forked to all of them
at once. Anything else is a *hunt*: steps that ring one after another (contacts by their q, RFC 3261
16.6; members of a group in turn), and afterwards perhaps call forwarding. A hunt stands between
the branches and their request context; it holds the context's final answer back until it is over.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from federation.messages import Leg
from federation.model.errors import PeerError
from media_relay.errors import RelayError
from node.accounts.account import Account, AccountKind
from node.accounts.book import AccountBook
from node.dialled import dialled_uri
from node.edge.alarms import Alarm
from node.edge.branches import Branch, BranchOwner, PhoneBranch
from node.edge.branching import BranchMaker
from node.edge.context import RequestContext
from node.edge.dialog import DialogState, PhoneSide
from node.edge.flows import OtherFlows, one_flow_each
from node.edge.hub import Hub
from node.edge.identity import Caller
from node.edge.redirect import Onward, Place, Redirects, Trail, status_of
from node.edge.replies import reply
from node.sip.binding import Binding
from node.sip.errors import SipParseError
from node.sip.forking import MAX_BRANCHES
from node.sip.gruu import Device
from node.sip.message import Response
from node.sip.registrar import Registrar
from node.storage.features import RING_SECONDS, FeatureBook, Features
from node.storage.ring_groups import RingGroup, RingGroups, RingMode

BUSY = frozenset({486, 600})
"Answers of a device that mean that its user is busy."
UNREACHED = frozenset({408, 430, 480, 503})
"Answers that mean that nobody was told of the call."

Step = list[tuple[Account, Binding]]
"What rings at the same time."


@dataclass(slots=True)
class Ringing:
    """Starts what rings for an account."""

    hub: Hub
    branches: BranchMaker
    redirects: Redirects
    accounts: AccountBook
    registrar: Registrar
    features: FeatureBook
    groups: RingGroups

    def __post_init__(self) -> None:
        self.redirects.ring = self.ring
        self.redirects.diverts = self.diverts

    def call(self, context: RequestContext, account: Account, caller: Caller) -> None:
        """Give a request to an account that it is for."""
        if context.group is not None:
            context.group.called = account.login
        trail = self.redirects.begin(context, caller)
        self.ring(context, account, Place((account,)), trail)

    def diverts(self, context: RequestContext, account: Account) -> bool:
        """Whether a call goes elsewhere, or nowhere, before any device of the account rings."""
        if context.request.method != "INVITE":
            return False
        features = self.features.get(account.login)
        return features is not None and (features.always is not None or features.dnd)

    def ring(self, context: RequestContext, account: Account, place: Place, trail: Trail) -> None:
        """Ring `account`, the last one of `place`."""
        features = None
        if context.request.method == "INVITE" and not context.is_for_device_of(account.login):
            features = self.features.get(account.login)
        divert = Diversion(self, context, place, trail)
        if features is not None and features.always is not None:
            divert.to(features.always, "unconditional")
        elif features is not None and features.dnd:
            if features.busy is not None:
                divert.to(features.busy, "do-not-disturb")
            else:
                self._refuse(context, place, 486, "do not disturb")
        else:
            self._ring_devices(context, account, features, divert)

    def _ring_devices(
        self,
        context: RequestContext,
        account: Account,
        features: Features | None,
        divert: "Diversion",
    ) -> None:
        group, somebody_busy = None, False
        if account.kind is AccountKind.GROUP:
            group = self.groups.get(account.login)
            steps, somebody_busy = self._members(context, group)
        else:
            steps = self._by_q(account)
            if context.is_for_device_of(account.login):
                steps = _only(context.device, steps)
        if context.request.uri.scheme == "sips":
            steps = _secure(steps)
        if not steps:
            if features is not None and somebody_busy and features.busy is not None:
                divert.to(features.busy, "user-busy")
            elif features is not None and features.no_answer is not None:
                divert.to(features.no_answer, "unavailable")
            elif somebody_busy:
                self._refuse(context, divert.place, 486, "everybody of this group is busy")
            else:
                self._refuse(context, divert.place, 480, "no device of this user is connected")
            return
        if features is None and group is None and len(steps) == 1:
            self._fork(context, steps[0], divert)
            return
        seconds = RING_SECONDS if group is None else group.ring
        hunt = Hunt(self, context, divert, features, group is not None, steps, seconds)
        hunt.begin()

    # Whom to ring

    def devices_of(self, account: Account) -> Step:
        """The devices of an account that can be reached now."""
        bindings = self.registrar.bindings(account.login, now=self.hub.clock.unix())
        connected = [binding for binding in bindings if binding.is_connected]
        if len(connected) > 1:
            connected = one_flow_each(connected)
        return [(account, binding) for binding in connected]

    def _by_q(self, account: Account) -> list[Step]:
        """An account's devices, those of equal q together, the preferred ones first."""
        devices = self.devices_of(account)
        if len(devices) < 2:
            return [devices] if devices else []
        devices.sort(key=lambda device: -device[1].q)
        return [list(step) for _, step in groupby(devices, key=lambda device: device[1].q)]

    def _members(self, context: RequestContext, group: RingGroup | None) -> tuple[list[Step], bool]:
        """The steps of a group, and whether a member was left out because it is busy."""
        if group is None:
            return [], False
        is_call = context.request.method == "INVITE"
        in_calls = self._in_calls() if is_call else frozenset()
        steps, somebody_busy = [], False
        for login in group.members:
            member = self.accounts.by_login(login)
            if member is None:
                continue
            if is_call and (login in in_calls or self.features.of(login).dnd):
                somebody_busy = True
                continue
            devices = self.devices_of(member)
            if devices:
                steps.append(devices)
        if group.mode is RingMode.ALL or not is_call:
            steps = [[device for step in steps for device in step]] if steps else []
        return steps, somebody_busy

    def _in_calls(self) -> frozenset[str]:
        """The logins that have a call now, or are making one."""
        logins = set()
        for group in self.hub.dialogs:
            if group.method != "INVITE" or group.is_over:
                continue
            sides = [d.callee for d in group.dialogs.values() if d.state is DialogState.CONFIRMED]
            for side in (group.caller, *sides):
                if isinstance(side, PhoneSide):
                    logins.add(side.login)
        return frozenset(logins)

    # Ringing

    def _fork(self, context: RequestContext, devices: Step, divert: "Diversion") -> None:
        """Ring these at once, and let the context do the rest."""
        try:
            branches = self.make(context, devices, divert, context)
        except SipParseError as refusal:
            self._refuse(context, divert.place, refusal.status, refusal.reason)
            return
        except (PeerError, RelayError) as error:
            self._refuse(context, divert.place, status_of(error), str(error))
            return
        context.start(branches)

    def make(
        self, context: RequestContext, devices: Step, divert: "Diversion", owner: BranchOwner
    ) -> Sequence[Branch]:
        """Branches to devices, which report to `owner`.

        Raises:
            SipParseError, PeerError, RelayError: they cannot be made.
        """
        place, trail, devices = divert.place, divert.trail, devices[:MAX_BRANCHES]
        header = place.diversion(self.hub.node.key_name) or None
        breadths = self.hub.forwarder.breadths(context.request, len(devices))
        made: list[PhoneBranch] = []
        for (account, binding), breadth in zip(devices, breadths, strict=True):
            branch = self.branches.device(context, binding, trail.caller, header, breadth)
            if binding.reg_id is not None:
                branch.again = self._other_flows(context, branch, binding, trail.caller, header)
            where = place
            if account is not place.accounts[-1]:
                where = Place((*place.accounts, account), place.sent_on)
            trail.places[branch.id] = where
            branch.owner = Onward(owner, is_node=False) if place.sent_on else owner
            made.append(branch)
        return made

    def _other_flows(
        self,
        context: RequestContext,
        branch: PhoneBranch,
        device: Binding,
        caller: Caller,
        header: str | None,
    ) -> OtherFlows:
        def make(binding: Binding) -> PhoneBranch:
            breadth = branch.request.get("Max-Breadth")
            return self.branches.device(
                context,
                binding,
                caller,
                header,
                int(breadth) if breadth else None,
                instead_of=branch.id,
            )

        return OtherFlows(self.registrar, self.hub.clock, make, device)

    def _refuse(self, context: RequestContext, place: Place, status: int, text: str) -> None:
        """Nothing rings here: the caller hears it, or one way of a call that was sent on ends."""
        if place.sent_on:
            context.start([self.redirects.nowhere(context, text, status)])
        else:
            context.refuse(status, text)


def _only(device: Device | None, steps: list[Step]) -> list[Step]:
    """What a request for one device rings (RFC 5627 5.4)."""
    assert device is not None
    kept = [[place for place in step if device.is_at(place[1])] for step in steps]
    return [step for step in kept if step]


def _secure(steps: list[Step]) -> list[Step]:
    """What a request to a sips URI may ring: devices on TLS (RFC 3261 26.2.2, RFC 5630)."""
    kept = [[place for place in step if place[1].flow.secure] for step in steps]
    return [step for step in kept if step]


@dataclass(slots=True)
class Diversion:
    """How a call for the last account of `place` goes on elsewhere."""

    ringing: Ringing
    context: RequestContext
    place: Place
    trail: Trail

    def to(self, target: str, reason: str) -> None:
        """Send the call on to what a person set; the caller is told by a 181."""
        context, hub, redirects = self.context, self.ringing.hub, self.ringing.redirects
        try:
            uri = dialled_uri(target, hub.names.key_name)
        except SipParseError:
            context.start([redirects.nowhere(context, "the forwarding leads nowhere")])
            return
        if not context.done:
            context.upstream.respond(reply(hub, context.request, 181))
        redirects.send_on(context, self.place, [uri], self.trail, reason)


@dataclass(slots=True)
class Hunt:
    """Rings the steps for one account one after another, then forwards if that was set."""

    ringing: Ringing
    context: RequestContext
    divert: Diversion
    features: Features | None
    is_group: bool
    steps: list[Step]
    seconds: float
    "How long a step rings where another one follows."
    statuses: list[int] = field(default_factory=list)
    "How branches ended that were not given up."
    make: Callable[[Step, "Hunt"], Sequence[Branch]] | None = None
    "Makes the branches of a step that report to the hunt, where they lead to no devices."
    _ringing_now: dict[int, Branch] = field(default_factory=dict)
    _timers: list[Alarm] = field(default_factory=list)
    _step_timer: Alarm | None = None
    _over: bool = False

    def begin(self) -> None:
        """Ring the first step."""
        self.context.hold()
        if self.features is not None and self.features.no_answer is not None:
            self._timers.append(self.ringing.hub.later(self.features.after, self._no_answer))
        self._next()

    # What the branches say

    def on_response(
        self, branch: int, response: Response, legs: Sequence[Leg], peer_ip: str
    ) -> None:
        """A response came over one of the branches."""
        status = response.status
        if status < 200:
            self.context.on_response(branch, response, legs, peer_ip)
        elif status < 400:
            # Answered, or sent on by the device: nothing more is tried here.
            self.context.on_response(branch, response, legs, peer_ip)
            self._end()
        elif status >= 600 and (self.is_group or (status == 600 and self._busy_target)):
            self.on_failure(branch, 486, "Busy Here")  # not the word of all who are to be asked
        else:
            self.context.on_response(branch, response, legs, peer_ip)
            self._closed(branch, status)

    def on_failure(self, branch: int, status: int, reason: str) -> None:
        """A branch ended without a response."""
        self.context.on_failure(branch, status, reason)
        self._closed(branch, status)

    def replace(self, branch: int, other: Branch) -> None:
        """Another branch was started in place of one."""
        if self._ringing_now.pop(branch, None) is not None:
            self._ringing_now[other.id] = other

    def _closed(self, branch: int, status: int) -> None:
        if self._ringing_now.pop(branch, None) is None or self._over:
            return
        self.statuses.append(status)
        if not self._ringing_now:
            self._next()

    # Step after step

    def _next(self) -> None:
        """Ring the next step that can be rung; after the last one, forward or give up."""
        if self._step_timer is not None:
            self._step_timer.cancel()
        for branches in self._made():
            self._ringing_now = {branch.id: branch for branch in branches}
            if self.steps:
                later = self.ringing.hub.later
                self._step_timer = later(self.seconds, self._give_step_up)
            self.context.start(branches)
            return
        self._conclude()

    def _made(self) -> Iterator[Sequence[Branch]]:
        """The branches of each step that is left."""
        while self.steps and self.context.forking.takes_branches:
            step = self.steps.pop(0)
            try:
                if self.make is not None:
                    yield self.make(step, self)
                else:
                    yield self.ringing.make(self.context, step, self.divert, self)
            except (SipParseError, PeerError, RelayError) as error:
                self.ringing.hub.log.info(
                    "step_left_out", call_id=self.context.request.call_id, reason=str(error)
                )

    def _give_step_up(self) -> None:
        if not self._over and self.context.forking.takes_branches:
            self._cancel_ringing()
            self._next()

    def _cancel_ringing(self) -> None:
        """These have rung long enough; one of them may still answer before its CANCEL arrives."""
        given_up, self._ringing_now = self._ringing_now, {}
        for branch in given_up.values():
            branch.cancel()

    # The end

    @property
    def _busy_target(self) -> str | None:
        return None if self.features is None else self.features.busy

    @property
    def _no_answer_target(self) -> str | None:
        return None if self.features is None else self.features.no_answer

    def _no_answer(self) -> None:
        if not self._over and self.context.forking.takes_branches:
            self._cancel_ringing()
            self._forward(self._no_answer_target, "no-answer")

    def _conclude(self) -> None:
        """Everybody was rung, and nobody took the call."""
        busy = any(status in BUSY for status in self.statuses)
        if busy:
            self._forward(self._busy_target, "user-busy")
        elif all(status in UNREACHED for status in self.statuses):
            self._forward(self._no_answer_target, "unavailable")
        else:
            self._end()

    def _forward(self, target: str | None, reason: str) -> None:
        if target is not None and self.context.forking.takes_branches:
            self.divert.to(target, reason)
        self._end()

    def _end(self) -> None:
        """Nothing follows; the context may give its final answer."""
        if self._over:
            return
        self._over = True
        for timer in (*self._timers, self._step_timer):
            if timer is not None:
                timer.cancel()
        self.context.release()
