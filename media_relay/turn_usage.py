"""Counting what each account has relayed, for the reports to the control plane."""

from collections import Counter

from media_relay.control_turn import MAX_USAGES_A_MESSAGE, AccountUsage
from media_relay.turn_routes import RelayPort

_DROPPED = 4
"Index of the dropped bytes, after the four counters of a port."


class Usage:
    """Sums the counters of relay ports by account."""

    def __init__(self) -> None:
        self._ports: set[RelayPort] = set()
        self._unreported: dict[str, Counter[int]] = {}

    def dropped(self, login: str, size: int) -> None:
        """Bytes over an account's rate were dropped."""
        if size:
            self._unreported.setdefault(login, Counter())[_DROPPED] += size

    def add(self, port: RelayPort) -> None:
        """A port was opened."""
        self._ports.add(port)

    def remove(self, port: RelayPort) -> None:
        """A port is closed; what it counted is reported next."""
        self._enter(port)
        self._ports.discard(port)

    def take(self) -> list[tuple[AccountUsage, ...]]:
        """What was relayed since the last time, in parts that fit a message."""
        for port in self._ports:
            self._enter(port)
        usages = [
            AccountUsage(login, *(counts[index] for index in range(_DROPPED + 1)))
            for login, counts in self._unreported.items()
        ]
        self._unreported.clear()
        step = MAX_USAGES_A_MESSAGE
        return [tuple(usages[start : start + step]) for start in range(0, len(usages), step)]

    def _enter(self, port: RelayPort) -> None:
        counters = port.counters
        if counters != port.reported:
            counts = self._unreported.setdefault(port.login, Counter())
            for index, (new, old) in enumerate(zip(counters, port.reported, strict=True)):
                counts[index] += new - old
            port.reported = counters
