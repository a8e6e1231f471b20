"""The way to a party of another SIP network inside its dialog (RFC 3261 12.2.1.1, RFC 3263).

Its next request goes to the first of its route set, or to its Contact. Where that is an address,
it is known at once. A name is looked up as soon as it is heard of, so that the answer is there, as
a rule, when something has to be sent; what comes before that waits for it. Where neither may be
sent to, or a name leads nowhere, requests go where the party's own came from.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from federation.model.address import Endpoint
from node.edge.dialog import PlainSide, Side
from node.edge.hub import Hub
from node.edge.outward import OutwardParts
from node.sip.errors import SipParseError
from node.sip.failover import SparedHops
from node.sip.flow import DEFAULT_PORT, DEFAULT_TLS_PORT, Flow
from node.sip.headers import NameAddr
from node.sip.locate import Hop, LocateError, Target
from node.sip.uri import Uri

MAX_HOSTS = 32
"Addresses that one party's requests may come from."
MAX_WAITING = 16
"Requests that wait for one name; further ones go where the party's own came from."
MAX_NAMES = 8
"Names of one party that are looked up; a party that names more is not followed."


@dataclass(slots=True)
class Ways:
    """Finds where requests inside dialogs with other networks go."""

    hub: Hub
    parts: OutwardParts
    spared: SparedHops
    _waiting: dict[int, list[Callable[[], None]]] = field(default_factory=dict)
    "What waits for the name of a side, by the side's identity, while it is looked up."

    def note(self, side: Side) -> None:
        """A party was heard of: look up what it is to be reached at, if that is a name."""
        if isinstance(side, PlainSide):
            target = _next_target(side)
            if target is not None and target.address is None:
                self._look_up(side, target)

    def waits(self, side: Side, action: Callable[[], None]) -> bool:
        """Whether the party's name is still looked up; `action` is carried out after that."""
        self.note(side)
        waiting = self._waiting.get(id(side))
        if waiting is None or len(waiting) >= MAX_WAITING:
            return False
        waiting.append(action)
        return True

    def way_to(self, side: PlainSide) -> Flow:
        """The flow of the party's next request."""
        target = _next_target(side)
        if target is None:
            return side.flow
        if target.address is None:
            hop = side.named.get(target)
            return side.flow if hop is None else self._flow(side, hop)
        if target.address == side.flow.remote.host:
            return side.flow
        transport = target.transport or ("TLS" if target.secure else "UDP")
        port = target.port or (DEFAULT_TLS_PORT if transport == "TLS" else DEFAULT_PORT)
        remote = Endpoint(target.address, port)
        if not self.parts.may_send(remote):
            return side.flow
        return self._flow(side, Hop(transport, remote, target.host))

    def _flow(self, side: PlainSide, hop: Hop) -> Flow:
        if len(side.hosts) < MAX_HOSTS:
            side.hosts.add(hop.remote.host)
        return self.parts.flow_to(hop.transport, hop.remote, hop.name)

    def _look_up(self, side: PlainSide, target: Target) -> None:
        if target in side.named or id(side) in self._waiting or len(side.named) >= MAX_NAMES:
            return
        self._waiting[id(side)] = []
        self.hub.spawn(self._find(side, target))

    async def _find(self, side: PlainSide, target: Target) -> None:
        try:
            hops = self.spared.in_order(await self.parts.locate(target), now=self.hub.now())
        except LocateError as error:
            self.hub.log.info("target_not_found", target=target.host, reason=str(error))
            hops = ()
        finally:
            waiting = self._waiting.pop(id(side), [])
        side.named[target] = self._chosen(side, list(hops))
        for hop in hops:
            if len(side.hosts) < MAX_HOSTS:
                side.hosts.add(hop.remote.host)
        for action in waiting:
            action()

    def _chosen(self, side: PlainSide, hops: list[Hop]) -> Hop | None:
        """The server that has the dialog already, if it is among them, else the first."""
        here = [hop for hop in hops if hop.remote == side.flow.remote]
        same = [hop for hop in here if hop.transport == side.flow.transport]
        return None if same or not hops else hops[0]


def _next_target(side: PlainSide) -> Target | None:
    """Where the party's next request goes; `None` if that cannot be read."""
    try:
        if side.routes:
            return Target.of(NameAddr.parse(side.routes[0]).uri)
        return Target.of(Uri.parse(side.contact))
    except (SipParseError, LocateError):
        return None
