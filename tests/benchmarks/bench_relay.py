"""What a relayed packet costs: CPU time of a worker, paced calls, over real sockets.

Run as `python tests/benchmarks/bench_relay.py [--seconds N] [--only NAME]`. Each line is a name,
the figure, and its goal. A child process plays all phones (or all other nodes) from few sockets;
CPU time is the worker's own, user and system, from /proc.
"""

import argparse
import asyncio
import contextlib
import os
import shutil
import socket
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from federation.model.address import Endpoint
from federation.model.clocks import SystemClock, SystemEntropy
from media_relay.config import RelayConfig
from media_relay.pool import RelayPool
from media_relay.reports import RelayEvent
from media_relay.sealed import HEADER, RTP, SEALED_TYPE
from tests.benchmarks.rtpengine import rtpengine

HOST = "127.0.0.1"
PACKETS_PER_SECOND = 50
PAYLOAD = bytes(160)
SETTLE_SECONDS = 0.5
IDLE_GOAL_MIB = 25
ANCHOR_GOAL_US = 13.0
RTPENGINE_GOAL_FACTOR = 1.2
SEALED_GOAL_FACTOR = 1.5
TICK = 0.001
RTP_HEADER = struct.Struct("!BBHII")
PLAYER_KEY = bytes(range(16))
PLAYER_CIPHER = AESGCM(PLAYER_KEY)


@dataclass(frozen=True)
class Result:
    name: str
    calls: int
    packets: int
    cpu_seconds: float

    @property
    def us_per_packet(self) -> float:
        return self.cpu_seconds * 1e6 / max(1, self.packets)

    def show(self, goal: str) -> None:
        print(
            f"relay, {self.calls} {self.name} calls: {self.us_per_packet:.1f} us CPU a packet"
            f" ({goal})"
        )


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def proportional_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    raise RuntimeError("no Pss in smaps_rollup")


@dataclass(frozen=True)
class Target:
    """Where one stream goes: an anchor, or a sealed leg of which the player is the other node."""

    address: tuple[str, int]
    leg: int | None = None

    def packet(self, turn: int, index: int) -> bytes:
        plain = RTP_HEADER.pack(0x80, 0, turn & 0xFFFF, turn * 160, index) + PAYLOAD
        if self.leg is None:
            return plain
        header = HEADER.pack(SEALED_TYPE, RTP, 0, self.leg, turn)
        return header + PLAYER_CIPHER.encrypt(header[4:], plain, header)


def play(sock: socket.socket, targets: list[Target], seconds: float, results: Connection) -> None:
    """Send 50 packets a second to each target, evenly spread, and drain what comes back."""
    sock.setblocking(False)
    count = len(targets)
    rate = count * PACKETS_PER_SECOND
    sent = received = 0
    started = time.monotonic()
    while (elapsed := time.monotonic() - started) < seconds:
        for number in range(sent, int(elapsed * rate)):
            turn, index = divmod(number, count)
            target = targets[index]
            sock.sendto(target.packet(turn, index), target.address)
            sent += 1
        received += drained(sock)
        time.sleep(TICK)
    time.sleep(0.2)
    results.send((sent, received + drained(sock)))


def flood(sock: socket.socket, targets: list[Target], seconds: float, results: Connection) -> None:
    """One packet each way of each call under way, sent back as soon as it came."""
    sock.settimeout(0.2)
    for index, target in enumerate(targets):
        sock.sendto(target.packet(0, index), target.address)
    received, end = 0, time.monotonic() + seconds
    with contextlib.suppress(TimeoutError):
        while time.monotonic() < end:
            for _ in range(64):
                data, source = sock.recvfrom(4096)
                sock.sendto(data, source)
                received += 1
    time.sleep(0.2)
    sock.setblocking(False)
    results.send((received + len(targets), received + drained(sock)))


def drained(sock: socket.socket) -> int:
    """How many datagrams waited."""
    count = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            sock.recv_into(_SINK)
            count += 1
    return count


_SINK = bytearray(4096)
Play = Callable[[socket.socket, list[Target], float, Connection], None]


def phone_socket() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((HOST, 0))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
    return sock


async def measure(
    name: str,
    calls: int,
    seconds: float,
    build: Callable[[RelayPool, int, Endpoint], list[Target]],
    *,
    workers: int = 1,
    way: Play = play,
) -> Result:
    def unexpected(event: RelayEvent) -> None:
        raise RuntimeError(f"{name}: {event}")

    config = RelayConfig(workers=workers, leg_hosts=(HOST,))
    pool = RelayPool(config, clock=SystemClock(), entropy=SystemEntropy(), on_event=unexpected)
    await pool.start()
    sock = phone_socket()
    targets = build(pool, calls, Endpoint(*sock.getsockname()))
    await asyncio.sleep(SETTLE_SECONDS)
    pids = [worker.pid for worker in pool.usage().workers if worker.pid is not None]
    before_cpu = sum(map(cpu_seconds, pids))
    sent, received = await played(sock, targets, seconds, way)
    after_cpu = sum(map(cpu_seconds, pids))
    await asyncio.sleep(1.3)
    packets = sum(worker.packets for worker in pool.usage().workers)
    sock.close()
    await pool.close()
    print(f"  ({name}: {sent} sent, {packets} relayed, {received} came back)")
    return Result(name, calls, packets, after_cpu - before_cpu)


def anchored(pool: RelayPool, calls: int, phone: Endpoint) -> list[Target]:
    targets = []
    for number in range(calls):
        session = pool.session(f"call {number}")
        one, other = session.anchor(HOST), session.anchor(HOST)
        for anchor in (one, other):
            anchor.expect(rtp=phone, rtcp=None, sources=frozenset())
            targets.append(Target(anchor.rtp))
        session.join(one, other)
    return targets


def sealed(pool: RelayPool, calls: int, player: Endpoint) -> list[Target]:
    """The player is both the phone and the other node of each call."""
    targets = []
    for number in range(calls):
        session = pool.session(f"call {number}")
        anchor = session.anchor(HOST)
        anchor.expect(rtp=player, rtcp=None, sources=frozenset())
        leg = session.leg_block(1)
        session.install_leg(
            leg,
            peer_leg=number,
            peer=player,
            send_key=bytes(16),
            receive_key=PLAYER_KEY,
            told=False,
        )
        session.join(anchor, leg)
        targets += [Target(anchor.rtp), Target(session.leg_port(HOST), leg)]
    return targets


def through_both(pool: RelayPool, calls: int, phone: Endpoint) -> list[Target]:
    """Two workers, each with one phone of every call, seal to each other."""
    targets = []
    for number in range(calls):
        near, far = pool.session(f"call {number}"), pool.session(f"call {number}")
        ends = [(session, session.anchor(HOST), session.leg_block(1)) for session in (near, far)]
        for (session, anchor, leg), (other, _, peer), keys in (
            (*ends, (bytes(16), PLAYER_KEY)),
            (*ends[::-1], (PLAYER_KEY, bytes(16))),
        ):
            anchor.expect(rtp=phone, rtcp=None, sources=frozenset())
            session.install_leg(
                leg,
                peer_leg=peer,
                peer=other.leg_port(HOST),
                send_key=keys[0],
                receive_key=keys[1],
                told=False,
            )
            session.join(anchor, leg)
            targets.append(Target(anchor.rtp))
    return targets


async def beside_rtpengine(calls: int, seconds: float, way: Play = play) -> Result:
    """The same load through rtpengine in user space."""
    with tempfile.TemporaryDirectory() as folder:
        async with rtpengine(Path(folder)) as engine:
            sock = phone_socket()
            phone = Endpoint(*sock.getsockname())
            ports = [port for number in range(calls) for port in engine.call(number, phone)]
            targets = [Target(port) for port in ports]
            pid = engine.program.process.pid
            await played(sock, targets, 1.0)  # it learns where packets come from
            before = cpu_seconds(pid)
            sent, received = await played(sock, targets, seconds, way)
            spent = cpu_seconds(pid) - before
            sock.close()
    print(f"  (rtpengine: {sent} sent, {received} came back)")
    return Result("rtpengine", calls, received, spent)


async def played(
    sock: socket.socket, targets: list[Target], seconds: float, way: Play = play
) -> tuple[int, int]:
    """Let a player send; packets sent and received."""
    ours, theirs = get_context("fork").Pipe()
    player = get_context("fork").Process(target=way, args=(sock, targets, seconds, theirs))
    player.start()
    while player.is_alive():
        await asyncio.sleep(0.1)
    sent, received = ours.recv()
    player.join()
    return sent, received


async def idle_memory() -> int:
    config = RelayConfig(workers=1, leg_hosts=(HOST,))
    pool = RelayPool(config, clock=SystemClock(), entropy=SystemEntropy(), on_event=print)
    await pool.start()
    pid = pool.usage().workers[0].pid
    assert pid is not None
    size = proportional_kib(pid)
    await pool.close()
    return size


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--only", choices=("anchored", "flood", "sealed", "idle"))
    parser.add_argument("--calls", type=int, default=500, help="anchored calls; sealed are half")
    options = parser.parse_args()
    half = options.calls // 2
    if options.only in (None, "idle"):
        size = await idle_memory()
        print(f"relay, idle worker: {size / 1024:.1f} MiB PSS (goal <= {IDLE_GOAL_MIB})")
    if options.only in (None, "anchored"):
        result = await measure("anchored", options.calls, options.seconds, anchored)
        result.show(f"goal <= {ANCHOR_GOAL_US}")
        if shutil.which("rtpengine"):
            control = await beside_rtpengine(options.calls, options.seconds)
            ratio = result.us_per_packet / control.us_per_packet
            control.show(f"ours is {ratio:.2f} x that; goal <= {RTPENGINE_GOAL_FACTOR}")
        else:
            print("relay beside rtpengine: skipped: apt-get install rtpengine-daemon")
    if options.only in (None, "flood"):
        twice = 2 * options.calls
        result = await measure("anchored", twice, options.seconds, anchored, way=flood)
        result.show("in flood")
        if shutil.which("rtpengine"):
            control = await beside_rtpengine(twice, options.seconds, flood)
            ratio = result.us_per_packet / control.us_per_packet
            control.show(f"in flood; ours is {ratio:.2f} x that; goal <= {RTPENGINE_GOAL_FACTOR}")
    if options.only in (None, "sealed"):
        beside = await measure("anchored", half, options.seconds, anchored)
        beside.show("to compare with")
        result = await measure("sealed", half, options.seconds, sealed)
        goal = f"goal <= {SEALED_GOAL_FACTOR * beside.us_per_packet:.1f}"
        result.show(goal)
        both = await measure("twice sealed", half, options.seconds, through_both, workers=2)
        both.show(f"in each of two workers that seal to each other; {goal}")
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
