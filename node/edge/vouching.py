"""Statements of who is calling: issued for our own accounts, verified for other nodes' callers.

Checking that a number belongs to an account key costs an Argon2id once. One thread does it, with
a burst of eight for each node and then one in two seconds; over that the caller is shown as
unverified. Pairs that were verified are kept for good.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from federation.delegation import Delegation
from federation.messages import Request as MeshRequest
from federation.model.clocks import Clock, Monotonic, UnixTime
from federation.model.identity import AccountId, NodeId, NodeKey
from federation.model.network import Network
from federation.model.number import Number, derive_number
from federation.statement import Caller as StatedCaller
from federation.statement import (
    ReplayGuard,
    Statement,
    StatementError,
    call_digest,
    issue_statement,
    verify_statement,
)
from node.accounts.account import Account, AccountKind
from node.accounts.identify import appearance_of
from node.edge.identity import Caller, display_of, is_anonymous
from node.sip.message import Request
from node.storage.verified_numbers import VerifiedNumbers

DELEGATION_LIFE = 86_400
"Seconds an account's delegation to this node holds."
DELEGATION_RENEWAL = 3_600
"Seconds before its end at which a delegation is issued anew."
BURST = 8
REFILL_INTERVAL = 2.0
MAX_BUDGETS = 4096
"Nodes whose verification budget is remembered."
MAX_CHECKS = 16
"Account keys being checked or waiting for it: 4 s of work. Further callers show as unverified."


class Delegations:
    """Each account's word that this node may speak for it, signed when it is first needed."""

    def __init__(self, node: NodeId, network: Network) -> None:
        self._node = node
        self._network = network
        self._issued: dict[AccountId, Delegation] = {}

    def of(self, account: Account, *, now: UnixTime) -> Delegation:
        """A delegation that holds for at least `DELEGATION_RENEWAL` more seconds."""
        known = self._issued.get(account.id)
        if known is None or known.not_after - now < DELEGATION_RENEWAL:
            start = int(now) - 1
            known = self._issued[account.id] = Delegation.issue(
                account.key,
                publisher=self._node,
                label=account.login,
                not_before=start,
                not_after=start + DELEGATION_LIFE,
                network=self._network,
            )
        return known

    def forget(self, account: AccountId) -> None:
        """The account is gone."""
        self._issued.pop(account, None)


@dataclass(slots=True)
class _Budget:
    tokens: float
    at: Monotonic


@dataclass(slots=True)
class NumberChecks:
    """Verifies that numbers belong to account keys, off the loop and within a budget."""

    clock: Clock
    verified: VerifiedNumbers
    derive: Callable[[AccountId], Number] = derive_number
    _threads: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="number")
    )
    _budgets: dict[NodeId, _Budget] = field(default_factory=dict)
    _under_way: dict[AccountId, asyncio.Future[Number]] = field(default_factory=dict)

    def known(self, number: Number, account: AccountId) -> bool:
        """Whether the pair was verified before."""
        return self.verified.get(account) == number

    async def check(self, number: Number, account: AccountId, peer: NodeId) -> bool:
        """Whether the number is the key's.

        `False` too where `peer` used up its budget or too much is being checked. Calls of one
        account that come together are checked once.
        """
        if self.known(number, account):
            return True
        check = self._under_way.get(account)
        if check is None:
            if len(self._under_way) >= MAX_CHECKS or not self._take(peer):
                return False
            loop = asyncio.get_running_loop()
            check = loop.run_in_executor(self._threads, self.derive, account)
            self._under_way[account] = check
            check.add_done_callback(lambda _: self._under_way.pop(account, None))
        # The end of one call must not end the check for the others.
        derived = await asyncio.shield(check)
        if derived != number:
            return False
        self.verified.add(account, number, now=self.clock.unix())
        return True

    def close(self) -> None:
        """Let the thread end."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _take(self, peer: NodeId) -> bool:
        now = self.clock.monotonic()
        budget = self._budgets.pop(peer, None) or _Budget(BURST, now)
        budget.tokens = min(BURST, budget.tokens + (now - budget.at) / REFILL_INTERVAL)
        budget.at = now
        self._budgets[peer] = budget
        if len(self._budgets) > MAX_BUDGETS:
            del self._budgets[next(iter(self._budgets))]
        if budget.tokens < 1:
            return False
        budget.tokens -= 1
        return True


class Voucher:
    """Issues and verifies caller statements for one node."""

    def __init__(
        self,
        key: NodeKey,
        network: Network,
        clock: Clock,
        checks: NumberChecks,
        own_domain: Callable[[], str],
        proven: Callable[[str], NodeId | None],
    ) -> None:
        self._key = key
        self._network = network
        self._clock = clock
        self._checks = checks
        self._own_domain = own_domain
        self._proven = proven
        self._replay = ReplayGuard()
        self.delegations = Delegations(key.id, network)

    def own_caller(self, account: Account, request: Request) -> Caller:
        """How one of our accounts is shown; its digest was checked."""
        sender = request.from_
        if is_anonymous(sender.uri):
            return Caller("", None, "", verified=False, anonymous=True)
        extension = _extension(account, request)
        return Caller(
            display=display_of(sender) or account.name,
            number=account.number,
            uri=f"{_user(account, extension)}@{self._own_domain()}",
            verified=True,
            extension=extension,
        )

    def issue(
        self,
        account: Account,
        request: Request,
        destination: str,
        diverted: bytes | None = None,
    ) -> bytes | None:
        """Our statement for a request of one of our accounts; none for an anonymous one.

        `diverted` is the statement of a call that the account sends on; its caller is the one
        that is shown.
        """
        if is_anonymous(request.from_.uri):
            return None
        now = self._clock.unix()
        # Who sends a call on does so as a whole; From is that of the first caller then.
        extension = None if diverted is not None else _extension(account, request)
        return issue_statement(
            self._key,
            network=self._network,
            caller=StatedCaller(
                uri=f"sip:{_user(account, extension)}@{self._own_domain()}",
                number=account.number,
                account=account.id,
                delegation=self.delegations.of(account, now=now).encode(),
            ),
            destination=destination,
            call=call_digest(request.call_id, request.from_.tag or ""),
            now=now,
            diverted=diverted,
        )

    def read(self, mesh: MeshRequest, request: Request, peer: NodeId) -> Statement | None:
        """The statement that came with a request; `None` where it proves nothing."""
        if mesh.statement is None:
            return None
        try:
            statement = verify_statement(
                mesh.statement,
                network=self._network,
                peer=peer,
                destination=request.raw_uri,
                call=call_digest(request.call_id, request.from_.tag or ""),
                now=self._clock.unix(),
            )
            self._replay.admit(statement, mesh.txn, now=self._clock.monotonic())
        except StatementError:
            return None
        return statement

    def needs_check(self, statement: Statement | None) -> bool:
        """Whether `caller` would have to compute an Argon2id."""
        statement = _origin(statement)
        if statement is None or statement.caller.number is None:
            return False
        account = statement.caller.account
        return account is not None and not self._checks.known(statement.caller.number, account)

    async def caller(self, statement: Statement | None, request: Request, peer: NodeId) -> Caller:
        """Who calls, as our phones are shown it, with the number checked against its key."""
        holds = False
        statement = _origin(statement)
        stated = None if statement is None else statement.caller
        if stated is not None and stated.number is not None and stated.account is not None:
            holds = await self._checks.check(stated.number, stated.account, peer)
        return self.known_caller(statement, request, peer, number_holds=holds)

    def known_caller(
        self, statement: Statement | None, request: Request, peer: NodeId, *, number_holds: bool
    ) -> Caller:
        """Who calls, when it is known whether the number holds."""
        sender = request.from_
        if is_anonymous(sender.uri):
            return Caller("", None, "", verified=False, anonymous=True)
        display, statement = display_of(sender), _origin(statement)
        if statement is None:
            claimed = f"{sender.uri.user or 'unknown'}@{peer.key_name}"
            return Caller(display, None, claimed, verified=False)
        stated, uri = statement.caller, self._uri(statement.caller.uri, statement.signer)
        if stated.number is not None and (stated.account is None or not number_holds):
            return Caller(display, None, uri, verified=False)
        behind = uri.partition("@")[0].partition("*")[2]
        extension = behind if behind.isascii() and behind.isdigit() and len(behind) < 17 else None
        return Caller(display, stated.number, uri, verified=True, extension=extension)

    def _uri(self, stated: str, peer: NodeId) -> str:
        """The stated URI if its domain is the peer's key name or known to be the peer's."""
        user, _, domain = stated.partition(":")[2].rpartition("@")
        if domain == peer.key_name or self._proven(domain) == peer:
            return f"{user}@{domain}"
        return f"{user}@{peer.key_name}"


def _extension(account: Account, request: Request) -> str | None:
    """The extension that a request of a trunk comes from, by its From."""
    if account.kind is not AccountKind.TRUNK:
        return None
    appearance = appearance_of(account, request.from_.uri.user or "")
    return None if appearance is None else appearance.extension


def _user(account: Account, extension: str | None) -> str:
    return account.login if extension is None else f"{account.login}*{extension}"


def _origin(statement: Statement | None) -> Statement | None:
    """The statement of who called first, if each one who sent the call on was who it was for.

    Each must have been made for the node that signed the next: a node that merely saw a statement
    cannot put its caller into a call of its own.
    """
    while statement is not None and statement.diverted is not None:
        inner = statement.diverted
        target, _, host = inner.destination.partition(":")[2].partition("@")
        user = target.partition("*")[0]
        forwarder = statement.caller
        login = forwarder.uri.partition(":")[2].partition("@")[0].partition("*")[0]
        if user not in (login, forwarder.number) or host != statement.signer.key_name:
            return None
        statement = inner
    return statement
