"""Where trunk and DID commands are carried out: by the running node, or on its storage."""

import contextlib
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from node.trunks.desk import TrunkDesk

Sheet = dict[str, Any]
Given = dict[str, Any]
"Options that were given, by the names of `node.trunks.options.TrunkOptions`."


class TrunkCommands(Protocol):
    """Each may raise a `RingmeshError` with a sentence."""

    def all(self) -> list[Sheet]:
        """Every trunk."""

    def show(self, name: str) -> Sheet:
        """One trunk."""

    def add(self, given: Given) -> Sheet:
        """Make one."""

    def change(self, name: str, given: Given) -> Sheet:
        """Change one."""

    def remove(self, name: str) -> Sheet:
        """Remove one."""

    def test(self, name: str) -> Sheet:
        """Try one."""

    def dids(self) -> list[Sheet]:
        """Every mapped number."""

    def map(self, number: str, target: str) -> Sheet:
        """Map one."""

    def unmap(self, number: str) -> Sheet:
        """Unmap one."""


class RunningTrunks:
    """Asks the running node."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def all(self) -> list[Sheet]:
        """Every trunk."""
        return list(self._client.get("trunks"))

    def show(self, name: str) -> Sheet:
        """One trunk."""
        return dict(self._client.get("trunks", name))

    def add(self, given: Given) -> Sheet:
        """Make one."""
        return dict(self._client.post("trunks", body=given))

    def change(self, name: str, given: Given) -> Sheet:
        """Change one."""
        return dict(self._client.request("PATCH", "trunks", name, body=given))

    def remove(self, name: str) -> Sheet:
        """Remove one."""
        return dict(self._client.delete("trunks", name))

    def test(self, name: str) -> Sheet:
        """Try one."""
        return dict(self._client.get("trunks", name, "test"))

    def dids(self) -> list[Sheet]:
        """Every mapped number."""
        return list(self._client.get("dids"))

    def map(self, number: str, target: str) -> Sheet:
        """Map one."""
        return dict(self._client.post("dids", body={"number": number, "target": target}))

    def unmap(self, number: str) -> Sheet:
        """Unmap one."""
        return dict(self._client.delete("dids", number))


class StoppedTrunks:
    """Works on the storage of a stopped node."""

    def __init__(self, desk: "TrunkDesk") -> None:
        self._desk = desk

    def all(self) -> list[Sheet]:
        """Every trunk."""
        return self._desk.all()

    def show(self, name: str) -> Sheet:
        """One trunk."""
        return self._desk.show(name)

    def add(self, given: Given) -> Sheet:
        """Make one."""
        from node.trunks.options import NewTrunk

        return _finished(self._desk.add(NewTrunk(**given)))

    def change(self, name: str, given: Given) -> Sheet:
        """Change one."""
        from node.trunks.options import TrunkOptions

        return _finished(self._desk.change(name, TrunkOptions(**given)))

    def remove(self, name: str) -> Sheet:
        """Remove one."""
        return _finished(self._desk.remove(name))

    def test(self, name: str) -> Sheet:
        """Only a running node can try one."""
        return _finished(self._desk.test(name))

    def dids(self) -> list[Sheet]:
        """Every mapped number."""
        return self._desk.dids()

    def map(self, number: str, target: str) -> Sheet:
        """Map one."""
        return _finished(self._desk.map(number, target))

    def unmap(self, number: str) -> Sheet:
        """Unmap one."""
        return _finished(self._desk.unmap(number))


def _finished(work: Coroutine[Any, Any, Sheet]) -> Sheet:
    import asyncio

    return asyncio.run(work)


@contextlib.contextmanager
def open_trunks(path: Path, *, create: bool = False) -> Iterator[TrunkCommands]:
    """The desk of the node whose state folder is `path`; raises as `node.cli.reach.reached`."""
    from node.cli.reach import reached
    from node.state import StateFolder

    with reached(path, create=create) as node:
        if not isinstance(node, StateFolder):
            yield RunningTrunks(node)
            return
        from node.cli.stopped_desk import stopped_trunks

        with stopped_trunks(node) as desk:
            yield StoppedTrunks(desk)
