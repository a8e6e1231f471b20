"""A node's figures of the DHT as plain values, whatever fields they have."""

import enum
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from dht.overlay_id import OverlayId
from dht.status import ContactInfo, DhtStats
from federation.model.address import Endpoint
from node.control import JsonObject

ID_BITS = 256


def dht_figures(stats: DhtStats, contacts: Sequence[ContactInfo], own_id: OverlayId) -> JsonObject:
    """Every field of `stats`, the table's buckets, and quantiles in place of single times."""
    figures: JsonObject = plain(stats)
    figures["lookup_times"] = quantiles(stats.lookup_times)
    figures["buckets"] = buckets(contacts, own_id)
    round_trips = [contact.rtt for contact in contacts if contact.rtt is not None]
    figures["round_trips"] = quantiles(round_trips)
    figures["own_id"] = bytes(own_id).hex()
    return figures


def buckets(contacts: Iterable[ContactInfo], own_id: OverlayId) -> list[JsonObject]:
    """How many contacts share how many leading bits with our own id; the far ones first."""
    counts = Counter(
        ID_BITS - (contact.id.number ^ own_id.number).bit_length() for contact in contacts
    )
    return [{"shared_bits": bits, "contacts": counts[bits]} for bits in sorted(counts)]


def quantiles(times: Iterable[float]) -> JsonObject:
    """`count`, and `p50`, `p99` and `longest` in seconds, null where there are none."""
    ordered = sorted(times)
    if not ordered:
        return {"count": 0, "p50": None, "p99": None, "longest": None}
    last = len(ordered) - 1
    p50, p99 = (ordered[round(share * last)] for share in (0.5, 0.99))
    return {"count": len(ordered), "p50": p50, "p99": p99, "longest": ordered[-1]}


def plain(value: Any) -> Any:
    """A value of the DHT as JSON has it: addresses and names as text, the rest by its fields."""
    if isinstance(value, Endpoint):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return plain(value._asdict())
    if isinstance(value, enum.Enum):
        return value.name.lower()
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    return value
