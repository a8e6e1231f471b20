"""How many relay ports somebody may hold."""

from collections import Counter
from dataclasses import dataclass

from federation.model.address import network_group, parse_ip
from media_relay.turn.guests import is_guest

MAX_PORTS_AN_ACCOUNT = 64
"ICE asks one for each component, transport and interface: a handful of calls on several devices."
MAX_PORTS_A_SOURCE = 256
"From one IPv4 address or one IPv6 /48; an office shares an address."
MAX_PORTS = 8000
"In all; the media range ends it sooner if it is smaller."


@dataclass(frozen=True, slots=True)
class QuotaLimits:
    """Relay ports at one time."""

    account: int = MAX_PORTS_AN_ACCOUNT
    source: int = MAX_PORTS_A_SOURCE
    total: int = MAX_PORTS


class Quotas:
    """Counts ports by account and by source; never above the limits."""

    def __init__(self, limits: QuotaLimits) -> None:
        self.limits = limits
        self.total = 0
        self.guests = 0
        "Ports of guests, who are counted in `total` as well."
        self._accounts: Counter[str] = Counter()
        self._sources: Counter[str | bytes] = Counter()

    def take(self, login: str, source: str, count: int = 1) -> bool:
        """Count `count` more ports, if all limits hold then."""
        limits, group = self.limits, group_of(source)
        if (
            self._accounts[login] + count > limits.account
            or self._sources[group] + count > limits.source
            or self.total + count > limits.total
        ):
            self._tidy(login, group)
            return False
        self._accounts[login] += count
        self._sources[group] += count
        self.total += count
        self.guests += count * is_guest(login)
        return True

    def give_back(self, login: str, source: str) -> None:
        """One port less, that `take` had counted."""
        group = group_of(source)
        self._accounts[login] -= 1
        self._sources[group] -= 1
        self.total -= 1
        self.guests -= is_guest(login)
        self._tidy(login, group)

    def of_account(self, login: str) -> int:
        """Ports that an account holds."""
        return self._accounts.get(login, 0)

    def _tidy(self, login: str, group: str | bytes) -> None:
        if not self._accounts[login]:
            del self._accounts[login]
        if not self._sources[group]:
            del self._sources[group]


def group_of(source: str) -> str | bytes:
    """An IPv4 address, or an IPv6 address's /48."""
    return network_group(parse_ip(source)) if ":" in source else source
