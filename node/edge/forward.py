"""What changes in a request on its way through the edge (RFC 3261 16.4 and 16.6).

Nothing else is touched: the message goes on byte for byte.
"""

from federation.model.clocks import Entropy
from federation.model.identity import NodeId
from node.edge.dialog import NodeSide, PhoneSide, Side
from node.edge.token import MESH_SIDE, PHONE_SIDE, RouteTokens
from node.names import OwnNames
from node.sip.errors import SipParseError
from node.sip.flow import Flow
from node.sip.headers import NameAddr, Via
from node.sip.line import Line, ReadLine, read_soon
from node.sip.message import Request, Response

MAX_FORWARDS = 70
MAX_BREADTH = 60
"Branches a request may have in all, where it names no fewer (RFC 5393 5.3.3)."
BRANCH_COOKIE = "z9hG4bK"
_BRANCH_BYTES = 12
UNTRUSTED_IDENTITY = frozenset(("p-asserted-identity", "p-preferred-identity", "remote-party-id"))


class Forwarder:
    """Prepares requests for their next hop and takes our marks off responses."""

    def __init__(
        self, node: NodeId, names: OwnNames, tokens: RouteTokens, entropy: Entropy
    ) -> None:
        self._node = node
        self._names = names
        self._tokens = tokens
        self._entropy = entropy

    def strip_own_routes(self, request: Request) -> bool:
        """Take our own Route values off the top; `True` if one was a token of this call."""
        shown = False
        while routes := request.routes:
            uri = routes[0].uri
            ours = self._tokens.is_ours(uri, request.call_id)
            if not ours and not self._names.is_own(uri.host or "", uri.port):
                break
            shown = shown or ours
            request.pop_first_value("Route")
        return shown

    def repair_strict_route(self, request: Request) -> None:
        """Undo what a strict router did: our token in the Request-URI (16.4)."""
        uri = request.uri
        if uri.user and self._tokens.is_ours(uri, request.call_id):
            routes = request.values("Route")
            if routes:
                last = routes.pop()
                request.remove("Route")
                for value in reversed(routes):
                    request.prepend("Route", value)
                request.uri = NameAddr.parse(last).uri

    def routes_before_ours(self, response: Response) -> list[str]:
        """The route set between us and the callee's phone, nearest to us first."""
        call_id, before = response.call_id, 0
        for value in response.record_routes:
            if self._tokens.is_ours(value.uri, call_id):
                break
            before += 1
        return response.values("Record-Route")[:before][::-1] if before else []

    def onward(self, request: Request, *changed: Line) -> Request:
        """A copy for the next hop with Max-Forwards counted down (16.6 steps 1 and 3).

        What it says of identities nobody vouches for, so it goes no further. `changed` are lines
        that stand in place of the fields' own.
        """
        hops = request.max_forwards
        left = MAX_FORWARDS if hops is None else hops - 1
        lines = {line.key: line for line in changed}
        lines["max-forwards"] = Line("max-forwards", f"Max-Forwards: {left}")
        return request.passed_on(lines, UNTRUSTED_IDENTITY)

    def record_route(self, request: Request, sender: Side, receiver: Side) -> None:
        """Put us into the dialog's route set, twice where the two sides differ (RFC 5658)."""
        call_id = request.call_id
        inward, outward = self._route_uri(sender, call_id), self._route_uri(receiver, call_id)
        if inward is not None:
            request.put(Line("record-route", f"Record-Route: <{inward}>"))
        if outward is not None and outward != inward:
            request.put(Line("record-route", f"Record-Route: <{outward}>"))

    def push_via(self, request: Request, receiver: Side, mark: str = "") -> None:
        """Add our Via with a fresh branch, and the `loop_mark` of what came where it could loop."""
        via = self.via(receiver, self.new_branch() + mark)
        line = ReadLine("via", f"Via: {via}", (via,))
        read_soon(line)
        request.put(line)

    def loop_mark(self, request: Request) -> str:
        """What tells a loop from a spiral (16.3 step 4, RFC 5393 4.2).

        The Request-URI is the one that came: retargeted since, the same request may pass again.
        """
        required = request.values("Proxy-Require") if request.has("proxy-require") else ()
        parts = (
            request.raw_uri,
            request.from_.tag or "",
            request.to.tag or "",
            request.call_id,
            str(request.cseq.number),
            *required,
        )
        return "." + self._tokens.digest("\0".join(parts))

    def is_looped(self, request: Request) -> bool:
        """Whether this node passed this very request on before."""
        passed = request.vias[1:]
        if not passed:
            return False
        mark = self.loop_mark(request)
        return any((via.branch or "").endswith(mark) for via in passed)

    def has_passed(self, request: Request) -> bool:
        """Whether this node sent the request to another node before, for whatever target."""
        return any(via.host == self._node.key_name for via in request.vias[1:])

    def breadths(self, request: Request, count: int) -> list[int | None]:
        """The Max-Breadth of each of `count` copies (RFC 5393 5.3); `None`: none is needed.

        Raises:
            SipParseError: 440, the request may not be forked as widely.
        """
        text = request.get("Max-Breadth")
        if count == 1 and text is None:
            return [None]
        breadth = MAX_BREADTH if text is None else min(MAX_BREADTH, _number(text))
        if breadth < count:
            raise SipParseError(440, "Max-Breadth Exceeded")
        share, rest = divmod(breadth, count)
        return [share + (index < rest) for index in range(count)]

    def change_via(self, request: Request, flow: Flow) -> None:
        """Name another transport in our Via, with a branch of its own (18.1.1)."""
        _, dot, mark = (request.top_via.branch or "").partition(".")
        side = PhoneSide(flow, "", "")
        request.note_top_via(self.via(side, self.new_branch() + dot + mark))

    def via(self, receiver: Side, branch: str) -> Via:
        """Our Via value towards one side."""
        if isinstance(receiver, PhoneSide):
            flow = receiver.flow
            port = self._names.port_at(flow)
            params = (("rport", None), ("branch", branch))
            return Via(flow.transport, self._names.host_of(flow), port, params)
        transport = "QUIC" if isinstance(receiver, NodeSide) else "UDP"
        return Via(transport, self._node.key_name, None, (("branch", branch),))

    def new_branch(self) -> str:
        """A branch parameter that no other transaction has."""
        return BRANCH_COOKIE + self._entropy.token(_BRANCH_BYTES).hex()

    def own_uri(self, flow: Flow) -> str:
        """The host and port by which the far end of `flow` reaches this node."""
        return self._names.reached_at(flow)

    def backward(self, response: Response, request: Request) -> Response:
        """A response as the sender of `request` must see it: its own Vias, From and To.

        The callee was shown another From; here the caller's own comes back.
        """
        return response.returned_to(request, UNTRUSTED_IDENTITY)

    def _route_uri(self, side: Side, call_id: str) -> str | None:
        if isinstance(side, PhoneSide):
            token, flow = self._tokens.issue(PHONE_SIDE, call_id), side.flow
            named = f";transport={flow.uri_transport}" if flow.reliable else ""
            return f"sip:{token}@{self.own_uri(side.flow)}{named};lr"
        if isinstance(side, NodeSide):
            token = self._tokens.issue(MESH_SIDE, call_id)
            return f"sip:{token}@{self._node.key_name};transport=quic;lr"
        return None


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise SipParseError(400, "Max-Breadth is no number")
    return int(text)
