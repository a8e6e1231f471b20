"""Calls to other SIP networks: requests of our accounts to domains that no node proves (RFC 3263).

The servers of the domain are tried in order, each with a branch of its own: a 503, no answer, or a
server that cannot be reached leads to the next. What goes out names the account by an address that
can be called back from outside, and never nobody; media runs through an anchor. A call that an
account sends on goes out in that account's name and by its rights: the display name says who
called, Diversion whose call it was.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from federation.messages import Leg
from federation.model.address import Endpoint
from federation.model.errors import PeerError
from media_relay.errors import RelayError
from node.accounts.account import Account
from node.edge.alarms import Alarm
from node.edge.branches import PhoneBranch, PhoneClients
from node.edge.branching import BranchMaker
from node.edge.context import RequestContext
from node.edge.dialog import PlainSide
from node.edge.hub import Hub
from node.edge.identity import UNVERIFIED_MARK, Caller, display_of, is_anonymous
from node.edge.redirect import Place, status_of
from node.edge.replies import from_line, is_sdp, note_target
from node.edge.trunk_lines import Unreachable
from node.outside import Outside
from node.sip.failover import Outcome, SparedHops, may_go_on
from node.sip.flow import Flow, TransportName
from node.sip.locate import Hop, Target
from node.sip.message import Request, Response
from node.sip.uri import Uri

PATIENCE = 4.0
"Seconds a server may say nothing at all before the next one is tried."
MAX_TRIES = 4
"Servers that one request is sent to."
MAX_DATAGRAM = 1_300
"Bytes of a request over UDP; a larger one goes by TCP first (RFC 3261 18.1.1)."
SDP_GROWTH = 120
"Bytes that our own addresses may add to a description."
_CREDENTIALS = frozenset(("authorization", "proxy-authorization"))


@dataclass(frozen=True, slots=True, kw_only=True)
class OutwardParts:
    """What calls to other networks need of the node."""

    flow_to: Callable[[TransportName, Endpoint, str], Flow]
    "`SipTransports.flow_to`."
    may_send: Callable[[Endpoint], bool]
    "Whether plain SIP may be sent to an address that a stranger named."
    locate: Callable[[Target], Awaitable[Sequence[Hop]]]
    "Where a name leads; raises `LocateError` (`SipLocator.locate`)."
    domain: Callable[[], str | None]
    "A domain of ours that DNS leads here for, to be called back at."
    accounts: frozenset[str] = frozenset()
    "The logins that may call other networks; empty: all."


@dataclass(slots=True)
class _Try:
    """One server that has the request; reads what it answers before the request context does."""

    call: "_Call"
    hop: Hop
    branch: PhoneBranch | None = None
    heard: bool = False
    over: bool = False
    "Another server was tried since."
    alarm: Alarm | None = None

    def on_response(
        self, branch: int, response: Response, legs: Sequence[Leg], peer_ip: str
    ) -> None:
        self.heard = True
        self._rest()
        call = self.call
        if self.over:
            call.end_late(branch, response)
            return
        if response.status == 503:
            call.outward.failed(self.hop, response)
            if call.goes_on(self, 503):
                return
        elif response.status >= 200:
            call.outward.spared.served(self.hop)
        if response.status in (401, 407):
            # A phone would answer such a challenge with its password for this node.
            call.context.on_failure(branch, 480, "the other network asks for a password")
        elif 300 <= response.status < 400:
            call.context.on_failure(branch, 480, "sent on by another network")
        elif response.status == 482 and call.place is not None:
            call.context.on_failure(branch, 480, "the call came round again")
        else:
            call.context.on_response(branch, response, legs, peer_ip)

    def on_failure(self, branch: int, status: int, reason: str) -> None:
        self._rest()
        if self.over:
            return
        if not self.heard:
            self.call.outward.failed(self.hop)
            if self.call.goes_on(self, "timeout" if status == 408 else "unreachable"):
                return
        text = "the other network does not answer" if not self.heard else reason
        self.call.context.on_failure(branch, status if self.heard else 480, text)

    def wait(self, hub: Hub) -> None:
        """Go on to the next server, if there is one, when this one says nothing."""
        self.alarm = hub.later(PATIENCE, self._silent)

    def _silent(self) -> None:
        self.alarm = None
        if not self.heard and not self.over:
            self.call.outward.failed(self.hop)
            if self.call.goes_on(self, "timeout") and self.branch is not None:
                self.branch.cancel()

    def _rest(self) -> None:
        if self.alarm is not None:
            self.alarm.cancel()
            self.alarm = None


@dataclass(slots=True)
class _Call:
    """One request to another network, and the servers that are left for it."""

    outward: "Outward"
    context: RequestContext
    account: Account
    uri: Uri
    hops: list[Hop]
    caller: Caller | None = None
    "Who called, where `account` sends the call on; `None`: the account itself."
    place: Place | None = None
    "How a call that is sent on came to the account."
    left: int = MAX_TRIES
    hosts: frozenset[str] = field(init=False)
    "Addresses of its servers."
    datagrams: set[Hop] = field(default_factory=set)
    "Servers that a large request goes to over UDP, as TCP was tried."

    def __post_init__(self) -> None:
        self.hosts = frozenset(hop.remote.host for hop in self.hops)

    def next_try(self) -> PhoneBranch:
        """A branch to the next server."""
        hop = self.hops.pop(0)
        self.left -= 1
        attempt = _Try(self, hop)
        attempt.branch = self.outward.branch(self, hop, attempt)
        return attempt.branch

    def goes_on(self, attempt: _Try, outcome: Outcome) -> bool:
        """Whether the next server was asked in place of one that did not serve."""
        context, branch = self.context, attempt.branch
        may = may_go_on(outcome, heard=False) and self.hops and self.left > 0
        if not may or branch is None or context.done or not context.forking.takes_branches:
            return False
        attempt.over = True
        try:
            following = self.next_try()
        except (PeerError, RelayError):
            attempt.over = False
            return False
        context.start([following])
        context.drop(branch.id)
        return True

    def end_late(self, branch: int, response: Response) -> None:
        """A server that was given up takes the call after all: it is told that it is over."""
        group, tag = self.context.group, response.to.tag
        if group is None or not tag or not 200 <= response.status < 300:
            return
        if group.method == "INVITE" and (tag in group.dialogs or group.takes_dialogs):
            hub = self.outward.hub
            dialog = hub.dialogs.open(group, tag, branch)
            dialog.note_cseq(response.cseq.number, by_caller=True)
            dialog.ack_cseq = response.cseq.number
            note_target(dialog.callee, response)
            hub.endings.hang_up_callee(dialog, "another server took the call")


@dataclass(slots=True)
class Outward:
    """Sends requests of our accounts to other SIP networks."""

    hub: Hub
    clients: PhoneClients
    branches: BranchMaker
    parts: OutwardParts
    spared: SparedHops = field(default_factory=SparedHops)

    def start(self, context: RequestContext, account: Account, outside: Outside) -> None:
        """Send the request to the first server of another network, or refuse it."""
        if is_anonymous(context.request.from_.uri):
            context.refuse(403, "nobody calls other SIP networks anonymously")
            return
        try:
            self._check(account)
            branch = _Call(self, context, account, outside.uri, self._hops(outside)).next_try()
        except (PeerError, RelayError) as error:
            context.refuse(status_of(error), str(error))
            return
        context.start([branch])

    def sent_on(
        self,
        context: RequestContext,
        account: Account,
        outside: Outside,
        place: Place,
        caller: Caller,
    ) -> PhoneBranch:
        """A branch to the first server, for a call that `account` sends on.

        Raises:
            Unreachable: the account may not call other networks.
            PeerError, RelayError: the media cannot be carried.
        """
        self._check(account)
        hops = self._hops(outside)
        return _Call(self, context, account, outside.uri, hops, caller, place).next_try()

    def _check(self, account: Account) -> None:
        if self.parts.accounts and account.login not in self.parts.accounts:
            raise Unreachable(403, "this account may not call other SIP networks")

    def _hops(self, outside: Outside) -> list[Hop]:
        return list(self.spared.in_order(outside.hops, now=self.hub.now()))

    def failed(self, hop: Hop, response: Response | None = None) -> None:
        """A server did not serve; it comes last for a while."""
        text = "" if response is None else (response.get("Retry-After") or "").partition(";")[0]
        text = text.partition("(")[0].strip()
        seconds = float(text) if text.isascii() and text.isdigit() and len(text) < 8 else None
        self.spared.failed(hop, now=self.hub.now(), retry_after=seconds)

    def branch(self, call: _Call, hop: Hop, owner: _Try) -> PhoneBranch:
        """The request for one server, media included."""
        context = call.context
        flow = self.parts.flow_to(hop.transport, hop.remote, hop.name)
        branch_id = context.new_branch_id()
        copy, side = self._compose(call, flow)
        if hop.transport == "UDP" and _is_large(copy) and hop not in call.datagrams:
            # Should TCP be refused, the datagram is sent nevertheless.
            call.hops.insert(0, hop)
            call.datagrams.add(hop)
            owner.hop = Hop("TCP", hop.remote, hop.name)
            flow = self.parts.flow_to("TCP", hop.remote, hop.name)
            copy, side = self._compose(call, flow)
        self._carry_media(call, branch_id, copy, side)
        if call.hops and call.left > 0:
            owner.wait(self.hub)
        return PhoneBranch(branch_id, self.hub, self.clients, owner, copy, flow)

    def _compose(self, call: _Call, flow: Flow) -> tuple[Request, PlainSide]:
        """The request as one server is sent it, but for its media."""
        context, request = call.context, call.context.request
        own = self.hub.forwarder.own_uri(flow)
        side = PlainSide(flow, "", own, str(call.uri), hosts={flow.remote.host, *call.hosts})
        shown = from_line(self.shown(call, own), request.from_.tag)
        copy = self.hub.forwarder.onward(request, shown)
        copy.remove_all(_CREDENTIALS)
        if call.place is not None:
            copy.uri = call.uri
            copy.prepend("Diversion", call.place.diversion(self.parts.domain() or own))
        if context.group is not None:
            self.hub.forwarder.record_route(copy, context.group.caller, side)
        self.hub.forwarder.push_via(copy, side, self.hub.forwarder.loop_mark(request))
        return copy, side

    def _carry_media(self, call: _Call, branch_id: int, copy: Request, side: PlainSide) -> None:
        context, group = call.context, call.context.group
        if group is None:
            return
        shown = self.shown(call, side.server)
        group.by_branch[branch_id] = (side, shown)
        media = self.branches.media(group, context)
        if media is not None:
            flow = side.flow
            media.phone(flow, self.hub.names.host_of(flow), branch=branch_id, is_plain=True)
            copy.body = self.branches.offer(media, context.request, branch_id, copy.body).body

    def shown(self, call: _Call, own: str) -> str:
        """The From value, without tag, for other networks: an account that can be called back."""
        account, host = call.account, self.parts.domain() or own
        if call.caller is not None:
            display = _told(call.caller)
        else:
            display = display_of(call.context.request.from_) or account.name
        return Caller(display, None, f"{account.login}@{host}", verified=True).shown_from(host)


def _told(caller: Caller) -> str:
    """Who called, for people: what the network there cannot check stands in the display name."""
    if caller.anonymous:
        return "Anonymous"
    address = caller.user or caller.uri
    text = f"{caller.display} ({address})" if caller.display and address else caller.display
    mark = "" if caller.verified else f"{UNVERIFIED_MARK} "
    return mark + (text or address)


def _is_large(request: Request) -> bool:
    return len(request.encode()) + (SDP_GROWTH if is_sdp(request) else 0) > MAX_DATAGRAM
