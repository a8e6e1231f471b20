"""A request of a peer, in the hands of whoever answers it."""

from collections.abc import Callable
from typing import Protocol

from federation.messages import Legs, Request
from federation.model.identity import NodeId


class Answering(Protocol):
    """The peer that a request came from."""

    node: NodeId

    @property
    def remote_ip(self) -> str | None:
        """Where its packets come from."""

    def respond(self, txn: bytes, sip: bytes, legs: Legs, *, final: bool) -> None:
        """Answer one of its requests."""


class IncomingRequest:
    """A request of the peer, as its receiver sees it (`ports.ServerTransaction`)."""

    def __init__(self, owner: Answering, request: Request) -> None:
        self.peer = owner.node
        self.peer_ip = owner.remote_ip or ""
        self.request = request
        self.on_cancel: Callable[[str], None] | None = None
        self._owner = owner

    def respond(self, sip: bytes, legs: Legs = (), *, final: bool) -> None:
        """Send a response.

        Raises:
            UsageError: `final` contradicts the status.
            CodecError: too long, or not a SIP response.
        """
        self._owner.respond(self.request.txn, sip, legs, final=final)
