"""How fast one source may do something that costs us: so many at once, then so many a second."""

from federation.model.address import AddressError, parse_ip
from federation.model.clocks import Monotonic

MAX_SOURCES = 4_096
"Sources remembered; with more, all are forgotten."
_IPV6_BYTES = 8
"A /64 is one source: who has one IPv6 address there has them all."


class SourceRate:
    """A token bucket for each source; one that was quiet for long is full again."""

    def __init__(self, burst: int, per_second: float) -> None:
        self._burst = burst
        self._per_second = per_second
        self._buckets: dict[bytes | str, tuple[float, Monotonic]] = {}

    def allows(self, host: str, *, now: Monotonic) -> bool:
        """Whether `host` (an IP address) may do it once more, which is counted."""
        source = _source(host)
        left, at = self._buckets.get(source, (float(self._burst), now))
        left = min(self._burst, left + (now - at) * self._per_second)
        allowed = left >= 1.0
        if source not in self._buckets and len(self._buckets) >= MAX_SOURCES:
            self._buckets.clear()
        self._buckets[source] = (left - 1.0 if allowed else left), now
        return allowed


def _source(host: str) -> bytes | str:
    try:
        address = parse_ip(host)
    except AddressError:
        return host
    return address.packed[:_IPV6_BYTES] if address.version == 6 else address.packed
