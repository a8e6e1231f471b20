"""What tests of accounts and storage share: time that stands still, numbers that cost nothing."""

import hashlib
import threading

from federation.model.clocks import Monotonic, UnixTime
from federation.model.identity import AccountId
from federation.model.number import Number

NOW = UnixTime(1_800_000_000.0)


class StandingClock:
    """Always the same moment."""

    def monotonic(self) -> Monotonic:
        return Monotonic(0.0)

    def unix(self) -> UnixTime:
        return NOW


def cheap_number(account: AccountId) -> Number:
    """A number that follows from the key, without the 64 MiB."""
    digest = int.from_bytes(hashlib.sha256(account).digest(), "big")
    return Number(f"0{2 * 10**13 + digest % (8 * 10**13)}")


class GatedNumbers:
    """Derives only once it is let."""

    def __init__(self) -> None:
        self.gate = threading.Event()

    def __call__(self, account: AccountId) -> Number:
        if not self.gate.wait(timeout=10):
            raise TimeoutError
        return cheap_number(account)
