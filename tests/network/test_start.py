"""Starts and stops of real nodes: how fast, how clean, and what is said when one cannot be."""

import asyncio
import os
import signal
import socket
import time
from pathlib import Path

from node.phone.choices import Answer
from node.spawned import NO_NODE, free_places
from tests.support.nodes import NodeProcess, add_user, phone_of, running_nodes

STOP_BOUND = 5.0
"What a node promises."
START_BOUND = 6.0
"Three times what an idle machine may take."


def a_node(folder: Path, name: str = "node", *options: str) -> NodeProcess:
    """A node that was not started yet."""
    return NodeProcess(
        name,
        free_places(1)[0],
        folder=folder,
        network="test-start",
        options=("--no-mdns", "--workers", "2", *options),
    )


def children_of(pid: int) -> list[int]:
    """Every process that descends from `pid`."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found += [child, *children_of(child)]
    return found


def lives(pid: int) -> bool:
    """Whether there is such a process, not counting ones that only wait to be reaped."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


async def refused(node: NodeProcess) -> str:
    """A node that was started cannot be; returns its one line."""
    assert await node.ended(20) == 1
    lines = node.log_end(50).splitlines()
    complaints = [line for line in lines if not line.startswith(("{", "Making this node"))]
    assert len(complaints) == 1, lines
    assert not (node.state / "api.sock").exists()
    return complaints[0]


async def test_later_starts_are_fast(tmp_path: Path) -> None:
    """From the command to `ready`, key and puzzle being there."""
    node = a_node(tmp_path)
    async with node:
        await node.ready()
        await node.stop_cleanly()
        begin = time.monotonic()
        await node.start()
        async with asyncio.timeout(START_BOUND):
            while '"ready"' not in node.log.read_text().rpartition('"stopped"')[2]:
                await asyncio.sleep(0.02)
        took = time.monotonic() - begin
        print(f"start to ready: {took:.2f} s")
        assert (await node.ask("status"))["ready"]
        workers = children_of(node.pid)
        assert len(workers) >= 2
        await node.stop_cleanly()
        assert not any(map(lives, workers))


async def test_a_port_in_use(tmp_path: Path) -> None:
    """One line says which; nothing is left half-started. Each of the ports in turn."""
    for number, (kind, port) in enumerate(
        [(socket.SOCK_DGRAM, 5060), (socket.SOCK_STREAM, 5060), (socket.SOCK_DGRAM, 7060)]
    ):
        node = a_node(tmp_path, f"node{number}")
        with socket.socket(socket.AF_INET, kind) as other:
            other.bind((node.place.ip, port + node.place.port_offset))
            if kind == socket.SOCK_STREAM:
                other.listen()
            async with node:
                said = await refused(node)
            assert f"{node.place.ip}:{port + node.place.port_offset}" in said
            assert "in use" in said
            assert "--port-offset" in said


async def test_a_state_folder_that_cannot_be(tmp_path: Path) -> None:
    """A file in its place, and a file system where nobody may write."""
    (tmp_path / "node").write_text("not a folder")
    async with a_node(tmp_path) as node:
        assert await node.ended(20) == 1
        assert "is a file" in node.log_end(1)
    nowhere = NodeProcess("nowhere", free_places(1)[0], folder=tmp_path, network="test-start")
    nowhere.state = Path("/proc/ringmesh")
    async with nowhere:
        said = await refused(nowhere)
    assert "/proc/ringmesh" in said
    assert "--state" in said


async def test_a_second_node_on_one_state(tmp_path: Path) -> None:
    """The second is refused and the first goes on."""
    async with a_node(tmp_path) as first:
        await first.ready()
        second = NodeProcess("node", free_places(1)[0], folder=tmp_path, network="test-start")
        second.log = tmp_path / "second.log"
        async with second:
            assert await second.ended(20) == 1
        said = second.log_end(5)
        assert len(said.splitlines()) == 1
        assert f"process {first.pid}" in said
        assert (await first.ask("status"))["ready"]
        await first.stop_cleanly()


async def test_commands_while_it_runs_and_while_not(tmp_path: Path) -> None:
    """Accounts can be managed either way; what needs a running node says so with code 3."""
    async with a_node(tmp_path) as node:
        await node.ready()
        await add_user(node, "alice")
        await node.stop_cleanly()
        for command in ("status", "peers", "call list", "call hangup all", "resolve echo"):
            code, _, said = await node.command(*command.split())
            assert code == NO_NODE, (command, code, said)
            assert len(said.splitlines()) == 1, said
        bob = await node.ask("user", "add", "bob")
        assert bob["password"]
        assert (await node.command("user", "add", "bob"))[0] == 1
        await node.ask("user", "remove", "alice")
        await node.start()
        await node.ready()
        assert sorted(user["login"] for user in await node.ask("user", "list")) == ["bob", "phone1"]
        async with phone_of(bob):
            await node.has(registrations=1)
        await node.stop_cleanly()


async def ends_well(node: NodeProcess, number: signal.Signals) -> None:
    """Signal a node; it ends in time with code 0."""
    begin = time.monotonic()
    os.kill(node.pid, number)
    assert await node.ended(STOP_BOUND + 3) == 0
    took = time.monotonic() - begin
    print(f"{number.name} with calls up: ended after {took:.2f} s")
    assert took < STOP_BOUND


async def test_a_signal_with_calls_up(tmp_path: Path) -> None:
    """Phones on both nodes hear BYE, the other node hears goodbye, all within five seconds."""
    async with running_nodes(tmp_path, 2) as (a, b):
        alice, bob = await add_user(a, "alice"), await add_user(b, "bob")
        carol = await add_user(a, "carol")
        await a.finds(bob["number"])
        async with phone_of(alice) as phone_a, phone_of(bob) as phone_b, phone_of(carol) as phone_c:
            await phone_b.set_policy(Answer())
            await phone_c.set_policy(Answer())
            between = await phone_a.call(f"sip:{bob['number']}@{alice['server']}")
            within = await phone_a.call(f"sip:carol@{alice['server']}")
            await asyncio.gather(between.wait_confirmed(), within.wait_confirmed())
            callees = await phone_b.next_call(), await phone_c.next_call()
            await ends_well(a, signal.SIGTERM)
            for call in (between, within, *callees):
                await call.wait_ended(2)
            await b.has(calls=0, within=3)
            assert not any(peer["linked"] for peer in await b.ask("peers"))
            echo = await phone_b.call(f"sip:echo@{bob['server']}")
            await echo.wait_confirmed()
            await ends_well(b, signal.SIGINT)
            await echo.wait_ended(2)


async def test_ctrl_c_during_the_first_start(tmp_path: Path) -> None:
    """While the puzzle is solved, too: it ends at once, and the next start is whole."""
    node = NodeProcess(
        "node",
        free_places(1)[0],
        folder=tmp_path,
        network="test-start",
        options=("--no-mdns", "--workers", "1"),
    )
    for pause in (0.2, 0.6, 1.0, 1.4):
        async with node:
            await asyncio.sleep(pause)
            begin = time.monotonic()
            os.kill(node.pid, signal.SIGINT)
            code = await node.ended(STOP_BOUND)
            took = time.monotonic() - begin
            print(f"Ctrl-C {pause} s into the start: exit code {code} after {took:.2f} s")
            assert code in (0, 130, -signal.SIGINT)
            assert "Traceback" not in node.log_end(100)
            assert not (node.state / "api.sock").exists()
    async with node:
        await node.ready()
        await node.stop_cleanly()
