"""What carries the sound of a call from here, and what stands in its way."""

from dataclasses import dataclass
from typing import Protocol

from dht.directory import Directory
from media_relay.pool import RelayPool
from node.control import JsonObject


class Usage(Protocol):
    """Says what is used of the limits for strangers (`node.relaying.room.RelayRoom`)."""

    def usage(self) -> JsonObject:
        """Limits, and what is used of them."""


@dataclass(frozen=True, slots=True)
class SoundWay:
    """The relay of this node as a call would meet it now."""

    relay: RelayPool
    strangers: Usage
    directory: Directory

    def lack(self) -> str | None:
        """Why no sound could be carried, as a caller would be told; `None` where it could."""
        usage = self.relay.usage()
        if not any(worker.pid is not None for worker in usage.workers):
            return "no relay worker is running"
        if not usage.ports_free:
            return "no media port is free"
        return None

    def told(self) -> JsonObject:
        """Workers, ports, whether strangers reach this node, and what it relays for them."""
        usage, strangers = self.relay.usage(), self.strangers.usage()
        return {
            "workers": len(usage.workers),
            "workers_up": sum(worker.pid is not None for worker in usage.workers),
            "sessions": sum(worker.sessions for worker in usage.workers),
            "ports_free": usage.ports_free,
            "reached": {
                f"ipv{reach.family}": {
                    "serves": reach.serves,
                    "confirmed": reach.confirmed,
                    "needed": reach.needed,
                }
                for reach in self.directory.stats().reach
            },
            "strangers": {
                "state": strangers["state"],
                "kbit": strangers["now"]["kbit"],
                "kbit_limit": strangers["limits"]["kbit"],
                "sessions": strangers["now"]["sessions"],
                "sessions_limit": strangers["limits"]["sessions"],
                "bytes_left": strangers["bytes_left"],
            },
        }
