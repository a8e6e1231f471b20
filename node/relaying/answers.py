"""What a running node answers about its relay: a part of `node.control.NodeControl`."""

from typing import Protocol

from node.control import JsonObject
from node.relaying.consent import ConsentChange
from node.relaying.room import RelayRoom


class RelayControl(Protocol):
    """What can be asked of a node about relaying. Methods may raise `RefusedError`."""

    async def relay_on(self, change: ConsentChange) -> JsonObject:
        """Relay for strangers within limits; the answer is as of `relay_usage`."""

    async def relay_off(self) -> JsonObject:
        """Relay for strangers no more, at once."""

    async def relay_usage(self) -> JsonObject:
        """`strangers`, `state`, `limits`, `now`, `month`, `bytes`, `bytes_left`, `months`."""

    async def relay_candidates(self) -> list[JsonObject]:
        """Other nodes that relay for strangers, best first."""

    async def relay_leases(self) -> list[JsonObject]:
        """What other nodes lend now; `kept` ones are renewed."""

    async def relay_borrow(self, count: int, *, keep: bool) -> list[JsonObject]:
        """TURN credentials at other nodes' relays: the first to use, the others as spares."""

    async def relay_give_back(self, lease: str) -> JsonObject:
        """End a lease; the answer is the relay's receipt."""


class RelayAnswers:
    """Passes on to the room."""

    relaying: RelayRoom

    async def relay_on(self, change: ConsentChange) -> JsonObject:
        """Relay for strangers."""
        return await self.relaying.on(change)

    async def relay_off(self) -> JsonObject:
        """Relay for strangers no more."""
        return await self.relaying.off()

    async def relay_usage(self) -> JsonObject:
        """Limits and use."""
        return self.relaying.usage()

    async def relay_candidates(self) -> list[JsonObject]:
        """Willing nodes."""
        return await self.relaying.candidates()

    async def relay_leases(self) -> list[JsonObject]:
        """What is lent."""
        return self.relaying.leases()

    async def relay_borrow(self, count: int, *, keep: bool) -> list[JsonObject]:
        """Have relays lent."""
        return await self.relaying.borrow(count, keep=keep)

    async def relay_give_back(self, lease: str) -> JsonObject:
        """End a lease."""
        return await self.relaying.give_back(lease)
