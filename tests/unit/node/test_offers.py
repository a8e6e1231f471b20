"""Which trunk of another node a telephone number goes to, by what they offer."""

from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from dht.finder import Found, Inconclusive, LookupResult, NotFound
from dht.prefixes import PrefixOffer, PrefixPayload
from dht.record import Kind, Record
from federation.model.clocks import Monotonic, UnixTime
from federation.model.identity import NodeId, NodeKey
from node.accounts.book import AccountBook
from node.config import DiallingConfig
from node.names import OwnNames
from node.offerer import MAX_OFFERERS, Offerer, OfferTarget
from node.offers import OFFERS_CACHE_TIME, UNSURE_CACHE_TIME, Offers
from node.routing import Located, Locator, Refusal, TargetReader
from node.setting import SettingError
from node.sip.uri import Uri
from node.storage.pins import PinBook
from node.verdicts import kind_of, reading_of

ME, ONE, OTHER = (NodeKey(bytes([n]) * 32).id for n in (1, 2, 3))
TELCO, CHEAP, LOCAL = Offerer("telco", ONE), Offerer("cheap", OTHER), Offerer("local", ONE)


def record(offerer: Offerer, *offers: tuple[str, int]) -> Record:
    payload = PrefixPayload(tuple(PrefixOffer(*offer) for offer in sorted(offers)))
    return Record(
        kind=Kind.PREFIXES,
        owner=offerer.node,
        label=offerer.trunk,
        publisher=offerer.node,
        issued=0,
        ttl=60,
        payload=payload,
    )


@dataclass
class Directory:
    """What the network says of offers, and how often it was asked."""

    offers: dict[Offerer, Record | str] = field(default_factory=dict)
    asked: list[Offerer] = field(default_factory=list)
    now: float = 100.0

    async def find_prefixes(self, node: NodeId, trunk: str, *, budget: float = 0.0) -> LookupResult:
        self.asked.append(Offerer(trunk, node))
        found = self.offers.get(self.asked[-1])
        if isinstance(found, str):
            return Inconclusive(found)
        return NotFound() if found is None else Found((found,))

    async def find_address(self, node: NodeId, *, budget: float = 0.0) -> LookupResult:
        return NotFound()

    def monotonic(self) -> Monotonic:
        return Monotonic(self.now)

    def unix(self) -> UnixTime:
        return UnixTime(self.now)


def offers_of(directory: Directory, *offerers: Offerer) -> Offers:
    return Offers(offerers, directory, cast(Any, directory))


def test_an_offerer_is_written_as_an_address() -> None:
    text = f"Telco@{ONE.key_name}"
    assert Offerer.parse(text) == TELCO
    assert str(TELCO) == text.lower()
    assert DiallingConfig(offers_from=(text,)).offerers == (TELCO,)


@pytest.mark.parametrize(
    "texts",
    [("telco",), ("telco@example.org",), (f"@{ONE.key_name}",), (ONE.key_name,),
     tuple(f"t{n}@{ONE.key_name}" for n in range(MAX_OFFERERS + 1))],
)  # fmt: skip
def test_others_are_refused_with_what_would_do(texts: tuple[str, ...]) -> None:
    with pytest.raises(SettingError, match=r"dialling\.offers_from"):
        DiallingConfig(offers_from=texts)


async def test_the_longest_prefix_wins_then_the_lowest_priority() -> None:
    directory = Directory(
        {
            TELCO: record(TELCO, ("49", 5), ("4930", 9)),
            CHEAP: record(CHEAP, ("49", 1), ("", 0)),
            LOCAL: record(LOCAL, ("49", 5)),
        }
    )
    offers = offers_of(directory, TELCO, CHEAP, LOCAL)
    assert await offers.find("49301234567", budget=1) == (TELCO, CHEAP, LOCAL)
    assert await offers.find("49891234567", budget=1) == (CHEAP, LOCAL, TELCO)
    assert await offers.find("442079460000", budget=1) == (CHEAP,)


async def test_what_was_found_serves_for_a_while_and_what_was_not_sure_for_less() -> None:
    directory = Directory({TELCO: record(TELCO, ("49", 5)), CHEAP: "too few answered"})
    offers = offers_of(directory, TELCO, CHEAP)
    assert await offers.find("49301234567", budget=1) == (TELCO,)
    assert await offers.find("442079460000", budget=1) == "too few answered"
    assert directory.asked == [TELCO, CHEAP]
    directory.now += UNSURE_CACHE_TIME
    await offers.find("49301234567", budget=1)
    assert directory.asked[2:] == [CHEAP]
    directory.now += OFFERS_CACHE_TIME
    await offers.find("49301234567", budget=1)
    assert directory.asked[3:] == [TELCO, CHEAP]
    offers.forget()
    await offers.find("49301234567", budget=1)
    assert directory.asked[5:] == [TELCO, CHEAP]


def a_reader(*, has_offers: bool) -> TargetReader:
    names = OwnNames(ME, domains=["a.test"], addresses=["192.0.2.1"], sip_port=5060)
    emergency = frozenset({"112"})
    return TargetReader(names, AccountBook(), emergency=emergency, has_offers=has_offers)


def test_only_whole_international_numbers_of_own_accounts_are_read_so() -> None:
    reader = a_reader(has_offers=True)
    for user, target in (
        ("+49301234567", OfferTarget("49301234567")),
        ("0049301234567", OfferTarget("49301234567")),
        ("+49", None), ("112", None), ("49301234567", None), ("alice", None),
        ("02000000000000", None),
    ):  # fmt: skip
        found = reader.classify(Uri.parse(f"sip:{user}@a.test"), may_leave=True)
        assert found == target or (target is None and isinstance(found, Refusal))
    stranger = reader.classify(Uri.parse("sip:+49301234567@a.test"), may_leave=False)
    assert isinstance(stranger, Refusal)
    none = a_reader(has_offers=False).classify(Uri.parse("tel:+49301234567"), may_leave=True)
    assert isinstance(none, Refusal)
    found = reader.classify(Uri.parse("tel:+49-30-1234567"), may_leave=True)
    assert (kind_of(found), "+49301234567" in reading_of(found)) == ("offer", True)


async def test_it_is_located_at_the_nodes_that_offer_it() -> None:
    directory = Directory({TELCO: record(TELCO, ("49", 5)), CHEAP: record(CHEAP, ("49", 1))})

    async def prove(domain: str) -> NodeId | None:
        return None

    nobody = cast(Any, None)
    locator = Locator(
        ME, cast(Any, directory), PinBook([], nobody), prove, cast(Any, directory),
        offerers=(TELCO, CHEAP),
    )  # fmt: skip
    found = await locator.locate(OfferTarget("49301234567"))
    assert isinstance(found, Located)
    assert [attempt.node for attempt in found.attempts] == [OTHER, ONE]
    assert str(found.uri_at(ONE)) == f"sip:+49301234567@{ONE.key_name}"
    none = await locator.locate(OfferTarget("442079460000"))
    assert isinstance(none, Refusal)
    assert none.status == 404
    directory.offers[CHEAP] = "too few answered"
    locator.forget(OfferTarget("442079460000"))
    unsure = await locator.locate(OfferTarget("442079460000"))
    assert isinstance(unsure, Refusal)
    assert unsure.status == 480
