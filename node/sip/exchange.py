"""One transaction each: what it remembers, and how it performs the steps of its state table."""

from collections.abc import Iterable
from typing import Final

from federation.model.clocks import Monotonic
from federation.model.errors import UsageError
from node.sip.effects import (
    AckArrived,
    ClientFailed,
    ClientKey,
    ClientTimedOut,
    Emit,
    ResponseArrived,
    Send,
    ServerKey,
    StrayResponse,
)
from node.sip.flow import Flow
from node.sip.message import Message, Request, Response
from node.sip.states import (
    INVITE_CLIENT,
    INVITE_SERVER,
    NON_INVITE_CLIENT,
    NON_INVITE_SERVER,
    Machine,
    State,
    Step,
)
from node.sip.timers import Timed

SEND_REQUEST: Final = Step.SEND_REQUEST
SEND_ACK: Final = Step.SEND_ACK
SEND_RESPONSE: Final = Step.SEND_RESPONSE
SEND_AGAIN: Final = Step.SEND_AGAIN
SEND_TRYING: Final = Step.SEND_TRYING
DELIVER: Final = Step.DELIVER
DELIVER_STRAY: Final = Step.DELIVER_STRAY
DELIVER_ACK: Final = Step.DELIVER_ACK
REPORT_TIMEOUT: Final = Step.REPORT_TIMEOUT
REPORT_FAILURE: Final = Step.REPORT_FAILURE


class Transaction(Timed):
    """State and timers, common to clients and servers."""

    __slots__ = ("end_at", "flow", "interval", "is_done", "is_internal", "machine", "resend_at",
                 "state")  # fmt: skip

    def __init__(self, machine: Machine, flow: Flow, *, is_internal: bool) -> None:
        super().__init__()
        self.machine = machine
        self.flow = flow
        "Where it talks; a server's answers may have to go elsewhere, see `ServerTransaction`."
        self.state = machine.start
        self.is_internal = is_internal
        "The layer's own (CANCEL); the TU hears nothing of it."
        self.is_done = False
        "The TU has had or given its final answer."
        self.resend_at: Monotonic | None = None
        self.end_at: Monotonic | None = None
        self.interval = 0.0

    def enter(self, state: State, now: Monotonic) -> float | None:
        """Change state and set the times at which its timers fire.

        Returns the seconds to its end if that timer has just started and is the only one.
        """
        self.state = state
        timing = self.machine.timing.get(state)
        if timing is None:
            self.resend_at = self.end_at = None
            return None
        if timing.continues:
            if timing.resend is None:
                self.resend_at = None
            else:
                self.interval = timing.resend
            return None
        reliable = self.flow.reliable
        end = timing.end_reliable if reliable else timing.end
        self.end_at = None if end is None else Monotonic(now + end)
        if timing.resend is None or (reliable and not timing.resend_reliable):
            self.resend_at = None
            return end
        self.interval = timing.resend
        self.resend_at = Monotonic(now + timing.resend)
        return None

    def resent(self, now: Monotonic) -> None:
        """Set the next resend time after one has fired and left the state as it was."""
        cap = self.machine.timing[self.state].resend_cap
        self.interval *= 2
        if cap is not None and self.interval > cap:
            self.interval = cap
        self.resend_at = Monotonic(now + self.interval)

    @property
    def next_wake(self) -> Monotonic | None:
        """The nearer of the two times."""
        if self.resend_at is None:
            return self.end_at
        if self.end_at is None or self.resend_at < self.end_at:
            return self.resend_at
        return self.end_at


class ServerTransaction(Transaction):
    """Answers one request (RFC 3261 section 17.2)."""

    __slots__ = ("_last", "_request", "key", "reply_flow", "seen", "sent_by_port", "to_tag")

    def __init__(
        self, key: ServerKey, request: Request, flow: Flow, reply_flow: Flow, *,
        is_internal: bool = False,
    ) -> None:  # fmt: skip
        is_invite = request.method == "INVITE"
        super().__init__(
            INVITE_SERVER if is_invite else NON_INVITE_SERVER, flow, is_internal=is_internal
        )
        self.key = key
        self.reply_flow = reply_flow
        "Where responses go (RFC 3261 section 18.2.2, RFC 3581 section 4)."
        self.sent_by_port: int | None = None
        "Where the client listens, for when its connection is gone."
        self.to_tag: str | None = None
        "Tag of the last response, asked for only where an ACK has no usable branch."
        self.seen: int | None = None
        "Hash of the request's bytes, if they are watched for."
        self._request: Request | None = None if is_invite else request
        self._last: bytes | None = None

    @property
    def is_invite(self) -> bool:
        """Whether the request is an INVITE."""
        return self.machine is INVITE_SERVER

    def perform(self, step: Step, message: Message | None, emit: Emit) -> None:
        """Carry out one step of the table."""
        if step is SEND_RESPONSE:
            self._send_response(message, emit)
        elif step is SEND_AGAIN:
            self._send_again(emit)
        elif step is SEND_TRYING:
            self._send_trying(emit)
        elif step is DELIVER_ACK:
            self._deliver_ack(message, emit)
        else:
            raise UsageError(f"no step of a server: {step}")

    def _send_response(self, message: Message | None, emit: Emit) -> None:
        assert isinstance(message, Response)
        if self.reply_flow.reliable:
            message.ensure_content_length()
        self._last = message.encode()
        self._request = None
        self._send_again(emit)

    def _send_again(self, emit: Emit) -> None:
        if self._last is not None:
            emit(Send(self._last, self.reply_flow))

    def _send_trying(self, emit: Emit) -> None:
        if self._request is not None:
            self._last = Response.answering(self._request, 100).encode()
            self._send_again(emit)

    def _deliver_ack(self, message: Message | None, emit: Emit) -> None:
        assert isinstance(message, Request)
        emit(AckArrived(message, self.flow))


class ClientTransaction(Transaction):
    """Sends one request until it is answered (RFC 3261 section 17.1)."""

    __slots__ = ("_ack", "_data", "cancel_headers", "is_cancelled", "key", "request")

    def __init__(
        self, key: ClientKey, request: Request, flow: Flow, *, is_internal: bool = False
    ) -> None:
        is_invite = request.method == "INVITE"
        super().__init__(
            INVITE_CLIENT if is_invite else NON_INVITE_CLIENT, flow, is_internal=is_internal
        )
        self.key = key
        self.request: Request | None = request if is_invite else None
        "Kept as long as ACK or CANCEL may have to be made of it."
        self.is_cancelled = False
        self.cancel_headers: tuple[tuple[str, str], ...] | None = None
        "Of a CANCEL that waits for the first provisional response."
        self._ack: bytes | None = None
        if flow.reliable:
            request.ensure_content_length()
        self._data = request.encode()

    def perform(self, step: Step, message: Message | None, emit: Emit) -> None:
        """Carry out one step of the table; `Step.SEND_CANCEL` is the layer's."""
        if step is DELIVER:
            self._deliver(message, emit)
        elif step is SEND_REQUEST:
            self.send_request(emit)
        elif step is SEND_ACK:
            self._send_ack(message, emit)
        elif step is DELIVER_STRAY:
            self._deliver_stray(message, emit)
        elif step is REPORT_TIMEOUT:
            self._report_timeout(emit)
        elif step is REPORT_FAILURE:
            self._report_failure(emit)
        else:
            raise UsageError(f"no step of a client: {step}")

    def send_request(self, emit: Emit) -> None:
        """Send the request, first or again."""
        emit(Send(self._data, self.flow))

    def settle(self) -> None:
        """Let go of what is not needed any more: it has its final response."""
        self._data = b""
        if self.state is not State.COMPLETED or self._ack is not None:
            self.request = None

    def _send_ack(self, message: Message | None, emit: Emit) -> None:
        if self._ack is None:
            assert message is not None
            assert self.request is not None
            to = message.get("To") or ""
            self._ack = derived(self.request, "ACK", to).encode()
        emit(Send(self._ack, self.flow))

    def _deliver(self, message: Message | None, emit: Emit) -> None:
        assert isinstance(message, Response)
        if not self.is_internal:
            emit(ResponseArrived(self.key, message))

    def _deliver_stray(self, message: Message | None, emit: Emit) -> None:
        assert isinstance(message, Response)
        emit(StrayResponse(message, self.flow))

    def _report_timeout(self, emit: Emit) -> None:
        if not self.is_internal:
            emit(ClientTimedOut(self.key))

    def _report_failure(self, emit: Emit) -> None:
        if not self.is_internal:
            emit(ClientFailed(self.key))


AnyTransaction = ServerTransaction | ClientTransaction


def derived(
    invite: Request, method: str, to: str, headers: Iterable[tuple[str, str]] = ()
) -> Request:
    """The ACK to a non-2xx or the CANCEL of an INVITE (RFC 3261 sections 17.1.1.3 and 9.1).

    One Via, the INVITE's top one, so that it takes the same way and matches there.
    """
    lines = [("Via", str(invite.top_via)), ("Max-Forwards", "70")]
    lines += [("Route", route) for route in invite.get_all("Route")]
    lines += [("From", invite.get("From") or ""), ("To", to), ("Call-ID", invite.call_id)]
    lines += [("CSeq", f"{invite.cseq.number} {method}"), *headers]
    return Request.create(method, invite.raw_uri, lines)
