"""Requests outside dialogs: whom they are for, and the branches that lead there."""

from dataclasses import dataclass, field

from federation.model.clocks import Monotonic
from federation.model.errors import PeerError
from media_relay.errors import RelayError
from node.accounts.account import Account, AccountKind
from node.edge.branching import BranchMaker
from node.edge.context import RequestContext
from node.edge.dialog import DIALOG_METHODS, DialogSet, NodeSide, PhoneSide, PlainSide, Side
from node.edge.echo import EchoService
from node.edge.guard import Misdeed
from node.edge.hub import Hub, Upstream
from node.edge.identity import Caller
from node.edge.indialog import note_subscription
from node.edge.mailroom import Mailroom
from node.edge.offered import OfferedCalls
from node.edge.outward import Outward
from node.edge.pbx_ringing import PbxRinging
from node.edge.redirect import Place, Redirects, over_limit, status_of
from node.edge.ringing import Ringing
from node.edge.transfer import make_refer_to_reachable
from node.edge.trunk_calls import TrunkCalls
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
from node.sip.message import Request, Response
from node.trunks.trunk import Trunk

UNANSWERED_LIFE = 60.0
"Seconds a set of SUBSCRIBE or REFER is kept before its 2xx says for how long."


@dataclass(slots=True)
class Calls:
    """Starts what phones and other nodes ask for outside dialogs."""

    hub: Hub
    branches: BranchMaker
    reader: TargetReader
    locator: Locator
    voucher: Voucher
    ringing: Ringing
    pbx: PbxRinging
    redirects: Redirects
    trunks: TrunkCalls
    echo: EchoService
    outward: Outward | None = None
    "Takes calls to other SIP networks; `None`: nobody does."
    mailroom: Mailroom | None = None
    "Keeps messages for those who are not there."
    offered: OfferedCalls | None = None
    "Has other nodes' calls go out by what trunks here offer them."
    contexts: dict[int, RequestContext] = field(default_factory=dict)
    "Unanswered dialog-forming requests by the id of their set."

    # From our own phones

    def from_account(self, upstream: Upstream, sender: Side, account: Account) -> RequestContext:
        """A request of one of our accounts, whose digest was checked."""
        request = upstream.request
        context = self._open(upstream, sender)
        make_refer_to_reachable(request, self.hub.dialogs, self.hub.node)
        caller = self.voucher.own_caller(account, request)
        target = self._classify(context, may_leave=True)
        if account.kind is AccountKind.TRUNK:
            target = self.trunks.arrived(account.login, context) or target
        elif request.method == "INVITE":
            target = over_limit(self.hub, account, request.uri, target) or target
        if isinstance(target, TrunkTarget):
            self._out(context, account, target, caller)
        elif isinstance(target, LocalTarget | ServiceTarget | Refusal):
            self._here(context, target, caller)
        else:
            context.hold()
            self.hub.spawn(self._elsewhere(context, account, target))
        return context

    # From providers

    def from_provider(self, upstream: Upstream, sender: Side, trunk: Trunk) -> RequestContext:
        """A request that a provider's server sent; it may only be for a number mapped here."""
        context = self._open(upstream, sender)
        refusal = self.trunks.arrived(trunk.name, context)
        target = refusal or self.trunks.called(trunk, upstream.request)
        self._here(context, target, self.trunks.caller_of(trunk, upstream.request))
        return context

    # From other nodes

    def from_node(self, upstream: Upstream, sender: Side) -> RequestContext:
        """A request of another node; it may only be for this one. Its caller is given later."""
        return self._open(upstream, sender)

    def deliver(self, context: RequestContext, caller: Caller) -> None:
        """Give another node's request to whom it names here."""
        uri = context.request.uri
        target: Target = Refusal(404, "this node does not answer for that domain")
        if self.hub.names.is_own(uri.host or "", uri.port):
            target = self._classify(context, may_leave=False)
            if isinstance(target, Refusal) and self._goes_out(context, caller):
                return
        if not isinstance(target, LocalTarget | ServiceTarget | Refusal):
            target = Refusal(404, "nobody has this name here")
        self._here(context, target, caller)

    def _goes_out(self, context: RequestContext, caller: Caller) -> bool:
        """Whether a call of another node, for nobody here, goes out by what a trunk offers it."""
        peer = None if context.group is None else context.group.peer
        return (
            self.offered is not None
            and peer is not None
            and self.offered.takes(context, peer, caller)
        )

    # From other SIP networks

    def from_stranger(
        self, upstream: Upstream, sender: PlainSide, caller: Caller
    ) -> RequestContext:
        """A request that proves nothing: for an account of this node, or for nobody."""
        context = self._open(upstream, sender)
        target = self._classify(context, may_leave=False)
        if isinstance(target, LocalTarget):
            self._here(context, target, caller)
        else:
            self.hub.guard.offend(sender.flow, Misdeed.UNKNOWN_TARGET)
            context.refuse(404, "nobody has this name here")
        return context

    # Inside

    def _classify(self, context: RequestContext, *, may_leave: bool) -> Target:
        """What the Request-URI means; a GRUU of this node means one device of an account."""
        uri = context.request.uri
        if uri.params and self.hub.names.is_own(uri.host or "", uri.port):
            context.device = self.hub.gruus.read(uri)
            if context.device is not None:
                uri = uri.with_(user=context.device.aor)
        return self.reader.classify(uri, may_leave=may_leave)

    def _open(self, upstream: Upstream, sender: Side) -> RequestContext:
        request = upstream.request
        group: DialogSet | None = None
        if request.method in DIALOG_METHODS:
            group = DialogSet(
                id=self.hub.dialogs.new_id(),
                call_id=request.call_id,
                method=request.method,
                caller_tag=request.from_.tag or "",
                caller=sender,
                from_value=request.from_.without_tag,
                to_value=request.to.without_tag,
                created=self.hub.now(),
                created_at=self.hub.clock.unix(),
            )
            self._note_caller(group, request)
            self.hub.dialogs.add(group)
        context = RequestContext(self.hub, upstream, group)
        context.on_done = self._over
        if group is not None:
            self.contexts[group.id] = context
            group.abort = context.cancel
            group.pending = True
        return context

    def _note_caller(self, group: DialogSet, request: Request) -> None:
        contacts = request.contacts
        if len(contacts) == 1:
            group.caller.contact = str(contacts[0].uri)
        if isinstance(group.caller, PhoneSide):
            group.caller.routes = request.values("Record-Route")
        if isinstance(group.caller, NodeSide):
            group.peer = group.caller.node
        if group.method != "INVITE":
            group.expires = Monotonic(group.created + UNANSWERED_LIFE)

    def _remote_over(self, context: RequestContext, response: Response, target: Target) -> None:
        """Look again next time where the node that was found did not have the call."""
        if response.status in (404, 480):
            self.locator.forget(target)
        self._over(context, response)

    def _over(self, context: RequestContext, response: Response) -> None:
        if context.group is not None:
            self.contexts.pop(context.group.id, None)
            note_subscription(context.group, context.request, response, self.hub.now())

    def _here(
        self,
        context: RequestContext,
        target: LocalTarget | ServiceTarget | Refusal,
        caller: Caller,
    ) -> None:
        match target:
            case Refusal(status, text):
                context.refuse(status, text)
            case ServiceTarget():
                self.echo.start(context)
            case LocalTarget(account=account):
                is_pbx = account.kind is AccountKind.TRUNK
                if is_pbx and not self.ringing.diverts(context, account):
                    trail = self.redirects.begin(context, caller)
                    self.pbx.ring(context, target, Place((account,)), trail)
                    return
                mailroom = self._mailroom_for(context, account)
                if mailroom is None or not mailroom.takes_over(context, account, caller):
                    self.ringing.call(context, account, caller)

    def _mailroom_for(self, context: RequestContext, account: Account) -> Mailroom | None:
        """Who keeps a request for later, if it is a message for a person that can be kept."""
        if context.request.method != "MESSAGE" or self.mailroom is None:
            return None
        if account.kind is not AccountKind.USER:
            return None
        return self.mailroom if self.mailroom.takes(context.request) else None

    def _out(
        self, context: RequestContext, account: Account, target: TrunkTarget, caller: Caller
    ) -> None:
        """To a telephone number over a trunk."""
        try:
            branch = self.trunks.out(context, account, target, caller)
        except (PeerError, RelayError) as error:
            context.refuse(status_of(error), str(error))
            return
        context.start([branch])

    async def _elsewhere(self, context: RequestContext, account: Account, target: Target) -> None:
        located = await self.locator.locate(target)
        if context.done:
            return
        if isinstance(located, Refusal):
            context.refuse(located.status, located.text)
            return
        if isinstance(located, Outside):
            self._outside(context, account, located)
            return
        try:
            branch = self.branches.node(context, account, located)
        except (PeerError, RelayError) as error:
            context.refuse(status_of(error), str(error))
            return
        context.on_done = lambda ended, response: self._remote_over(ended, response, target)
        context.start([branch])
        context.release()

    def _outside(self, context: RequestContext, account: Account, outside: Outside) -> None:
        if self.outward is None:
            context.refuse(403, "this node does not call other SIP networks")
            return
        self.outward.start(context, account, outside)
        if not context.done:
            context.release()
