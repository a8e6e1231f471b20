"""Records and frames for tests of the DHT's cores."""

from dht.prefixes import PrefixOffer, PrefixPayload
from dht.publisher import Issuer, Publication
from dht.record import Accepts, Kind, Record
from federation.model.address import Endpoint
from federation.model.clocks import UnixTime
from federation.model.identity import AccountKey, NodeKey
from federation.model.network import Network

NET = Network.named("test", puzzle_bits=0)
NOW = UnixTime(1_900_000_000.0)
HOME = Endpoint("192.0.2.7", 7060)
NODE = NodeKey(bytes([1]) * 32)
OTHER = NodeKey(bytes([2]) * 32)
ACCOUNT = AccountKey(bytes([3]) * 32)
NUMBER = "021715428861289"
OFFERS = PrefixPayload((PrefixOffer("43", 10, 1), PrefixOffer("431", 0, 2), PrefixOffer("7")))


def a_record(
    kind: Kind = Kind.USER,
    label: str = "alice",
    *,
    key: NodeKey = NODE,
    account: AccountKey = ACCOUNT,
    now: float = NOW,
    accepts: Accepts = Accepts.USER,
    tombstone: bool = False,
) -> Record:
    publication = Publication(
        kind=kind,
        label=label,
        accepts=accepts,
        account=account if kind is Kind.NUMBER else None,
        prefixes=OFFERS if kind is Kind.PREFIXES else None,
    )
    issuer = Issuer(key, NET)
    if tombstone:
        return issuer.tombstone(publication, now=UnixTime(now))
    record = issuer.issue(publication, (HOME,), now=UnixTime(now))
    assert record is not None
    return record


def every_kind() -> list[Record]:
    return [
        a_record(Kind.ADDRESS, ""),
        a_record(),
        a_record(Kind.DOMAIN, "example.org"),
        a_record(Kind.PREFIXES, "provider"),
        a_record(Kind.NUMBER, NUMBER),
        a_record(Kind.PREFIXES, "provider", tombstone=True),
        a_record(tombstone=True),
        a_record(Kind.NUMBER, NUMBER, tombstone=True),
    ]
