"""How a TURN server behaves."""

from dataclasses import dataclass, field

from media_relay.stun.attributes import Family
from media_relay.turn.discovery import Discovery
from media_relay.turn.quotas import QuotaLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnConfig:
    """How a server behaves."""

    families: frozenset[Family] = frozenset(Family)
    "Address families that relays can have."
    external: dict[Family, str] = field(default_factory=dict)
    "The address that clients are told instead of a relay's own, behind a static NAT."
    discovery: Discovery = field(default_factory=Discovery)
    "Where RFC 5780 is served."
    limits: QuotaLimits = field(default_factory=QuotaLimits)
    software: str = ""
    "SOFTWARE attribute of responses; none if empty."
