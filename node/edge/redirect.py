"""Calls that go on: a 3xx from a device (RFC 3261 16.5), or an account's call forwarding.

A 3xx never crosses a link, nor does a caller see it. Each Contact is taken as dialled by the
account whose device sent it, under that account's limits; what goes on says so in Diversion, and
towards another node in a statement of ours with the original one inside it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Protocol

from federation.messages import Leg
from federation.model.errors import PeerError
from media_relay.errors import RelayError
from node.accounts.account import Account, AccountKind
from node.accounts.book import AccountBook
from node.edge.branches import Branch, BranchOwner, MeshBranch
from node.edge.branching import BranchMaker, Diverted
from node.edge.context import RequestContext
from node.edge.dialog import PhoneSide
from node.edge.hub import Hub, MeshUpstream
from node.edge.identity import Caller
from node.edge.media import MediaError
from node.edge.trunk_calls import TrunkCalls
from node.edge.trunk_lines import Unreachable
from node.edge.vouching import Voucher
from node.outside import Outside
from node.routing import (
    LocalTarget,
    Locator,
    Refusal,
    ServiceTarget,
    Target,
    TargetReader,
    TrunkTarget,
)
from node.sip.errors import SipParseError
from node.sip.headers import NameAddr
from node.sip.message import Response
from node.sip.sdp import SdpError
from node.sip.uri import Uri

MAX_REDIRECTS = 5
"Times a call may be sent on, by this node and those before it; after that it is 480."
MAX_CONTACTS = 4
"Contacts of one 3xx that are tried, the best first."
MAX_STATEMENT_CARRIED = 4096
"Bytes of a statement that is put into ours; a longer one is left out, and so is the caller."


def status_of(error: PeerError | RelayError) -> int:
    """What a caller is answered when a branch cannot be made."""
    if isinstance(error, Unreachable):
        return error.status
    return 488 if isinstance(error, SdpError | MediaError) else 480


def over_limit(hub: Hub, account: Account, uri: Uri, target: Target) -> Refusal | None:
    """Why a user may make no further call to elsewhere in this hour; else it is counted."""
    if account.kind is AccountKind.TRUNK or isinstance(
        target, LocalTarget | ServiceTarget | Refusal
    ):
        return None
    if isinstance(target, TrunkTarget) and target.emergency:
        return None
    dialled = f"{uri.user}@{uri.host}"
    text = hub.limits.refusal(account.login, dialled, now=hub.now())
    if text is None:
        return None
    login = account.login
    hub.log.warning("outbound_limit", login=login, reason=text, limit_by=login)
    return Refusal(403, f"{text}: calls to elsewhere wait")


@dataclass(frozen=True, slots=True)
class SentOn:
    """An account of this node that sent a call on, and why (RFC 5806)."""

    login: str
    reason: str


@dataclass(frozen=True, slots=True)
class Place:
    """How a call came to the devices of an account."""

    accounts: tuple[Account, ...]
    "Every account here that it was for, the first one first; the devices are the last one's."
    sent_on: tuple[SentOn, ...] = ()
    "Each that sent it on, the last one first."

    def diversion(self, host: str) -> str:
        """The Diversion header, with this node named as `host`; empty where nobody sent it on."""
        return ", ".join(f"<sip:{sent.login}@{host}>;reason={sent.reason}" for sent in self.sent_on)


@dataclass(slots=True)
class Trail:
    """What is known of one request's redirections."""

    places: dict[int, Place]
    "Where each branch to a device leads."
    caller: Caller
    seen: set[str] = field(default_factory=set)


class WayOut(Protocol):
    """Takes calls that are sent on to other SIP networks (`node.edge.outward`)."""

    def sent_on(
        self,
        context: RequestContext,
        account: Account,
        outside: Outside,
        place: Place,
        caller: Caller,
    ) -> Branch:
        """A branch to the first server there, in the name of `account`.

        Raises:
            Unreachable: the account may not call there.
            PeerError, RelayError: the media cannot be carried.
        """


@dataclass(slots=True)
class _Nowhere:
    """A branch to a target that cannot be reached: it fails when it is started."""

    id: int
    owner: BranchOwner
    text: str
    status: int = 480

    def start(self) -> None:
        self.owner.on_failure(self.id, self.status, self.text)

    def cancel(self) -> None:
        """It has failed already."""


@dataclass(slots=True)
class Onward:
    """Reads what a call that was sent on is answered, before its request context does."""

    owner: BranchOwner
    is_node: bool

    def on_response(
        self, branch: int, response: Response, legs: Sequence[Leg], peer_ip: str
    ) -> None:
        """A response came over the branch."""
        if response.status == 482:
            self.owner.on_failure(branch, 480, "the call came round again")
        elif self.is_node and 300 <= response.status < 400:
            self.owner.on_failure(branch, 480, "sent on by another node")
        else:
            self.owner.on_response(branch, response, legs, peer_ip)

    def on_failure(self, branch: int, status: int, reason: str) -> None:
        """The branch ended without a response."""
        self.owner.on_failure(branch, status, reason)


@dataclass(slots=True)
class Redirects:
    """Follows the 3xx of devices, and sends calls on where an account's forwarding says."""

    hub: Hub
    branches: BranchMaker
    accounts: AccountBook
    reader: TargetReader
    locator: Locator
    voucher: Voucher
    trunks: TrunkCalls
    outward: WayOut | None = None
    "Takes calls to other SIP networks; `None`: nobody does."
    ring: Callable[[RequestContext, Account, Place, Trail], None] = field(init=False)
    "Rings an account of this node that a call was sent on to (`node.edge.ringing`)."
    ring_pbx: Callable[[RequestContext, LocalTarget, Place, Trail], None] = field(init=False)
    "The same for a PBX (`node.edge.pbx_ringing`)."
    diverts: Callable[[RequestContext, Account], bool] = field(init=False)
    "Whether a call for an account goes elsewhere before any device rings."

    def begin(self, context: RequestContext, caller: Caller) -> Trail:
        """Have the 3xx of branches that will stand in the trail followed."""
        trail = Trail({}, caller)
        context.redirect = lambda ctx, branch, response: self._moved(ctx, branch, response, trail)
        return trail

    def _moved(
        self, context: RequestContext, branch: int, response: Response, trail: Trail
    ) -> bool:
        """Take up a 3xx in place of the answer that it is not."""
        place = trail.places.get(branch)
        uris = [] if place is None else _targets(response)
        if place is None or not uris:
            context.start([self.nowhere(context, "sent on to nowhere")])
            return True
        self.send_on(context, place, uris, trail, _reason(response.status))
        return True

    def send_on(
        self,
        context: RequestContext,
        place: Place,
        uris: Sequence[Uri],
        trail: Trail,
        reason: str,
    ) -> None:
        """Let a call that was for the last account of `place` go on; `reason` as in RFC 5806."""
        times = len(context.request.values("Diversion")) + len(place.sent_on)
        if times >= MAX_REDIRECTS:
            context.start([self.nowhere(context, "forwarded too often")])
            return
        login = place.accounts[-1].login
        if context.group is not None:
            context.group.forwarder = login
        place = Place(place.accounts, (SentOn(login, reason), *place.sent_on))
        for uri in uris:
            if str(uri) not in trail.seen:
                trail.seen.add(str(uri))
                context.hold()
                self.hub.spawn(self._try(context, uri, place, trail))

    async def _try(self, context: RequestContext, uri: Uri, place: Place, trail: Trail) -> None:
        try:
            branches = await self._branches(context, uri, place, trail)
        except (PeerError, RelayError) as error:
            branches = [self.nowhere(context, str(error))]
        if not context.done:
            context.start(branches)
            context.release()

    async def _branches(
        self, context: RequestContext, uri: Uri, place: Place, trail: Trail
    ) -> Sequence[Branch]:
        target = self.reader.classify(uri, may_leave=True)
        if context.request.method == "INVITE":
            target = over_limit(self.hub, place.accounts[-1], uri, target) or target
        match target:
            case Refusal(text=text):
                return [self.nowhere(context, text)]
            case ServiceTarget():
                return [self.nowhere(context, "services take no forwarded calls")]
            case LocalTarget(account=account):
                place = Place((*place.accounts, account), place.sent_on)
                is_pbx = account.kind is AccountKind.TRUNK
                if is_pbx and not self.diverts(context, account):
                    self.ring_pbx(context, target, place, trail)
                    return []
                self.ring(context, account, place, trail)
                return []
            case TrunkTarget():
                header = place.diversion(self.hub.node.key_name)
                return [self.trunks.out(context, place.accounts[-1], target, trail.caller, header)]
        located = await self.locator.locate(target)
        if isinstance(located, Refusal):
            return [self.nowhere(context, located.text)]
        if context.done or not context.forking.takes_branches:
            return []
        account = place.accounts[-1]
        if isinstance(located, Outside):
            if self.outward is None:
                return [self.nowhere(context, "this node does not call other SIP networks")]
            return [self.outward.sent_on(context, account, located, place, trail.caller)]
        header = place.diversion(self.hub.node.key_name)
        diverted = Diverted(header, self._statement(context, place))
        branch = self.branches.node(context, account, located, diverted)
        return [self._onward(context, branch)]

    def _onward(self, context: RequestContext, branch: MeshBranch) -> Branch:
        branch.owner = Onward(context, is_node=True)
        return branch

    def nowhere(
        self,
        context: RequestContext,
        text: str,
        status: int = 480,
        owner: BranchOwner | None = None,
    ) -> Branch:
        """A branch that fails at once, in place of one to a target that cannot be reached."""
        self.hub.log.info("redirect_failed", call_id=context.request.call_id, reason=text)
        return _Nowhere(context.new_branch_id(), owner or context, text, status)

    # Who called first

    def _statement(self, context: RequestContext, place: Place) -> bytes | None:
        """What is stated of the call on its way to who sends it on now, one within the other."""
        statement = self._original(context, place.accounts[0])
        for sender, receiver in pairwise(place.accounts):
            if statement is None:
                break
            address = self._address(receiver)
            statement = self.voucher.issue(sender, context.request, address, statement)
        return statement

    def _original(self, context: RequestContext, account: Account) -> bytes | None:
        """The statement the call came with, or one about the phone of ours that made it."""
        upstream = context.upstream
        if isinstance(upstream, MeshUpstream):
            frame, peer = upstream.transaction.request, upstream.transaction.peer
            if self.voucher.read(frame, context.request, peer) is None:
                return None
            stated = frame.statement
            fits = stated is not None and len(stated) <= MAX_STATEMENT_CARRIED
            return stated if fits else None
        side = None if context.group is None else context.group.caller
        caller = self.accounts.by_login(side.login) if isinstance(side, PhoneSide) else None
        if caller is None:
            return None
        return self.voucher.issue(caller, context.request, self._address(account))

    def _address(self, account: Account) -> str:
        return f"sip:{account.login}@{self.hub.node.key_name}"


def _targets(response: Response) -> list[Uri]:
    """Where a 3xx points to, the best first; nowhere if it cannot be read."""
    try:
        contacts = sorted(response.contacts, key=_preference)[:MAX_CONTACTS]
    except SipParseError:
        return []
    return [contact.uri for contact in contacts]


def _preference(contact: NameAddr) -> float:
    try:
        return -float(contact.param("q") or 1)
    except ValueError:
        return 0.0


def _reason(status: int) -> str:
    return "unconditional" if status in (301, 302) else "unknown"
