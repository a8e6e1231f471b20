"""One place a request was sent to: a device over its flow, or another node over its link."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from federation.messages import Leg
from federation.messages import Request as MeshRequest
from federation.messages import Response as MeshResponse
from federation.model.address import Endpoint
from federation.model.errors import PeerError
from federation.model.identity import NodeId
from federation.ports import Failure
from media_relay.errors import RelayError
from node.edge.hub import TRANSACTION_LIFE, Hub, MeshClient
from node.edge.large import CONNECTS_WITHIN
from node.sip.congestion import UDP_LIMIT
from node.sip.effects import ClientKey
from node.sip.errors import SipParseError
from node.sip.flow import Flow
from node.sip.message import Request, Response, parse_message
from node.tracing.tap import RECEIVED, SENT, call_id_of, frame_text, no_answer_text

TXN_BYTES = 16
_SILENT = {
    Failure.UNREACHABLE: "no link",
    Failure.LOST: "link lost",
    Failure.OVERLOADED: "link full",
    Failure.SHUTDOWN: "stopping",
}
"Why no answer came, where it was not silence."


class BranchOwner(Protocol):
    """The request context a branch reports to."""

    def on_response(
        self, branch: int, response: Response, legs: Sequence[Leg], peer_ip: str
    ) -> None:
        """A response came over the branch, 100 included."""

    def on_failure(self, branch: int, status: int, reason: str) -> None:
        """The branch ended without a response; `status` is what that amounts to."""


class Branch(Protocol):
    """One client transaction of a request context."""

    id: int

    def start(self) -> None:
        """Send the request."""

    def cancel(self) -> None:
        """Ask for its end; its final response still comes."""


class PhoneClients:
    """Client transactions of the SIP side, and the branch that each belongs to."""

    def __init__(self) -> None:
        self._branches: dict[ClientKey, PhoneBranch] = {}

    def add(self, key: ClientKey, branch: "PhoneBranch") -> None:
        """Lead what comes for `key` to `branch`."""
        self._branches[key] = branch

    def get(self, key: ClientKey) -> "PhoneBranch | None":
        """The branch of a client transaction."""
        return self._branches.get(key)

    def forget(self, key: ClientKey) -> None:
        """The transaction ended."""
        self._branches.pop(key, None)

    def __len__(self) -> int:
        return len(self._branches)


@dataclass(slots=True)
class PhoneBranch:
    """A request on its way to a device."""

    id: int
    hub: Hub
    clients: PhoneClients
    owner: BranchOwner
    request: Request
    flow: Flow
    contact: str = ""
    "The device's URI: what says whether it can be connected to."
    unreached: int = 480
    "What it amounts to that the device's flow is gone."
    key: ClientKey | None = None
    gave_up: bool = False
    "An INVITE that no final response came to in time."
    again: Callable[[], "PhoneBranch | None"] | None = None
    "Makes the request for another flow of the same device (RFC 5626 7)."
    spare: Flow | None = None
    "The device's own flow, for when it refuses the connection that a large request needs."

    def start(self) -> None:
        """Send the request in a client transaction of its own."""
        if self.flow.reliable:
            self.request.ensure_content_length()
        elif self.request.size > UDP_LIMIT:
            self._start_large()
            return
        self._transmit()

    def _start_large(self) -> None:
        """Send it over TCP if the device can be connected to (RFC 3261 18.1.1)."""
        hub = self.hub
        try:
            flow = hub.large.flow_for(self.request, self.flow, self.contact, now=hub.now())
        except SipParseError as error:
            self.owner.on_failure(self.id, error.status, error.reason)
            return
        if flow != self.flow:
            self.spare = self.flow
            self._change_to(flow)
            hub.later(CONNECTS_WITHIN, lambda: hub.wires.abandon(flow))
        self._transmit()

    def _change_to(self, flow: Flow) -> None:
        self.flow = flow
        self.hub.forwarder.change_via(self.request, flow)

    def _transmit(self) -> None:
        self.key, effects = self.hub.layer.request(self.request, self.flow, now=self.hub.now())
        self.clients.add(self.key, self)
        self.hub.carry_out(effects)

    def cancel(self) -> None:
        """Send CANCEL now, or as soon as a 1xx allows it (RFC 3261 9.1)."""
        self.spare = self.again = None
        if self.key is not None:
            self.hub.carry_out(self.hub.layer.cancel(self.key, now=self.hub.now()))

    def on_response(self, response: Response) -> None:
        """The transaction layer has a response."""
        self.spare = None
        if response.status >= 200 and self.key is not None and self.request.method != "INVITE":
            self.clients.forget(self.key)
        if response.status == 430 and self.unreached != 430:
            self.on_failure()
            return
        if response.status > 100:
            self.again = None
        self.owner.on_response(self.id, response, (), "")

    def on_timeout(self) -> None:
        """No final response came in time."""
        self.gave_up = self.request.method == "INVITE"
        self.owner.on_failure(self.id, 408, "Request Timeout")

    def on_failure(self) -> None:
        """The request could not be sent."""
        if self.spare is not None:
            self._change_to(self.spare)
            self.spare = None
            self._transmit()
        elif not self._takes_other_flow():
            self.owner.on_failure(self.id, self.unreached, "Device not reachable")

    def _takes_other_flow(self) -> bool:
        """Send it on another flow of the device, if there is one."""
        other = None if self.again is None else self.again()
        if other is None:
            return False
        self.request, self.flow, self.contact = other.request, other.flow, other.contact
        self.start()
        return True


@dataclass(frozen=True, slots=True)
class NodeAttempt:
    """One node that may be asked, with addresses where it may be found."""

    node: NodeId
    hints: tuple[Endpoint, ...] = ()


@dataclass(slots=True)
class MeshBranch:
    """A request on its way to another node; the next one is asked if the first cannot be reached.

    Each attempt has a transaction of its own, so it is made by `compose`, which is given the node
    and the transaction's name.
    """

    id: int
    hub: Hub
    owner: BranchOwner
    attempts: list[NodeAttempt]
    compose: Callable[[NodeId, bytes], MeshRequest]
    on_peer: Callable[[NodeAttempt], None]
    "Told which node is asked, before its request is made."
    pending: dict[bytes, "MeshBranch"] = field(default_factory=dict)
    "Transactions whose further 2xx lead back here; shared by all branches."
    node: NodeId | None = None
    "The node that was asked last."
    txn: bytes = b""
    sip: bytes = b""
    "The request as it was sent last."
    client: MeshClient | None = None
    heard: bool = False
    "A response came: this node has the request, so no other may get it."
    cancelled: bool = False

    def start(self) -> None:
        """Ask the next node."""
        attempt = self.attempts.pop(0)
        self.txn = self.hub.entropy.token(TXN_BYTES)
        self.node = attempt.node
        self.on_peer(attempt)
        self.pending[self.txn] = self
        try:
            request = self.compose(attempt.node, self.txn)
            self.sip = request.sip
            self.hub.note((self.hub.now(), SENT, request.sip, attempt.node))
            self.client = self.hub.links.request(attempt.node, attempt.hints, request, self)
        except (PeerError, RelayError) as error:
            self._forget(self.txn)
            self.owner.on_failure(self.id, 480, str(error))

    def cancel(self) -> None:
        """Cancel at the node that was asked; no other is asked any more."""
        self.cancelled = True
        self.attempts.clear()
        if self.client is not None and self.node is not None:
            text = frame_text("cancel", call_id_of(self.sip))
            self.hub.note((self.hub.now(), SENT, text, self.node))
            self.client.cancel()

    def on_accepted(self, txn: bytes, peer_ip: str) -> None:
        """The node has the request, so no other one may get it."""
        if txn == self.txn:
            self.heard = True

    def on_response(self, txn: bytes, response: MeshResponse, peer_ip: str) -> None:
        """A response frame arrived on our stream, or a further 2xx on one of its own."""
        if txn != self.txn or self.node is None:
            return
        self.hub.note((self.hub.now(), RECEIVED, response.sip, self.node))
        self.heard = True
        if response.is_final:
            self.hub.later(TRANSACTION_LIFE, lambda: self._forget(txn))
        try:
            message = parse_message(response.sip)
        except SipParseError as error:
            self.owner.on_failure(self.id, 502, f"Unreadable answer: {error.reason}")
            return
        if isinstance(message, Response):
            self.owner.on_response(self.id, message, response.legs, peer_ip)

    def _forget(self, txn: bytes) -> None:
        self.pending.pop(txn, None)
        if txn == self.txn:
            self.client = None

    def on_unreachable(self, txn: bytes, reason: Failure) -> None:
        """The node could not be asked, or went away before its final response."""
        if txn != self.txn:
            return
        if self.node is not None and reason is not Failure.CANCELLED:
            text = no_answer_text(self.sip, _SILENT.get(reason, ""))
            self.hub.note((self.hub.now(), RECEIVED, text, self.node))
        self.hub.later(TRANSACTION_LIFE, lambda: self._forget(txn))
        if self.cancelled:
            self.owner.on_failure(self.id, 487, "Request Terminated")
        elif self.attempts and not self.heard:
            self.start()
        else:
            self.owner.on_failure(self.id, 480, f"the other node: {reason.replace('_', ' ')}")
