"""Who hears what other nodes send over links: what is about relaying, the relay; else the edge."""

from collections.abc import Callable
from typing import Any

from federation.ports import LinkReceiver, ServerTransaction


class Receiver:
    """Stands in for the edge while links are made before it (a `LinkReceiver`)."""

    target: LinkReceiver

    def __init__(self, hears: Callable[[ServerTransaction], bool]) -> None:
        self._hears = hears

    def on_request(self, txn: ServerTransaction) -> None:
        """A request of another node."""
        if not self._hears(txn):
            self.target.on_request(txn)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.target, name)
