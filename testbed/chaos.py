"""Kills one node after the other while others talk, starts it again, and calls it.

A node is killed without a chance to say goodbye. Calls that do not lead through it have to be
unharmed; once it is back it has to be found, and to know its phones, without anybody's help.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping

from federation.model.errors import RingmeshError
from node.phone.check import CallReport, measure_call
from testbed.desk import NodeDesk
from testbed.folder import Folder
from testbed.limits import ANSWER_WITHIN, SECONDS
from testbed.people import Person
from testbed.topology import Topology

BACK_WITHIN = 30.0
"Seconds until a restarted node is ready and found."
DURING = 4.0
"Seconds of sound of the call that goes on meanwhile."
_ORDER_WITHIN = 10.0
_KILL_AFTER = 1.5
"Seconds into that call."


class ChaosError(RingmeshError):
    """A keeper does not do what it was told."""


async def chaos(
    topology: Topology,
    folder: Folder,
    people: Mapping[str, Person],
    desks: Mapping[str, NodeDesk],
) -> AsyncIterator[tuple[str, CallReport]]:
    """Kill each node that has a phone, in turn.

    Raises:
        ChaosError: a node cannot be killed or started.
        NodeDeskError: it does not come back in time.
    """
    for name in topology.nodes:
        here = [one for one in people.values() if one.desk.name == name]
        others = [one for one in people.values() if one.desk.name != name]
        if not here or len(others) < 2:
            continue
        hit, (one, other) = here[0], others[:2]

        async def strike(name: str = name) -> None:
            await asyncio.sleep(_KILL_AFTER)
            await order(folder, name, "kill")

        report, _ = await asyncio.gather(_talk(one, other, DURING), strike())
        yield f"{one.name} and {other.name} while {name} is killed", report
        yield f"{other.name} calls {one.name} without {name}", await _talk(other, one)
        await order(folder, name, "start")
        await desks[name].until(
            lambda status: bool(status["ready"]), "status", within=BACK_WITHIN, what="ready again"
        )
        await one.desk.finds(hit.number, within=BACK_WITHIN)
        await hit.desk.finds(one.number, within=BACK_WITHIN)
        yield f"{one.name} calls {hit.name} after {name} is back", await _talk(one, hit)
        yield f"{hit.name} calls {one.name} after {name} is back", await _talk(hit, one)


async def order(folder: Folder, node: str, word: str) -> None:
    """Tell a node's keeper to `kill` or `start` it, and wait until that is done.

    Raises:
        ChaosError: it cannot be reached or does not obey.
    """
    try:
        async with asyncio.timeout(_ORDER_WITHIN):
            reader, writer = await asyncio.open_unix_connection(folder.keeper(node))
            writer.write(f"{word}\n".encode())
            answer = await reader.readline()
            writer.close()
    except (OSError, TimeoutError) as error:
        raise ChaosError(f"the keeper of {node} does not {word}: {error}") from error
    if answer != b"done\n":
        raise ChaosError(f"the keeper of {node} does not {word}: {answer.decode()!r}")


async def _talk(caller: Person, callee: Person, seconds: float = SECONDS) -> CallReport:
    return await measure_call(
        caller.phone, callee.phone, callee.number, seconds=seconds, within=ANSWER_WITHIN
    )
