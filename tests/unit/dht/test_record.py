"""Records: what may be published by whom, and what is accepted when."""

from dataclasses import replace

import pytest

from dht import canonical
from dht.acceptance import CLOCK_SKEW_S, RecordValidator
from dht.messages import MAX_ENVELOPE
from dht.publisher import Issuer, Publication
from dht.record import (
    ADDRESS_TTL,
    MAX_DELEGATION_S,
    MAX_ENDPOINTS,
    MAX_ROUTES,
    ROUTE_TTL,
    AddressPayload,
    Kind,
    Record,
    RecordError,
    RelayOffer,
    Route,
    RoutePayload,
    positions,
    record_key,
)
from federation.delegation import Delegation
from federation.model.address import Endpoint
from federation.model.clocks import UnixTime
from federation.model.identity import AccountKey, NodeId, SigningKey
from federation.model.network import Network
from tests.support.dht_records import (
    ACCOUNT,
    HOME,
    NET,
    NODE,
    NOW,
    NUMBER,
    OTHER,
    a_record,
    every_kind,
)


@pytest.mark.parametrize("record", every_kind(), ids=lambda r: f"{r.kind.name}-{r.is_tombstone}")
def test_every_kind_survives_its_envelope(record: Record) -> None:
    assert Record.decode(record.envelope, NET) == record


def test_the_largest_records_fit() -> None:
    """Eight IPv6 endpoints, or eight routes with an IPv6 hint and a delegation."""
    endpoints = tuple(Endpoint(f"2001:db8::{n:x}", 65535) for n in range(1, MAX_ENDPOINTS + 1))
    address = a_record(Kind.ADDRESS, "")
    relay = RelayOffer(3, 100_000, 500)
    address = replace(address, payload=AddressPayload(endpoints, relay)).signed(NODE, NET)
    assert Record.decode(address.envelope, NET).payload == AddressPayload(endpoints, relay)
    claim = a_record(Kind.NUMBER, NUMBER)
    routes = tuple(Route(NODE.id, n, n, None) for n in range(MAX_ROUTES))
    assert claim.route is not None
    claim = replace(claim, payload=RoutePayload(claim.route.accepts, routes)).signed(NODE, NET)
    assert len(claim.envelope) <= MAX_ENVELOPE
    assert Record.decode(claim.envelope, NET).route == RoutePayload(claim.route.accepts, routes)


def test_too_large_a_record_is_not_made() -> None:
    routes = tuple(Route(NODE.id, 65535, 65535, Endpoint("2001:db8::1", 65535)) for _ in range(12))
    record = a_record()
    assert record.route is not None
    with pytest.raises(RecordError, match="at most 900"):
        replace(record, payload=RoutePayload(record.route.accepts, routes)).signed(NODE, NET)


def refused(record: Record, signer: SigningKey = NODE, match: str | None = None) -> None:
    with pytest.raises(RecordError, match=match):
        Record.decode(record.signed(signer, NET).envelope, NET)


def test_nobody_publishes_under_anothers_key() -> None:
    """Neither by naming another owner, nor by signing as another publisher."""
    record = a_record()
    refused(replace(record, owner=OTHER.id), match="somebody else")
    refused(replace(record, publisher=OTHER.id), match="somebody else")
    refused(replace(record, owner=OTHER.id, publisher=OTHER.id), match="did not sign")


def test_a_number_needs_its_accounts_delegation() -> None:
    claim = a_record(Kind.NUMBER, NUMBER)
    refused(replace(claim, delegation=None), match="somebody else")
    refused(replace(claim, publisher=OTHER.id), OTHER, match="another node")
    thief = AccountKey(bytes([9]) * 32)
    theirs = a_record(Kind.NUMBER, NUMBER, account=thief).delegation
    refused(replace(claim, delegation=theirs), match="did not sign")
    late = replace(claim, issued=claim.issued + (MAX_DELEGATION_S + 1) * 1000)
    refused(late, match="outside the time")


def test_a_delegation_is_short_lived() -> None:
    claim = a_record(Kind.NUMBER, NUMBER)
    long = Delegation.issue(
        ACCOUNT,
        publisher=NodeId(NODE.id),
        label="",
        not_before=int(NOW),
        not_after=int(NOW) + MAX_DELEGATION_S + 1,
        network=NET,
    )
    refused(replace(claim, delegation=long), match="at most 86400")


def test_an_account_key_may_publish_its_number_itself() -> None:
    own = replace(a_record(Kind.NUMBER, NUMBER), publisher=ACCOUNT.id, delegation=None)
    assert Record.decode(own.signed(ACCOUNT, NET).envelope, NET).publisher == ACCOUNT.id


@pytest.mark.parametrize(
    ("kind", "label"),
    [
        (Kind.ADDRESS, "x"),
        (Kind.USER, ""),
        (Kind.USER, "Alice"),
        (Kind.USER, "-alice"),
        (Kind.USER, "a" * 65),
        (Kind.DOMAIN, "example"),
        (Kind.DOMAIN, "Example.org"),
        (Kind.DOMAIN, "-x.org"),
        (Kind.DOMAIN, "a." * 64 + "org"),
        (Kind.NUMBER, "0217154288612890"),
        (Kind.NUMBER, "011715428861289"),
    ],
)
def test_labels_that_a_kind_cannot_have(kind: Kind, label: str) -> None:
    record = a_record() if kind is not Kind.NUMBER else a_record(Kind.NUMBER, NUMBER)
    refused(replace(record, kind=kind, label=label))
    with pytest.raises(RecordError):
        Publication(kind=kind, label=label, account=ACCOUNT if kind is Kind.NUMBER else None)


def test_lives_and_tombstones_have_their_form() -> None:
    """No kind outlives its limit, and a tombstone lives exactly as long as its kind may."""
    assert a_record(Kind.ADDRESS, "").ttl == ADDRESS_TTL
    refused(replace(a_record(), ttl=ROUTE_TTL + 1))
    refused(replace(a_record(Kind.ADDRESS, ""), ttl=ADDRESS_TTL + 1))
    refused(replace(a_record(), ttl=0))
    refused(replace(a_record(tombstone=True), ttl=ROUTE_TTL - 1), match="tombstone")


@pytest.mark.parametrize("field", range(10))
def test_every_field_is_checked(field: int) -> None:
    """A field of another type is refused even where the signature holds."""
    outer = canonical.unpack(a_record().envelope)
    assert isinstance(outer, list)
    assert isinstance(outer[0], bytes)
    body = canonical.unpack(outer[0])
    assert isinstance(body, list)
    body[field] = [[]]
    packed = canonical.pack(body)
    signature = NODE.sign(NET.context("rec1") + packed)
    with pytest.raises(RecordError):
        Record.decode(canonical.pack([packed, signature]), NET)


def test_unknown_kinds_are_refused() -> None:
    outer = canonical.unpack(a_record().envelope)
    assert isinstance(outer, list)
    assert isinstance(outer[0], bytes)
    body = canonical.unpack(outer[0])
    assert isinstance(body, list)
    body[1] = 6
    packed = canonical.pack(body)
    with pytest.raises(RecordError, match="not known"):
        Record.decode(canonical.pack([packed, NODE.sign(NET.context("rec1") + packed)]), NET)


def test_networks_do_not_mix() -> None:
    with pytest.raises(RecordError):
        Record.decode(a_record().envelope, Network.named("another"))


def test_time_is_checked_at_every_read() -> None:
    """From the future, in its life, and after it: with five minutes for clocks that differ."""
    validator = RecordValidator(NET)
    record = a_record()

    def check(at: float) -> Record:
        return validator.check(record.envelope, record.key, now=UnixTime(at))

    assert check(NOW) == record
    assert check(NOW - CLOCK_SKEW_S + 1) == record
    assert check(NOW + ROUTE_TTL + CLOCK_SKEW_S - 1) == record
    with pytest.raises(RecordError, match="future"):
        check(NOW - CLOCK_SKEW_S - 1)
    with pytest.raises(RecordError, match="expired"):
        check(NOW + ROUTE_TTL + CLOCK_SKEW_S + 1)
    with pytest.raises(RecordError, match="another key"):
        validator.check(record.envelope, bytes(32), now=NOW)


def test_keys_and_positions() -> None:
    """A number's key leaves the owner out; each key has two places."""
    assert record_key(Kind.NUMBER, ACCOUNT.id, NUMBER, NET) == record_key(
        Kind.NUMBER, None, NUMBER, NET
    )
    one, two = (record_key(Kind.USER, key.id, "alice", NET) for key in (NODE, OTHER))
    assert one != two
    assert len({one, two, *positions(one), *positions(two)}) == 6


def test_issued_rises_whatever_the_clock_does() -> None:
    issuer = Issuer(NODE, NET, newest=int(NOW * 1000) + 5_000)
    publication = Publication(kind=Kind.USER, label="alice")
    issued = []
    for at in (NOW, NOW - 100, NOW, NOW + 60):
        record = issuer.issue(publication, (HOME,), now=UnixTime(at))
        assert record is not None
        issued.append(record.issued)
    assert issued == sorted(set(issued))
    assert issued[0] == NOW * 1000 + 5_001
