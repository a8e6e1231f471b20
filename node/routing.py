"""What a dialled target means, and which nodes can take the call.

`classify` reads a Request-URI without asking anybody; `Locator` asks the DHT and DNS. The order
is the same for phones and people: services, emergency numbers, this node's own names, numbers of
the network, key names, domains, other digits.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace

import structlog

from dht.finder import Found, Inconclusive
from federation.model.address import AddressError, parse_ip
from federation.model.clocks import Clock, Monotonic
from federation.model.identity import KeyFormatError, NodeId, PublicKey
from federation.model.number import Number
from node.accounts.account import Account, AccountKind
from node.accounts.book import AccountBook
from node.attempts import attempts_of, endpoints_in
from node.edge.branches import NodeAttempt
from node.emergency import is_emergency_service, sos_number
from node.lookups import Lookups, Pins
from node.names import OwnNames
from node.offerer import Offerer, OfferTarget
from node.offers import Offers
from node.outside import Outside, SipServers
from node.sip.locate import LocateError
from node.sip.locate import Target as SipTarget
from node.sip.uri import Uri
from node.storage.pins import PinKind
from node.trunks.book import TrunkBook, Way
from node.trunks.rules import read_dialled

ECHO_NAMES = frozenset({"echo", "*43"})
LOOKUP_BUDGET = 4.0
"Seconds a caller waits for all lookups together."
ROUTE_CACHE_TIME = 30.0
"Seconds a route that was found serves further calls without a lookup."
ROUTE_CACHE_SIZE = 4096
_MAX_EXTENSION = 16
log = structlog.get_logger("routing")


@dataclass(frozen=True, slots=True)
class LocalTarget:
    """An account of this node."""

    account: Account
    extension: str | None = None
    did: str | None = None
    "The telephone number by which it was called, digits of E.164."


@dataclass(frozen=True, slots=True)
class TrunkTarget:
    """A telephone number that leaves over a trunk."""

    dialled: str
    emergency: bool = False


@dataclass(frozen=True, slots=True)
class ServiceTarget:
    """A service of this node."""

    name: str


@dataclass(frozen=True, slots=True)
class NumberTarget:
    """A number of the network."""

    number: Number
    extension: str | None = None


@dataclass(frozen=True, slots=True)
class KeyTarget:
    """A user of the node whose key the domain names."""

    node: NodeId
    user: str


@dataclass(frozen=True, slots=True)
class DomainTarget:
    """A user at a domain that somebody may prove to own."""

    domain: str
    "In lower case; an IP address where calls to other SIP networks are allowed."
    user: str
    port: int | None
    uri: Uri | None = field(default=None, compare=False)
    "As it was dialled, for plain SIP."


@dataclass(frozen=True, slots=True)
class Refusal:
    """There is no such target; the SIP answer says why."""

    status: int
    text: str


Target = (
    LocalTarget
    | ServiceTarget
    | NumberTarget
    | KeyTarget
    | DomainTarget
    | TrunkTarget
    | OfferTarget
    | Refusal
)


@dataclass(frozen=True, slots=True)
class Located:
    """The nodes to ask, best first, and the Request-URI they are asked with."""

    attempts: tuple[NodeAttempt, ...]
    user: str
    kind: str
    "number, key, domain or offer: for people."

    def uri_at(self, node: NodeId) -> Uri:
        """The Request-URI for one of the nodes."""
        return Uri.parse(f"sip:{self.user}@{node.key_name}")


class TargetReader:
    """Reads Request-URIs by this node's own names and accounts."""

    def __init__(
        self,
        names: OwnNames,
        accounts: AccountBook,
        *,
        emergency: frozenset[str],
        calls_outside: bool = False,
        trunks: TrunkBook | None = None,
        has_offers: bool = False,
    ) -> None:
        """`calls_outside`: other SIP networks are called too, so an IP address may be one.

        `has_offers`: numbers that no trunk here takes may go out over those of other nodes.
        """
        self._has_offers = has_offers
        self._calls_outside = calls_outside
        self._names = names
        self._accounts = accounts
        self.emergency = emergency
        "Emergency numbers."
        self._trunks = TrunkBook() if trunks is None else trunks

    def classify(self, uri: Uri, *, may_leave: bool) -> Target:
        """What `uri` means; `may_leave` is true for requests of our own accounts only."""
        user = uri.user or ""
        if is_emergency_service(uri):
            return self._digits(sos_number(self.emergency, self._trunks.emergency_ways), may_leave)
        if uri.scheme == "tel":
            return self._digits(user.replace("-", "").replace(".", ""), may_leave)
        if uri.scheme not in ("sip", "sips"):
            return Refusal(416, f"{uri.scheme}: is not a scheme that can be called here")
        host = uri.host or ""
        if not self._names.is_own(host, uri.port):
            return self._elsewhere(uri, user, host, may_leave)
        if not user:
            return Refusal(404, "the address names nobody")
        return self._digits(user, may_leave)

    def local(self, user: str) -> LocalTarget | ServiceTarget | None:
        """The service, or the account of this node, that a user part names."""
        if user.lower() in ECHO_NAMES:
            return ServiceTarget("echo")
        account = self._accounts.find(user)
        if account is not None:
            return LocalTarget(account)
        trunk, star, extension = user.rpartition("*")
        if star and extension.isdigit() and len(extension) <= _MAX_EXTENSION:
            account = self._accounts.find(trunk)
            if account is not None and account.kind is AccountKind.TRUNK:
                return LocalTarget(account, extension)
        did = self._trunks.dids.find(user)
        account = None if did is None else self._accounts.by_login(did.login)
        if did is not None and account is not None:
            return LocalTarget(account, did.extension, did.number)
        return None

    def _digits(self, user: str, may_leave: bool) -> Target:
        if may_leave and user in self.emergency:
            if self._trunks.emergency_ways(user):
                return TrunkTarget(user, emergency=True)
            return Refusal(403, "emergency calls need an emergency trunk, and none is set up here")
        found = self.local(user)
        if found is not None:
            return found
        if not may_leave:
            return Refusal(404, "nobody has this name here")
        number, star, extension = user.partition("*")
        if Number.fits(number) and (not star or (extension.isdigit() and len(extension) < 17)):
            return NumberTarget(Number(number), extension or None)
        if user.isdigit() and len(user) < 15 and user[:1] == "0" and user[1:2] in "23456789":
            return self._outside(user) or Refusal(484, "numbers of this network have 15 digits")
        return self._outside(user) or Refusal(404, "nobody has this name or number")

    def ways_out(self, target: TrunkTarget) -> list[Way]:
        """The trunks that take such a number, the best first, and what each is asked for."""
        if target.emergency:
            return self._trunks.emergency_ways(target.dialled)
        return self._trunks.ways(target.dialled)

    def _outside(self, user: str) -> Target | None:
        """By the dial plan of the trunks, else by what trunks of other nodes offer."""
        target = self._by_dial_plan(user)
        if target is not None or not self._has_offers:
            return target
        number = self._trunks.dids.international(user)
        return None if number is None else OfferTarget(number)

    def _by_dial_plan(self, user: str) -> Target | None:
        """484 where a longer number could go out."""
        if not self._trunks.has_providers:
            return None
        dialled = read_dialled(user)
        if dialled is None:
            return None
        if self._trunks.ways(dialled):
            return TrunkTarget(dialled)
        if self._trunks.could_grow(dialled):
            return Refusal(484, "this is the beginning of a number; dial all of it")
        return None

    def _elsewhere(self, uri: Uri, user: str, host: str, may_leave: bool) -> Target:
        if not may_leave:
            return Refusal(404, "this node does not answer for that domain")
        if not user:
            return Refusal(404, "the address names nobody")
        if user in self.emergency:
            return self._digits(user, may_leave)
        host = host.lower().removesuffix(".")
        try:
            return KeyTarget(NodeId.from_key_name(host), user.lower())
        except KeyFormatError:
            pass
        if host.endswith(".alt"):
            return Refusal(404, "this key name is misspelt")
        if _is_ip(host) and not self._calls_outside:
            text = f"{host} is not this node; others are called by number, key name or domain"
            return Refusal(404, text)
        return DomainTarget(host, user, uri.port, uri)


class Locator:
    """Finds the nodes that take calls for a target elsewhere."""

    def __init__(
        self,
        node: NodeId,
        lookups: Lookups,
        pins: Pins,
        prove: Callable[[str], Awaitable[NodeId | None]],
        clock: Clock,
        servers: SipServers | None = None,
        offerers: Sequence[Offerer] = (),
    ) -> None:
        """`servers` finds other SIP networks, where those may be called.

        `offerers` are the trunks of other nodes whose offers count.
        """
        self._offers = Offers(offerers, lookups, clock)
        self._servers = servers
        self._node = node
        self._lookups = lookups
        self._pins = pins
        self._prove = prove
        self._clock = clock
        self._cache: dict[Target, tuple[Monotonic, Located]] = {}

    async def locate(self, target: Target) -> Located | Outside | Refusal:
        """The nodes for a number, key name or domain; within `LOOKUP_BUDGET`.

        A domain that no node proves leads outside, where other SIP networks may be called.
        """
        known = self._cache.get(target)
        if known is not None and known[0] > self._clock.monotonic():
            return known[1]
        try:
            async with asyncio.timeout(LOOKUP_BUDGET + 0.5):
                answer = await self._ask(target)
        except TimeoutError:
            answer = Refusal(480, "the lookup took too long")
        if isinstance(answer, Located):
            others = tuple(a for a in answer.attempts if a.node != self._node)
            if not others:
                return Refusal(404, "this node has no such user any more")
            answer = replace(answer, attempts=others)
            while len(self._cache) >= ROUTE_CACHE_SIZE:
                del self._cache[next(iter(self._cache))]
            until = Monotonic(self._clock.monotonic() + ROUTE_CACHE_TIME)
            self._cache[target] = (until, answer)
        return answer

    def forget(self, target: Target) -> None:
        """A node that was found did not answer: look again next time."""
        self._cache.pop(target, None)
        if isinstance(target, OfferTarget):
            self._offers.forget()

    def forget_all(self) -> None:
        """A pin was changed: look everything up again."""
        self._cache.clear()

    async def _ask(self, target: Target) -> Located | Outside | Refusal:
        match target:
            case NumberTarget(number, extension):
                return await self._number(number, extension)
            case KeyTarget(node, user):
                return await self._user(node, user, "key")
            case DomainTarget():
                return await self._domain_or_outside(target)
            case OfferTarget(number):
                return await self._offered(number)
            case Refusal():
                return target
            case _:
                return Refusal(404, "that is on this node")

    async def _offered(self, number: str) -> Located | Refusal:
        found = await self._offers.find(number, budget=LOOKUP_BUDGET / 2)
        if isinstance(found, str):
            return Refusal(480, f"the network gave no sure answer about offers: {found}")
        nodes = list(dict.fromkeys(offerer.node for offerer in found))
        if not nodes:
            return Refusal(
                404, "no trunk here takes this number, and none that is allowed offers it"
            )
        addresses = await asyncio.gather(
            *(self._lookups.find_address(node, budget=LOOKUP_BUDGET / 2) for node in nodes)
        )
        attempts = [
            NodeAttempt(node, endpoints_in(address) if isinstance(address, Found) else ())
            for node, address in zip(nodes, addresses, strict=True)
        ]
        return Located(tuple(attempts), f"+{number}", "offer")

    async def _number(self, number: Number, extension: str | None) -> Located | Refusal:
        result = await self._lookups.find_number(number, budget=LOOKUP_BUDGET)
        if isinstance(result, Inconclusive):
            return Refusal(480, f"the network gave no sure answer: {result.reason}")
        if not isinstance(result, Found):
            return Refusal(404, "nobody has this number")
        owners = {record.owner for record in result.records}
        pin = self._pins.get(PinKind.NUMBER, number)
        owner = next(iter(owners)) if len(owners) == 1 else None
        if pin is not None:
            owner = pin.key
        for other in sorted(owners - {owner}):
            self._report(PinKind.NUMBER, number, other)
        if owner is None:
            return Refusal(480, "two keys claim this number, and neither was met before")
        if owner not in owners:
            return Refusal(480, "this number belongs to another key than before")
        self._pins.check(PinKind.NUMBER, number, owner, now=self._clock.unix())
        user = f"{number}*{extension}" if extension else number
        mine = [record for record in result.records if record.owner == owner]
        return Located(attempts_of(mine), user, "number")

    def _report(self, kind: PinKind, name: str, key: PublicKey) -> None:
        """Another key was found: it waits for the operator, and the log says so once."""
        if self._pins.offer(kind, name, key, now=self._clock.unix()):
            log.warning("pin_conflict", kind=kind.value, name=name, refused=key.text)

    async def _user(self, node: NodeId, user: str, kind: str) -> Located | Refusal:
        login = user.partition("*")[0]
        routed, address = await asyncio.gather(
            self._lookups.find_user(node, login, budget=LOOKUP_BUDGET)
            if _is_login(login)
            else _nothing(),
            self._lookups.find_address(node, budget=LOOKUP_BUDGET),
        )
        if isinstance(routed, Found):
            return Located(attempts_of(routed.records, address), user, kind)
        if isinstance(address, Found):
            return Located((NodeAttempt(node, endpoints_in(address)),), user, kind)
        if isinstance(routed, Inconclusive) or isinstance(address, Inconclusive):
            return Refusal(480, "the network gave no sure answer about that node")
        return Refusal(404, "no such node is known")

    async def _domain_or_outside(self, target: DomainTarget) -> Located | Outside | Refusal:
        """A domain that was ever proven never falls back to plain SIP."""
        domain, user = target.domain, target.user
        servers, pin = self._servers, self._pins.get(PinKind.DOMAIN, domain)
        if servers is None or target.uri is None or pin is not None:
            return await self._domain(domain, user, await self._prove(domain))
        outside = asyncio.create_task(_outside(servers, target.uri))
        try:
            node = await self._prove(domain)
            if node is None:
                return await outside
        finally:
            outside.cancel()
        return await self._domain(domain, user, node)

    async def _domain(self, domain: str, user: str, node: NodeId | None) -> Located | Refusal:
        if node is None and self._pins.get(PinKind.DOMAIN, domain) is not None:
            return Refusal(480, f"{domain} cannot be proven now, as it could before")
        if node is None:
            return Refusal(404, f"{domain} is not proven to belong to a node")
        pin = self._pins.get(PinKind.DOMAIN, domain)
        if pin is not None and pin.key != node:
            self._report(PinKind.DOMAIN, domain, node)
            return Refusal(480, f"{domain} now names another node than before")
        self._pins.check(PinKind.DOMAIN, domain, node, now=self._clock.unix())
        route = await self._lookups.find_domain(node, domain, budget=LOOKUP_BUDGET / 2)
        answering = node
        if isinstance(route, Found):
            attempts = attempts_of(route.records)
            if attempts:
                answering = attempts[0].node
        return await self._user(answering, user.lower(), "domain")


async def _outside(servers: SipServers, uri: Uri) -> Outside | Refusal:
    """Where plain SIP to a URI goes."""
    try:
        return Outside(await servers.locate(SipTarget.of(uri)), replace(uri, headers=()))
    except LocateError as error:
        return Refusal(480 if error.is_temporary else 404, str(error))


async def _nothing() -> None:
    return None


def _is_ip(host: str) -> bool:
    try:
        parse_ip(host)
    except AddressError:
        return False
    return True


def _is_login(text: str) -> bool:
    return 0 < len(text) <= 64 and all(c.isalnum() or c in "._-" for c in text) and text.isascii()
