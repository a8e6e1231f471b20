"""Guessers, scanners and floods: slowed, then banned, without the others behind their address.

Each misdeed costs its source points, which wear off. Sources with some points are *slowed*: one
message in two seconds is heard. Those with many are *banned*: nothing is heard, first for ten
minutes, then for twice as long each time. Both are looked at before a message is parsed.

Behind one address may be an office. Where devices that proved a password are registered from an
address, misdeeds count by port, so that the one phone with a wrong password, or somebody in the
office who guesses, is banned alone; only if the ports together do very much is the address banned,
and then its registered devices are still heard. Private addresses are never banned whole, as
everything may come from one of them (a router, a container's bridge). Allowed networks and
loopback are left alone. Points for a datagram whose source was forged hit who is named there;
that is why a registered device is never shut out by what others do in its address's name.
"""

import enum
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

import structlog

from federation.model.address import Endpoint
from federation.model.clocks import Clock, Monotonic, UnixTime
from node.sip.flow import Flow
from node.storage.bans import Ban, BanBook, source_of

SLOW_AT = 6.0
"Points from which a source is slowed."
BAN_AT = 20.0
"Points from which it is banned."
SHARED_BAN_AT = 100.0
"Points from which an address is banned that registered devices share, or one such device."
WINDOW = 600.0
"Seconds in which `BAN_AT` points wear off."
SLOW_INTERVAL = 2.0
"Seconds between two messages of a slowed source that are heard."
BAN_FIRST, BAN_LONGEST = 600.0, 86_400.0
"Seconds of a source's first ban, and of its longest; each is twice the one before."
MAX_SOURCES = 10_000
"Sources whose points are remembered; beyond, the one that did nothing for longest is forgotten."
CHALLENGES_BURST, CHALLENGES_PER_SECOND = 500.0, 10.0
"Challenges that an address may leave without a right answer before each further one costs points."
SCANNERS = (
    "friendly-scanner",
    "friendly-request",
    "sipvicious",
    "sipcli",
    "sip-scan",
    "sipscan",
    "sundayddr",
    "pplsip",
    "smap",
    "iwar",
    "sipptk",
    "gulp",
)
"Beginnings of User-Agents that nobody has but who looks for nodes to break into."

Network = IPv4Network | IPv6Network
PRIVATE: tuple[Network, ...] = tuple(
    ip_network(text)
    for text in (
        *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10"),
        *("fc00::/7", "fe80::/10"),
    )
)
"Networks of which one address may stand for everybody."


class Misdeed(enum.Enum):
    """What a source did, with its price in points."""

    WRONG_PASSWORD = ("wrong password", 1.0)
    UNKNOWN_USER = ("unknown user", 3.0)
    UNKNOWN_TARGET = ("call to nobody", 1.0)
    SCANNER = ("scanner", BAN_AT)
    MALFORMED = ("malformed messages", 0.1)
    FLOOD = ("flood of requests", 0.05)

    def __init__(self, text: str, points: float) -> None:
        self.text = text
        self.points = points


@dataclass(slots=True)
class _Points:
    """A sum that wears off."""

    sum: float
    at: Monotonic

    def add(self, more: float, per_second: float, now: Monotonic) -> float:
        self.sum = max(0.0, self.sum - (now - self.at) * per_second) + more
        self.at = now
        return self.sum


@dataclass(slots=True)
class _Ledger:
    """The points of many sources, of which those that did nothing for longest are forgotten."""

    per_second: float
    sources: OrderedDict[Any, _Points] = field(default_factory=OrderedDict)

    def add(self, source: object, points: float, now: Monotonic) -> float:
        entry = self.sources.pop(source, None) or _Points(0.0, now)
        self.sources[source] = entry
        if len(self.sources) > MAX_SOURCES:
            self.sources.popitem(last=False)
        return entry.add(points, self.per_second, now)


class Guard:
    """Stands before everything else on the receive path."""

    def __init__(
        self,
        bans: BanBook,
        *,
        sends_from: Callable[[Endpoint], bool],
        is_home: Callable[[str], bool],
        clock: Clock,
        allowed: Sequence[Network] = (),
    ) -> None:
        """`sends_from` and `is_home` tell where registered devices are (`node.sip.registrar`)."""
        self._bans = bans
        self._sends_from = sends_from
        self._is_home = is_home
        self._clock = clock
        self._allowed = tuple(allowed)
        self._hosts = _Ledger(BAN_AT / WINDOW)
        self._ports = _Ledger(BAN_AT / WINDOW)
        self._challenges = _Ledger(CHALLENGES_PER_SECOND)
        self._slowed: dict[tuple[str, int], tuple[Monotonic, Monotonic]] = {}
        "When the next message of a source is heard, and when it is slowed no more."
        self._log = structlog.get_logger("guard")
        self._exempt = lru_cache(maxsize=4096)(self._is_exempt)
        self.refused = 0
        "Messages that were not heard."
        self.is_alert = False
        "Whether anybody is banned or slowed: `refuses` need not be asked otherwise."
        bans.on_change = self._look_alert
        self._look_alert()

    # On the receive path

    def refuses(self, flow: Flow) -> bool:
        """Whether a message is not to be heard, whatever it says."""
        host, port = flow.remote
        try:
            source = source_of(host)
        except ValueError:
            return False
        current = self._bans.current
        ban = current.get((source, 0))
        banned = (ban is not None and (ban.by_operator or not self._registered(flow))) or (
            (source, port) in current
        )
        if not banned and not self._is_too_fast(source, port, flow):
            return False
        self.refused += 1
        return True

    def _is_too_fast(self, source: str, port: int, flow: Flow) -> bool:
        now = self._clock.monotonic()
        for key in ((source, port), (source, 0)):
            slowed = self._slowed.get(key)
            if slowed is None or (key[1] == 0 and self._registered(flow)):
                continue
            if now < slowed[0]:
                return True
            self._slowed[key] = (Monotonic(now + SLOW_INTERVAL), slowed[1])
        return False

    # What sources do

    def is_scanner(self, user_agent: str | None) -> bool:
        """Whether a User-Agent is one that scanners give themselves."""
        return user_agent is not None and user_agent.lower().startswith(SCANNERS)

    def challenged(self, flow: Flow) -> None:
        """A request without credentials was answered by a challenge."""
        host = flow.remote.host
        if self._exempt(host):
            return
        open_ones = self._challenges.add(source_of(host), 1.0, self._clock.monotonic())
        if open_ones > CHALLENGES_BURST:
            self.offend(flow, Misdeed.FLOOD)

    def proved(self, flow: Flow) -> None:
        """A request proved its password: the challenge before it was no flood."""
        entry = self._challenges.sources.get(flow.remote.host)
        if entry is not None:
            entry.sum -= 1.0

    def failed(self, flow: Flow, login: str, *, is_known: bool) -> None:
        """A password was wrong, or that of a user who does not exist."""
        plain = "".join(c for c in login[:64] if c.isprintable())
        host = flow.remote.host
        self._log.info("auth_failed", address=host, login=plain, limit_by=host)
        self.offend(flow, Misdeed.WRONG_PASSWORD if is_known else Misdeed.UNKNOWN_USER)

    def offend(self, flow: Flow, misdeed: Misdeed) -> None:
        """Note what a source did, and do what follows from it."""
        host, port = flow.remote
        if self._exempt(host):
            return
        source, now = source_of(host), self._clock.monotonic()
        of_host = self._hosts.add(source, misdeed.points, now)
        of_port = self._ports.add((source, port), misdeed.points, now)
        is_registered = self._registered(flow)
        is_private = is_allowed(host, PRIVATE)
        if is_private or is_registered or self._is_home(host):
            if of_port >= (SHARED_BAN_AT if is_registered else BAN_AT):
                self._ban(source, port, misdeed)
            elif of_host >= SHARED_BAN_AT and not is_private:
                self._ban(source, 0, misdeed)
            elif of_port >= SLOW_AT and not is_registered:
                self._slow(source, port, now)
        elif of_host >= BAN_AT:
            self._ban(source, 0, misdeed)
        elif of_host >= SLOW_AT:
            self._slow(source, 0, now)

    # Time and people

    def look(self) -> None:
        """Let go what is over."""
        now = self._clock.monotonic()
        for ban in self._bans.sweep(self._clock.unix()):
            self._log.info("ban_over", address=ban.address, port=ban.port or None)
        for key in [key for key, (_, until) in self._slowed.items() if until <= now]:
            del self._slowed[key]
        self._look_alert()

    def forgive(self, source: str) -> None:
        """A person lifted a source's bans: it begins anew."""
        for ledger in (self._hosts, self._challenges):
            ledger.sources.pop(source, None)
        for key in [key for key in self._ports.sources if key[0] == source]:
            del self._ports.sources[key]
        for known in [known for known in self._slowed if known[0] == source]:
            del self._slowed[known]
        self._look_alert()

    @property
    def slowed(self) -> int:
        """Sources that are slowed now."""
        return len(self._slowed)

    # Inside

    def _is_exempt(self, host: str) -> bool:
        return is_allowed(host, self._allowed)

    def _registered(self, flow: Flow) -> bool:
        """Whether a device that proved a password sends from there."""
        return self._sends_from(flow.remote)

    def _slow(self, source: str, port: int, now: Monotonic) -> None:
        if (source, port) not in self._slowed:
            self._log.info("slowed", address=source, port=port or None, limit_by=source)
            if len(self._slowed) >= MAX_SOURCES:
                del self._slowed[next(iter(self._slowed))]
        next_one, _ = self._slowed.get((source, port), (Monotonic(now + SLOW_INTERVAL), now))
        self._slowed[source, port] = (next_one, Monotonic(now + WINDOW * SLOW_AT / BAN_AT))
        self.is_alert = True

    def _ban(self, source: str, port: int, misdeed: Misdeed) -> None:
        if (source, port) in self._bans.current:
            return
        now = self._clock.unix()
        times = self._bans.times(source, port) + 1
        seconds = min(BAN_FIRST * 2 ** min(times - 1, 16), BAN_LONGEST)
        self._bans.put(
            Ban(
                address=source,
                port=port,
                reason=misdeed.text,
                by_operator=False,
                since=now,
                until=UnixTime(now + seconds),
                times=times,
            )
        )
        self._log.warning(
            "banned", address=source, port=port or None, reason=misdeed.text, seconds=int(seconds)
        )

    def _look_alert(self) -> None:
        self.is_alert = bool(self._bans.current or self._slowed)


def is_allowed(host: str, allowed: Iterable[Network]) -> bool:
    """Whether an address is loopback or in one of these networks."""
    try:
        address = ip_address(host)
    except ValueError:
        return True
    return address.is_loopback or any(address in network for network in allowed)
