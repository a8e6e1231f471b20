"""Three PBXs on three nodes call each other by number and by URI, in both trunk modes.

    python examples/three_pbxs.py

    north   `--mode per-user`   each of its people has an address: 0…*101, north*101@…
    south   `--mode per-user`
    west    `--mode single`     one address; whatever is called behind it rings the PBX

A PBX is a pjsua2 phone that registers with the trunk's three parameters. It calls for its people:
From is their extension, and the called PBX sees `number*extension`, which it can call back.
"""

import asyncio

from stage import can_call, pitch, registered, run, some_nodes

from node.phone.call import Call
from node.phone.choices import Answer, Tone
from node.phone.phone import Phone
from node.spawned import SpawnedNode

MODES = {"north": "per-user", "south": "per-user", "west": "single"}


async def main() -> int:
    """Make the three, place six calls; the exit code is 1 if one is not as it should be."""
    async with some_nodes(*MODES) as nodes:
        trunks = {
            node.name: await node.ask(
                "trunk", "add", node.name, "--pbx", "--mode", MODES[node.name]
            )
            for node in nodes
        }
        for name, trunk in trunks.items():
            print(f"{name}: {MODES[name]}, number {trunk['number']}, at {trunk['server']}")
        await asyncio.gather(
            *(can_call(node, trunk["number"]) for node in nodes for trunk in trunks.values())
        )
        async with (
            registered(trunks["north"], policy=Answer(), playing=Tone(880)) as north,
            registered(trunks["south"], policy=Answer(), playing=Tone(880)) as south,
            registered(trunks["west"], policy=Answer(), playing=Tone(880)) as west,
        ):
            pbxs = {"north": north, "south": south, "west": west}
            names = {node.name: key_name(node) for node in nodes}
            number = {name: trunk["number"] for name, trunk in trunks.items()}
            calls = [
                # who calls, for whom, whom, and which user the called PBX is asked for
                ("north", "101", f"{number['south']}*201", "south", "201"),
                ("south", "202", f"north*102@{names['north']}", "north", "102"),
                ("north", "103", number["west"], "west", "west"),
                ("south", "203", f"west@{names['west']}", "west", "west"),
                ("west", "301", f"{number['north']}*104", "north", "104"),
                ("west", "302", f"south*204@{names['south']}", "south", "204"),
            ]
            results = [await place(pbxs, number, *wanted) for wanted in calls]
    return 0 if all(results) else 1


async def place(
    pbxs: dict[str, Phone],
    numbers: dict[str, str],
    caller: str,
    extension: str,
    target: str,
    callee: str,
    asked_for: str,
) -> bool:
    """One call; whether it rang at the right PBX, for the right person, shown as it should be."""
    there = pbxs[callee]
    outgoing = await pbxs[caller].call(target, playing=Tone(440), caller=extension)
    await outgoing.wait_confirmed()
    incoming = await there.next_call()
    await incoming.wait_confirmed()
    heard = await asyncio.gather(pitch(outgoing), pitch(incoming))
    await outgoing.hang_up()
    await incoming.wait_ended()
    shown, user = user_of(incoming.remote.uri), user_of(request_uri(incoming))
    print(f"{caller} {extension} -> {target[:32]}: {callee} is asked for {user}, sees {shown}")
    return (
        shown == f"{numbers[caller]}*{extension}"
        and user == asked_for
        and incoming.asserted is not None  # the number is proven, not only claimed
        and heard == [880, 440]
    )


def request_uri(incoming: Call) -> str:
    """Whom a PBX is asked for."""
    assert incoming.invite is not None
    return incoming.invite.first_line.split()[1]


def user_of(uri: str) -> str:
    """The user part of a SIP URI."""
    return uri.removeprefix("sip:").partition("@")[0].partition(";")[0]


def key_name(node: SpawnedNode) -> str:
    """The domain that a node has without anybody's leave."""
    return str(node.status["key_name"])


if __name__ == "__main__":
    run(main)
