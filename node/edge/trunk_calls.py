"""Calls over trunks: to a PBX, out to a provider, and in from one.

Calls out go to the providers that the dial plan names, each within its limits; calls in are for the
numbers that are mapped to accounts here.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from node.accounts.account import Account
from node.accounts.book import AccountBook
from node.edge.branches import BranchOwner, PhoneBranch
from node.edge.branching import BranchMaker
from node.edge.context import RequestContext
from node.edge.hub import Hub
from node.edge.identity import Caller
from node.edge.trunk_branch import TrunkBranch
from node.edge.trunk_caller import caller_from, number_for, told_caller
from node.edge.trunk_lines import Lines, TrunkParts, Unreachable
from node.edge.trunk_trial import Step, Trial
from node.routing import LocalTarget, Refusal, TargetReader, TrunkTarget
from node.sip.errors import SipParseError
from node.sip.headers import NameAddr
from node.sip.message import Request
from node.sip.registrar import Registrar
from node.sip.uri import Uri
from node.trunks.book import TrunkBook, Way
from node.trunks.load import TrunkLoad
from node.trunks.pbx import called_at, called_user
from node.trunks.trunk import PbxSettings, ProviderSettings, Trunk

MAX_STEPS = 8
"Servers, of all trunks together, that are tried for one call."
OUT_METHODS = frozenset({"INVITE", "MESSAGE"})
"What goes to telephone numbers and comes from providers, outside dialogs."


@dataclass(slots=True)
class TrunkCalls:
    """Makes the branches of calls over trunks, and reads the calls that come from them."""

    hub: Hub
    book: TrunkBook
    load: TrunkLoad
    lines: Lines
    accounts: AccountBook
    reader: TargetReader
    registrar: Registrar
    branches: BranchMaker

    @classmethod
    def of(
        cls,
        hub: Hub,
        parts: TrunkParts,
        accounts: AccountBook,
        reader: TargetReader,
        registrar: Registrar,
        branches: BranchMaker,
    ) -> Self:
        """Of what the edge is told of trunks, and its own parts."""
        book, load, lines = parts.book, parts.load, parts.lines
        return cls(hub, book, load, lines, accounts, reader, registrar, branches)

    # To a PBX

    def to_pbx(
        self,
        context: RequestContext,
        target: LocalTarget,
        caller: Caller,
        diversion: str | None = None,
        *,
        owner: BranchOwner,
        instead: Callable[[int, PhoneBranch], None],
    ) -> list[PhoneBranch]:
        """Branches to a PBX: to each Contact that it registered, or to its fixed address.

        They report to `owner`; `instead` is told which one is started in place of another.

        Raises:
            Unreachable: it cannot be reached, or has as many calls as it may.
            PeerError, RelayError: its media cannot be carried.
        """
        account = target.account
        trunk, settings = self.book.get(account.login), self.book.pbx(account.login)
        if trunk is not None and self.is_full(trunk):
            raise Unreachable(486, f"trunk {account.login} has as many calls as it may")
        if trunk is not None and settings.static is not None:
            made = [self._to_static(context, target, trunk, caller, diversion, owner, instead)]
        else:
            made = self._to_contacts(context, target, settings, caller, diversion)
            for branch in made:
                branch.owner = owner
        if trunk is not None:
            self.counted(trunk, context)
        return made

    def _to_contacts(
        self,
        context: RequestContext,
        target: LocalTarget,
        settings: PbxSettings,
        caller: Caller,
        diversion: str | None,
    ) -> list[PhoneBranch]:
        bindings = [
            binding
            for binding in self.registrar.bindings(target.account.login, now=self.hub.clock.unix())
            if binding.is_connected
        ]
        if not bindings:
            raise Unreachable(480, f"the PBX of trunk {target.account.login} is not registered")
        breadths = self.hub.forwarder.breadths(context.request, len(bindings))
        return [
            self.branches.device(
                context,
                binding,
                caller,
                diversion,
                breadth,
                called_at(settings, binding.target, target.account, target.extension, target.did),
            )
            for binding, breadth in zip(bindings, breadths, strict=True)
        ]

    def _to_static(
        self,
        context: RequestContext,
        target: LocalTarget,
        trunk: Trunk,
        caller: Caller,
        diversion: str | None,
        owner: BranchOwner,
        instead: Callable[[int, PhoneBranch], None],
    ) -> PhoneBranch:
        user = called_user(target.account, target.extension, target.did)
        uri = f"sip:{user}@{self.book.pbx(trunk.name).static}"
        steps = [Step(trunk, uri, hop) for hop in self.lines.hops(trunk.name)]
        trial = Trial(
            self, context, target.account, caller, diversion, False, steps, owner, instead
        )
        return self._begin(trial, trunk)

    # Out

    def out(
        self,
        context: RequestContext,
        account: Account,
        target: TrunkTarget,
        caller: Caller,
        diversion: str | None = None,
    ) -> PhoneBranch:
        """A branch to the first provider that may take a telephone number.

        Raises:
            Unreachable: none may, or can.
            PeerError, RelayError: the media cannot be carried.
        """
        if context.request.method not in OUT_METHODS:
            raise Unreachable(405, "telephone numbers take calls and messages only")
        ways = self.reader.ways_out(target)
        return self.out_by(context, account, ways, caller, diversion, emergency=target.emergency)

    def out_by(
        self,
        context: RequestContext,
        account: Account | None,
        ways: Sequence[Way],
        caller: Caller,
        diversion: str | None = None,
        *,
        emergency: bool = False,
    ) -> PhoneBranch:
        """A branch to the first provider of these; as `out`, and raises the same.

        `account` is `None` for a call of another node.
        """
        open_ways = [way for way in ways if not self.is_full(way.trunk, emergency=emergency)]
        if ways and not open_ways:
            names = ", ".join(way.trunk.name for way in ways)
            raise Unreachable(480, f"trunk {names} carries as many calls as it may")
        steps = [step for way in open_ways for step in self._steps(way)][:MAX_STEPS]
        last = open_ways[-1].trunk if open_ways else None
        trial = Trial(self, context, account, caller, diversion, emergency, steps, context)
        return self._begin(trial, last)

    def _steps(self, way: Way) -> Iterable[Step]:
        settings = way.trunk.settings
        assert isinstance(settings, ProviderSettings)
        host = settings.domain or settings.servers[0]
        uri = f"sip:{way.number.replace('#', '%23')}@{host}"
        return [Step(way.trunk, uri, hop) for hop in self.lines.hops(way.trunk.name)]

    def _begin(self, trial: Trial, trunk: Trunk | None) -> PhoneBranch:
        first = trial.next_branch()
        if first is None:
            name = "" if trunk is None else trunk.name
            raise Unreachable(480, f"trunk {name}: {self.lines.why_not(name)}")
        return first

    def branch_to(self, step: Step, trial: Trial) -> TrunkBranch:
        """A branch to one server."""
        context, request = trial.context, trial.context.request
        branch_id, flow = context.new_branch_id(), self.lines.flow_to(step.hop)
        side = self.lines.side(step.trunk, flow, self.hub.forwarder.own_uri(flow))
        copy = self.hub.forwarder.onward(request)
        copy.uri = Uri.parse(step.uri)
        shown = self._tell_caller(copy, step, trial)
        if request.from_.tag:
            copy.set("From", f"{shown};tag={request.from_.tag}")
        else:
            copy.set("From", shown)
        if trial.diversion is not None:
            copy.prepend("Diversion", trial.diversion)
        self.branches.lead(context, copy, side, shown, branch_id)
        return TrunkBranch(branch_id, self.hub, self.branches.clients, trial, copy, flow, side=side)

    def _tell_caller(self, copy: Request, step: Step, trial: Trial) -> str:
        """Write who calls into a request; returns the From value."""
        settings = step.trunk.settings
        if isinstance(settings, PbxSettings):
            server = str(step.hop.remote)
            own = self.hub.forwarder.own_uri(self.lines.flow_to(step.hop))
            asserted = trial.caller.asserted_identity(own or server)
            if asserted is not None:
                copy.append("P-Asserted-Identity", asserted)
            return trial.caller.shown_from(own or server)
        is_own = trial.diversion is None
        request = trial.context.request
        number = number_for(settings, self.book.dids, trial.account, request if is_own else None)
        told = told_caller(
            step.trunk.name,
            settings,
            number,
            trial.account,
            request,
            is_own=is_own,
            always_shown=trial.emergency,
        )
        copy.append("P-Asserted-Identity", told.asserted)
        if told.is_private:
            copy.set("Privacy", "id")
        return told.shown_from

    # In

    def called(self, trunk: Trunk, request: Request) -> LocalTarget | Refusal:
        """Whom a provider's request is for: the DID in its Request-URI, or where that is our own
        Contact, in P-Called-Party-ID (RFC 7315 4.2) or To."""
        users = [] if self.lines.is_token(request.uri.user or "") else [request.uri.user or ""]
        for value in request.values("P-Called-Party-ID")[:1]:
            try:
                users.append(NameAddr.parse(value).uri.user or "")
            except SipParseError:
                continue
        users.append(request.to.uri.user or "")
        for user in users:
            did = self.book.dids.find(user)
            account = None if did is None else self.accounts.by_login(did.login)
            if did is not None and account is not None:
                return LocalTarget(account, did.extension, did.number)
        return Refusal(404, f"no account here is mapped to {users[0][:32] or 'this number'}")

    def caller_of(self, trunk: Trunk, request: Request) -> Caller:
        """Who calls, as a provider says."""
        assert isinstance(trunk.settings, ProviderSettings)
        return caller_from(trunk.settings, request)

    # Limits

    def is_full(self, trunk: Trunk, *, emergency: bool = False) -> bool:
        """Whether a trunk may carry no further call; emergency calls are never refused."""
        settings = trunk.settings
        if emergency:
            return False
        if settings.max_calls is not None and self.load.calls(trunk.name) >= settings.max_calls:
            return True
        if isinstance(settings, PbxSettings) or settings.max_daily is None:
            return False
        now = self.hub.clock.unix()
        return self.load.out_today(trunk.name, now=now) >= settings.max_daily

    def counted(self, trunk: Trunk, context: RequestContext) -> None:
        """A call goes over a trunk from now on."""
        group = context.group
        if group is None or group.method != "INVITE":
            return
        self.load.take(trunk.name, group.id)
        if isinstance(trunk.settings, ProviderSettings):
            self.load.went_out(trunk.name, now=self.hub.clock.unix())

    def left(self, trunk: Trunk, context: RequestContext) -> None:
        """A call goes another way after all."""
        if context.group is not None:
            self.load.leave(trunk.name, context.group.id)

    def arrived(self, name: str, context: RequestContext) -> Refusal | None:
        """Count a call that came over a trunk; why it is refused, if it is."""
        trunk, group = self.book.get(name), context.group
        if trunk is None or group is None or group.method != "INVITE":
            return None
        settings = trunk.settings
        if settings.max_calls is not None and self.load.calls(name) >= settings.max_calls:
            return Refusal(486, f"trunk {name} has as many calls as it may")
        self.load.take(name, group.id)
        return None
