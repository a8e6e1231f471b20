"""Which keys calls believe: the first one met, and no other until the operator says so."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from structlog.testing import capture_logs

from dht.finder import Found, LookupResult, NotFound
from dht.record import Accepts, Kind, Record, Route, RoutePayload
from federation.model.address import Endpoint
from federation.model.clocks import Monotonic, UnixTime
from federation.model.identity import AccountKey, NodeId, NodeKey
from federation.model.number import Number
from node.routing import DomainTarget, Located, Locator, NumberTarget, Refusal
from node.storage.pins import PinBook, PinKind

ME, FIRST, SECOND = (NodeKey(bytes([n]) * 32).id for n in (1, 2, 3))
ONE, OTHER = (AccountKey(bytes([n]) * 32).id for n in (4, 5))
NUMBER, DOMAIN = Number("020000000000001"), "example.org"
PLACE = Endpoint("192.0.2.7", 7060)


def claim(owner: Any, node: NodeId) -> Record:
    """A number claim, as a lookup returns it: checked already."""
    payload = RoutePayload(Accepts.USER, (Route(node, hint=PLACE),))
    return Record(
        kind=Kind.NUMBER,
        owner=owner,
        label=NUMBER,
        publisher=node,
        issued=0,
        ttl=60,
        payload=payload,
    )


class Nowhere:
    """A writer that keeps nothing."""

    def put(
        self, table: str, key: tuple[Any, ...], row: Mapping[str, Any], *, is_new: bool = False
    ) -> None: ...

    def remove(self, table: str, key: tuple[Any, ...]) -> None: ...


@dataclass
class World:
    """What the network says, and a locator that asks it."""

    claims: list[Record] = field(default_factory=list)
    proven: NodeId | None = None
    now: float = 1_800_000_000.0

    def __post_init__(self) -> None:
        self.pins = PinBook([], Nowhere())
        self.locator = Locator(ME, self, self.pins, self.prove, self)

    def unix(self) -> UnixTime:
        return UnixTime(self.now)

    def monotonic(self) -> Monotonic:
        return Monotonic(self.now)

    async def prove(self, domain: str) -> NodeId | None:
        return self.proven

    async def find_number(self, number: Number, *, budget: float = 0.0) -> LookupResult:
        return Found(tuple(self.claims)) if self.claims else NotFound()

    async def find_user(self, node: NodeId, login: str, *, budget: float = 0.0) -> LookupResult:
        return Found((claim(ONE, node),))

    async def find_domain(self, node: NodeId, domain: str, *, budget: float = 0.0) -> LookupResult:
        return NotFound()

    async def find_address(self, node: NodeId, *, budget: float = 0.0) -> LookupResult:
        return NotFound()

    async def number(self) -> Located | Refusal:
        self.locator.forget_all()
        return await self.locator.locate(NumberTarget(NUMBER))

    async def domain(self) -> Located | Refusal:
        self.locator.forget_all()
        return await self.locator.locate(DomainTarget(DOMAIN, "bob", None))


def nodes_of(answer: Located | Refusal) -> list[NodeId]:
    assert isinstance(answer, Located), answer
    return [attempt.node for attempt in answer.attempts]


async def test_a_number_keeps_the_key_it_was_met_with() -> None:
    world = World([claim(ONE, FIRST)])
    assert nodes_of(await world.number()) == [FIRST]
    world.claims = [claim(OTHER, SECOND)]
    refusal = Refusal(480, "this number belongs to another key than before")
    with capture_logs() as lines:
        assert await world.number() == refusal
        assert await world.number() == refusal
    (line,) = lines
    assert (line["event"], line["name"], line["refused"]) == ("pin_conflict", NUMBER, OTHER.text)
    world.pins.accept(PinKind.NUMBER, NUMBER, now=world.unix())
    assert nodes_of(await world.number()) == [SECOND]


async def test_beside_the_pinned_key_another_claim_is_told_and_not_called() -> None:
    world = World([claim(ONE, FIRST)])
    await world.number()
    world.claims = [claim(OTHER, SECOND), claim(ONE, FIRST)]
    assert nodes_of(await world.number()) == [FIRST]
    pin = world.pins.get(PinKind.NUMBER, NUMBER)
    assert pin is not None
    assert (pin.key, [offer.key for offer in pin.offers]) == (ONE, [OTHER])


async def test_two_unknown_claims_wait_for_the_operator() -> None:
    """Neither is called, not even when one of them goes away."""
    world = World([claim(ONE, FIRST), claim(OTHER, SECOND)])
    refusal = Refusal(480, "two keys claim this number, and neither was met before")
    assert await world.number() == refusal
    world.claims.pop(0)
    assert await world.number() == refusal
    pin = world.pins.get(PinKind.NUMBER, NUMBER)
    assert pin is not None
    assert (pin.key, {offer.key for offer in pin.offers}) == (None, {ONE, OTHER})
    world.pins.accept(PinKind.NUMBER, NUMBER, now=world.unix(), key=OTHER)
    assert nodes_of(await world.number()) == [SECOND]


async def test_a_domain_keeps_the_node_it_was_met_with() -> None:
    world = World(proven=FIRST)
    assert nodes_of(await world.domain()) == [FIRST]
    world.proven = SECOND
    assert await world.domain() == Refusal(480, f"{DOMAIN} now names another node than before")
    world.proven = None
    assert await world.domain() == Refusal(
        480, f"{DOMAIN} cannot be proven now, as it could before"
    )
    world.proven = SECOND
    world.pins.accept(PinKind.DOMAIN, DOMAIN, now=world.unix())
    assert nodes_of(await world.domain()) == [SECOND]


async def test_an_unproven_domain_pins_nothing() -> None:
    world = World()
    assert await world.domain() == Refusal(404, f"{DOMAIN} is not proven to belong to a node")
    assert list(world.pins) == []
