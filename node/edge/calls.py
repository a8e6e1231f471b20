"""Requests outside dialogs: whom they are for, and the branches that lead there."""

from dataclasses import dataclass, field

from federation.messages import Leg
from federation.messages import Request as MeshRequest
from federation.model.errors import PeerError
from federation.model.identity import NodeId
from media_relay.errors import RelayError
from node.accounts.account import Account
from node.edge.branches import MeshBranch, NodeAttempt, PhoneBranch, PhoneClients
from node.edge.context import RequestContext
from node.edge.dialog import (
    DIALOG_METHODS,
    DialogSet,
    NodeSide,
    PhoneSide,
    ServiceSide,
    Side,
)
from node.edge.echo import EchoService
from node.edge.forward import without_tag
from node.edge.hub import Hub, Upstream
from node.edge.identity import Caller
from node.edge.media import CallMedia, Carried, MediaError, Role
from node.edge.replies import is_sdp
from node.edge.transfer import make_refer_to_reachable
from node.edge.vouching import Voucher
from node.routing import (
    LocalTarget,
    Located,
    Locator,
    Refusal,
    ServiceTarget,
    Target,
    TargetReader,
)
from node.sip.binding import Binding
from node.sip.message import Request, Response
from node.sip.registrar import Registrar
from node.sip.sdp import SdpError

MAX_REDIRECTS = 5
"3xx answers followed for one request."
SUBSCRIPTION_MARGIN = 60.0
"Seconds a subscription's dialog is kept beyond what was asked for."
DEFAULT_SUBSCRIPTION = 3600.0
REFER_LIFE = 300.0


@dataclass(slots=True)
class Calls:
    """Starts what phones and other nodes ask for outside dialogs."""

    hub: Hub
    clients: PhoneClients
    pending: dict[bytes, MeshBranch]
    reader: TargetReader
    locator: Locator
    registrar: Registrar
    voucher: Voucher
    echo: EchoService
    contexts: dict[int, RequestContext] = field(default_factory=dict)
    "Unanswered dialog-forming requests by the id of their set."

    # From our own phones

    def from_account(self, upstream: Upstream, sender: Side, account: Account) -> RequestContext:
        """A request of one of our accounts, whose digest was checked."""
        request = upstream.request
        context = self._open(upstream, sender)
        make_refer_to_reachable(request, self.hub.dialogs, self.hub.node)
        caller = self.voucher.own_caller(account, request)
        target = self.reader.classify(request.uri, may_leave=True)
        if isinstance(target, LocalTarget | ServiceTarget | Refusal):
            self._here(context, target, caller)
        else:
            context.hold()
            self.hub.spawn(self._elsewhere(context, account, target))
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
            target = self.reader.classify(uri, may_leave=False)
        if not isinstance(target, LocalTarget | ServiceTarget | Refusal):
            target = Refusal(404, "nobody has this name here")
        self._here(context, target, caller)

    # Inside

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
                from_value=without_tag(request.from_),
                to_value=without_tag(request.to),
                created=self.hub.now(),
                created_at=self.hub.clock.unix(),
            )
            self._note_caller(group, request)
            self.hub.dialogs.add(group)
        context = RequestContext(self.hub, upstream, group)
        context.on_done = self._over
        context.redirect = None
        if group is not None:
            self.contexts[group.id] = context
            group.abort = context.cancel
        return context

    def _note_caller(self, group: DialogSet, request: Request) -> None:
        contacts = request.contacts
        if len(contacts) == 1:
            group.caller.contact = str(contacts[0].uri)
        if isinstance(group.caller, PhoneSide):
            group.caller.routes = request.values("Record-Route")
        if isinstance(group.caller, NodeSide):
            group.peer = group.caller.node
        if group.method == "SUBSCRIBE":
            text = request.get("Expires") or ""
            asked = float(text) if text.isdigit() and len(text) < 8 else DEFAULT_SUBSCRIPTION
            group.expires = type(group.created)(group.created + asked + SUBSCRIPTION_MARGIN)
        elif group.method == "REFER":
            group.expires = type(group.created)(group.created + REFER_LIFE)

    def _remote_over(
        self, context: RequestContext, response: Response, branch: MeshBranch, target: Target
    ) -> None:
        if response.status == 480 and not branch.heard:
            self.locator.forget(target)
        self._over(context, response)

    def _over(self, context: RequestContext, response: Response) -> None:
        if context.group is not None:
            self.contexts.pop(context.group.id, None)

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
                self._to_devices(context, account, caller)

    def _to_devices(self, context: RequestContext, account: Account, caller: Caller) -> None:
        bindings = [
            binding
            for binding in self.registrar.bindings(account.login, now=self.hub.clock.unix())
            if binding.is_connected
        ]
        if not bindings:
            context.refuse(480, "no device of this user is connected")
            return
        try:
            branches = [self._device_branch(context, binding, caller) for binding in bindings]
        except (SdpError, MediaError) as error:
            context.refuse(488, str(error))
            return
        except (PeerError, RelayError) as error:
            context.refuse(480, str(error))
            return
        context.start(branches)

    def _device_branch(
        self, context: RequestContext, binding: Binding, caller: Caller
    ) -> PhoneBranch:
        request, branch_id = context.request, context.new_branch_id()
        side = PhoneSide(binding.flow, binding.aor, binding.server, binding.uri)
        shown = caller.shown_from(binding.server)
        copy = self.hub.forwarder.onward(request, drop_identity=True)
        copy.uri = binding.target
        tag = request.from_.tag
        copy.set("From", f"{shown};tag={tag}" if tag else shown)
        asserted = caller.asserted_identity(binding.server)
        if asserted is not None:
            copy.append("P-Asserted-Identity", asserted)
        for value in reversed(binding.path):
            copy.prepend("Route", value)
        group = context.group
        if group is not None:
            group.by_branch[branch_id] = (side, shown)
            self.hub.forwarder.record_route(copy, group.caller, side)
            media = self._media(group, request)
            if media is not None:
                flow = binding.flow
                media.phone(flow.local.host, flow.remote.host, branch=branch_id)
                copy.body = self._offer(media, request, branch_id, copy.body).body
        self.hub.forwarder.push_via(copy, side)
        return PhoneBranch(branch_id, self.hub, self.clients, context, copy, binding.flow)

    async def _elsewhere(self, context: RequestContext, account: Account, target: Target) -> None:
        located = await self.locator.locate(target)
        if context.done:
            return
        if isinstance(located, Refusal):
            context.refuse(located.status, located.text)
            return
        try:
            branch = self._mesh_branch(context, account, located)
        except (SdpError, MediaError) as error:
            context.refuse(488, str(error))
            return
        except (PeerError, RelayError) as error:
            context.refuse(480, str(error))
            return
        context.on_done = lambda ended, response: self._remote_over(ended, response, branch, target)
        context.start([branch])
        context.release()

    def _mesh_branch(
        self, context: RequestContext, account: Account, located: Located
    ) -> MeshBranch:
        branch_id, group = context.new_branch_id(), context.group
        media = None if group is None else self._media(group, context.request)

        def on_peer(attempt: NodeAttempt) -> None:
            if group is None:
                return
            group.by_branch[branch_id] = (
                NodeSide(attempt.node, attempt.hints),
                group.from_value,
            )
            group.peer = attempt.node
            if media is not None:
                media.drop_branch(branch_id)
                known = self.hub.links.remote_ip(attempt.node)
                hints = [hint.host for hint in attempt.hints]
                facing = known or next(iter((*hints, *self.hub.names.addresses)))
                media.node(facing, known or "", branch=branch_id)

        def compose(node: NodeId, txn: bytes) -> MeshRequest:
            return self._for_node(context, account, located, node, txn, branch_id)

        return MeshBranch(
            branch_id,
            self.hub,
            context,
            list(located.attempts),
            compose,
            on_peer,
            self.pending,
        )

    def _for_node(
        self,
        context: RequestContext,
        account: Account,
        located: Located,
        node: NodeId,
        txn: bytes,
        branch_id: int,
    ) -> MeshRequest:
        request, group = context.request, context.group
        copy = self.hub.forwarder.onward(request, drop_identity=True)
        copy.uri = located.uri_at(node)
        side = NodeSide(node)
        legs: tuple[Leg, ...] = ()
        if group is not None:
            self.hub.forwarder.record_route(copy, group.caller, side)
            if group.media is not None:
                carried = self._offer(group.media, request, branch_id, copy.body)
                copy.body, legs = carried.body, carried.legs
        self.hub.forwarder.push_via(copy, side)
        return MeshRequest(
            txn=txn,
            sip=copy.encode(),
            legs=legs,
            statement=self.voucher.issue(account, request, copy.raw_uri),
        )

    def _media(self, group: DialogSet, request: Request) -> CallMedia | None:
        """The media of a call, with the caller's end and its offer taken; made once."""
        if group.method != "INVITE" or group.media is not None:
            return group.media
        media = CallMedia(self.hub.relay.session(group.call_id), self.hub.entropy, self.hub.now())
        group.media = media
        match group.caller:
            case PhoneSide(flow=flow):
                media.phone(flow.local.host, flow.remote.host)
            case NodeSide(node=node):
                peer_ip = self.hub.links.remote_ip(node) or ""
                media.node(peer_ip, peer_ip)
            case ServiceSide():
                raise MediaError("services do not call")
        if is_sdp(request):
            media.take(
                request.body,
                branch=None,
                tag="",
                role=Role.OFFER,
                legs=self.contexts[group.id].upstream.legs,
            )
        return media

    def _offer(self, media: CallMedia, request: Request, branch: int, body: bytes) -> Carried:
        if not is_sdp(request):
            return Carried(body)
        return media.give(request.body, branch=branch, tag="", role=Role.OFFER, forming=True)
