"""What a call's sound would meet is told before the call: workers, ports, limits for strangers."""

from typing import Any, cast

import pytest

from dht.reachability import FamilyReach
from media_relay.reports import PoolUsage, WorkerUsage
from node.cli.explaining import explained
from node.sound_way import SoundWay


class Parts:
    """The relay, its limits and the directory."""

    def __init__(self, pids: list[int | None], ports_free: int, state: str) -> None:
        self.pids, self.ports_free, self.state = pids, ports_free, state
        self.reach = (
            FamilyReach(family=4, serves=True, confirmed=3, needed=2),
            FamilyReach(family=6, serves=False, confirmed=1, needed=2),
        )

    def usage(self) -> Any:
        workers = tuple(
            WorkerUsage(
                index=index, pid=pid, sessions=2, endpoints=4, packets=0, bytes=0, restarts=0,
                strays=0,
            )
            for index, pid in enumerate(self.pids)
        )  # fmt: skip
        return PoolUsage(workers=workers, ports_in_use=1, ports_free=self.ports_free)

    def stats(self) -> Any:
        return self


class Strangers:
    """What is used of the limits."""

    def __init__(self, state: str) -> None:
        self.state = state

    def usage(self) -> dict[str, Any]:
        return {
            "state": self.state,
            "limits": {"kbit": 2000, "sessions": 20},
            "now": {"kbit": 120.4, "sessions": 3},
            "bytes_left": 5,
        }


def a_way(pids: list[int | None], ports_free: int = 100, state: str = "off") -> SoundWay:
    parts = cast(Any, Parts(pids, ports_free, state))
    return SoundWay(parts, Strangers(state), parts)


@pytest.mark.parametrize(
    ("pids", "ports_free", "lack"),
    [
        ([1, None], 100, None),
        ([None, None], 100, "no relay worker is running"),
        ([1, 2], 0, "no media port is free"),
    ],
)
def test_what_lacks_is_said(pids: list[int | None], ports_free: int, lack: str | None) -> None:
    assert a_way(pids, ports_free).lack() == lack


def test_people_read_workers_ports_reach_and_limits() -> None:
    answer = {
        "target": "1", "reading": "a number", "kind": "number", "outer": [], "proof": None,
        "lookups": [], "pins": [], "nodes": [], "devices": None, "status": 200, "reason": "here",
        "seconds": 0.1, "sound": a_way([1, None], state="open").told(),
    }  # fmt: skip
    lines = [f"{label}: {text}" for label, text in explained(answer)]
    assert "sound: by a relay worker here: 1 of 2 are there, 100 pairs of ports free" in lines
    assert ": others reach this node: IPv4 yes, IPv6 no (1 of 2 peers confirmed)" in lines
    assert (
        ": relay for strangers open: 120 of 2000 kbit/s, 3 of 20 ports; calls of this node are "
        "not counted"
    ) in lines
