"""The directory's figures as plain values."""

import enum
import json
from dataclasses import dataclass
from typing import Any, NamedTuple

from dht.overlay_id import OverlayId
from dht.serving import Traffic
from dht.status import ContactInfo
from federation.model.address import Endpoint
from federation.model.identity import NodeKey
from node.dht_figures import buckets, plain, quantiles


def test_quantiles_are_of_what_there_is() -> None:
    assert quantiles([]) == {"count": 0, "p50": None, "p99": None, "longest": None}
    assert quantiles([0.3, 0.1, 0.2]) == {"count": 3, "p50": 0.2, "p99": 0.3, "longest": 0.3}
    many = quantiles(n / 1000 for n in range(1000))
    assert (many["p50"], many["p99"], many["longest"]) == (0.5, 0.989, 0.999)


def test_buckets_count_by_shared_bits() -> None:
    def contact(first: int) -> ContactInfo:
        place = OverlayId(bytes([first]) + bytes(31))
        node = NodeKey(bytes(32)).id
        return ContactInfo(node, place, Endpoint("192.0.2.1", 1), None, 0.0, 0, 0)

    own = OverlayId(bytes(32))
    found = buckets([contact(0x80), contact(0xFF), contact(0x40), contact(0x01)], own)
    assert found == [
        {"shared_bits": 0, "contacts": 2},
        {"shared_bits": 1, "contacts": 1},
        {"shared_bits": 7, "contacts": 1},
    ]


def test_any_value_becomes_json() -> None:
    """Fields that come later need no change here."""

    class Mood(enum.Enum):
        CLIENT_ONLY = 1

    class Pair(NamedTuple):
        family: int
        mood: Mood

    @dataclass(frozen=True)
    class Later:
        where: Endpoint
        pairs: tuple[Pair, ...]
        traffic: Traffic
        by_name: dict[Any, bytes]

    later = Later(
        Endpoint("::1", 7), (Pair(4, Mood.CLIENT_ONLY),), Traffic(limited=2), {5: b"\x01"}
    )
    value = plain(later)
    assert json.loads(json.dumps(value)) == value
    assert value["where"] == "[::1]:7"
    assert value["pairs"] == [{"family": 4, "mood": "client_only"}]
    assert value["traffic"]["limited"] == 2
    assert value["by_name"] == {"5": "01"}
