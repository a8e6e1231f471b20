"""Plain SIP from elsewhere: who counts as a stranger, and what a stranger may ask for.

A stranger is a sender without our digest whose From is at a name that is not ours, and whom no
device registered as (`Ingress` looks). It reaches the accounts of this node, at the pace set here,
and is shown to them as unverified; nothing of it goes further. A From at a name of ours gets the
digest challenge as ever, so that nobody learns which accounts there are by claiming them.
"""

from collections import OrderedDict
from dataclasses import dataclass, field

from federation.messages import Legs
from federation.model.clocks import Monotonic
from federation.model.identity import KEY_NAME_SUFFIX
from node.edge.dialog import DIALOG_METHODS, PlainSide
from node.edge.hub import Hub, PhoneUpstream
from node.edge.identity import Caller, display_of, is_anonymous
from node.edge.replies import reason_header, reply
from node.sip.message import Request, Response
from node.sip.token_bucket import TokenBucket

BURST = 20
"Requests that one network (a /24, in IPv6 a /48) may send at once."
PER_SECOND = 1.0
"Requests that it may go on sending."
TOTAL_BURST = 200
"Requests of all strangers together at once."
TOTAL_PER_SECOND = 50.0
MAX_NETWORKS = 4_096
"Networks whose pace is remembered; beyond, the one not heard of for longest is forgotten."
RETRY_AFTER = 30
"Seconds named to a stranger that is too fast."
METHODS = ("INVITE", "OPTIONS", "MESSAGE")
"What a stranger may begin with."
ALSO_ALLOWED = ("ACK", "CANCEL", "BYE")


@dataclass(slots=True)
class Pace:
    """How fast strangers may ask, each network and all together."""

    _networks: OrderedDict[bytes, TokenBucket] = field(default_factory=OrderedDict)
    _total: TokenBucket = field(default_factory=lambda: TokenBucket(TOTAL_BURST, Monotonic(0.0)))

    def allows(self, network: bytes, now: Monotonic) -> bool:
        """Whether one more request may come, which is counted."""
        bucket = self._networks.pop(network, None) or TokenBucket(BURST, now)
        self._networks[network] = bucket
        if len(self._networks) > MAX_NETWORKS:
            self._networks.popitem(last=False)
        return bucket.take(BURST, PER_SECOND, now) and self._total.take(
            TOTAL_BURST, TOTAL_PER_SECOND, now
        )

    def __len__(self) -> int:
        return len(self._networks)


@dataclass(slots=True)
class StrangerUpstream(PhoneUpstream):
    """A server transaction of a stranger, whose source may be forged: no refusal is repeated."""

    def respond(self, response: Response, legs: Legs = ()) -> None:
        """Send a response back, a refusal of an INVITE once for each time that it comes."""
        if self.request.method != "INVITE" or response.status < 300:
            PhoneUpstream.respond(self, response)
            return
        if self.flow.reliable:
            response.ensure_content_length()
        now = self.hub.now()
        self.hub.carry_out(self.hub.layer.respond_once(self.key, response, now=now))


@dataclass(slots=True)
class Strangers:
    """Decides what plain SIP from elsewhere may do."""

    hub: Hub
    may_subscribe: bool = False
    pace: Pace = field(default_factory=Pace)

    def is_one(self, request: Request) -> bool:
        """Whether a request outside dialogs comes from elsewhere and is meant for this node."""
        if request.has("proxy-authorization"):
            return False
        sender, target, names = request.from_.uri, request.uri, self.hub.names
        return (
            sender.is_sip
            and target.is_sip
            and not is_anonymous(sender)
            and not names.is_own(sender.host or "", sender.port)
            and names.is_own(target.host or "", target.port)
        )

    def refusal(self, request: Request, side: PlainSide) -> Response | None:
        """Why a stranger's request goes no further, or `None`."""
        if not self.pace.allows(side.network, self.hub.now()):
            self.hub.log.info("stranger_too_fast", limit_by=side.flow.remote.host)
            return self._later(request, "too many requests from this network")
        host = (request.from_.uri.host or "").lower().rstrip(".")
        if host.endswith(KEY_NAME_SUFFIX):
            text = "key names do not call by plain SIP"
            return reply(self.hub, request, 403, "Forbidden", Reason=reason_header(403, text))
        if request.method not in self.methods:
            return reply(self.hub, request, 405, Allow=", ".join((*self.methods, *ALSO_ALLOWED)))
        if request.method in DIALOG_METHODS and not self.hub.dialogs.has_room_for(side):
            return self._later(request, "too many calls from this network")
        return None

    @property
    def methods(self) -> tuple[str, ...]:
        """What a stranger may send outside dialogs."""
        return (*METHODS, "SUBSCRIBE") if self.may_subscribe else METHODS

    def caller(self, request: Request) -> Caller:
        """How a stranger is shown: by the name it claims, which nothing proves."""
        sender = request.from_
        uri = sender.uri
        host = f"[{uri.host}]" if ":" in (uri.host or "") else uri.host
        port = "" if uri.port is None else f":{uri.port}"
        name = f"{uri.user}@" if uri.user else ""
        return Caller(display_of(sender), None, f"{name}{host}{port}", verified=False)

    def _later(self, request: Request, text: str) -> Response:
        reason = reason_header(480, text)
        return reply(self.hub, request, 480, Retry_After=str(RETRY_AFTER), Reason=reason)
