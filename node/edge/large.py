"""Requests too large for UDP, on their way to phones that registered over UDP (RFC 3261 18.1.1).

A phone whose Contact names the very address it is seen from can be connected to, and most listen
on TCP at the same port. One that refuses is not asked again for a while: its large requests go in
fragments. A phone behind a NAT has its flow and nothing else; many learn their outer address from
the registrar and name it in their Contact, so one that does not take the connection soon is not
waited for.
"""

from collections import OrderedDict

from federation.model.address import AddressError, Endpoint
from federation.model.clocks import Monotonic
from node.sip.binding import direct_to
from node.sip.congestion import UDP_LIMIT, carriage_of
from node.sip.errors import SipParseError
from node.sip.flow import Flow
from node.sip.message import Request
from node.sip.uri import Uri

REMEMBERED_FOR = 3_600.0
"Seconds for which a phone that refused TCP gets large requests over UDP at once."
CONNECTS_WITHIN = 0.5
"Seconds in which a connection has to stand (RFC 3261's T1, what a round trip is taken to last)."
MAX_REMEMBERED = 8_192
"Phones remembered as refusing; beyond, the oldest are forgotten."


class LargeRequests:
    """Chooses the way of large requests, and remembers who takes no TCP."""

    def __init__(self) -> None:
        self._refused: OrderedDict[Endpoint, Monotonic] = OrderedDict()

    def __len__(self) -> int:
        return len(self._refused)

    def refused(self, flow: Flow, *, now: Monotonic) -> None:
        """A connection could not be made."""
        if flow.transport != "TCP" or flow.id != 0:
            return
        self._refused[flow.remote] = Monotonic(now + REMEMBERED_FOR)
        self._refused.move_to_end(flow.remote)
        if len(self._refused) > MAX_REMEMBERED:
            self._refused.popitem(last=False)

    def flow_for(self, request: Request, flow: Flow, contact: str, *, now: Monotonic) -> Flow:
        """The flow for a request to the phone at `contact`, whose own is `flow`.

        Raises:
            SipParseError: 513, nothing carries it.
        """
        if flow.reliable or (size := request.size) <= UDP_LIMIT:
            return flow
        direct = self._direct(contact, flow, now)
        if carriage_of(size, "UDP", is_flow=direct is None).transport == "UDP" or direct is None:
            return flow
        return Flow("TCP", flow.local, direct)

    def _direct(self, contact: str, flow: Flow, now: Monotonic) -> Endpoint | None:
        try:
            direct = direct_to(Uri.parse(contact), flow)
        except (SipParseError, AddressError):
            return None
        if direct is None or self._refused.get(direct, now) > now:
            return None
        return direct
