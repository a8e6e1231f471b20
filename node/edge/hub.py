"""What the parts of the edge share: its cores, its wires and its clock."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import structlog

from federation.messages import Bye, Legs
from federation.messages import Request as MeshRequest
from federation.model.address import Endpoint
from federation.model.clocks import Clock, Entropy, Monotonic
from federation.model.identity import NodeId
from federation.ports import ClientOwner, ServerTransaction
from media_relay.session import RelaySession
from node.edge.alarms import Alarm, Alarms
from node.edge.dialog import Dialog, DialogSet, DialogTable, PhoneSide, PlainSide, Side
from node.edge.forward import Forwarder
from node.edge.guard import Guard
from node.edge.large import CONNECTS_WITHIN, LargeRequests
from node.edge.outbound_limits import OutboundLimits
from node.names import OwnNames
from node.sip.effects import Effect, ServerKey
from node.sip.errors import SipParseError
from node.sip.flow import Flow
from node.sip.gruu import Gruus
from node.sip.message import Request, Response
from node.sip.transaction import TransactionLayer
from node.tracing.tap import SENT, Noted

TRANSACTION_LIFE = 32.0
"64*T1: how long a finished transaction may still be repeated, in seconds."


class Wires(Protocol):
    """Sends SIP to phones."""

    def send(self, data: bytes, flow: Flow) -> None:
        """Put a message on a flow; a flow that is gone is reported to whoever made the wires."""

    def abandon(self, flow: Flow) -> None:
        """Give up a connection that is still being made, as if it had failed."""

    def stands(self, flow: Flow) -> bool:
        """Whether a connection that was taken up is still there."""


class MeshClient(Protocol):
    """A transaction under way at another node."""

    def cancel(self) -> None:
        """Ask for its end."""


class NodeLinks(Protocol):
    """Carries SIP transactions to other nodes."""

    def request(
        self, node: NodeId, hints: Sequence[Endpoint], request: MeshRequest, owner: ClientOwner
    ) -> MeshClient:
        """Send a request; `owner` hears of its responses and its end."""

    def send_ack(self, node: NodeId, hints: Sequence[Endpoint], request: MeshRequest) -> None:
        """Send the ACK to a 2xx."""

    async def send_bye(
        self,
        node: NodeId,
        bye: Bye,
        timeout: float = 2.0,  # noqa: ASYNC109
    ) -> bool | None:
        """End a dialog at its other node; whether that knew it, `None` without an answer."""

    def push_2xx(self, peer: NodeId, txn: bytes, sip: bytes, legs: Legs) -> None:
        """Send a 2xx after the final response of its transaction."""

    def is_linked(self, node: NodeId) -> bool:
        """Whether a link to a node is up."""

    def remote_ip(self, node: NodeId) -> str | None:
        """Where the link to a node comes from; `None` without a link."""


class Endings(Protocol):
    """Ends calls (`node.edge.ending`)."""

    def forget(self, group: DialogSet, reason: str) -> None:
        """Drop a set that ended by itself."""

    def hang_up(self, group: DialogSet, reason: str, *, spare: NodeId | None = None) -> None:
        """End a set from the middle."""

    def hang_up_in_order(self, group: DialogSet, reason: str) -> None:
        """End a set from the middle, a 2xx that is under way with its ACK."""

    def hang_up_callee(self, dialog: Dialog, reason: str) -> None:
        """End an answer that is not passed on."""

    def tell_again(self, dialog: Dialog, *, caller: bool) -> None:
        """A phone's BYE did not reach the node of one party."""

    def retry(self) -> None:
        """Tell the nodes that could not be told before."""

    def acknowledge(self, dialog: Dialog, *, to_caller: bool) -> None:
        """Send one side the ACK that the other side will not send any more."""

    def end_dialog(self, dialog: Dialog, reason: str, *, spare: NodeId | None = None) -> None:
        """End one dialog of a set from the middle, and the set with its last one."""


class Ways(Protocol):
    """The way to parties of other SIP networks inside dialogs (`node.edge.ways`)."""

    def note(self, side: Side) -> None:
        """A party was heard of."""

    def waits(self, side: Side, action: Callable[[], None]) -> bool:
        """Whether the way is still looked for; `action` is carried out after that."""

    def way_to(self, side: PlainSide) -> Flow:
        """The flow of the party's next request."""


class Relay(Protocol):
    """Opens relay sessions."""

    def session(self, label: str) -> RelaySession:
        """Begin a session; raises `NoCapacity`."""


@dataclass(slots=True)
class Hub:
    """The edge's cores and wires, handed to each of its parts."""

    node: NodeId
    names: OwnNames
    forwarder: Forwarder
    layer: TransactionLayer
    wires: Wires
    links: NodeLinks
    relay: Relay
    dialogs: DialogTable
    clock: Clock
    entropy: Entropy
    gruus: Gruus
    carry_out: Callable[[Iterable[Effect]], None]
    "Does what the transaction layer asked for."
    note: Callable[[Noted], None]
    "Takes every message that is received or sent (`node.tracing.tap`)."
    endings: Endings = field(init=False)
    guard: Guard = field(init=False)
    limits: OutboundLimits = field(default_factory=OutboundLimits)
    on_confirmed: Callable[[DialogSet], None] = lambda group: None
    "Told when a set has its first confirmed dialog."
    contact_of: Callable[[PhoneSide], str] = lambda side: side.contact
    "Where requests inside a dialog go at a phone, which may have given a GRUU."
    flow_of: Callable[[PhoneSide], Flow] = lambda side: side.flow
    "The flow on which they go there, which may have connected anew."
    ways: Ways | None = None
    "How parties of other SIP networks are reached inside dialogs; `None`: over their own flow."
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)
    alarms: Alarms = field(init=False)
    now: Callable[[], Monotonic] = field(init=False)
    "The time for timers."
    large: LargeRequests = field(default_factory=LargeRequests)
    log: Any = field(default_factory=lambda: structlog.get_logger("edge"))

    def __post_init__(self) -> None:
        self.alarms = Alarms(self.clock)
        self.now = self.clock.monotonic

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run `work` beside; it is cancelled when the edge closes."""
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def later(self, delay: float, action: Callable[[], None]) -> Alarm:
        """Call `action` in `delay` seconds, unless the edge closes before."""
        return self.alarms.later(delay, action)

    async def close(self) -> None:
        """End every timer and task."""
        self.alarms.close()
        tasks = list(self.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.log.error("task_failed", task=task.get_name(), error=repr(error))

    def send_stateless(self, request: Request, phone: PhoneSide) -> None:
        """Send a request without a transaction: the ACK to a 2xx.

        Should a connection that a large one needs be refused, the next repetition of the 2xx has
        its ACK go over UDP. What nothing carries is dropped; the missing ACK ends the dialog.
        """
        try:
            flow = self.large.flow_for(request, phone.flow, phone.contact, now=self.now())
        except SipParseError as error:
            self.log.warning("ack_dropped", reason=error.reason, limit_by="ack")
            return
        if flow != phone.flow:
            self.forwarder.change_via(request, flow)
            self.later(CONNECTS_WITHIN, lambda: self.wires.abandon(flow))
        if flow.reliable:
            request.ensure_content_length()
        data = request.encode()
        self.note((self.now(), SENT, data, flow))
        self.wires.send(data, flow)

    def way_to(self, phone: PhoneSide) -> Flow:
        """The flow of a phone, or of where a party of another network wants its requests."""
        if not isinstance(phone, PlainSide):
            return self.flow_of(phone)
        return phone.flow if self.ways is None else self.ways.way_to(phone)

    def note_way(self, side: Side) -> None:
        """A party of another network may have named where it wants its requests."""
        if self.ways is not None:
            self.ways.note(side)

    def tag(self) -> str:
        """A fresh tag (RFC 3261 19.3)."""
        return self.entropy.token(8).hex()


class Upstream(Protocol):
    """Where a request came from, and its responses go."""

    request: Request

    @property
    def legs(self) -> Legs:
        """The legs that came with the request."""

    def respond(self, response: Response, legs: Legs = ()) -> None:
        """Send a response back; a final one ends the transaction."""


@dataclass(slots=True)
class PhoneUpstream:
    """A server transaction of the SIP side."""

    hub: Hub
    key: ServerKey
    request: Request
    flow: Flow

    @property
    def legs(self) -> Legs:
        """Phones bring no legs."""
        return ()

    def respond(self, response: Response, legs: Legs = ()) -> None:
        """Send a response back; phones know nothing of legs."""
        if self.flow.reliable:
            response.ensure_content_length()
        self.hub.carry_out(self.hub.layer.respond(self.key, response, now=self.hub.now()))


@dataclass(slots=True)
class MeshUpstream:
    """A server transaction that came over a link."""

    hub: Hub
    transaction: ServerTransaction
    request: Request
    answered: bool = False

    @property
    def legs(self) -> Legs:
        """The legs that the other node brought."""
        return self.transaction.request.legs

    def respond(self, response: Response, legs: Legs = ()) -> None:
        """Send a response back; after the final one, a further 2xx goes its own way."""
        txn = self.transaction
        data = response.encode()
        self.hub.note((self.hub.now(), SENT, data, txn.peer))
        if self.answered:
            if response.status < 300:
                self.hub.links.push_2xx(txn.peer, txn.request.txn, data, legs)
            return
        self.answered = response.status >= 200
        if self.answered:
            txn.on_cancel = None
        txn.respond(data, legs, final=self.answered)
