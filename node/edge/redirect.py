"""3xx from a device: its edge goes on to where the device points (RFC 3261 16.5).

A 3xx never crosses a link, nor does a caller see it. Each Contact is taken as dialled by the
account whose device sent it, under that account's limits; what goes on says so in Diversion, and
towards another node in a statement of ours with the original one inside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from federation.model.errors import PeerError
from media_relay.errors import RelayError
from node.accounts.account import Account
from node.accounts.book import AccountBook
from node.edge.branches import Branch
from node.edge.branching import BranchMaker, Diverted
from node.edge.context import RequestContext
from node.edge.dialog import PhoneSide
from node.edge.hub import Hub, MeshUpstream
from node.edge.identity import Caller
from node.edge.media import MediaError
from node.edge.vouching import Voucher
from node.routing import LocalTarget, Located, Locator, Refusal, ServiceTarget, TargetReader
from node.sip.headers import NameAddr
from node.sip.message import Response
from node.sip.registrar import Registrar
from node.sip.sdp import SdpError
from node.sip.uri import Uri

MAX_REDIRECTS = 5
"3xx answers followed for one request; after that it is 480."
MAX_CONTACTS = 4
"Contacts of one 3xx that are tried, the best first."


def status_of(error: PeerError | RelayError) -> int:
    """What a caller is answered when a branch cannot be made."""
    return 488 if isinstance(error, SdpError | MediaError) else 480


@dataclass(slots=True)
class _Trail:
    """What is known of one request's redirections."""

    account: dict[int, Account]
    "Whose device each branch leads to."
    caller: Caller
    hops: int = 0
    seen: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Redirects:
    """Follows the 3xx of devices."""

    hub: Hub
    branches: BranchMaker
    accounts: AccountBook
    reader: TargetReader
    locator: Locator
    registrar: Registrar
    voucher: Voucher

    def follow(
        self,
        context: RequestContext,
        branches: Sequence[Branch],
        account: Account,
        caller: Caller,
    ) -> None:
        """Have the 3xx of these branches, devices of `account`, followed."""
        trail = _Trail({branch.id: account for branch in branches}, caller)
        context.redirect = lambda ctx, branch, response: self._moved(ctx, branch, response, trail)

    def _moved(
        self, context: RequestContext, branch: int, response: Response, trail: _Trail
    ) -> bool:
        """Take up a 3xx; `False` where it leads nowhere, so that it counts as a refusal."""
        account = trail.account.get(branch)
        contacts = sorted(response.contacts, key=_preference)[:MAX_CONTACTS]
        targets = [contact.uri for contact in contacts if str(contact.uri) not in trail.seen]
        if account is None or not targets:
            return False
        trail.hops += 1
        if trail.hops > MAX_REDIRECTS:
            context.on_failure(branch, 480, "forwarded too often")
            return True
        trail.seen.update(str(uri) for uri in targets)
        for uri in targets:
            context.hold()
            self.hub.spawn(self._try(context, uri, account, response.status, trail))
        return True

    async def _try(
        self, context: RequestContext, uri: Uri, account: Account, status: int, trail: _Trail
    ) -> None:
        header = f"<sip:{account.login}@{self.hub.node.key_name}>;reason={_reason(status)}"
        try:
            branches = await self._branches(context, uri, account, header, trail)
        except (PeerError, RelayError) as error:
            self.hub.log.info("redirect_failed", target=str(uri), reason=str(error))
            branches = []
        if not context.done:
            context.start(branches)
            context.release()

    async def _branches(
        self, context: RequestContext, uri: Uri, account: Account, header: str, trail: _Trail
    ) -> list[Branch]:
        target = self.reader.classify(uri, may_leave=True)
        match target:
            case Refusal() | ServiceTarget():
                return []
            case LocalTarget(account=other):
                made: list[Branch] = []
                for binding in self.registrar.bindings(other.login, now=self.hub.clock.unix()):
                    if binding.is_connected:
                        branch = self.branches.device(context, binding, trail.caller, header)
                        trail.account[branch.id] = other
                        made.append(branch)
                return made
        if isinstance(context.upstream, MeshUpstream):
            # Two sealed legs cannot be joined: the relay always has an anchor on one side.
            return []
        located = await self.locator.locate(target)
        if not isinstance(located, Located) or context.done:
            return []
        diverted = Diverted(header, self._original(context, account))
        return [self.branches.node(context, account, located, diverted)]

    def _original(self, context: RequestContext, account: Account) -> bytes | None:
        """A statement that the call was for `account`, by the phone of ours that made it."""
        side = None if context.group is None else context.group.caller
        caller = self.accounts.by_login(side.login) if isinstance(side, PhoneSide) else None
        if caller is None:
            return None
        destination = f"sip:{account.login}@{self.hub.node.key_name}"
        return self.voucher.issue(caller, context.request, destination)


def _preference(contact: NameAddr) -> float:
    try:
        return -float(contact.param("q") or 1)
    except ValueError:
        return 0.0


def _reason(status: int) -> str:
    return "unconditional" if status in (301, 302) else "unknown"
