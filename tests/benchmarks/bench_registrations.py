"""A hundred thousand phones registered at one node: its memory, and pauses while they refresh.

The accounts are written into the database of a stopped node, as numbers take a quarter of a second
each (`--accounts`, each with as many devices as it takes). Every device is an address of its own
(127.x.y.z). A probe asks the node's API all the while; a pause is the processor time that the node
had while the probe waited, since on a shared machine the waiting itself says little.
"""

import argparse
import asyncio
import collections
import itertools
import secrets
import socket
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from dataclasses import replace as replaced
from pathlib import Path

from federation.model.clocks import SystemClock, SystemEntropy
from federation.model.number import Number
from node.accounts.book import AccountBook
from node.accounts.login import Reserved
from node.accounts.rows import insert_accounts
from node.accounts.wanted import WantedAccount, make_accounts
from node.spawned import Place, SpawnedNode, free_places
from node.storage.database import Database
from tests.benchmarks.figures import cpu_seconds, proportional_mib, scheduled_seconds, show, title
from tests.benchmarks.load import User
from tests.support.digest_client import DigestClient
from tests.support.sip_client import md5_in

DEVICES = 100_000
MEMORY_GOAL_MIB = 400.0
PAUSE_GOAL_MS = 50.0
WINDOW = 16
"Registrations under way at a time."
REFRESHES_PER_SECOND = 240.0
"Of so many devices that refresh after 70 % of ten minutes."
REFRESH_SECONDS = 45.0
PROBE_EVERY = 0.01
LINGER = 35.0
"Seconds until nothing of a transaction is left."
REPEAT_AFTER = 2.0
"Seconds until a request without answer is sent again."
READY_WITHIN = 180.0
PASSWORD = "a-password-of-benchmarks"
EXPIRES = 600
_PKTINFO = struct.Struct("=I4s4s")
_IP_PKTINFO = 8


@dataclass
class Device:
    """One phone."""

    user: User
    address: str
    sent: bytes = b""
    sent_at: float = 0.0
    cseq: int = 0
    digest: DigestClient = field(init=False)
    challenge: str = ""

    def __post_init__(self) -> None:
        self.digest = DigestClient(self.user.login, self.user.password)


class Crowd(asyncio.DatagramProtocol):
    """All devices on one socket, each with an address of its own."""

    def __init__(self, home: Place, devices: list[Device]) -> None:
        self.devices = devices
        self.refused: collections.Counter[str] = collections.Counter()
        self._home = home
        self._target = (home.ip, home.sip_port)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 2**20)
        self._socket.setblocking(False)
        self._socket.bind(("0.0.0.0", 0))
        self._port = self._socket.getsockname()[1]
        self._under_way: dict[str, Device] = {}
        self._todo: Iterable[Device] = iter(())
        self._pause: Callable[[], float] = lambda: 0.0
        self._done = asyncio.Event()

    async def register_all(self, devices: Iterable[Device], *, per_second: float = 0.0) -> int:
        """Register these, `WINDOW` at a time or at a steady pace; how many were taken."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._socket.fileno(), self._read)
        taken, began = 0, time.monotonic()
        try:
            for number, device in enumerate(devices):
                while len(self._under_way) >= WINDOW or (
                    per_second and time.monotonic() - began < number / per_second
                ):
                    await asyncio.sleep(0.001)
                    self._repeat()
                self._begin(device)
                taken += 1
            while self._under_way:
                await asyncio.sleep(0.01)
                self._repeat()
        finally:
            loop.remove_reader(self._socket.fileno())
        return taken

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _begin(self, device: Device) -> None:
        self._under_way[device.address] = device
        self._send(device)

    def _send(self, device: Device) -> None:
        device.cseq += 1
        host, server = f"{device.address}:{self._port}", f"{self._home.ip}:{self._home.sip_port}"
        login, uri = device.user.login, f"sip:{server}"
        lines = [
            f"REGISTER {uri} SIP/2.0",
            f"Via: SIP/2.0/UDP {host};rport;branch=z9hG4bK{secrets.token_hex(6)}",
            "Max-Forwards: 70",
            f"From: <sip:{login}@{server}>;tag={device.address}",
            f"To: <sip:{login}@{server}>",
            f"Call-ID: {device.address}",
            f"CSeq: {device.cseq} REGISTER",
            f"Contact: <sip:{login}@{host}>",
            f"Expires: {EXPIRES}",
        ]
        if device.challenge:
            lines.append(f"Authorization: {_answer(device, uri)}")
        device.sent = "\r\n".join([*lines, "Content-Length: 0", "", ""]).encode()
        self._put(device)

    def _put(self, device: Device) -> None:
        device.sent_at = time.monotonic()
        source = _PKTINFO.pack(0, socket.inet_aton(device.address), bytes(4))
        ancillary = [(socket.IPPROTO_IP, _IP_PKTINFO, source)]
        self._socket.sendmsg([device.sent], ancillary, 0, self._target)

    def _repeat(self) -> None:
        late = time.monotonic() - REPEAT_AFTER
        for device in self._under_way.values():
            if device.sent_at < late:
                self._put(device)

    def _read(self) -> None:
        for _ in range(WINDOW):
            try:
                data = self._socket.recv(65535)
            except BlockingIOError:
                return
            self._answered(data.decode())

    def _answered(self, text: str) -> None:
        head = dict(line.split(": ", 1) for line in text.split("\r\n")[1:] if ": " in line)
        device = self._under_way.get(head["Call-ID"])
        if device is None or int(head["CSeq"].split()[0]) != device.cseq:
            return
        status = text[8:11]
        if status == "401":
            offered = [
                line.split(": ", 1)[1]
                for line in text.split("\r\n")
                if line.startswith("WWW-Authenticate")
            ]
            device.challenge = md5_in(offered)
            self._send(device)
        elif status == "503":
            self.refused[status] += 1  # asked again soon
        else:
            if status != "200":
                self.refused[status] += 1
            del self._under_way[device.address]


def _answer(device: Device, uri: str) -> str:
    from node.sip.message import Request

    return device.digest.answer(device.challenge, Request.create("REGISTER", uri, []))


class Probe:
    """Asks the node's API again and again, and notes how long the event loop was at something else.

    It does not stand in the queue of the SIP socket: what it waits for is one turn of the loop.
    """

    def __init__(self, node: SpawnedNode) -> None:
        self.node = node
        self.waited: list[float] = []
        "Seconds until each answer."
        self.busy: list[float] = []
        "Of these, processor time of the node."

    async def ask(self) -> None:
        """Ask until cancelled."""
        reader, writer = await asyncio.open_unix_connection(str(self.node.state / "api.sock"))
        try:
            while True:
                began, ran = time.monotonic(), scheduled_seconds(self.node.pid)[0]
                writer.write(b"GET /v1/calls HTTP/1.1\r\nHost: node\r\n\r\n")
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                await reader.readexactly(int(head.partition(b"content-length: ")[2].split()[0]))
                self.waited.append(time.monotonic() - began)
                self.busy.append(scheduled_seconds(self.node.pid)[0] - ran)
                await asyncio.sleep(PROBE_EVERY)
        finally:
            writer.close()


def write_accounts(node: SpawnedNode, count: int) -> list[User]:
    """Put accounts into the database of a stopped node; their numbers only have the form of one."""
    users = [User(f"user{number:06}", PASSWORD) for number in range(count)]
    made = make_accounts(
        [WantedAccount(login=user.login, password=PASSWORD) for user in users],
        AccountBook(),
        domains=(),
        reserved=Reserved(),
        entropy=SystemEntropy(),
        now=SystemClock().unix(),
    )
    accounts = [
        replaced(each.account, number=Number(f"02{number:013}")) for number, each in enumerate(made)
    ]
    database = Database.open(node.state)
    with database.write() as connection:
        insert_accounts(connection, accounts)
    database.close()
    return users


def _addresses() -> Iterable[str]:
    for number in itertools.count():
        yield f"127.{1 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"


async def measure(node: SpawnedNode, users: list[User]) -> None:
    """Register everybody, refresh a part of them, print the figures."""
    each = DEVICES // len(users)
    addresses = iter(_addresses())
    devices = [Device(user, next(addresses)) for user in users for _ in range(each)]
    crowd = Crowd(node.place, devices)
    before = proportional_mib(node.pid)
    show("memory with the accounts alone", before, "MiB")
    began, cpu = time.monotonic(), cpu_seconds(node.pid)
    await crowd.register_all(devices)
    seconds, cpu = time.monotonic() - began, cpu_seconds(node.pid) - cpu
    refused = f", refused {dict(crowd.refused)}" if crowd.refused.total() else ""
    status = await node.until(lambda _: True, 10, "answering")
    note = (
        f"{len(devices) / seconds:,.0f}/s, {cpu / len(devices) * 1e3:.2f} ms of CPU each{refused}"
    )
    show("registered", status["registrations"], "", note=note)
    show("memory at once, with transactions that linger", proportional_mib(node.pid), "MiB")
    await asyncio.sleep(LINGER)
    memory = proportional_mib(node.pid)
    note = f"{(memory - before) * 2**20 / len(devices):,.0f} B a device"
    show("memory with them", memory, "MiB", goal=MEMORY_GOAL_MIB, note=note)
    probe = Probe(node)
    asking = asyncio.create_task(probe.ask())
    some = devices[: int(REFRESHES_PER_SECOND * REFRESH_SECONDS)]
    await crowd.register_all(some, per_second=REFRESHES_PER_SECOND)
    asking.cancel()
    crowd.close()
    waited, busy = sorted(probe.waited), sorted(probe.busy)
    note = f"{len(busy):,} probes, 99th percentile {busy[len(busy) * 99 // 100] * 1e3:.1f}"
    show("longest pause while they refresh", busy[-1] * 1e3, "ms", goal=PAUSE_GOAL_MS, note=note)
    note = f"99th percentile {waited[len(waited) * 99 // 100] * 1e3:.1f}"
    show("longest wait of a probe, the machine's included", waited[-1] * 1e3, "ms", note=note)
    memory = proportional_mib(node.pid)
    show("memory after the refreshes", memory, "MiB", goal=MEMORY_GOAL_MIB)


async def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=int, default=10_000)
    accounts = parser.parse_args().accounts
    title(f"{DEVICES:,} registrations of {accounts:,} accounts:")
    with tempfile.TemporaryDirectory(prefix="ringmesh-bench-") as name:
        node = SpawnedNode(
            "node",
            free_places(1)[0],
            folder=Path(name),
            network=f"bench-{secrets.token_hex(4)}",
            options=("--no-mdns", "--workers", "1"),
        )
        async with node:
            await node.ready()
            await node.stop()
            users = write_accounts(node, accounts)
            await node.start()
            await node.ready(READY_WITHIN)
            await measure(node, users)
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
