"""Nodes that others name as relays for strangers; bounded, and nothing of it proven. A core."""

from collections import OrderedDict
from collections.abc import Callable, Iterable

from dht.messages import RELAYS, ContactEntry

MAX_NAMED = 64
"Named nodes that are remembered; the newest."


class NamedRelays:
    """What others said in their lists of contacts."""

    def __init__(self) -> None:
        self._named: OrderedDict[bytes, ContactEntry] = OrderedDict()

    def note(self, entries: Iterable[ContactEntry]) -> None:
        """Take in a list of contacts."""
        for entry in entries:
            if entry.flags & RELAYS:
                self._named[entry.id] = entry
                self._named.move_to_end(entry.id)
        while len(self._named) > MAX_NAMED:
            self._named.popitem(last=False)

    def newest(self, may: Callable[[ContactEntry], bool]) -> list[ContactEntry]:
        """Those that may be asked, who was named last first."""
        return [entry for entry in reversed(self._named.values()) if may(entry)]

    def forget(self, entry: ContactEntry) -> None:
        """It is not what it was said to be."""
        self._named.pop(entry.id, None)
