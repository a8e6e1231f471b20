"""What a trunk offers: the record, its limits, and that only its owner's key leads to it."""

import asyncio
from dataclasses import replace

import pytest

from dht.canonical import CanonicalError
from dht.finder import Found, NotFound
from dht.prefixes import MAX_PREFIX_DIGITS, MAX_PREFIXES, PrefixOffer, PrefixPayload
from dht.publisher import Publication
from dht.record import Kind, Record, RecordError, record_key
from tests.support.dht_network import MemoryNetwork
from tests.support.dht_records import NET, NODE, OFFERS, OTHER, a_record
from tests.support.virtual_loop import run_virtually

LOGIN = "a" * 64


def test_the_largest_offer_fits_a_record() -> None:
    offers = tuple(
        PrefixOffer(f"{n:0{MAX_PREFIX_DIGITS}}", 65_535, 65_535) for n in range(MAX_PREFIXES)
    )
    full = replace(a_record(Kind.PREFIXES, LOGIN), payload=PrefixPayload(offers))
    record = Record.decode(full.signed(NODE, NET).envelope, NET)
    assert record.prefixes == PrefixPayload(offers)
    assert record.route is None


@pytest.mark.parametrize(
    "offers",
    [
        (),
        (PrefixOffer("43"), PrefixOffer("43")),
        (PrefixOffer("44"), PrefixOffer("43")),
        (PrefixOffer("+43"),),
        (PrefixOffer("٤٣"),),
        (PrefixOffer("1" * (MAX_PREFIX_DIGITS + 1)),),
        tuple(PrefixOffer(f"{n:03}") for n in range(MAX_PREFIXES + 1)),
    ],
)
def test_offers_that_are_none(offers: tuple[PrefixOffer, ...]) -> None:
    with pytest.raises(CanonicalError):
        PrefixPayload(offers)


@pytest.mark.parametrize(
    "value", [None, [], [["43", 0]], [["43", -1, 0]], [["43", 0, 65_536]], [[b"43", 0, 0]], "43"]
)
def test_payloads_that_are_none(value: object) -> None:
    with pytest.raises(CanonicalError):
        PrefixPayload.read(value)  # type: ignore[arg-type]


def test_the_longest_prefix_is_the_offer() -> None:
    assert OFFERS.offer_for("4319876") == PrefixOffer("431", 0, 2)
    assert OFFERS.offer_for("4329876") == PrefixOffer("43", 10, 1)
    assert OFFERS.offer_for("1") is None
    every = PrefixPayload((PrefixOffer(""),))
    assert every.offer_for("1") == PrefixOffer("")


def test_a_payload_belongs_to_its_kind() -> None:
    with pytest.raises(RecordError):
        Publication(kind=Kind.USER, label="alice", prefixes=OFFERS)
    user = replace(a_record(), payload=OFFERS).signed(NODE, NET)
    with pytest.raises(RecordError):
        Record.decode(user.envelope, NET)
    trunk = replace(a_record(Kind.PREFIXES, "provider"), payload=a_record().payload)
    with pytest.raises(RecordError):
        Record.decode(trunk.signed(NODE, NET).envelope, NET)


def test_only_the_owner_can_publish_under_its_key() -> None:
    record = replace(a_record(Kind.PREFIXES, "provider"), publisher=OTHER.id)
    with pytest.raises(RecordError, match="somebody else"):
        Record.decode(record.signed(OTHER, NET).envelope, NET)
    ours, theirs = (record_key(Kind.PREFIXES, k.id, "provider", NET) for k in (NODE, OTHER))
    assert ours != theirs
    assert ours != record_key(Kind.USER, NODE.id, "provider", NET)


def test_offers_are_published_found_changed_and_withdrawn() -> None:
    async def run() -> None:
        network = MemoryNetwork()
        one, two = [await network.node(n) for n in (1, 2)]
        await two.directory.join([one.endpoint])
        two.directory.publish_prefixes("provider", [PrefixOffer("7"), PrefixOffer("43")])
        assert await two.directory.published(Kind.PREFIXES, "provider")
        result = await one.directory.find_prefixes(two.key.id, "provider")
        assert isinstance(result, Found)
        assert result.records[0].prefixes == PrefixPayload((PrefixOffer("43"), PrefixOffer("7")))
        assert await one.directory.find_prefixes(one.key.id, "provider") == NotFound()
        two.directory.publish_prefixes("provider", [PrefixOffer("1")])
        assert await two.directory.published(Kind.PREFIXES, "provider")
        result = await one.directory.find_prefixes(two.key.id, "provider")
        assert isinstance(result, Found)
        assert result.records[0].prefixes == PrefixPayload((PrefixOffer("1"),))
        assert two.directory.withdraw(Kind.PREFIXES, "provider")
        assert await two.directory.published(Kind.PREFIXES, "provider")
        await asyncio.sleep(1)
        assert await one.directory.find_prefixes(two.key.id, "provider") == NotFound()
        await network.close()

    run_virtually(run())
