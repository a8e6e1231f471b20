"""Guests: clients of other nodes, who use the relay with its owner's consent.

They are told from the node's own accounts by their logins, which begin with a character that no
account's can. They share one budget of bytes and one number of relay ports, so nothing that they
do is felt by accounts.
"""

from collections.abc import Collection, Iterable

from federation.model.clocks import Monotonic
from media_relay.turn.allocation import Allocation

GUEST = "~"
"The first character of guests' logins."
MAX_GUEST_LIFETIME = 600
"Seconds that a guest's allocation lasts without a refresh; so is how soon it hears of an end."


def is_guest(login: str) -> bool:
    """Whether a login is that of a guest."""
    return login.startswith(GUEST)


class GuestTime:
    """How long guests may stay; `until` is set when their time ends."""

    def __init__(self) -> None:
        self.until: Monotonic | None = None

    def granted(self, login: str, lifetime: int, now: Monotonic) -> int:
        """The lifetime in seconds that whoever asks for `lifetime` is given; 0 ends it."""
        if not is_guest(login):
            return lifetime
        left = MAX_GUEST_LIFETIME if self.until is None else int(self.until - now)
        return max(0, min(lifetime, left))

    def shorten(self, allocations: Iterable[Allocation]) -> Collection[Allocation]:
        """Let guests' allocations end by `until`; which were changed."""
        until = self.until
        changed = []
        for allocation in allocations:
            if until is None or not is_guest(allocation.login):
                continue
            for family, expires in allocation.expires.items():
                allocation.expires[family] = min(expires, until)
            changed.append(allocation)
        return changed
