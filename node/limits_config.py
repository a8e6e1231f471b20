"""The `[limits]` table of the settings: what is never banned, and what accounts may cost."""

from ipaddress import IPv4Network, IPv6Network, ip_network

from node.setting import Section, require

MAX_NEVER_BANNED = 256
MAX_PER_HOUR = 1_000_000


class LimitsConfig(Section, frozen=True, kw_only=True):
    """Bounds against abuse that an operator may need to move."""

    never_banned: tuple[str, ...] = ()
    "Networks (`192.0.2.0/24`) or addresses that are left alone; loopback always is."
    calls_per_hour: int = 1_000
    "Calls of one user to elsewhere in an hour; 0: as many as it likes."
    targets_per_hour: int = 300
    "Different numbers and addresses among them; 0: any number."

    def __post_init__(self) -> None:
        count = len(self.never_banned)
        wanted = f"at most {MAX_NEVER_BANNED} networks"
        require(count <= MAX_NEVER_BANNED, "limits.never_banned", count, wanted)
        for text in self.never_banned:
            wanted = "networks like 192.0.2.0/24, or addresses"
            require(_network(text) is not None, "limits.never_banned", text, wanted)
        for name in ("calls_per_hour", "targets_per_hour"):
            found = getattr(self, name)
            wanted = f"0 to {MAX_PER_HOUR}"
            require(0 <= found <= MAX_PER_HOUR, f"limits.{name}", found, wanted)

    @property
    def networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """`never_banned` as values."""
        found = (_network(text) for text in self.never_banned)
        return tuple(network for network in found if network is not None)


def _network(text: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(text)
    except ValueError:
        return None
