"""What the edge asks of the servers of trunks, and a node without any."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from federation.model.errors import PeerError, UsageError
from node.edge.dialog import TrunkSide
from node.sip.flow import Flow
from node.sip.locate import Hop
from node.sip.message import Request
from node.trunks.book import TrunkBook
from node.trunks.load import TrunkLoad
from node.trunks.trunk import Trunk


class Lines(Protocol):
    """The servers of trunks (`node.trunks.lines`)."""

    def hops(self, name: str) -> Sequence[Hop]:
        """Where requests to a trunk go, in order; none while no server is known or registered."""

    def why_not(self, name: str) -> str:
        """Why there is no hop, as a sentence."""

    def flow_to(self, hop: Hop) -> Flow:
        """The flow that leads there."""

    def side(self, trunk: Trunk, flow: Flow, own: str) -> TrunkSide:
        """A trunk's end of a dialog, over this flow; it knows this node as `own`."""

    def sender(self, request: Request, flow: Flow) -> Trunk | None:
        """The trunk whose server sent a request, by its address."""

    def is_token(self, user: str) -> bool:
        """Whether a user part is that of a Contact which this node registered somewhere."""

    def failed(self, name: str, hop: Hop, reason: str) -> None:
        """A server did not serve a request."""


class NoLines:
    """No server at all: of a node without trunks."""

    def hops(self, name: str) -> Sequence[Hop]:
        """None."""
        return ()

    def why_not(self, name: str) -> str:
        """No server is known."""
        return "no server is known"

    def flow_to(self, hop: Hop) -> Flow:
        """There is no hop to ask for.

        Raises:
            UsageError: always.
        """
        raise UsageError("a node without trunks has no lines")

    def side(self, trunk: Trunk, flow: Flow, own: str) -> TrunkSide:
        """A side without anything that is known of the trunk."""
        return TrunkSide(flow, trunk.side, own)

    def sender(self, request: Request, flow: Flow) -> Trunk | None:
        """No trunk sends anything."""
        return None

    def is_token(self, user: str) -> bool:
        """Nothing was registered."""
        return False

    def failed(self, name: str, hop: Hop, reason: str) -> None:
        """Nothing to note."""


class Unreachable(PeerError):
    """A call cannot go where it should; `status` is what its caller hears."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class TrunkParts:
    """What the edge is told of trunks."""

    book: TrunkBook = field(default_factory=TrunkBook)
    load: TrunkLoad = field(default_factory=TrunkLoad)
    lines: Lines = field(default_factory=NoLines)
