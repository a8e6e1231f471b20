"""The one error of the SIP formats."""

from typing import TYPE_CHECKING

from federation.model.errors import PeerError

if TYPE_CHECKING:
    from node.sip.message import Request


class SipParseError(PeerError):
    """A SIP message, or a part of one, broke the grammar or a rule of RFC 3261.

    Both texts are this program's own, never an echo of what was received, so `reason` may stand in
    a status line.
    """

    status: int
    "The status code that says so to the sender (400, 413, 414, 416, 505, 513)."
    reason: str
    "The reason phrase to go with it."
    partial: "Request | None"
    """What could be read of a request that may be answered; give it to `Response.to`. `None` where
    nothing can or may be answered: responses, ACK, what lacks Via, From, To, Call-ID or CSeq."""

    def __init__(self, status: int, reason: str, partial: "Request | None" = None) -> None:
        super().__init__(f"{status} {reason}")
        self.status = status
        self.reason = reason
        self.partial = partial
