"""The folder that all programs of a testbed share: a volume for containers, else a temporary one.

Sockets reach across network namespaces and containers, so nothing needs a network of its own to be
told what to do.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Folder:
    """Where things are in it."""

    root: Path

    def make(self) -> None:
        """Make what is missing."""
        for path in (self.states, self.sockets, self.logs, self.sounds):
            path.mkdir(parents=True, exist_ok=True)

    @property
    def states(self) -> Path:
        """The nodes' state folders."""
        return self.root / "state"

    @property
    def sockets(self) -> Path:
        """Where keepers and handsets listen."""
        return self.root / "sockets"

    @property
    def logs(self) -> Path:
        """What the programs say, where no container engine keeps it."""
        return self.root / "logs"

    @property
    def sounds(self) -> Path:
        """What phones record while it is judged."""
        return self.root / "sounds"

    @property
    def turn(self) -> Path:
        """The file that a check locks."""
        return self.root / "check.lock"

    def state(self, node: str) -> Path:
        """The state folder of a node."""
        return self.states / node

    def keeper(self, node: str) -> Path:
        """The socket of a node's keeper."""
        return self.sockets / f"{node}.keeper"

    def handset(self, phone: str) -> Path:
        """The socket of a phone's handset."""
        return self.sockets / f"{phone}.handset"

    def log(self, name: str) -> Path:
        """What the program of that host said."""
        return self.logs / f"{name}.log"
