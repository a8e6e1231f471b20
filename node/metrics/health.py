"""Whether the node does its work, as a supervisor of services or a person may ask.

Healthy: the event loop turns, relay workers are there, the database takes what is written. Ready:
calls are taken, and other nodes find this one. The latter is proven by reading an own record back
from another node, when somebody asks and the last proof is old; nothing is asked while nobody wants
to know. A node that knows no other is ready for its own phones.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from dht.directory import Directory
from dht.record import Kind
from federation.model.clocks import Clock, Monotonic
from federation.model.histogram import Histogram
from federation.model.identity import NodeId
from media_relay.pool import RelayPool
from node.control import JsonObject
from node.storage.storage import Storage

BEAT = 1.0
"Seconds between two looks at the loop and the workers."
LAG_BOUNDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"Seconds."
LAG_LIMIT = 2.0
"Seconds by which the loop may be late; it is unhealthy for `LAG_KEPT` after."
LAG_KEPT = 30.0
WORKER_PATIENCE = 10.0
"Seconds for which a relay worker may be gone: one that died is replaced in a tenth of one."
PROOF_KEPT = 60.0
"Seconds for which a record that was read back proves that the node is found."
PROOF_BUDGET = 2.0
"Seconds that reading it back may take."


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    ok: bool
    says: str


@dataclass(slots=True)
class Health:
    """Looks once a second, and answers."""

    relay: RelayPool
    storage: Storage
    directory: Directory
    node: NodeId
    takes_calls: Callable[[], bool]
    clock: Clock
    lag: Histogram = field(default_factory=lambda: Histogram(LAG_BOUNDS))
    "How late the loop was at each look, in seconds."
    _late_at: Monotonic | None = None
    _late_by: float = 0.0
    _gone_since: dict[int, Monotonic] = field(default_factory=dict)
    _proven_at: Monotonic | None = None
    _proving: "asyncio.Task[bool] | None" = None

    # Living

    async def run(self) -> None:
        """Look until cancelled."""
        due = self.clock.monotonic() + BEAT
        try:
            while True:
                await asyncio.sleep(max(0.0, due - self.clock.monotonic()))
                now = self.clock.monotonic()
                self.beat(max(0.0, now - due), now=now)
                due = now + BEAT
        finally:
            if self._proving is not None:
                self._proving.cancel()

    def beat(self, late: float, *, now: Monotonic) -> None:
        """The loop was `late` seconds late; see also who is there."""
        self.lag.observe(late)
        if late > LAG_LIMIT:
            self._late_at, self._late_by = now, late
        for worker in self.relay.usage().workers:
            if worker.pid is None:
                self._gone_since.setdefault(worker.index, now)
            else:
                self._gone_since.pop(worker.index, None)

    # What is asked

    @property
    def is_healthy(self) -> bool:
        """Whether every check of `healthy` holds."""
        return all(check.ok for check in self._checks().values())

    @property
    def is_ready(self) -> bool:
        """As far as is known without asking anybody."""
        found = not self.directory.contacts() or self._is_proven(within=2 * PROOF_KEPT)
        return self.takes_calls() and found

    def healthy(self) -> JsonObject:
        """`healthy`, and `checks` by name, each `ok` and `says`."""
        return _answer("healthy", self._checks())

    async def ready(self) -> JsonObject:
        """`ready`, and `checks` likewise; it may take `PROOF_BUDGET` seconds."""
        checks = {"calls": self._calls()}
        checks["found"] = await self._found() if checks["calls"].ok else Check(False, "not asked")
        return _answer("ready", checks)

    def _checks(self) -> dict[str, Check]:
        return {"loop": self._loop(), "relay": self._workers(), "storage": self._stored()}

    def _loop(self) -> Check:
        now = self.clock.monotonic()
        if self._late_at is not None and now - self._late_at < LAG_KEPT:
            return Check(
                False,
                f"the event loop stood still for {self._late_by:.1f} s, {now - self._late_at:.0f} s"
                " ago: the machine is overloaded or was asleep",
            )
        return Check(True, "it turns")

    def _workers(self) -> Check:
        now, workers = self.clock.monotonic(), self.relay.usage().workers
        gone = [w for w, since in self._gone_since.items() if now - since > WORKER_PATIENCE]
        up = sum(worker.pid is not None for worker in workers)
        says = f"{up} of {len(workers)} relay workers are there"
        return Check(not gone, f"{says}; the log says why (worker_lost)" if gone else says)

    def _stored(self) -> Check:
        if self.storage.is_healthy:
            return Check(True, "the database takes what is written")
        rows = self.storage.waiting
        return Check(False, f"the database takes no writes, {rows} rows wait: is the disk full?")

    def _calls(self) -> Check:
        taken = self.takes_calls()
        return Check(taken, "calls are taken" if taken else "the node is starting or stopping")

    async def _found(self) -> Check:
        contacts = len(self.directory.contacts())
        if not contacts:
            return Check(True, "no other node is known; its own phones are served")
        proving = self.renew()
        if proving is not None:
            await asyncio.shield(proving)
        if self._is_proven():
            return Check(True, "an own record was read back from another node")
        return Check(
            False,
            f"none of the {contacts} nodes that are known gave this node's own record back: "
            "is its UDP mesh port open? `ringmesh status` says how peers see it",
        )

    def renew(self) -> "asyncio.Task[bool] | None":
        """Begin to read the record back if the last proof is old; `None` if it is not."""
        if self._is_proven() or not self.directory.contacts():
            return None
        if self._proving is None or self._proving.done():
            self._proving = asyncio.create_task(self._prove())
        return self._proving

    async def _prove(self) -> bool:
        """Ask the network for our own address; whether another node has it."""
        search = await self.directory.explore(Kind.ADDRESS, self.node, "", budget=PROOF_BUDGET)
        found = any(step.records for step in search.steps)
        if found:
            self._proven_at = self.clock.monotonic()
        return found

    def _is_proven(self, within: float = PROOF_KEPT) -> bool:
        at = self._proven_at
        return at is not None and self.clock.monotonic() - at < within


def _answer(word: str, checks: dict[str, Check]) -> JsonObject:
    shown = {name: {"ok": check.ok, "says": check.says} for name, check in checks.items()}
    return {word: all(check.ok for check in checks.values()), "checks": shown}
