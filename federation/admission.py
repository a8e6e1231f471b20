"""Which links make room for which: a node's places for links are not one stranger's to fill.

Keys cost nothing here, so whoever has one address can bring links under a thousand keys. Links that
others dialled are therefore counted for each network they come from; those that this node dialled
are its own choice and are not. A link with an exchange under way is never closed for another.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Protocol, TypeVar

from federation.model.address import Endpoint, Scope, network_group, scope_of
from federation.model.clocks import Monotonic

MAX_LINKS = 1_024
"Links at once."
MAX_LINKS_FROM_GROUP = 64
"Links at once that were dialled from one /24 or /48; within a LAN or machine, from one address."


class Seat(Protocol):
    """A link, as far as its place is concerned."""

    is_dialler: bool
    "Whether this node began it."
    up_at: Monotonic | None

    @property
    def exchange_count(self) -> int:
        """Exchanges under way."""

    @property
    def endpoint(self) -> Endpoint | None:
        """Where the peer's packets come from."""


S = TypeVar("S", bound=Seat)


def room_for(newcomer: Seat, seated: Iterable[S]) -> list[S] | None:
    """The links to close so that the newcomer has a place; None: it is refused.

    In a network that has its share the oldest link without an exchange goes. Where all places are
    taken, one of those goes that came from the network with the most links; those that this node
    dialled go last.
    """
    taken = list(seated)
    groups = Counter(source_group(link) for link in taken if not link.is_dialler)
    own_group = None if newcomer.is_dialler else source_group(newcomer)
    leaving: list[S] = []
    if own_group is not None and groups[own_group] >= MAX_LINKS_FROM_GROUP:
        mates = [link for link in taken if not link.is_dialler and source_group(link) == own_group]
        leaving = _oldest_idle(mates)
    elif len(taken) >= MAX_LINKS:
        dialled_by_others = [link for link in taken if not link.is_dialler and _is_idle(link)]
        most = max((groups[source_group(link)] for link in dialled_by_others), default=0)
        crowd = [link for link in dialled_by_others if groups[source_group(link)] == most]
        leaving = _oldest_idle(crowd or taken)
    else:
        return []
    return leaving or None


def source_group(link: Seat) -> bytes:
    """The network that a link is counted for."""
    if link.endpoint is None:
        return b""
    ip = link.endpoint.ip
    return network_group(ip) if scope_of(ip) is Scope.GLOBAL else b"local" + ip.packed


def _is_idle(link: Seat) -> bool:
    return link.exchange_count == 0


def _oldest_idle(links: Iterable[S]) -> list[S]:
    """The one that is up longest of those without an exchange, if there is one."""
    idle = [link for link in links if _is_idle(link)]
    return [min(idle, key=lambda link: link.up_at or 0.0)] if idle else []
