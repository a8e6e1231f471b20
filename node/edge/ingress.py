"""What phones and plain SIP send: the checks of RFC 3261 16.3, and who is let through.

Order: syntax, hops, Proxy-Require, own Routes; then REGISTER, requests inside dialogs, OPTIONS for
the node itself, and for all the rest the digest and the From check.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from node.accounts.account import Account
from node.accounts.book import AccountBook
from node.accounts.identify import appearance_of
from node.edge import identifiers
from node.edge.calls import Calls
from node.edge.context import RequestContext
from node.edge.credentials import is_turned_away, note_challenge
from node.edge.dialog import (
    DIALOG_METHODS,
    DialogTable,
    Match,
    PhoneSide,
    PlainSide,
    Side,
    TrunkSide,
)
from node.edge.guard import Misdeed
from node.edge.hub import Hub, PhoneUpstream
from node.edge.identity import is_anonymous
from node.edge.indialog import InDialog
from node.edge.registration import Registrations
from node.edge.replies import reason_header, reply
from node.edge.strangers import Strangers, StrangerUpstream
from node.edge.trunk_calls import OUT_METHODS
from node.edge.trunk_lines import TrunkParts
from node.emergency import is_emergency_service
from node.sip.digest import Challenge, DigestAuthenticator, Role, strip_credentials
from node.sip.effects import AckArrived, CancelArrived, RequestArrived, ServerKey
from node.sip.errors import SipParseError
from node.sip.flow import Flow
from node.sip.message import Request, Response
from node.sip.uri import Uri
from node.trunks.trunk import PbxSettings, Trunk

ALLOW = (
    "INVITE, ACK, CANCEL, BYE, OPTIONS, REGISTER, MESSAGE, INFO, UPDATE, PRACK, REFER, "
    "SUBSCRIBE, NOTIFY"
)
RETRY_AFTER = 5
"Seconds named in a 503: this node carries as many calls as it can."
PROXY_EXTENSIONS = {"REGISTER": "gin"}
"What a request may demand of proxies by its method: bulk registration (RFC 6140)."
SUPPORTED = "path, gin, outbound, gruu, 100rel, timer, replaces, norefersub"


@dataclass(slots=True)
class Ingress:
    """Takes requests that came over SIP flows."""

    hub: Hub
    accounts: AccountBook
    digest: DigestAuthenticator
    registrations: Registrations
    calls: Calls
    in_dialog: InDialog
    contexts: dict[ServerKey, RequestContext]
    "Unanswered requests, for their CANCEL."
    trunks: TrunkParts
    strangers: Strangers | None = None
    "Who lets plain SIP from elsewhere in; `None`: nobody does."

    def request(self, arrived: RequestArrived) -> None:
        """A new request, neither ACK nor CANCEL."""
        # The transaction layer answers from its own copy: here Route and credentials are taken off.
        request, flow = arrived.request.copy(), arrived.flow
        upstream = PhoneUpstream(self.hub, arrived.key, request, flow)
        try:
            refusal = self._refusal(request)
            if refusal is not None:
                self._decline(upstream, refusal)
            elif request.method == "REGISTER":
                self.registrations.register(upstream)
            elif request.to.tag is not None:
                self._inside(upstream)
            elif request.method == "OPTIONS" and self._is_for_us(request):
                if not self._turned_away(upstream):
                    upstream.respond(self._capabilities(request))
            else:
                self._outside(upstream)
        except SipParseError as error:
            self._decline(upstream, reply(self.hub, request, error.status, error.reason))

    def _decline(self, upstream: PhoneUpstream, response: Response) -> None:
        """Refuse a request whose sender has proven nothing: one answer for each that it sends.

        An INVITE with a forged source would else be answered eleven times to its victim.
        """
        if upstream.request.method == "INVITE":
            now = self.hub.now()
            self.hub.carry_out(self.hub.layer.respond_once(upstream.key, response, now=now))
        else:
            upstream.respond(response)

    def _refusal(self, request: Request) -> Response | None:
        """Why the request goes no further (16.3), or `None`."""
        identifiers.check(request)
        if request.max_forwards == 0:
            if request.method == "OPTIONS":
                return self._capabilities(request)
            return reply(self.hub, request, 483)
        if request.has("proxy-require"):
            known = PROXY_EXTENSIONS.get(request.method, "")
            required = [tag for tag in request.values("Proxy-Require") if tag.lower() != known]
            if required:
                return reply(self.hub, request, 420, Unsupported=", ".join(required))
        self.hub.forwarder.repair_strict_route(request)
        self.hub.forwarder.strip_own_routes(request)
        if request.to.tag is None:
            uri = request.uri
            if uri.scheme not in ("sip", "sips", "tel") and not is_emergency_service(uri):
                return reply(self.hub, request, 416)
            if self.hub.forwarder.is_looped(request):
                return reply(self.hub, request, 482)
        return None

    def _is_for_us(self, request: Request) -> bool:
        uri = request.uri
        return not uri.user and self.hub.names.is_own(uri.host or "", uri.port)

    def _capabilities(self, request: Request) -> Response:
        return reply(
            self.hub,
            request,
            200,
            Allow=ALLOW,
            Supported=SUPPORTED,
            Accept="application/sdp, */*",
        )

    # Inside dialogs

    def _inside(self, upstream: PhoneUpstream) -> None:
        request = upstream.request
        match = find_from_phone(self.hub.dialogs, request, upstream.flow)
        if match is None:
            self._decline(upstream, reply(self.hub, request, 481))
            return
        strip_credentials(request, Role.PROXY)
        if request.method == "INVITE":
            upstream.respond(reply(self.hub, request, 100))
        context = self.in_dialog.request(upstream, match)
        self._watch_cancel(upstream.key, context)

    def ack(self, arrived: AckArrived) -> None:
        """The ACK to a 2xx; anything else is dropped, for nothing answers an ACK."""
        request = arrived.request
        try:
            identifiers.check(request)
            if request.max_forwards == 0:
                return
            self.hub.forwarder.repair_strict_route(request)
            self.hub.forwarder.strip_own_routes(request)
            match = find_from_phone(self.hub.dialogs, request, arrived.flow)
            if match is not None:
                strip_credentials(request, Role.PROXY)  # those of its INVITE (13.2.2.4)
                self.in_dialog.ack(request, match, (), "")
        except SipParseError:
            return

    def cancel(self, arrived: CancelArrived) -> None:
        """A phone gave up its unanswered INVITE."""
        context = self.contexts.get(arrived.key)
        if context is not None:
            context.cancel()

    # Outside dialogs

    def _outside(self, upstream: PhoneUpstream) -> None:
        request, flow = upstream.request, upstream.flow
        if len(self.trunks.book) and (trunk := self.trunks.lines.sender(request, flow)) is not None:
            self._from_trunk(upstream, trunk)
            return
        strangers = self.strangers
        if strangers is not None and strangers.is_one(request) and not self._knows(request, flow):
            self._from_stranger(upstream, strangers)
            return
        answer = self.digest.authenticate(
            request, Role.PROXY, source=flow.remote.host, now=self.hub.clock.unix()
        )
        if isinstance(answer, Challenge):
            if not self._turned_away(upstream):
                note_challenge(self.hub.guard, self.accounts, request, flow, answer)
                self._challenge(upstream, answer)
            return
        self.hub.guard.proved(flow)
        account = self.accounts.by_login(answer.login)
        if account is None or not self._may_appear(account, request, flow):
            text = "From must be the account that sends the request"
            upstream.respond(
                reply(self.hub, request, 403, "Forbidden", Reason=reason_header(403, text))
            )
            return
        self._from_account(upstream, account)

    def _from_account(self, upstream: PhoneUpstream, account: Account) -> None:
        """Let a request through whose sender is known."""
        request, flow = upstream.request, upstream.flow
        strip_credentials(request, Role.PROXY)
        request.remove("Route")  # the way leads where this node finds the target, nowhere else
        server = self._server_of(request, flow)
        side = PhoneSide(flow, account.login, server)
        if self._has_room(upstream, side):
            context = self.calls.from_account(upstream, side, account)
            self._watch_cancel(upstream.key, context)

    def _has_room(self, upstream: PhoneUpstream, side: PhoneSide) -> bool:
        """Say 100 to an INVITE, or 503 where this node has all the dialogs that it can hold."""
        request = upstream.request
        if request.method in DIALOG_METHODS and not self.hub.dialogs.has_room_for(side):
            upstream.respond(reply(self.hub, request, 503, Retry_After=str(RETRY_AFTER)))
            return False
        if request.method == "INVITE":
            upstream.respond(reply(self.hub, request, 100))
        return True

    def _from_trunk(self, upstream: PhoneUpstream, trunk: Trunk) -> None:
        """A request from the address of a provider, or of a PBX that does not register."""
        request, flow = upstream.request, upstream.flow
        if isinstance(trunk.settings, PbxSettings):
            account = self.accounts.by_login(trunk.name)
            if account is None or not self._is_among(account, request.from_.uri):
                text = "From must be the trunk, an extension behind it or a number of its own"
                refusal = reply(self.hub, request, 403, Reason=reason_header(403, text))
                self._decline(upstream, refusal)
                return
            self._from_account(upstream, account)
        elif request.method == "OPTIONS":
            upstream.respond(self._capabilities(request))
        elif request.method not in OUT_METHODS:
            upstream.respond(reply(self.hub, request, 405, Allow=", ".join(sorted(OUT_METHODS))))
        else:
            request.remove("Route")
            own = self.hub.forwarder.own_uri(flow)
            side = self.trunks.lines.side(trunk, flow, own)
            if self._has_room(upstream, side):
                context = self.calls.from_provider(upstream, side, trunk)
                self._watch_cancel(upstream.key, context)

    def _from_stranger(self, upstream: PhoneUpstream, strangers: Strangers) -> None:
        """Plain SIP from elsewhere: it reaches accounts of this node and nothing else."""
        request = upstream.request
        side = PlainSide.from_flow(upstream.flow, self.hub.forwarder.own_uri(upstream.flow))
        refusal = strangers.refusal(request, side)
        if self._turned_away(upstream):
            return
        if refusal is not None:
            self.hub.guard.offend(upstream.flow, Misdeed.FLOOD)
            self._decline(upstream, refusal)
            return
        strip_credentials(request, Role.PROXY)
        request.remove("Route")
        upstream = StrangerUpstream(self.hub, upstream.key, request, upstream.flow)
        if request.method == "INVITE":
            upstream.respond(reply(self.hub, request, 100))
        context = self.calls.from_stranger(upstream, side, strangers.caller(request))
        self._watch_cancel(upstream.key, context)

    def _turned_away(self, upstream: PhoneUpstream) -> bool:
        """A scanner hears one refusal, and then nothing for some time."""
        request = upstream.request
        if not is_turned_away(self.hub.guard, request, upstream.flow):
            return False
        self._decline(upstream, reply(self.hub, request, 403))
        return True

    def _challenge(self, upstream: PhoneUpstream, answer: Challenge) -> None:
        response = Response.answering(
            upstream.request, answer.status, to_tag=self.hub.tag(), headers=list(answer.headers)
        )
        self._decline(upstream, response)

    def _may_appear(self, account: Account, request: Request, flow: Flow) -> bool:
        uri = request.from_.uri
        if is_anonymous(uri):
            return True
        is_own = uri.scheme == "tel" or self.hub.names.is_own(uri.host or "", uri.port)
        return self._is_among(account, uri) and (is_own or self._knows(request, flow))

    def _knows(self, request: Request, flow: Flow) -> bool:
        """Whether a device registered over this flow as whom From names, at whatever host.

        Some phones take the To of a call for their name when that call is transferred: it may be
        at the address of the node that called.
        """
        account = self.accounts.find(request.from_.uri.user or "")
        if account is None:
            return False
        registrar, now = self.registrations.registrar, self.hub.clock.unix()
        return any(binding.flow == flow for binding in registrar.bindings(account.login, now=now))

    def _is_among(self, account: Account, uri: Uri) -> bool:
        """Whether the user part is a name of the account: its own DIDs are too."""
        if appearance_of(account, uri.user or "") is not None:
            return True
        did = self.trunks.book.dids.find(uri.user or "")
        return did is not None and did.login == account.login

    def _server_of(self, request: Request, flow: Flow) -> str:
        """The name of this node that the phone uses: that of its From, as a rule."""
        uri = request.from_.uri
        if uri.scheme == "tel" or not self.hub.names.is_own(uri.host or "", uri.port):
            return self.hub.forwarder.own_uri(flow)
        host = f"[{uri.host}]" if ":" in uri.host else uri.host
        return host if uri.port is None else f"{host}:{uri.port}"

    def _watch_cancel(self, key: ServerKey, context: RequestContext) -> None:
        if not context.done and context.request.method == "INVITE":
            self.contexts[key] = context

    def forget(self, keys: Iterable[ServerKey]) -> None:
        """These server transactions ended."""
        for key in keys:
            self.contexts.pop(key, None)


def find_from_phone(dialogs: DialogTable, request: Request, flow: Flow) -> Match | None:
    """The dialog of a request, if it comes from the device that is in it (or from its IP)."""
    from_tag, to_tag = request.from_.tag or "", request.to.tag or ""

    def sent_by(side: Side) -> bool:
        return isinstance(side, PhoneSide) and (
            side.flow == flow
            or side.flow.remote.host == flow.remote.host
            or (isinstance(side, PlainSide | TrunkSide) and flow.remote.host in side.hosts)
        )

    match = dialogs.find(request.call_id, from_tag, to_tag, sent_by)
    if match is not None and isinstance(match.sender, PhoneSide):
        match.sender.flow = flow
    return match
