"""Foreign TURN clients: coturn's, over every transport, and aioice; coturn's server as control."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import aioice.turn
import pytest

from media_relay.pool import RelayPool
from media_relay.turn.credentials import time_limited_password
from media_relay.turn.quotas import QuotaLimits
from tests.support.ports import free_port, free_udp_block
from tests.support.programs import needs, running
from tests.support.turn_pool import (
    LOGIN,
    PASSWORD,
    REALM,
    a_turn_pool,
    certificate_in,
    serving,
)

pytestmark = pytest.mark.interop

MESSAGES = 10
OLD_TLS = "SSL routines::tlsv1 alert protocol version"
SECRET = b"a secret for time-limited names"
CASES = {
    "udp, channels": ("udp", False, ["-X"]),
    "udp, indications": ("udp", False, ["-s", "-X"]),
    "udp, ports apart and even": ("udp", False, []),
    "udp, unpadded and fragile": ("udp", False, ["-D", "-g", "-c", "-X"]),
    "udp over ipv6": ("udp", True, ["-x", "-X"]),
    "udp, relay in the other family": ("udp", False, ["-x", "-X", "-c"]),
    "tcp, channels": ("tcp", False, ["-t", "-X"]),
    "tcp, indications": ("tcp", False, ["-t", "-s", "-X"]),
    "tcp over ipv6": ("tcp", True, ["-t", "-x", "-X"]),
    "tls over ipv6": ("tls", True, ["-t", "-S", "-x", "-X"]),
    "tls, channels": ("tls", False, ["-t", "-S", "-X"]),
    "tls, indications": ("tls", False, ["-t", "-S", "-s", "-X"]),
}


@dataclass(frozen=True)
class Server:
    """Where a server listens, by transport."""

    port: int
    tls_port: int
    pool: RelayPool | None = None
    "Ours; `None` where another server is at work."


LIMITS = QuotaLimits(account=500, source=500)
"A client that is ended between its two allocations leaves a port reserved for half a minute."


@contextlib.asynccontextmanager
async def ours(folder: Path) -> AsyncIterator[Server]:
    async with a_turn_pool(folder, rest_secret=SECRET, limits=LIMITS) as pool:
        yield Server(serving(pool).port, serving(pool, "tls").port, pool)


@contextlib.asynccontextmanager
async def coturn(folder: Path) -> AsyncIterator[Server]:
    certificate, key = certificate_in(folder)
    server, first = Server(free_port(), free_port()), free_udp_block("127.0.0.1", 200)
    command = [
        "turnserver", "-n", "-a", "-u", f"{LOGIN}:{PASSWORD}", "-r", REALM, "--no-cli",
        "-p", str(server.port), "--tls-listening-port", str(server.tls_port),
        "-L", "127.0.0.1", "-L", "::1", "-E", "127.0.0.1", "-E", "::1",
        "--min-port", str(first), "--max-port", str(first + 199), "--allow-loopback-peers",
        "--cert", certificate, "--pkey", key, "-l", "stdout", "--simple-log", "-m", "1",
        "--pidfile", str(folder / "pid"), "--userdb", str(folder / "users"),
    ]  # fmt: skip
    async with running(*command) as program:
        await program.says("SQLite DB connection success", within=10)
        yield server


async def measure(
    server: Server, case: tuple[str, bool, list[str]], *, user: Sequence[str]
) -> tuple[int, int]:
    """Let coturn's client send through a server to coturn's peer: messages sent and received."""
    transport, ipv6, options = case
    host = "::1" if ipv6 else "127.0.0.1"
    peer_host = "::1" if "-x" in options else "127.0.0.1"
    peer_port = free_port(peer_host, step=2)
    port = server.tls_port if transport == "tls" else server.port
    async with running("turnutils_peer", "-L", peer_host, "-p", str(peer_port)):
        command = [
            "turnutils_uclient", *options, "-u", user[0], "-w", user[1],
            "-n", str(MESSAGES), "-m", "1", "-e", peer_host, "-r", str(peer_port),
            "-p", str(port), host,
        ]  # fmt: skip
        while True:
            # It draws the version of TLS by lot; refused with 1.0 or 1.1 it would wait for long.
            async with running(*command) as client, asyncio.timeout(40):
                while client.process.returncode is None and OLD_TLS not in client.output:
                    await asyncio.sleep(0.05)
                if OLD_TLS not in client.output:
                    await client.ends()
            if OLD_TLS not in client.output:
                break
        found = re.findall(r"tot_send_msgs=(\d+), tot_recv_msgs=(\d+)", client.output)
        assert found, client.output
        sent, received = found[-1]
        return int(sent), int(received)


@needs("turnutils_uclient")
@needs("turnserver")
@pytest.mark.slow
@pytest.mark.parametrize("start", [ours, coturn])
async def test_coturns_client_loses_nothing(start: object, tmp_path: Path) -> None:
    """Every message comes back, over each transport; the same commands against coturn itself."""
    async with start(tmp_path) as server:  # type: ignore[operator]
        cases = list(CASES.values())
        results = await asyncio.gather(
            *(measure(server, case, user=(LOGIN, PASSWORD)) for case in cases)
        )
    assert all(sent >= MESSAGES for sent, _ in results), dict(zip(CASES, results, strict=True))
    lost = {
        name: (sent, received)
        for name, (sent, received) in zip(CASES, results, strict=True)
        if sent != received
    }
    assert lost == {}


@needs("turnutils_uclient")
async def test_coturns_client_with_a_time_limited_name(tmp_path: Path) -> None:
    username = f"4000000000:{LOGIN}"
    user = (username, time_limited_password(SECRET, username))
    async with ours(tmp_path) as server:
        sent, received = await measure(server, ("udp", False, ["-X", "-c"]), user=user)
        assert (sent, received) == (MESSAGES, MESSAGES)


@needs("turnutils_uclient")
async def test_coturns_client_with_a_wrong_password(tmp_path: Path) -> None:
    async with ours(tmp_path) as server:
        command = ["turnutils_uclient", "-u", LOGIN, "-w", "wrong", "-e", "127.0.0.1",
                   "-p", str(server.port), "127.0.0.1"]  # fmt: skip
        async with running(*command) as client:
            await client.ends(within=20)
            assert "Cannot complete Allocation" in client.output
            assert "tot_send_msgs=" not in client.output


class Collector(asyncio.DatagramProtocol):
    """Keeps what arrives."""

    def __init__(self) -> None:
        self.got: asyncio.Queue[bytes] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.got.put_nowait(data)


@pytest.mark.parametrize(
    ("name", "ipv6"), [("udp", False), ("udp", True), ("tcp", False), ("tls", False)]
)
async def test_aioice_over_a_relay(name: str, ipv6: bool, tmp_path: Path) -> None:
    """Media flows from aioice's client to a peer and back, its allocation is given back after."""
    loop = asyncio.get_running_loop()
    host = "127.0.0.1"
    async with a_turn_pool(tmp_path) as pool:
        to = serving(pool, name, ipv6=ipv6)
        transport, protocol = await aioice.turn.create_turn_endpoint(
            Collector,
            server_addr=(to.host, to.port),
            username=LOGIN,
            password=PASSWORD,
            ssl=name == "tls" and _unchecked(),
            transport="udp" if name == "udp" else "tcp",
        )
        peer_transport, peer = await loop.create_datagram_endpoint(Collector, local_addr=(host, 0))
        try:
            async with asyncio.timeout(10):
                peer_address = peer_transport.get_extra_info("sockname")[:2]
                relayed = transport.get_extra_info("sockname")
                assert relayed[0] == host
                transport.sendto(b"there", peer_address)
                assert await peer.got.get() == b"there"
                peer_transport.sendto(b"and back", relayed)
                assert await protocol.got.get() == b"and back"
        finally:
            peer_transport.close()
            transport.close()
        async with asyncio.timeout(10):
            while pool.turn_report().ports:
                await asyncio.sleep(0.02)


def _unchecked() -> object:
    import ssl

    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@needs("turnutils_natdiscovery")
async def test_a_client_finds_out_what_its_nat_does() -> None:
    """RFC 5780 with coturn's client: there is none, and it sees so; also by RESPONSE-PORT."""
    hosts, port, second_port = ("127.0.0.1", "127.0.0.2"), free_port(), free_port()
    settings = {"hosts": hosts, "port": port, "second": hosts[1:], "second_port": second_port}
    async with a_turn_pool(**settings, workers=2):
        said = {}
        for test in (["-m", "-f"], ["-m", "-f", "-P"], ["-t", "-T", "1"]):
            command = ["turnutils_natdiscovery", *test, "-p", str(port), "-L", "127.0.0.3"]
            async with running(*command, hosts[0]) as program:
                await program.ends(within=20)
                said[" ".join(test)] = program.output
    for test in ("-m -f", "-m -f -P"):
        assert "NAT with Endpoint Independent Mapping!" in said[test]
        assert "NAT with Endpoint Independent Filtering!" in said[test]
        assert f"Response origin: : {hosts[1]}:{second_port}" in said[test]
    assert said["-t -T 1"].count("RFC 5780 response") == 2
