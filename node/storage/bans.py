"""Sources that are not heard: in memory for the receive path, written behind."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from ipaddress import IPv6Address, ip_address

from sqlalchemy import Connection, select

from federation.model.clocks import UnixTime
from node.storage import schema
from node.storage.writer import Writer

MAX_BANS = 10_000
"Bans that the node made itself; beyond, the oldest is lifted."
REMEMBERED = 86_400.0
"Seconds after its end for which a ban makes the next one longer."
MAX_REASON = 200


@lru_cache(maxsize=4096)
def source_of(host: str) -> str:
    """What a ban is for: an IPv4 address, or the /64 of an IPv6 address.

    Raises:
        ValueError: not an IP address.
    """
    address = ip_address(host)
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return f"{IPv6Address(int(address) >> 64 << 64)}/64"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ban:
    """One source that is not heard."""

    address: str
    "As `source_of` gives it."
    port: int = 0
    "0: all ports; else this one only, since others behind the address are known."
    reason: str
    by_operator: bool
    since: UnixTime
    until: UnixTime | None
    "`None`: until it is lifted."
    times: int = 1
    "How many in a row, for the length of the next one."

    def is_current(self, now: UnixTime) -> bool:
        """Whether it holds."""
        return self.until is None or now < self.until


class BanBook:
    """Every ban, and for a day those that are over."""

    def __init__(self, bans: Iterable[Ban], writer: Writer, *, now: UnixTime) -> None:
        self._writer = writer
        self._past: dict[tuple[str, int], Ban] = {}
        self.current: dict[tuple[str, int], Ban] = {}
        "What is not heard, by address and port (0: all of them)."
        self.on_change: Callable[[], None] = lambda: None
        "Told after each change of `current`."
        for ban in bans:
            (self.current if ban.is_current(now) else self._past)[ban.address, ban.port] = ban

    def __iter__(self) -> Iterator[Ban]:
        return iter(sorted(self.current.values(), key=lambda ban: (ban.since, ban.address)))

    def __len__(self) -> int:
        return len(self.current)

    def times(self, address: str, port: int) -> int:
        """How many bans of a source are remembered."""
        ban = self.current.get((address, port)) or self._past.get((address, port))
        return 0 if ban is None else ban.times

    def put(self, ban: Ban) -> None:
        """Have a ban, in place of one of the same source."""
        key = ban.address, ban.port
        self._past.pop(key, None)
        self.current.pop(key, None)
        self.current[key] = ban
        self._write(ban)
        own = [b for b in self.current.values() if not b.by_operator]
        if len(own) > MAX_BANS:
            oldest = min(own, key=lambda b: b.since)
            del self.current[oldest.address, oldest.port]
            self._writer.remove("bans", (oldest.address, oldest.port))
        self.on_change()

    def lift(self, address: str) -> list[Ban]:
        """End and forget every ban of an address; those that held."""
        lifted = [ban for key, ban in self.current.items() if key[0] == address]
        for kept in (self.current, self._past):
            for key in [key for key in kept if key[0] == address]:
                del kept[key]
                self._writer.remove("bans", key)
        self.on_change()
        return lifted

    def sweep(self, now: UnixTime) -> list[Ban]:
        """Take those that are over out of the way; they are returned."""
        over = [ban for ban in self.current.values() if not ban.is_current(now)]
        for ban in over:
            self._past[ban.address, ban.port] = self.current.pop((ban.address, ban.port))
        for key, ban in list(self._past.items()):
            if ban.until is not None and now - ban.until > REMEMBERED:
                del self._past[key]
                self._writer.remove("bans", key)
        if over:
            self.on_change()
        return over

    def _write(self, ban: Ban) -> None:
        row = asdict(ban) | {"by_operator": int(ban.by_operator)}
        self._writer.put("bans", (ban.address, ban.port), row)


def load_bans(connection: Connection) -> list[Ban]:
    """All that are stored, oldest first."""
    rows = connection.execute(select(schema.bans).order_by(schema.bans.c.since)).mappings()
    return [Ban(**{**row, "by_operator": bool(row["by_operator"])}) for row in rows]
