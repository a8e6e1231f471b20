"""What a call asks of the DHT, of DNS and of the pins, asked the same way and written down.

`node.why` lets the same `Locator` and `DomainProof` that calls use ask these, so that what it tells
is what a call would meet.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from dht.directory import Directory
from dht.finder import LookupResult, Search
from dht.record import Kind
from federation.domain_proof import Identify, ResolveError, Resolver, Service
from federation.messages import Hello
from federation.model.address import Endpoint
from federation.model.clocks import Clock, Monotonic, UnixTime
from federation.model.identity import NodeId, PublicKey
from federation.model.number import Number
from node.lookups import Pins
from node.routing import LOOKUP_BUDGET
from node.storage.pins import Pin, PinKind

T = TypeVar("T")


@dataclass(slots=True)
class LookupNote:
    """One lookup; `result` is `None` while it runs, and stays so where it was cut off."""

    kind: Kind
    owner: NodeId | None
    label: str
    started: Monotonic
    result: LookupResult | None = None
    search: Search | None = None
    "`None` where nobody was asked: an own name."


@dataclass(slots=True)
class WatchedLookups:
    """The directory's lookups, each with its steps."""

    directory: Directory
    own: NodeId
    clock: Clock
    notes: list[LookupNote] = field(default_factory=list)

    async def find_number(self, number: Number, *, budget: float = LOOKUP_BUDGET) -> LookupResult:
        """The claims to a number."""
        return await self._find(Kind.NUMBER, None, number, budget)

    async def find_user(
        self, node: NodeId, login: str, *, budget: float = LOOKUP_BUDGET
    ) -> LookupResult:
        """The route of an account."""
        return await self._find(Kind.USER, node, login, budget)

    async def find_domain(
        self, node: NodeId, domain: str, *, budget: float = LOOKUP_BUDGET
    ) -> LookupResult:
        """The nodes that answer for a domain."""
        return await self._find(Kind.DOMAIN, node, domain, budget)

    async def find_address(self, node: NodeId, *, budget: float = LOOKUP_BUDGET) -> LookupResult:
        """Where a node is reached."""
        return await self._find(Kind.ADDRESS, node, "", budget)

    async def find_prefixes(
        self, node: NodeId, trunk: str, *, budget: float = LOOKUP_BUDGET
    ) -> LookupResult:
        """What a trunk offers."""
        return await self._find(Kind.PREFIXES, node, trunk, budget)

    async def _find(
        self, kind: Kind, owner: NodeId | None, label: str, budget: float
    ) -> LookupResult:
        note = LookupNote(kind, owner, label, self.clock.monotonic())
        self.notes.append(note)
        if owner == self.own:
            note.result = await self.directory.find(kind, owner, label, budget=budget)
        else:
            note.search = await self.directory.explore(kind, owner, label, budget=budget)
            note.result = note.search.result
        return note.result


@dataclass(slots=True)
class DnsNote:
    """One question to DNS."""

    kind: str
    name: str
    started: Monotonic
    answers: tuple[str, ...] | None = None
    "`None` without an answer; empty where there is no such record."
    error: str = ""
    seconds: float | None = None


@dataclass(slots=True)
class DialNote:
    """Nodes dialled because DNS leads to them."""

    asked: tuple[Endpoint, ...]
    "Where DNS leads."
    dialled: tuple[Endpoint, ...] = ()
    "Those of them that were dialled; others lie in networks that are not ours to dial."
    found: tuple[NodeId, Hello] | None = None


class WatchedDns:
    """A resolver that writes down what was asked, and an `Identify` that does."""

    def __init__(self, resolver: Resolver, clock: Clock) -> None:
        self._resolver = resolver
        self._clock = clock
        self.notes: list[DnsNote] = []
        self.dials: list[DialNote] = []

    async def texts(self, name: str) -> Sequence[str]:
        """TXT."""
        return await self._ask("TXT", name, self._resolver.texts(name), str)

    async def services(self, name: str) -> Sequence[Service]:
        """SRV."""
        return await self._ask("SRV", name, self._resolver.services(name), service_text)

    async def addresses(self, name: str) -> Sequence[str]:
        """A and AAAA."""
        return await self._ask("A/AAAA", name, self._resolver.addresses(name), str)

    async def _ask(
        self,
        kind: str,
        name: str,
        answer: Awaitable[Sequence[T]],
        text: Callable[[T], str],
    ) -> Sequence[T]:
        note = DnsNote(kind, name, self._clock.monotonic())
        self.notes.append(note)
        try:
            found = await answer
        except ResolveError as error:
            note.error = str(error)
            raise
        finally:
            note.seconds = self._clock.monotonic() - note.started
        note.answers = tuple(map(text, found))
        return found

    def watching(self, guard: Callable[[Identify], Identify], dial: Identify) -> Identify:
        """`guard(dial)`, with what it was asked and what it dialled written down."""

        async def inner(endpoints: Iterable[Endpoint]) -> tuple[NodeId, Hello] | None:
            self.dials[-1].dialled = tuple(endpoints)
            return await dial(self.dials[-1].dialled)

        async def outer(endpoints: Iterable[Endpoint]) -> tuple[NodeId, Hello] | None:
            note = DialNote(tuple(endpoints))
            self.dials.append(note)
            note.found = await guard(inner)(note.asked)
            return note.found

        return outer


@dataclass(slots=True)
class WatchedPins:
    """The pins, for a question: a conflict is remembered as ever, but nothing new is pinned."""

    book: Pins
    consulted: dict[tuple[PinKind, str], PublicKey | None] = field(default_factory=dict)
    "Names looked up, and the key that was found behind each."

    def get(self, kind: PinKind, name: str) -> Pin | None:
        """The pin of a name."""
        self.consulted.setdefault((kind, name), None)
        return self.book.get(kind, name)

    def check(self, kind: PinKind, name: str, key: PublicKey, *, now: UnixTime) -> bool:
        """Whether a call could use `key`."""
        self.consulted[kind, name] = key
        if self.book.get(kind, name) is None:
            return True
        return self.book.check(kind, name, key, now=now)

    def offer(self, kind: PinKind, name: str, key: PublicKey, *, now: UnixTime) -> bool:
        """Another key was found."""
        if self.consulted.get((kind, name)) is None:
            self.consulted[kind, name] = key
        return self.book.offer(kind, name, key, now=now)


def service_text(service: Service) -> str:
    """An SRV record as zone files have it."""
    return f"{service.priority} {service.weight} {service.port} {service.target}"
