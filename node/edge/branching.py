"""Makes the branches of a request outside dialogs: to devices here, and to other nodes."""

from dataclasses import dataclass

from federation.messages import Leg
from federation.messages import Request as MeshRequest
from federation.model.identity import NodeId
from node.accounts.account import Account
from node.edge.branches import MeshBranch, NodeAttempt, PhoneBranch, PhoneClients
from node.edge.context import RequestContext
from node.edge.dialog import DialogSet, NodeSide, PhoneSide, PlainSide, ServiceSide
from node.edge.hub import Hub
from node.edge.identity import Caller
from node.edge.media import CallMedia, Carried, MediaError, Role
from node.edge.replies import description_of, from_line, is_sdp, with_description
from node.edge.vouching import Voucher
from node.routing import Located
from node.sip.binding import Binding
from node.sip.message import Request
from node.sip.uri import Uri


@dataclass(frozen=True, slots=True)
class Diverted:
    """What goes with a call that an account of this node sends on."""

    header: str
    "The Diversion values (RFC 5806), the last one first."
    statement: bytes | None
    "The caller statement the call came with; `None` where nothing vouches for the caller."


@dataclass(slots=True)
class BranchMaker:
    """Prepares requests for their targets, media included."""

    hub: Hub
    clients: PhoneClients
    pending: dict[bytes, MeshBranch]
    voucher: Voucher

    def device(
        self,
        context: RequestContext,
        binding: Binding,
        caller: Caller,
        diversion: str | None = None,
        breadth: int | None = None,
        target: Uri | None = None,
        instead_of: int | None = None,
    ) -> PhoneBranch:
        """A branch to one device, which is shown `caller`; `target` is asked for, if not itself.

        It may stand in place of another branch, named by `instead_of`.
        """
        request = context.request
        branch_id = context.new_branch_id() if instead_of is None else instead_of
        side = PhoneSide(binding.flow, binding.aor, binding.server, binding.uri)
        shown = caller.shown_from(binding.server)
        copy = self.hub.forwarder.onward(request, from_line(shown, request.from_.tag))
        copy.uri = target or binding.target
        asserted = caller.asserted_identity(binding.server)
        if asserted is not None:
            copy.append("P-Asserted-Identity", asserted)
        if diversion is not None:
            copy.prepend("Diversion", diversion)
        if breadth is not None:
            copy.set("Max-Breadth", str(breadth))
        for value in reversed(binding.path):
            copy.prepend("Route", value)
        group = context.group
        if instead_of is not None and group is not None and group.media is not None:
            group.media.drop_branch(branch_id)
        self.lead(context, copy, side, shown, branch_id)
        return PhoneBranch(
            branch_id, self.hub, self.clients, context, copy, binding.flow, binding.uri
        )

    def lead(
        self, context: RequestContext, copy: Request, side: PhoneSide, shown: str, branch_id: int
    ) -> None:
        """Make a copy ready for `side`, which sees the From value `shown`: its Via, and its media.

        Raises:
            PeerError, RelayError: its media cannot be carried.
        """
        request, group = context.request, context.group
        if group is not None:
            group.by_branch[branch_id] = (side, shown)
            self.hub.forwarder.record_route(copy, group.caller, side)
            media = self.media(group, context)
            if media is not None:
                flow = side.flow
                media.phone(flow, self.hub.names.host_of(flow), branch=branch_id)
                copy.body = self.offer(media, request, branch_id, copy.body).body
        self.hub.forwarder.push_via(copy, side, self.hub.forwarder.loop_mark(request))

    def node(
        self,
        context: RequestContext,
        account: Account,
        located: Located,
        diverted: Diverted | None = None,
    ) -> MeshBranch:
        """A branch to the nodes that take the call, with our statement of who is calling.

        `diverted`: it was for `account` and goes on elsewhere (RFC 5806, RFC 8946).
        """
        branch_id, group = context.new_branch_id(), context.group
        media = None if group is None else self.media(group, context)

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
            return self._for_node(context, account, located, node, txn, branch_id, diverted)

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
        diverted: Diverted | None,
    ) -> MeshRequest:
        request, group = context.request, context.group
        copy = self.hub.forwarder.onward(request)
        copy.uri = located.uri_at(node)
        if request.uri.scheme == "sips":
            copy.uri = copy.uri.with_(scheme="sips")
        if diverted is None and (instance := request.uri.param("gr")) is not None:
            copy.uri = copy.uri.with_param("gr", instance or None)
        side = NodeSide(node)
        if diverted is not None:
            copy.prepend("Diversion", diverted.header)
        legs: tuple[Leg, ...] = ()
        if group is not None:
            self.hub.forwarder.record_route(copy, group.caller, side)
            if group.media is not None:
                carried = self.offer(group.media, request, branch_id, copy.body)
                copy.body, legs = carried.body, carried.legs
        self.hub.forwarder.push_via(copy, side, self.hub.forwarder.loop_mark(request))
        return MeshRequest(
            txn=txn,
            sip=copy.encode(),
            legs=legs,
            statement=self._statement(account, request, copy.raw_uri, diverted),
        )

    def _statement(
        self, account: Account, request: Request, destination: str, diverted: Diverted | None
    ) -> bytes | None:
        """Our word on who calls; none where we know nothing of who called first."""
        if diverted is None:
            return self.voucher.issue(account, request, destination)
        if diverted.statement is None:
            return None
        return self.voucher.issue(account, request, destination, diverted.statement)

    def media(self, group: DialogSet, context: RequestContext) -> CallMedia | None:
        """The media of a call, with the caller's end and its offer taken; made once."""
        if group.method != "INVITE" or group.media is not None:
            return group.media
        request, legs = context.request, context.upstream.legs
        media = CallMedia(self.hub.relay.session(group.call_id), self.hub.entropy, self.hub.now())
        group.media = media
        match group.caller:
            case PhoneSide(flow=flow) as phone:
                is_plain = isinstance(phone, PlainSide)
                media.phone(flow, self.hub.names.host_of(flow), is_plain=is_plain)
            case NodeSide(node=node):
                peer_ip = self.hub.links.remote_ip(node) or ""
                media.node(peer_ip, peer_ip)
            case ServiceSide():
                raise MediaError("services do not call")
        if is_sdp(request):
            media.take(
                description_of(request),
                branch=None,
                tag="",
                role=Role.OFFER,
                legs=legs,
            )
        return media

    def offer(self, media: CallMedia, request: Request, branch: int, body: bytes) -> Carried:
        """The caller's description for a branch; another `body` passes as it is."""
        if not is_sdp(request):
            return Carried(body)
        description = description_of(request)
        carried = media.give(description, branch=branch, tag="", role=Role.OFFER, forming=True)
        return Carried(with_description(request, carried.body), carried.legs)
