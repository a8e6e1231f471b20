"""The nodes to ask, and where they are, as records of the DHT say."""

from dht.finder import Found, LookupResult
from dht.record import Record, Route
from federation.model.address import Endpoint
from federation.model.identity import NodeId
from node.edge.branches import NodeAttempt


def endpoints_in(result: LookupResult | None) -> tuple[Endpoint, ...]:
    """The addresses of a node; none where no record was found."""
    if not isinstance(result, Found):
        return ()
    payload = result.records[0].address
    return () if payload is None else payload.endpoints


def attempts_of(
    records: "tuple[Record, ...] | list[Record]", address: LookupResult | None = None
) -> tuple[NodeAttempt, ...]:
    """Each node of these routes once, the best first, with its hints and the `address` found."""
    routes: list[Route] = []
    for record in records:
        if record.route is not None:
            routes += record.route.routes
    routes.sort(key=lambda route: (route.priority, -route.weight))
    known = endpoints_in(address)
    seen: dict[NodeId, NodeAttempt] = {}
    for route in routes:
        hints = (() if route.hint is None else (route.hint,)) + known
        seen.setdefault(route.node, NodeAttempt(route.node, tuple(dict.fromkeys(hints))))
    return tuple(seen.values())
