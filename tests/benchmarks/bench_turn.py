"""What a TURN channel costs: CPU a packet beside coturn's, in one run; allocations; memory.

Run as `make bench ARGS=turn`, or `python -m tests.benchmarks.bench_turn [--seconds N] [--calls N]
[--rounds N]`. A call is one allocation with one channel, and 50 packets a second each way. Rounds
of both servers take turns, and the median counts. A child process plays clients and peers.
"""

import argparse
import asyncio
import contextlib
import os
import select
import shutil
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from federation.model.address import Endpoint
from federation.model.clocks import SystemClock, SystemEntropy
from media_relay.config import RelayConfig
from media_relay.pool import RelayPool
from media_relay.turn.quotas import QuotaLimits
from media_relay.turn_config import TurnSettings
from tests.benchmarks.figures import cpu_seconds, proportional_mib, show, skipped, title
from tests.support.ports import free_port
from tests.support.programs import running
from tests.support.turn_core import code_of
from tests.support.turn_pool import LOGIN, PASSWORD, REALM, turn_account
from tests.support.turn_wire import WireClient

HOST = "127.0.0.1"
PACKETS_PER_SECOND = 50
PAYLOAD = bytes(172)
CHANNEL = 0x4000
CHANNEL_GOAL_FACTOR = 1.2
DELAY_GOAL_FACTOR = 1.5
ALLOCATION_GOAL_MS = 1.0
IDLE_GOAL_MIB = 40.0
IDLE_ALLOCATIONS = 1000
PEER_SOCKETS = 16
TICK = 0.001
PLENTY = QuotaLimits(account=8000, source=8000, total=8000)
COTURN_PORTS = (40000, 49999)


@dataclass(frozen=True)
class Target:
    """A server under load: where it is, and the processes whose CPU time counts."""

    name: str
    endpoint: Endpoint
    pids: tuple[int, ...]
    allocating: tuple[int, ...]
    "The same while allocations are made: ours needs its control plane, too."


@dataclass(frozen=True)
class Round:
    """One run."""

    microseconds: float
    "CPU time a packet sent by the server."
    lost: float
    "Share of packets that did not arrive."
    allocation: float
    "CPU milliseconds from the first Allocate to ChannelBind."


@contextlib.asynccontextmanager
async def ours(folder: Path) -> AsyncIterator[Target]:
    pool = RelayPool(
        RelayConfig(workers=1, leg_hosts=(HOST,)),
        clock=SystemClock(),
        entropy=SystemEntropy(),
        on_event=print,
    )
    await pool.start()
    try:
        settings = TurnSettings(
            hosts=(HOST,), port=free_port(), allow_peers=("127.0.0.0/8",), limits=PLENTY
        )
        pool.turn_listen(settings)
        pool.turn_accounts([turn_account()])
        pid = pool.usage().workers[0].pid
        assert pid is not None
        yield Target("ours", pool.turn_endpoints()[0][1], (pid,), (pid, os.getpid()))
    finally:
        await pool.close()


@contextlib.asynccontextmanager
async def coturn(folder: Path) -> AsyncIterator[Target]:
    port = free_port()
    command = [
        "turnserver", "-n", "-a", "-u", f"{LOGIN}:{PASSWORD}", "-r", REALM, "--no-cli",
        "-p", str(port), "-L", HOST, "-E", HOST, "--allow-loopback-peers", "-m", "1",
        "--min-port", str(COTURN_PORTS[0]), "--max-port", str(COTURN_PORTS[1]),
        "--no-tls", "--no-dtls", "-l", "stdout", "--simple-log", "--no-stdout-log",
        "--pidfile", str(folder / "pid"), "--userdb", str(folder / "users"),
    ]  # fmt: skip
    async with running(*command) as program:
        await asyncio.sleep(1.5)
        pid = program.process.pid
        yield Target("coturn", Endpoint(HOST, port), (pid,), (pid,))


class Player:
    """Clients and peers of all calls, in a process of its own."""

    def __init__(self, server: Endpoint, calls: int, *, bound: bool) -> None:
        self.clients: list[socket.socket] = []
        self.relays: list[tuple[str, int]] = []
        self.peers: list[socket.socket] = []
        for _ in range(PEER_SOCKETS):
            peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
            peer.bind((HOST, 0))
            self.peers.append(peer)
        for number in range(calls):
            client = WireClient(server, sha256=False)
            client.allocate()
            if bound:
                peer = Endpoint.of(self.peers[number % PEER_SOCKETS].getsockname())
                assert code_of(client.bind(CHANNEL, peer)) == 0
            self.clients.append(client.wire.socket)
            self.relays.append((client.relayed[0].host, client.relayed[0].port))
        self._poll = select.epoll()
        self._by_number = {sock.fileno(): sock for sock in (*self.clients, *self.peers)}
        for sock in self._by_number.values():
            sock.setblocking(False)
            self._poll.register(sock, select.EPOLLIN)
        self._message = CHANNEL.to_bytes(2, "big") + len(PAYLOAD).to_bytes(2, "big") + PAYLOAD

    def pace(self, seconds: float) -> tuple[int, int]:
        """50 packets a second each way of each call, evenly spread: sent and received."""
        count = 2 * len(self.clients)
        rate = count * PACKETS_PER_SECOND
        sent = received = 0
        started = time.monotonic()
        while (elapsed := time.monotonic() - started) < seconds:
            for number in range(sent, int(elapsed * rate)):
                self._send(number % count)
                sent += 1
            received += self._drain()
            time.sleep(TICK)
        time.sleep(0.2)
        return sent, received + self._drain()

    def delay(self, seconds: float, *, direct: bool) -> list[int]:
        """Nanoseconds from sending to hearing, at 50 packets a second each way of each call.

        `direct`: from peer to peer, without the server.
        """
        count, times = 2 * len(self.clients), []
        interval = 1 / (count * PACKETS_PER_SECOND)
        clients = {sock.fileno() for sock in self.clients}
        started = due = time.monotonic()
        number = 0
        while due < started + seconds:
            if (wait := due - time.monotonic()) <= 0:
                stamp = time.monotonic_ns().to_bytes(8, "big") + PAYLOAD[8:]
                if direct:
                    peer = self.peers[number % PEER_SOCKETS]
                    peer.sendto(stamp, self.peers[(number + 1) % PEER_SOCKETS].getsockname())
                else:
                    self._send(number % count, stamp)
                number, due = number + 1, due + interval
                wait = 0
            for descriptor, _ in self._poll.poll(max(0.0, wait)):
                with contextlib.suppress(BlockingIOError):
                    data = self._by_number[descriptor].recv(4096)
                    head = 4 if descriptor in clients else 0
                    sent = int.from_bytes(data[head : head + 8], "big")
                    times.append(time.monotonic_ns() - sent)
        return times

    def flood(self, seconds: float) -> tuple[int, int]:
        """One packet of each call under way, sent again as soon as it came: as fast as it goes."""
        sent = received = 0
        for index in range(0, 2 * len(self.clients), 2):
            self._send(index)
            sent += 1
        clients = {sock.fileno(): 2 * n for n, sock in enumerate(self.clients)}
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for number, _ in self._poll.poll(0.1):
                sock = self._by_number[number]
                with contextlib.suppress(BlockingIOError):
                    for _ in range(64):
                        data, source = sock.recvfrom(4096)
                        received += 1
                        sent += 1
                        if number in clients:
                            self._send(clients[number])
                            break
                        sock.sendto(data, source)
        time.sleep(0.2)
        return sent, received + self._drain()

    def _send(self, index: int, payload: bytes = PAYLOAD) -> None:
        number, back = divmod(index, 2)
        if back:
            self.peers[number % PEER_SOCKETS].sendto(payload, self.relays[number])
        else:
            self.clients[number].send(self._message[:4] + payload)

    def _drain(self) -> int:
        count = 0
        for number, _ in self._poll.poll(0, 4096):
            sock = self._by_number[number]
            with contextlib.suppress(BlockingIOError):
                while True:
                    sock.recv_into(_SINK)
                    count += 1
        return count


_SINK = bytearray(4096)


def play(server: Endpoint, calls: int, way: str, seconds: float, pipe: Connection) -> None:
    """The player's process: set up, say so, wait for the word, play, tell the result."""
    player = Player(server, calls, bound=way != "idle")
    pipe.send("ready")
    pipe.recv()
    if way == "idle":
        pipe.send((0, 0))
    elif way in ("delay", "direct"):
        pipe.send(player.delay(seconds, direct=way == "direct"))
    else:
        pipe.send(player.pace(seconds) if way == "paced" else player.flood(seconds))


async def heard(pipe: Connection) -> object:
    while not pipe.poll():
        await asyncio.sleep(0.02)
    return pipe.recv()


async def one_round(
    start: Callable[[Path], contextlib.AbstractAsyncContextManager[Target]],
    calls: int,
    way: str,
    seconds: float,
) -> Round:
    with tempfile.TemporaryDirectory() as folder:
        async with start(Path(folder)) as target:
            pipe, theirs = get_context("fork").Pipe()
            player = get_context("fork").Process(
                target=play, args=(target.endpoint, calls, way, seconds, theirs)
            )
            before = cpu_seconds(*target.allocating)
            player.start()
            await heard(pipe)
            allocation = (cpu_seconds(*target.allocating) - before) * 1e3 / calls
            await asyncio.sleep(0.3)
            before = cpu_seconds(*target.pids)
            pipe.send("go")
            sent, received = await heard(pipe)  # type: ignore[misc]
            cpu = cpu_seconds(*target.pids) - before
            player.join()
            return Round(cpu * 1e6 / max(received, 1), 1 - received / max(sent, 1), allocation)


async def compare(calls: int, way: str, seconds: float, rounds: int) -> None:
    title(f"TURN channels, {calls} calls, {way}")
    starts = {"ours": ours}
    if shutil.which("turnserver"):
        starts["coturn"] = coturn
    results: dict[str, list[Round]] = {name: [] for name in starts}
    for _ in range(rounds):
        for name, start in starts.items():
            results[name].append(await one_round(start, calls, way, seconds))
    middle = {
        name: statistics.median(one.microseconds for one in found)
        for name, found in results.items()
    }
    for name, found in results.items():
        note = f"{max(one.lost for one in found):.2%} lost at most"
        show(f"{name}, CPU a packet", middle[name], "us", note=note)
    if "coturn" in middle:
        show("ours to coturn's", middle["ours"] / middle["coturn"], "", goal=CHANNEL_GOAL_FACTOR)
    else:
        skipped("ours to coturn's", "coturn is absent")
    for name, found in results.items():
        made = statistics.median(one.allocation for one in found)
        goal = ALLOCATION_GOAL_MS if name == "ours" else None
        show(f"{name}, Allocate, 401, Allocate, ChannelBind", made, "ms", goal=goal)


async def delays(calls: int, seconds: float, rounds: int) -> None:
    """What a server adds to the time that the same packets take without it."""
    title(f"added delay, {calls} calls, paced")
    starts = {"ours": ours, "coturn": coturn} if shutil.which("turnserver") else {"ours": ours}
    times: dict[str, list[int]] = {name: [] for name in (*starts, "direct")}
    for _ in range(rounds):
        for name, start in starts.items():
            times[name] += await one_delay(start, calls, "delay", seconds)
        times["direct"] += await one_delay(ours, calls, "direct", seconds)
    middle = {name: statistics.median(found) / 1e3 for name, found in times.items()}
    for name in starts:
        tail = statistics.quantiles(times[name], n=100)[98] / 1e3
        note = f"{tail:.0f} us at p99; {middle['direct']:.0f} us p50 without a relay"
        show(f"{name}, p50", middle[name] - middle["direct"], "us", note=note)
    if "coturn" in starts:
        added = [middle[name] - middle["direct"] for name in ("ours", "coturn")]
        show("ours to coturn's", added[0] / added[1], "", goal=DELAY_GOAL_FACTOR)
    else:
        skipped("ours to coturn's", "coturn is absent")


async def one_delay(
    start: Callable[[Path], contextlib.AbstractAsyncContextManager[Target]],
    calls: int,
    way: str,
    seconds: float,
) -> list[int]:
    with tempfile.TemporaryDirectory() as folder:
        async with start(Path(folder)) as target:
            pipe, theirs = get_context("fork").Pipe()
            player = get_context("fork").Process(
                target=play, args=(target.endpoint, calls, way, seconds, theirs)
            )
            player.start()
            await heard(pipe)
            await asyncio.sleep(0.3)
            pipe.send("go")
            times = await heard(pipe)
            player.join()
            return times  # type: ignore[return-value]


async def idle() -> None:
    title(f"{IDLE_ALLOCATIONS} idle allocations")
    with tempfile.TemporaryDirectory() as folder:
        async with ours(Path(folder)) as target:
            before = proportional_mib(target.pids[0])
            pipe, theirs = get_context("fork").Pipe()
            arguments = target.endpoint, IDLE_ALLOCATIONS, "idle", 0.0, theirs
            player = get_context("fork").Process(target=play, args=arguments)
            player.start()
            await heard(pipe)
            more = proportional_mib(target.pids[0]) - before
            pipe.send("go")
            await heard(pipe)
            player.join()
    show("memory of the worker before", before, "MiB PSS")
    show("and more with them", more, "MiB PSS", goal=IDLE_GOAL_MIB)


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--calls", type=int, default=500, help="paced calls; twice as many flood")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=("paced", "flood", "delay", "idle"))
    options = parser.parse_args()
    if options.only in (None, "paced"):
        await compare(options.calls, "paced", options.seconds, options.rounds)
    if options.only in (None, "flood"):
        await compare(2 * options.calls, "flood", options.seconds, options.rounds)
    if options.only in (None, "delay"):
        await delays(options.calls // 5, options.seconds, options.rounds)
    if options.only in (None, "idle"):
        await idle()
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
