"""Health and readiness: what is wrong is said, and an own record is read back from another node."""

from dataclasses import dataclass, field
from typing import Any, cast

from dht.finder import NotFound, Search, Step
from federation.model.address import Endpoint
from federation.model.clocks import Monotonic, UnixTime
from federation.model.identity import NodeKey
from media_relay.reports import PoolUsage, WorkerUsage
from node.metrics import health as module
from node.metrics.health import Health

KEY = NodeKey(bytes(range(32)))


@dataclass
class StandIns:
    """The parts that health asks."""

    now: float = 100.0
    pids: list[int | None] = field(default_factory=lambda: [11, 12])
    is_healthy: bool = True
    waiting: int = 0
    known: int = 0
    holders: int = 0
    asked: int = 0
    taking: bool = True

    def monotonic(self) -> Monotonic:
        return Monotonic(self.now)

    def unix(self) -> UnixTime:
        return UnixTime(self.now)

    def usage(self) -> PoolUsage:
        workers = tuple(
            WorkerUsage(
                index=index, pid=pid, sessions=0, endpoints=0, packets=0, bytes=0, restarts=0,
                strays=0,
            )
            for index, pid in enumerate(self.pids)
        )  # fmt: skip
        return PoolUsage(workers=workers, ports_in_use=0, ports_free=1)

    def contacts(self) -> list[None]:
        return [None] * self.known

    async def explore(self, *_: object, budget: float) -> Search:
        self.asked += 1
        end, step = Endpoint("192.0.2.2", 7060), cast(Any, None)
        steps = [Step(0, 0.1, step, end, True, 0, int(n < self.holders), 0) for n in range(3)]
        return Search(NotFound(), (), 0.1, tuple(steps))


def a_health(parts: StandIns) -> Health:
    stand: Any = parts
    return Health(
        relay=stand, storage=stand, directory=stand, node=KEY.id,
        takes_calls=lambda: parts.taking, clock=parts,
    )  # fmt: skip


def wrong(said: dict[str, Any]) -> list[str]:
    return [name for name, check in said["checks"].items() if not check["ok"]]


def test_a_node_at_work_is_healthy() -> None:
    health = a_health(StandIns())
    health.beat(0.002, now=Monotonic(100.0))
    said = health.healthy()
    assert (said["healthy"], wrong(said), health.is_healthy) == (True, [], True)
    assert said["checks"]["relay"]["says"] == "2 of 2 relay workers are there"


def test_a_worker_may_be_gone_for_a_moment_only() -> None:
    parts = StandIns(pids=[11, None])
    health = a_health(parts)
    health.beat(0.0, now=parts.monotonic())
    assert health.is_healthy
    parts.now += module.WORKER_PATIENCE + 1
    health.beat(0.0, now=parts.monotonic())
    said = health.healthy()
    assert wrong(said) == ["relay"]
    assert said["checks"]["relay"]["says"].startswith("1 of 2 relay workers are there")
    parts.pids = [11, 13]
    health.beat(0.0, now=parts.monotonic())
    assert health.is_healthy


def test_a_database_that_takes_no_writes_is_said() -> None:
    said = a_health(StandIns(is_healthy=False, waiting=7)).healthy()
    assert wrong(said) == ["storage"]
    assert "7 rows wait: is the disk full?" in said["checks"]["storage"]["says"]


def test_a_loop_that_stood_still_is_said_for_a_while() -> None:
    parts = StandIns()
    health = a_health(parts)
    health.beat(module.LAG_LIMIT + 1, now=parts.monotonic())
    assert wrong(health.healthy()) == ["loop"]
    parts.now += module.LAG_KEPT + 1
    assert health.is_healthy
    assert (health.lag.counts[-1], health.lag.sum) == (1, module.LAG_LIMIT + 1)


async def test_a_node_alone_is_ready_and_asks_nobody() -> None:
    parts = StandIns()
    said = await a_health(parts).ready()
    assert (said["ready"], parts.asked) == (True, 0)
    assert "no other node is known" in said["checks"]["found"]["says"]


async def test_a_node_with_peers_is_ready_when_one_gives_its_record_back() -> None:
    parts = StandIns(known=3)
    health = a_health(parts)
    said = await health.ready()
    assert (said["ready"], wrong(said), health.is_ready) == (False, ["found"], False)
    assert "none of the 3 nodes" in said["checks"]["found"]["says"]
    parts.holders = 1
    assert (await health.ready())["ready"]
    assert health.is_ready
    assert (await health.ready())["ready"]
    assert parts.asked == 2, "a fresh proof is not asked for again"
    parts.now += module.PROOF_KEPT + 1
    parts.holders = 0
    assert not (await health.ready())["ready"]
    assert health.is_ready, "one question without answer is no alarm for the metrics yet"
    parts.now += module.PROOF_KEPT
    assert not health.is_ready


async def test_a_node_that_stops_is_not_ready() -> None:
    said = await a_health(StandIns(taking=False)).ready()
    assert wrong(said) == ["calls", "found"]
