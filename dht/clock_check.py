"""Whether this node's clock will do, by the times that peers tell in their pongs. A core.

Records carry the time they were issued. A clock that is wrong by more than `CLOCK_SKEW_S` has its
records refused by others, and refuses theirs. One peer's clock proves nothing, and whoever has many
addresses has them together: each network has one voice, and the median of the voices counts.
"""

from collections.abc import Iterable
from enum import Enum
from statistics import median

from dht.acceptance import CLOCK_SKEW_S
from dht.scope import is_local, wide_network
from dht.table import Contact

SKEW_WARNING_S = 60.0


class ClockVerdict(Enum):
    """How our clock compares with the peers' clocks."""

    UNKNOWN = "not compared yet"
    GOOD = "agrees with the peers"
    OFF = "differs from the peers by over a minute; set it, by NTP for example"
    WRONG = (
        "differs from the peers by over five minutes: they refuse this node's records as not yet "
        "or no longer true, and it refuses theirs; set it, by NTP for example"
    )

    @property
    def text(self) -> str:
        """For people."""
        return self.value


def clock_skew(contacts: Iterable[Contact]) -> float | None:
    """Seconds that the peers' clocks are ahead of ours; None while no peer told its time."""
    voices: dict[bytes, list[float]] = {}
    for contact in contacts:
        if contact.skew is not None:
            local = is_local(contact.endpoint)
            voice = bytes(contact.id) if local else wide_network(contact.endpoint.ip)
            voices.setdefault(voice, []).append(contact.skew)
    return median(map(median, voices.values())) if voices else None


def judged_clock(skew: float | None) -> ClockVerdict:
    """What to say of a clock that peers' clocks are `skew` seconds ahead of."""
    if skew is None:
        return ClockVerdict.UNKNOWN
    if abs(skew) <= SKEW_WARNING_S:
        return ClockVerdict.GOOD
    return ClockVerdict.OFF if abs(skew) <= CLOCK_SKEW_S else ClockVerdict.WRONG
