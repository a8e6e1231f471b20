"""What a case measured, and how it is told."""

import json
from collections import Counter
from dataclasses import asdict, dataclass, field

from dht.finder import Found, LookupResult, NotFound
from dht.record import Record


def percentile(values: list[float], share: float) -> float:
    """The smallest value that `share` of all values do not exceed; 0 without values."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))]


@dataclass(slots=True)
class Sample:
    """One lookup."""

    verdict: str
    "found, inconclusive, lost or wrong; for names that nobody published: miss, unsure or wrong."
    seconds: float
    hops: int
    messages: int
    "Datagrams that the asking node sent, without its answers to others."
    bytes: int
    "Of the asking node, both directions, UDP payload."


def verdict_on(result: LookupResult, newest: Record | None) -> str:
    """Compare an answer with the truth: the newest version whose publication had ended.

    One that its owner signed later, and is still bringing out, is as good.
    """
    match result:
        case Found(records):
            if newest is None or len(records) != 1:
                return "wrong"
            (record,) = records
            is_later = record.slot == newest.slot and record.issued > newest.issued
            return "found" if is_later or record.hash == newest.hash else "wrong"
        case NotFound():
            return "lost" if newest is not None else "miss"
        case _:
            return "inconclusive" if newest is not None else "unsure"


@dataclass(slots=True)
class Figures:
    """All lookups of one case, hits and misses apart."""

    hits: list[Sample] = field(default_factory=list)
    misses: list[Sample] = field(default_factory=list)

    def summary(self) -> dict[str, object]:
        counts = Counter(sample.verdict for sample in self.hits)
        total = max(1, len(self.hits))
        found = [sample for sample in self.hits if sample.verdict == "found"]
        proven = [sample for sample in self.misses if sample.verdict == "miss"]
        missed = Counter(sample.verdict for sample in self.misses)
        times = [sample.seconds for sample in self.hits]
        return {
            "lookups": len(self.hits),
            **{
                name: round(counts[name] / total, 6)
                for name in ("found", "inconclusive", "lost", "wrong")
            },
            "p50_s": round(percentile(times, 0.5), 4),
            "p99_s": round(percentile(times, 0.99), 4),
            "hops_p50": percentile([float(s.hops) for s in found], 0.5),
            "hops_p99": percentile([float(s.hops) for s in found], 0.99),
            "messages_p50": percentile([float(s.messages) for s in self.hits], 0.5),
            "messages_p99": percentile([float(s.messages) for s in self.hits], 0.99),
            "bytes_p50": percentile([float(s.bytes) for s in self.hits], 0.5),
            "bytes_p99": percentile([float(s.bytes) for s in self.hits], 0.99),
            "misses": len(self.misses),
            "miss_proven": round(missed["miss"] / max(1, len(self.misses)), 6),
            "miss_wrong": missed["wrong"],
            "miss_p50_s": round(percentile([s.seconds for s in self.misses], 0.5), 4),
            "miss_p99_s": round(percentile([s.seconds for s in self.misses], 0.99), 4),
            "miss_messages_p50": percentile([float(s.messages) for s in proven], 0.5),
            "miss_messages_p99": percentile([float(s.messages) for s in proven], 0.99),
        }


def as_json(values: object) -> str:
    """One line."""
    return json.dumps(values if isinstance(values, dict) else asdict(values))  # type: ignore[call-overload]
