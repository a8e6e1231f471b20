"""What the transaction layer tells its caller to do, in order."""

from collections.abc import Callable
from typing import NamedTuple, NewType

from node.sip.flow import Flow
from node.sip.message import Request, Response

ServerKey = NewType("ServerKey", str)
"Names one server transaction of one layer while it lives; opaque."
ClientKey = NewType("ClientKey", str)
"Names one client transaction of one layer while it lives; opaque."


class Send(NamedTuple):
    """Put these bytes on that flow."""

    data: bytes
    flow: Flow


class RequestArrived(NamedTuple):
    """A new request, neither ACK nor CANCEL. It is shown once; answer it with `respond`."""

    key: ServerKey
    request: Request
    flow: Flow


class AckArrived(NamedTuple):
    """An ACK that belongs to no non-2xx answer of ours: one for a 2xx, or a stray."""

    request: Request
    flow: Flow


class CancelArrived(NamedTuple):
    """An unanswered INVITE was cancelled. The CANCEL has its 200; the INVITE needs its 487."""

    key: ServerKey
    "Of the INVITE."
    request: Request
    "The CANCEL."


class ResponseArrived(NamedTuple):
    """A response to a request of ours, 100 included; each repeated 2xx to an INVITE again."""

    key: ClientKey
    response: Response


class ClientTimedOut(NamedTuple):
    """No final response came in time (Timer B or F, or 64*T1 after a CANCEL): as if by 408."""

    key: ClientKey


class ClientFailed(NamedTuple):
    """The request could not be sent, or its connection is gone, before the final response."""

    key: ClientKey


class StrayResponse(NamedTuple):
    """A response to nothing that lives here; it may still be a late 2xx to an INVITE."""

    response: Response
    flow: Flow


class TransactionEnded(NamedTuple):
    """The key means nothing from here on. Follows every transaction once, as its last effect."""

    key: ServerKey | ClientKey


class Malformed(NamedTuple):
    """Something unreadable came and was dropped, or answered by a `Send` before this."""

    flow: Flow
    reason: str


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
