"""What other nodes send over their links: requests, ACKs, further 2xx and `bye` frames."""

from collections.abc import Callable
from dataclasses import dataclass

from federation.messages import Bye, Hello
from federation.messages import Request as MeshRequest
from federation.messages import Response as MeshResponse
from federation.model.identity import NodeId
from federation.ports import ServerTransaction
from federation.statement import Statement
from node.edge import identifiers
from node.edge.branches import MeshBranch
from node.edge.calls import Calls
from node.edge.context import RequestContext
from node.edge.dialog import DIALOG_METHODS, Match, NodeSide, Side
from node.edge.hub import Hub, MeshUpstream
from node.edge.indialog import InDialog
from node.edge.replies import reason_header, reply
from node.edge.vouching import Voucher
from node.sip.errors import SipParseError
from node.sip.message import Request, Response, parse_message
from node.tracing.tap import RECEIVED, bye_text, call_id_of, frame_text


@dataclass(slots=True)
class Inbound:
    """Takes what arrives over links; implements `federation.ports.LinkReceiver`."""

    hub: Hub
    calls: Calls
    in_dialog: InDialog
    voucher: Voucher
    pending: dict[bytes, MeshBranch]
    link_changed: Callable[[], None] = lambda: None

    def on_request(self, txn: ServerTransaction) -> None:
        """A request of another node; the link says 100 by itself."""
        request = self._read(txn.request, txn.peer)
        if request is None:
            txn.respond(b"SIP/2.0 400 Bad Request\r\nContent-Length: 0\r\n\r\n", (), final=True)
            return
        upstream = MeshUpstream(self.hub, txn, request)
        try:
            identifiers.check(request)
            if request.max_forwards == 0:
                upstream.respond(reply(self.hub, request, 483))
                return
            self.hub.forwarder.strip_own_routes(request)
            if request.to.tag is not None:
                self._inside(upstream, txn)
            elif self.hub.forwarder.is_looped(request) or self._comes_again(request, txn.peer):
                upstream.respond(reply(self.hub, request, 482))
            else:
                request.remove("Route")
                self._outside(upstream, txn)
        except SipParseError as error:
            upstream.respond(reply(self.hub, request, error.status, error.reason))

    def _inside(self, upstream: MeshUpstream, txn: ServerTransaction) -> None:
        match = self._match(upstream.request, txn.peer)
        if match is None:
            upstream.respond(reply(self.hub, upstream.request, 481))
            return
        context = self.in_dialog.request(upstream, match, txn.request.legs)
        self._cancel_by(txn, context)

    def _outside(self, upstream: MeshUpstream, txn: ServerTransaction) -> None:
        request, peer = upstream.request, txn.peer
        sender = NodeSide(peer)
        if request.method in DIALOG_METHODS and not self.hub.dialogs.has_room_for(sender):
            text = reason_header(480, "this node carries as many calls as it can")
            upstream.respond(reply(self.hub, request, 480, Reason=text))
            return
        context = self.calls.from_node(upstream, sender)
        self._cancel_by(txn, context)
        statement = self.voucher.read(txn.request, request, peer)
        if self.voucher.needs_check(statement):
            context.hold()
            self.hub.spawn(self._check_then_deliver(context, statement, peer))
            return
        caller = self.voucher.known_caller(statement, request, peer, number_holds=True)
        self.calls.deliver(context, caller)

    def _cancel_by(self, txn: ServerTransaction, context: RequestContext) -> None:
        """Have the other node's cancel frame end a request."""

        def cancel(reason: str) -> None:
            text = frame_text("cancel", call_id_of(txn.request.sip), f"Reason: {reason}")
            self.hub.note((self.hub.now(), RECEIVED, text, txn.peer))
            context.cancel()

        txn.on_cancel = cancel

    async def _check_then_deliver(
        self, context: RequestContext, statement: Statement | None, peer: NodeId
    ) -> None:
        """Derive the number of the caller's key first; it costs a quarter of a second, once."""
        caller = await self.voucher.caller(statement, context.request, peer)
        if context.done:
            return
        self.calls.deliver(context, caller)
        if not context.done:
            context.release()

    def on_ack(self, peer: NodeId, peer_ip: str, request: MeshRequest) -> None:
        """The ACK to a 2xx that we passed on."""
        message = self._read(request, peer)
        if message is None:
            return
        try:
            identifiers.check(message)
            if message.max_forwards == 0:
                return
            self.hub.forwarder.strip_own_routes(message)
            match = self._match(message, peer)
        except SipParseError:
            return
        if match is not None:
            self.in_dialog.ack(message, match, request.legs, peer_ip)

    def on_further_2xx(self, peer: NodeId, response: MeshResponse) -> None:
        """A 2xx after the final response of its transaction."""
        branch = self.pending.get(response.txn)
        if branch is not None and branch.node == peer:
            branch.on_response(response.txn, response, self.hub.links.remote_ip(peer) or "")

    def on_bye(self, peer: NodeId, bye: Bye) -> bool:
        """The other node ends a dialog from its middle; only that dialog's node may."""
        self.hub.note((self.hub.now(), RECEIVED, bye_text(bye), peer))
        match = self.hub.dialogs.find(
            bye.call_id, bye.sender_tag, bye.receiver_tag, lambda side: _is_at(side, peer)
        )
        if match is None:
            return False
        self.hub.endings.end_dialog(match.dialog, bye.reason or "ended", spare=peer)
        return True

    def on_link_up(self, peer: NodeId, hello: Hello) -> None:
        """A link is ready."""
        name = peer.text[:12]
        self.hub.log.info("link_up", peer=name, software=hello.software, limit_by=name)
        self.hub.endings.retry()
        self.link_changed()

    def on_link_down(self, peer: NodeId) -> None:
        """The last link to a node is gone; its calls go on, for media needs none."""
        self.hub.log.info("link_down", peer=peer.text[:12], limit_by=peer.text[:12])
        self.link_changed()

    def _match(self, request: Request, peer: NodeId) -> Match | None:
        return self.hub.dialogs.find(
            request.call_id,
            request.from_.tag or "",
            request.to.tag or "",
            lambda side: _is_at(side, peer),
        )

    def _comes_again(self, request: Request, peer: NodeId) -> bool:
        """Whether a spiral has been here before by way of the same node.

        Requests inside it could not be told apart: Call-ID, tags and sender would be the same.
        """
        return self.hub.forwarder.has_passed(request) and self.hub.dialogs.has_from(
            request.call_id, request.from_.tag or "", lambda side: _is_at(side, peer)
        )

    def _read(self, frame: MeshRequest, peer: NodeId) -> Request | None:
        self.hub.note((self.hub.now(), RECEIVED, frame.sip, peer))
        try:
            message = parse_message(frame.sip)
        except SipParseError as error:
            name = peer.text[:12]
            self.hub.log.info("unreadable_request", reason=error.reason, limit_by=name)
            return None
        return None if isinstance(message, Response) else message


def _is_at(side: Side, peer: NodeId) -> bool:
    return isinstance(side, NodeSide) and side.node == peer
