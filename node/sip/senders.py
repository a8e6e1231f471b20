"""Where registered devices send from, counted as they register and go."""

from collections import Counter
from ipaddress import ip_address
from typing import Any

from federation.model.address import Endpoint


class Senders:
    """Addresses, and addresses with ports, of registered devices."""

    def __init__(self) -> None:
        self._remotes: Counter[Endpoint] = Counter()
        self._homes: Counter[str | int] = Counter()

    def __len__(self) -> int:
        return len(self._remotes)

    def add(self, remote: Endpoint) -> None:
        """One more device sends from there."""
        self._remotes[remote] += 1
        self._homes[_home_of(remote.host)] += 1

    def remove(self, remote: Endpoint) -> None:
        """One fewer does."""
        _count_down(self._remotes, remote)
        _count_down(self._homes, _home_of(remote.host))

    def has(self, remote: Endpoint) -> bool:
        """Whether a registered device was last seen to send from there."""
        return remote in self._remotes

    def is_home(self, host: str) -> bool:
        """Whether registered devices send from that address, or from its /64 in IPv6."""
        return _home_of(host) in self._homes


def _home_of(host: str) -> str | int:
    """An IPv4 address, or the first half of an IPv6 address."""
    return host if ":" not in host else int(ip_address(host)) >> 64


def _count_down(counts: Counter[Any], key: object) -> None:
    counts[key] -= 1
    if not counts[key]:
        del counts[key]
