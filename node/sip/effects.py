"""What the transaction layer tells its caller to do, in order.

Each is a value that nobody changes. A call takes dozens of them, so each has an `__init__`
of its own: a frozen dataclass takes three times as long, and compiled eight times.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NewType

from node.sip.flow import Flow
from node.sip.message import Request, Response

ServerKey = NewType("ServerKey", str)
"Names one server transaction of one layer while it lives; opaque."
ClientKey = NewType("ClientKey", str)
"Names one client transaction of one layer while it lives; opaque."


@dataclass(slots=True, init=False)
class Send:
    """Put these bytes on that flow."""

    data: bytes
    flow: Flow

    def __init__(self, data: bytes, flow: Flow) -> None:
        self.data = data
        self.flow = flow


@dataclass(slots=True, init=False)
class RequestArrived:
    """A new request, neither ACK nor CANCEL. It is shown once; answer it with `respond`."""

    key: ServerKey
    request: Request
    flow: Flow

    def __init__(self, key: ServerKey, request: Request, flow: Flow) -> None:
        self.key = key
        self.request = request
        self.flow = flow


@dataclass(slots=True, init=False)
class AckArrived:
    """An ACK that belongs to no non-2xx answer of ours: one for a 2xx, or a stray."""

    request: Request
    flow: Flow

    def __init__(self, request: Request, flow: Flow) -> None:
        self.request = request
        self.flow = flow


@dataclass(slots=True, init=False)
class CancelArrived:
    """An unanswered INVITE was cancelled. The CANCEL has its 200; the INVITE needs its 487."""

    key: ServerKey
    "Of the INVITE."
    request: Request
    "The CANCEL."

    def __init__(self, key: ServerKey, request: Request) -> None:
        self.key = key
        self.request = request


@dataclass(slots=True, init=False)
class ResponseArrived:
    """A response to a request of ours, 100 included; each repeated 2xx to an INVITE again."""

    key: ClientKey
    response: Response

    def __init__(self, key: ClientKey, response: Response) -> None:
        self.key = key
        self.response = response


@dataclass(slots=True, init=False)
class ClientTimedOut:
    """No final response came in time (Timer B or F, or 64*T1 after a CANCEL): as if by 408."""

    key: ClientKey

    def __init__(self, key: ClientKey) -> None:
        self.key = key


@dataclass(slots=True, init=False)
class ClientFailed:
    """The request could not be sent, or its connection is gone, before the final response."""

    key: ClientKey

    def __init__(self, key: ClientKey) -> None:
        self.key = key


@dataclass(slots=True, init=False)
class StrayResponse:
    """A response to nothing that lives here; it may still be a late 2xx to an INVITE."""

    response: Response
    flow: Flow

    def __init__(self, response: Response, flow: Flow) -> None:
        self.response = response
        self.flow = flow


@dataclass(slots=True, init=False)
class TransactionEnded:
    """The key means nothing from here on. Follows every transaction once, as its last effect."""

    key: ServerKey | ClientKey

    def __init__(self, key: ServerKey | ClientKey) -> None:
        self.key = key


@dataclass(slots=True, init=False)
class Malformed:
    """Something unreadable came and was dropped, or answered by a `Send` before this."""

    flow: Flow
    reason: str

    def __init__(self, flow: Flow, reason: str) -> None:
        self.flow = flow
        self.reason = reason


Effect = (
    Send
    | RequestArrived
    | AckArrived
    | CancelArrived
    | ResponseArrived
    | ClientTimedOut
    | ClientFailed
    | StrayResponse
    | TransactionEnded
    | Malformed
)
Emit = Callable[[Effect], None]
"Takes the next effect; the `append` of the list to be returned."
