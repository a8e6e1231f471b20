"""The tables of live transactions, their bounds, and the engine that follows the state tables."""

from dataclasses import dataclass

from federation.model.address import Endpoint
from federation.model.clocks import Monotonic
from node.sip.effects import ClientKey, Emit, ServerKey, TransactionEnded
from node.sip.exchange import AnyTransaction, ClientTransaction, ServerTransaction, derived
from node.sip.flow import Flow, TransportName
from node.sip.matching import client_key
from node.sip.message import Message
from node.sip.states import Event, State, Step
from node.sip.timers import CANCEL_PATIENCE, TimerQueue


@dataclass(frozen=True, slots=True)
class TransactionLimits:
    """How many transactions live at once."""

    unanswered: int = 16_384
    "Requests the TU has not answered finally; a further one gets 503 without a transaction."
    requests: int = 32_768
    "Own requests without a final response; a further one fails at once."
    lingering: int = 32_768
    "Transactions kept only for what comes late; beyond, the oldest end early."


class TransactionTables:
    """Every live transaction, found by key, by the bytes of its request, by its peer, by time."""

    def __init__(self, limits: TransactionLimits) -> None:
        self._limits = limits
        self.servers: dict[ServerKey, ServerTransaction] = {}
        self.clients: dict[ClientKey, ClientTransaction] = {}
        self.seen: dict[int, ServerTransaction] = {}
        "By the hash of the datagram that began it."
        self.timers: TimerQueue[AnyTransaction] = TimerQueue()
        self.unanswered = 0
        self.requests = 0
        self._lingering: dict[AnyTransaction, None] = {}
        self._by_remote: dict[tuple[TransportName, Endpoint], dict[AnyTransaction, None]] = {}

    @property
    def lingering(self) -> int:
        """How many transactions are kept only for what comes late."""
        return len(self._lingering)

    def on_flow(self, flow: Flow) -> list[AnyTransaction]:
        """Own requests sent on this flow, and on streams the requests that came over it."""
        peers = self._by_remote.get((flow.transport, flow.remote), ())
        return [txn for txn in peers if txn.flow.id in (flow.id, 0) and txn.flow.name == flow.name]

    def start(self, txn: AnyTransaction, now: Monotonic, emit: Emit) -> None:
        """Enter a new transaction; a client sends its request."""
        delay = txn.enter(txn.state, now)
        if isinstance(txn, ServerTransaction):
            self.servers[txn.key] = txn
            self.unanswered += 1
            watched = txn.flow.reliable
        else:
            self.clients[txn.key] = txn
            self.requests += 1
            watched = True
            txn.send_request(emit)
        if watched:
            remote = (txn.flow.transport, txn.flow.remote)
            self._by_remote.setdefault(remote, {})[txn] = None
        self._arm(txn, delay, now)

    def advance(
        self, txn: AnyTransaction, event: Event, message: Message | None, now: Monotonic, emit: Emit
    ) -> None:
        """Follow the rule of the table, if there is one."""
        rule = txn.machine.rules[txn.state].get(event)
        if rule is None:
            return
        target = rule.target
        if target is txn.state:
            for step in rule.steps:
                txn.perform(step, message, emit)
            return
        delay = txn.enter(target, now)
        for step in rule.steps:
            if step is not Step.SEND_CANCEL:
                txn.perform(step, message, emit)
            elif isinstance(txn, ClientTransaction) and txn.cancel_headers is not None:
                self.send_cancel(txn, now, emit)
        if target is State.TERMINATED or delay == 0:
            self._end(txn, emit)
            return
        self._arm(txn, delay, now)
        if not txn.is_done and target in txn.machine.done:
            self._linger(txn, emit)

    def arm(self, txn: AnyTransaction) -> None:
        """Have it woken at its next resend or end, whichever comes first."""
        wake_at = txn.next_wake
        if wake_at is None:
            self.timers.clear(txn)
        else:
            self.timers.set(txn, wake_at)

    def _arm(self, txn: AnyTransaction, delay: float | None, now: Monotonic) -> None:
        """The same, where nothing but its end in `delay` seconds may be all there is."""
        if delay is None:
            self.arm(txn)
        else:
            self.timers.set_after(txn, delay, now)

    def _linger(self, txn: AnyTransaction, emit: Emit) -> None:
        self._count_done(txn)
        self._lingering[txn] = None
        if len(self._lingering) > self._limits.lingering:
            self._end(next(iter(self._lingering)), emit)

    def _count_done(self, txn: AnyTransaction) -> None:
        if not txn.is_done:
            txn.is_done = True
            if isinstance(txn, ServerTransaction):
                self.unanswered -= 1
            else:
                self.requests -= 1
                txn.settle()

    def _end(self, txn: AnyTransaction, emit: Emit) -> None:
        txn.state = State.TERMINATED
        self._count_done(txn)
        self._lingering.pop(txn, None)
        self.timers.clear(txn)
        remote = (txn.flow.transport, txn.flow.remote)
        peers = self._by_remote.get(remote)
        if peers is not None:
            peers.pop(txn, None)
            if not peers:
                del self._by_remote[remote]
        if isinstance(txn, ClientTransaction):
            del self.clients[txn.key]
        else:
            del self.servers[txn.key]
            if txn.seen is not None and self.seen.get(txn.seen) is txn:
                del self.seen[txn.seen]
        if not txn.is_internal:
            emit(TransactionEnded(txn.key))

    def send_cancel(self, invite: ClientTransaction, now: Monotonic, emit: Emit) -> None:
        """Begin the CANCEL of an INVITE, and bound how long the INVITE may go on (9.1)."""
        assert invite.request is not None
        branch = invite.request.top_via.branch
        assert branch is not None
        headers, invite.cancel_headers = invite.cancel_headers or (), None
        cancel = derived(invite.request, "CANCEL", invite.request.get("To") or "", headers)
        invite.end_at = Monotonic(now + CANCEL_PATIENCE)
        key = client_key(branch, "CANCEL")
        self.start(ClientTransaction(key, cancel, invite.flow, is_internal=True), now, emit)
