"""What links need from the rest of the program, and what they tell it."""

import enum
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from federation.messages import Bye, Hello, Legs, Request, Response
from federation.model.address import Endpoint
from federation.model.identity import NodeId

AddressLookup = Callable[[NodeId], Awaitable[Sequence[Endpoint]]]
"Asks for a fresh address record; an empty answer is a failure."


class Failure(enum.StrEnum):
    """Why a request ended without a final response."""

    CANCELLED = "cancelled"
    "It was cancelled before it was sent, or no final response came 32 s after the cancel."
    UNREACHABLE = "unreachable"
    "No link to the node could be made."
    NO_ANSWER = "no_answer"
    "There was a link, twice at most, and never a response."
    TIMEOUT = "timeout"
    "A request other than INVITE had no final response within 64*T1."
    LOST = "lost"
    "The link went away under it for too long, or the node no longer knows of it."
    OVERLOADED = "overloaded"
    "Too many transactions are open on this link."
    SHUTDOWN = "shutdown"
    "This node is going away."


class ClientOwner(Protocol):
    """Whoever sent a request; told everything until its one end.

    The end is either an `on_response` whose `response.is_final` holds, or `on_unreachable`.
    """

    def on_accepted(self, txn: bytes, peer_ip: str) -> None:
        """The node has the request (its 100); another node of the route must not get it now."""

    def on_response(self, txn: bytes, response: Response, peer_ip: str) -> None:
        """A response above 100, each once and in order."""

    def on_unreachable(self, txn: bytes, reason: Failure) -> None:
        """The request ended without a final response."""


class ServerTransaction(Protocol):
    """A request from another node, to be answered."""

    peer: NodeId
    peer_ip: str
    request: Request
    on_cancel: Callable[[str], None] | None
    "Set it to hear of a cancel; called at most once, with the Reason value or an empty text."

    def respond(self, sip: bytes, legs: Legs = (), *, final: bool) -> None:
        """Send a response; `final` says whether its status is 200 or above."""


class LinkReceiver(Protocol):
    """Takes what other nodes send. Nothing here may block."""

    def on_request(self, txn: ServerTransaction) -> None:
        """A new request. The link says 100 by itself if this returns without a response."""

    def on_ack(self, peer: NodeId, peer_ip: str, request: Request) -> None:
        """The ACK to a 2xx."""

    def on_further_2xx(self, peer: NodeId, response: Response) -> None:
        """A 2xx outside its request's stream: retransmitted, or of another branch."""

    def on_bye(self, peer: NodeId, bye: Bye) -> bool:
        """A dialog's end; whether there was such a dialog with that peer."""

    def on_link_up(self, peer: NodeId, hello: Hello) -> None:
        """A link to the peer is ready, where there was none."""

    def on_link_down(self, peer: NodeId) -> None:
        """The last link to the peer is gone."""


class DatagramPort(Protocol):
    """A way to send datagrams from the mesh socket."""

    def send(self, data: bytes, endpoint: Endpoint) -> None:
        """Send one datagram, or lose it."""
