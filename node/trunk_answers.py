"""What a running node answers about trunks and DIDs: a part of `node.control.NodeControl`."""

from typing import Protocol

from node.control import JsonObject
from node.trunks.desk import TrunkDesk
from node.trunks.options import NewTrunk, TrunkOptions


class TrunkControl(Protocol):
    """What can be asked of a node about its trunks. Methods may raise `RefusedError`."""

    async def trunks(self) -> list[JsonObject]:
        """Every trunk: `name`, `kind`, its settings, `state`, `reason`, `calls`, `dids`."""

    async def trunk_show(self, name: str) -> JsonObject:
        """One trunk; a PBX's also has the sheet of its account."""

    async def trunk_add(self, new: NewTrunk) -> JsonObject:
        """Make a trunk; a PBX's answer has the password."""

    async def trunk_set(self, name: str, options: TrunkOptions) -> JsonObject:
        """Change what is given."""

    async def trunk_remove(self, name: str) -> JsonObject:
        """Remove a trunk: `removed`, and the numbers `unmapped` with it."""

    async def trunk_test(self, name: str) -> JsonObject:
        """Try it: `works`, and `steps` with `step`, `ok` or null, `says`."""

    async def dids(self) -> list[JsonObject]:
        """Mapped numbers: `number`, `target`, `login`, `extension` or null."""

    async def did_map(self, number: str, target: str) -> JsonObject:
        """Map a number."""

    async def did_unmap(self, number: str) -> JsonObject:
        """Unmap a number."""


class TrunkAnswers:
    """Passes on to the desk."""

    trunk_desk: TrunkDesk

    async def trunks(self) -> list[JsonObject]:
        """Every trunk."""
        return self.trunk_desk.all()

    async def trunk_show(self, name: str) -> JsonObject:
        """One trunk."""
        return self.trunk_desk.show(name)

    async def trunk_add(self, new: NewTrunk) -> JsonObject:
        """Make a trunk."""
        return await self.trunk_desk.add(new)

    async def trunk_set(self, name: str, options: TrunkOptions) -> JsonObject:
        """Change a trunk."""
        return await self.trunk_desk.change(name, options)

    async def trunk_remove(self, name: str) -> JsonObject:
        """Remove a trunk."""
        return await self.trunk_desk.remove(name)

    async def trunk_test(self, name: str) -> JsonObject:
        """Try a trunk."""
        return await self.trunk_desk.test(name)

    async def dids(self) -> list[JsonObject]:
        """Mapped numbers."""
        return self.trunk_desk.dids()

    async def did_map(self, number: str, target: str) -> JsonObject:
        """Map a number."""
        return await self.trunk_desk.map(number, target)

    async def did_unmap(self, number: str) -> JsonObject:
        """Unmap a number."""
        return await self.trunk_desk.unmap(number)
