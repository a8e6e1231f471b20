"""What a node's processes hold, and what its log says, before and after something is done to it."""

import json
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from node.spawned import SpawnedNode
from tests.support.processes import descendants

_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Held:
    """What all processes of a node held at one moment."""

    resident: int
    "Bytes of memory."
    descriptors: int
    "Open files and sockets."
    log_bytes: int


def held(node: SpawnedNode) -> Held:
    """Look at a node."""
    resident = descriptors = 0
    for pid in family(node):
        resident += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
        descriptors += len(os.listdir(f"/proc/{pid}/fd"))
    return Held(resident, descriptors, node.log.stat().st_size)


def family(node: SpawnedNode) -> set[int]:
    """The node's process and those that it started."""
    return {node.pid, *descendants(node.pid)}


def media_ports(node: SpawnedNode, first: int = 10000, last: int = 19999) -> set[int]:
    """Every UDP port of the media range that is bound on the node's address, or on all."""
    wanted = bytes(map(int, node.place.ip.split(".")))[::-1].hex().upper()
    ports = set()
    for line in Path("/proc/net/udp").read_text().splitlines()[1:]:
        host, _, port = line.split()[1].partition(":")
        if host == wanted and first <= int(port, 16) <= last:
            ports.add(int(port, 16))
    return ports


def lines_since(node: SpawnedNode, before: Held) -> list[dict[str, Any]]:
    """What the node logged since; fails at what is no line of JSON, such as a traceback."""
    with node.log.open("rb") as log:
        log.seek(before.log_bytes)
        text = log.read().decode()
    try:
        return [json.loads(line) for line in text.splitlines()]
    except ValueError:
        pytest.fail(f"the log holds something else than events:\n{text[-4000:]}")


def busiest_second(lines: list[dict[str, Any]]) -> int:
    """The most lines that one event and source, or one library, had in a second of the clock."""
    counted = Counter(
        (line.get("source", ""), line.get("logger", line["event"]), line["time"][:19])
        for line in lines
    )
    return max(counted.values(), default=0)
