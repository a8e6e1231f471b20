"""What another node lent: TURN credentials at its relay, for some time."""

from dataclasses import dataclass

from federation.model.address import Endpoint
from federation.model.identity import NodeId
from federation.relay_token import RelayToken
from node.relaying import words


@dataclass(frozen=True, slots=True)
class Lease:
    """In force until `lent.not_after`."""

    relay: NodeId
    endpoint: Endpoint
    token: RelayToken
    lent: words.Lent
    seconds: int
    "How long it was asked for."
