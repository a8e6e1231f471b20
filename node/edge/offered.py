"""Calls of other nodes to telephone numbers that a trunk here offers them (records of kind 4).

The calls are paid by this node. So they are taken from the nodes that the operator named, for the
numbers that the trunk offers, with a caller whose statement holds, and within limits of their own
beside those of the trunk. Emergency numbers are never among them: they have no international form.
"""

from dataclasses import dataclass

from federation.model.errors import PeerError
from federation.model.identity import NodeId
from media_relay.errors import RelayError
from node.edge.context import RequestContext
from node.edge.identity import Caller
from node.edge.redirect import status_of
from node.edge.trunk_calls import TrunkCalls
from node.trunks.book import Way
from node.trunks.e164 import e164
from node.trunks.load import offered
from node.trunks.trunk import ProviderSettings


@dataclass(frozen=True, slots=True)
class OfferedCalls:
    """Has them go out."""

    trunks: TrunkCalls

    def takes(self, context: RequestContext, peer: NodeId, caller: Caller) -> bool:
        """Take a call that is for nobody here; `False`: nothing is offered for it to that node."""
        user = context.request.uri.user or ""
        number = e164(user) if user.startswith("+") else None
        if number is None or context.group is None or context.group.method != "INVITE":
            return False
        ways = self.trunks.book.offered_ways(number, peer.text)
        if not ways:
            return False
        if not caller.verified:
            context.refuse(403, "telephone numbers are called for callers that are verified")
            return True
        ways = [way for way in ways if not self._is_used_up(way)]
        if not ways:
            context.refuse(480, "the trunk carries as many calls of other nodes as it may")
            return True
        try:
            branch = self.trunks.out_by(context, None, ways, caller)
        except (PeerError, RelayError) as error:
            context.refuse(status_of(error), str(error))
            return True
        for way in ways[:1]:
            self._count(way, context.group.id, peer)
        context.start([branch])
        return True

    def _is_used_up(self, way: Way) -> bool:
        settings, load, name = way.trunk.settings, self.trunks.load, offered(way.trunk.name)
        assert isinstance(settings, ProviderSettings)
        now = self.trunks.hub.clock.unix()
        if load.calls(name) >= settings.offer_calls:
            return True
        return load.out_today(name, now=now) >= settings.offer_daily

    def _count(self, way: Way, call: int, peer: NodeId) -> None:
        """Whichever trunk carries it in the end, the first that was asked counts."""
        hub, load, name = self.trunks.hub, self.trunks.load, offered(way.trunk.name)
        load.take(name, call)
        load.went_out(name, now=hub.clock.unix())
        hub.log.info("offer_used", trunk=way.trunk.name, node=peer.text, number=way.number)
