"""The transaction layer of RFC 3261 section 17 with RFC 6026, RFC 4320 and RFC 3581.

It stands between the transports and whoever uses transactions (the TU: proxy, registrar, services)
and takes off it what concerns one hop only: retransmission, its absorption, the ACK to non-2xx
finals, the answer to CANCEL, giving up. The TU sees each request once and each of its own requests
end once. The layer is told what happened (a message, a wish of the TU, a timer) and returns what
is to be done, in order; it never raises for what the network sent.

The state machines stand in `states.py`, what a transaction remembers in `exchange.py`. What follows
is the tables of live transactions and their bounds. A transaction whose final answer is through
only lingers, to absorb what comes late; the oldest of those go first when there are too many,
while new requests are refused with 503 when too many are unanswered.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2s

from federation.model.clocks import Entropy, Monotonic
from federation.model.errors import UsageError
from node.sip.effects import (
    AckArrived,
    CancelArrived,
    ClientFailed,
    ClientKey,
    Effect,
    Emit,
    Malformed,
    RequestArrived,
    Send,
    ServerKey,
    StrayResponse,
    TransactionEnded,
)
from node.sip.exchange import ClientTransaction, ServerTransaction
from node.sip.flow import Flow
from node.sip.headers import Via
from node.sip.matching import client_key, fallback_flow, note_arrival, reply_flow, server_key
from node.sip.message import Message, Request, Response, SipParseError, parse_message
from node.sip.states import Event, State
from node.sip.tables import TransactionLimits, TransactionTables

RETRY_AFTER = 5
"Seconds named in that 503."


@dataclass(frozen=True, slots=True)
class TransactionUsage:
    """How full the tables are."""

    unanswered: int
    "Requests waiting for the TU's final answer; bounded."
    requests: int
    "Own requests waiting for a final response; bounded."
    lingering: int
    "Finished, absorbing what comes late; bounded."
    timers: int
    "Entries of the timer queue."


class TransactionLayer:
    """All transactions of one node over all its SIP flows."""

    def __init__(self, *, entropy: Entropy, limits: TransactionLimits | None = None) -> None:
        self._secret = entropy.token(16)
        self._limits = limits or TransactionLimits()
        self._table = TransactionTables(self._limits)
        self._repeats: Counter[tuple[bool, Flow]] = Counter()
        self.timers = self._table.timers
        "To be read only: no timer is before its `bound`, which costs nothing to ask."

    # From the network

    def receive_data(self, data: bytes, flow: Flow, *, now: Monotonic) -> list[Effect]:
        """Take one message as it came from a transport.

        A repeated datagram is absorbed unread. What cannot be parsed is answered where RFC 3261
        asks for it, and reported as `Malformed`.
        """
        effects: list[Effect] = []
        seen = self._table.seen.get(hash(data))
        if seen is not None and seen.flow == flow:
            self._repeats[False, flow] += 1
            self._table.advance(seen, Event.REQUEST, None, now, effects.append)
            return effects
        message: Message | None = None
        try:
            message = parse_message(data)
            if isinstance(message, Response):
                self._receive_response(message, flow, now, effects.append)
            else:
                server = self._receive_request(message, flow, now, effects.append)
                if server is not None and not flow.reliable:
                    server.seen = hash(data)
                    self._table.seen[server.seen] = server
        except SipParseError as error:
            self._refuse_unreadable(error, message, flow, effects.append)
        return effects

    def has_seen(self, data: bytes, flow: Flow) -> bool:
        """Whether this datagram repeats a request that has its transaction."""
        seen = self._table.seen.get(hash(data))
        return seen is not None and seen.flow == flow

    def receive(self, message: Message, flow: Flow, *, now: Monotonic) -> list[Effect]:
        """Take one parsed message. The request handed back in an effect is this very object."""
        effects: list[Effect] = []
        try:
            if isinstance(message, Response):
                self._receive_response(message, flow, now, effects.append)
            elif isinstance(message, Request):
                self._receive_request(message, flow, now, effects.append)
        except SipParseError as error:
            self._refuse_unreadable(error, message, flow, effects.append)
        return effects

    def flow_failed(self, flow: Flow, *, now: Monotonic) -> list[Effect]:
        """A connection closed, could not be made, or a datagram could not be sent.

        Own requests without final response on it fail. Answers to requests that came over it take
        a new connection to the sent-by port from now on (RFC 3261 section 18.2.2).
        """
        effects: list[Effect] = []
        for txn in self._table.on_flow(flow):
            if isinstance(txn, ServerTransaction):
                txn.reply_flow = fallback_flow(txn.sent_by_port, txn.flow)
            else:
                self._table.advance(txn, Event.UNREACHABLE, None, now, effects.append)
        return effects

    # From the TU

    def respond(self, key: ServerKey, response: Response, *, now: Monotonic) -> list[Effect]:
        """Answer a request; the response carries the request's Vias.

        Nothing is sent where nothing may be: to a transaction that has ended, a second final
        response (but any 2xx to an INVITE after a 2xx), and to a non-INVITE a provisional response
        or a 408, which leaves it unanswered (RFC 4320; its 100 the layer sends itself when due).
        """
        effects: list[Effect] = []
        txn = self._table.servers.get(key)
        if txn is not None:
            status = response.status
            silent = status == 408 and not txn.is_invite
            event = Event.ABANDONED if silent else _event_of(status)
            if key.startswith("2543 "):
                txn.to_tag = response.to.tag
            self._table.advance(txn, event, response, now, effects.append)
        return effects

    def abandon(self, key: ServerKey, *, now: Monotonic) -> list[Effect]:
        """Leave a non-INVITE unanswered for good; copies of it are absorbed in silence.

        Nothing happens to an INVITE, which always needs an answer, or to what has its answer.
        """
        effects: list[Effect] = []
        txn = self._table.servers.get(key)
        if txn is not None:
            self._table.advance(txn, Event.ABANDONED, None, now, effects.append)
        return effects

    def respond_once(self, key: ServerKey, response: Response, *, now: Monotonic) -> list[Effect]:
        """Answer an INVITE finally with a non-2xx that is not repeated until the ACK comes.

        For strangers: a challenge to a forged source must not be multiplied (RFC 3261 26.3.2.4).
        Repeated INVITEs still get it again, one for one.
        """
        effects = self.respond(key, response, now=now)
        txn = self._table.servers.get(key)
        if txn is not None and txn.state is State.COMPLETED:
            txn.resend_at = None
            self._table.arm(txn)
        return effects

    def request(
        self, request: Request, flow: Flow, *, now: Monotonic
    ) -> tuple[ClientKey, list[Effect]]:
        """Send a request, not an ACK, and follow it to its end.

        The caller has put the top Via with a branch of its own, new for each request and
        beginning with the cookie, and gives the request away: ACK and CANCEL are made of it later.

        Raises:
            UsageError: an ACK, no branch, or a branch in use.
        """
        branch = request.top_via.branch
        if branch is None or request.method == "ACK":
            raise UsageError("a client transaction needs a branch and is never an ACK")
        key = client_key(branch, request.method)
        if key in self._table.clients:
            raise UsageError(f"the branch {branch} is in use")
        effects: list[Effect] = []
        if self._table.requests >= self._limits.requests:
            effects += (ClientFailed(key), TransactionEnded(key))
        else:
            self._table.start(ClientTransaction(key, request, flow), now, effects.append)
        return key, effects

    def cancel(
        self, key: ClientKey, *, now: Monotonic, headers: Iterable[tuple[str, str]] = ()
    ) -> list[Effect]:
        """Cancel an INVITE: now, or when its first provisional response comes (RFC 3261 9.1).

        Its end is reported as always: a 487 as a rule, a 2xx if that crossed the CANCEL, or
        `ClientTimedOut` 64*T1 after it. Nothing happens for what is answered, ended, cancelled
        before, or no INVITE. `headers` (Reason) go into the CANCEL.
        """
        effects: list[Effect] = []
        txn = self._table.clients.get(key)
        if txn is None or txn.request is None or txn.is_cancelled or txn.is_done:
            return effects
        txn.is_cancelled = True
        txn.cancel_headers = tuple(headers)
        if txn.state is State.PROCEEDING:
            self._table.send_cancel(txn, now, effects.append)
            self._table.arm(txn)
        return effects

    # Time

    def next_timer(self) -> Monotonic | None:
        """When `handle_timer` is next needed; `None` while nothing waits."""
        return self.timers.next()

    def handle_timer(self, *, now: Monotonic) -> list[Effect]:
        """Send again and give up what is due by `now`. Calling early is harmless."""
        effects: list[Effect] = []
        for txn in self.timers.due(now):
            if txn.state is State.TERMINATED:
                continue
            if txn.end_at is not None and txn.end_at <= now:
                self._table.advance(txn, Event.GIVE_UP, None, now, effects.append)
                continue
            before = txn.state
            self._table.advance(txn, Event.RESEND, None, now, effects.append)
            if txn.state is before:
                self._repeats[True, txn.flow] += 1
                txn.resent(now)
                self._table.arm(txn)
        return effects

    def take_repeats(self) -> Counter[tuple[bool, Flow]]:
        """Requests that came again, and messages of ours (`True`) sent again, since the last call.

        By flow; bounded by how often this is asked.
        """
        repeats, self._repeats = self._repeats, Counter()
        return repeats

    @property
    def usage(self) -> TransactionUsage:
        """How full the tables are."""
        return TransactionUsage(
            self._table.unanswered,
            self._table.requests,
            self._table.lingering,
            len(self._table.timers),
        )

    # Requests

    def _receive_request(
        self, request: Request, flow: Flow, now: Monotonic, emit: Emit
    ) -> ServerTransaction | None:
        """Match a request to its transaction; return the one it began, if it began one."""
        via = note_arrival(request, flow)
        method = request.method
        if method == "ACK":
            self._receive_ack(request, via, flow, now, emit)
            return None
        key = server_key(request, via, method)
        known = self._table.servers.get(key)
        if known is not None:
            self._repeats[False, flow] += 1
            self._table.advance(known, Event.REQUEST, None, now, emit)
            return None
        back = reply_flow(via, flow)
        if method == "CANCEL":
            return self._receive_cancel(request, via, key, flow, back, now, emit)
        if self._table.unanswered >= self._limits.unanswered:
            busy = (("Retry-After", str(RETRY_AFTER)),)
            self._reply_stateless(request, 503, back, emit, headers=busy)
            return None
        server = ServerTransaction(key, request, flow, back)
        server.sent_by_port = via.port
        self._table.start(server, now, emit)
        emit(RequestArrived(key, request, flow))
        return server

    def _receive_ack(
        self, request: Request, via: Via, flow: Flow, now: Monotonic, emit: Emit
    ) -> None:
        txn = self._table.servers.get(server_key(request, via, "INVITE"))
        if txn is None and not via.has_cookie:
            # an initial INVITE had no To tag, its ACK has that of our response
            txn = self._table.servers.get(server_key(request, via, "INVITE", to_tag=""))
            if txn is not None and txn.to_tag != request.to.tag:
                txn = None
        if txn is None:
            emit(AckArrived(request, flow))
        else:
            self._table.advance(txn, Event.ACK, request, now, emit)

    def _receive_cancel(
        self,
        request: Request,
        via: Via,
        key: ServerKey,
        flow: Flow,
        back: Flow,
        now: Monotonic,
        emit: Emit,
    ) -> ServerTransaction | None:
        """Answer a CANCEL (RFC 3261 section 9.2); it counts while its INVITE is unanswered."""
        invite = self._table.servers.get(server_key(request, via, "INVITE"))
        if invite is None:
            self._reply_stateless(request, 481, back, emit)
            return None
        server = ServerTransaction(key, request, flow, back, is_internal=True)
        server.sent_by_port = via.port
        self._table.start(server, now, emit)
        response = Response.answering(request, 200, to_tag=self._tag(invite.key))
        self._table.advance(server, Event.SUCCESS, response, now, emit)
        if invite.state is State.PROCEEDING:
            emit(CancelArrived(invite.key, request))
        return server if server.state is not State.TERMINATED else None

    def _reply_stateless(
        self,
        request: Request,
        status: int,
        flow: Flow,
        emit: Emit,
        *,
        reason: str | None = None,
        headers: Iterable[tuple[str, str]] = (),
    ) -> None:
        """Answer without remembering; every repetition is answered alike (RFC 3261 8.2.7)."""
        tag = self._tag(request.get("Via") or "")
        response = Response.answering(request, status, reason, to_tag=tag, headers=headers)
        emit(Send(response.encode(), flow))

    def _refuse_unreadable(
        self, error: SipParseError, message: Message | None, flow: Flow, emit: Emit
    ) -> None:
        """Answer what cannot be read, where it says who asks; to its source if its Via does not."""
        request = error.partial
        if request is None and isinstance(message, Request) and message.method != "ACK":
            request = message
        if request is not None and request.has("via"):
            try:
                back = reply_flow(note_arrival(request, flow), flow)
            except SipParseError:
                back = flow
            self._reply_stateless(request, error.status, back, emit, reason=error.reason)
        emit(Malformed(flow, error.reason))

    def _tag(self, seed: str) -> str:
        """A To tag that only this process can make, always the same for the same seed."""
        text = seed.encode("utf-8", "surrogateescape")
        return blake2s(text, key=self._secret, digest_size=8).hexdigest()

    # Responses

    def _receive_response(self, response: Response, flow: Flow, now: Monotonic, emit: Emit) -> None:
        """Match by branch and method (17.1.3); the branch is ours and says more than sent-by."""
        branch = response.top_via.branch
        method = response.cseq.method
        txn = None if branch is None else self._table.clients.get(client_key(branch, method))
        if txn is None:
            emit(StrayResponse(response, flow))
        else:
            self._table.advance(txn, _event_of(response.status), response, now, emit)


def _event_of(status: int) -> Event:
    if status < 200:
        return Event.PROVISIONAL
    return Event.SUCCESS if status < 300 else Event.FAILURE
