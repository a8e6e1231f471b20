"""REGISTER: digest, whose address of record, and the bindings that follow."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from node.accounts.account import Account, AccountKind
from node.accounts.book import AccountBook
from node.accounts.identify import appearance_of
from node.edge.credentials import is_turned_away, note_challenge
from node.edge.hub import Hub, PhoneUpstream
from node.edge.replies import reason_header, reply
from node.sip.binding import Binding, BindingChange
from node.sip.digest import Challenge, DigestAuthenticator, Role
from node.sip.flow import Flow
from node.sip.gruu import wants_gruu
from node.sip.message import Request, Response
from node.sip.registrar import Registrar
from node.trunks.pbx import is_bulk


@dataclass(slots=True)
class Registrations:
    """Answers REGISTER and stores what it changed, behind the answer."""

    hub: Hub
    accounts: AccountBook
    digest: DigestAuthenticator
    registrar: Registrar
    store: Callable[[Iterable[BindingChange]], None]
    registered: Callable[[str], None] = lambda login: None
    "Told the login of each REGISTER that was accepted."

    def register(self, upstream: PhoneUpstream) -> None:
        """Answer a REGISTER (RFC 3261 10.3)."""
        request, now = upstream.request, self.hub.clock.unix()
        uri = request.uri
        if not self.hub.names.is_own(uri.host or "", uri.port):
            text = "this node is not the registrar of that domain"
            upstream.respond(reply(self.hub, request, 404, Reason=reason_header(404, text)))
            return
        answer = self.digest.authenticate(
            request, Role.REGISTRAR, source=upstream.flow.remote.host, now=now
        )
        if isinstance(answer, Challenge):
            guard, flow = self.hub.guard, upstream.flow
            if is_turned_away(guard, request, flow):
                upstream.respond(reply(self.hub, request, 403))
                return
            note_challenge(guard, self.accounts, request, flow, answer)
            headers = list(answer.headers)
            upstream.respond(
                Response.answering(request, answer.status, to_tag=self.hub.tag(), headers=headers)
            )
            return
        account = self.accounts.by_login(answer.login)
        if account is None or not self._is_own_address(account, request):
            text = "an account can register its own address only"
            upstream.respond(reply(self.hub, request, 403, Reason=reason_header(403, text)))
            return
        self.hub.guard.proved(upstream.flow)
        wants = request.has("supported") and wants_gruu(request.values("Supported"))
        gruus = self._gruus_of if wants else None
        if account.kind is not AccountKind.TRUNK and _is_bulk(request):
            text = "only a trunk registers for all that is behind it"
            upstream.respond(reply(self.hub, request, 403, Reason=reason_header(403, text)))
            return
        result = self.registrar.register(
            account.login, request, upstream.flow, now=now, gruus=gruus
        )
        upstream.respond(
            Response.answering(
                request,
                result.status,
                result.reason,
                to_tag=self.hub.tag(),
                headers=list(result.headers),
            )
        )
        if result.changes:
            self.store(result.changes)
            self.registered(account.login)

    def _gruus_of(self, binding: Binding) -> str:
        # At the key name, at which every node of the network finds this one.
        return self.hub.gruus.parameters(binding, self.hub.names.key_name)

    def _is_own_address(self, account: Account, request: Request) -> bool:
        uri = request.to.uri
        if not self.hub.names.is_own(uri.host or "", uri.port):
            return False
        return appearance_of(account, uri.user or "") is not None

    def flow_closed(self, flow: Flow) -> None:
        """A connection ended: what registered over it is not connected until it comes again."""
        changes = self.registrar.flow_closed(flow)
        if changes:
            self.store(changes)

    def sweep(self) -> None:
        """Drop what has expired."""
        changes = self.registrar.handle_timer(now=self.hub.clock.unix())
        if changes:
            self.store(changes)


def _is_bulk(request: Request) -> bool:
    """Whether a Contact stands for many numbers (RFC 6140)."""
    return any(is_bulk(contact.uri) for contact in request.contacts)
