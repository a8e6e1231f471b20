"""What connections of phones cost a node that has nothing to say over them: memory, and handshakes.

Each connection sends one OPTIONS and is then silent. Plain TCP connections are measured beside, so
that TLS's share shows.
"""

import asyncio
import resource
import secrets
import socket
import ssl
import sys
import tempfile
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

from node.spawned import Place, SpawnedNode, free_places
from tests.benchmarks.figures import cpu_seconds, proportional_mib, show, title

CONNECTIONS = 1_000
FROM_ONE_ADDRESS = 200
"Below what a node takes from one address."
TLS_GOAL_KB = 60.0
KB_IN_MIB = 1_048.576
SETTLE = 5.0
WARM = 20
"Connections opened before anything is counted: code and tables that stay."
OPTIONS = (
    "OPTIONS sip:{ip} SIP/2.0\r\nVia: SIP/2.0/{transport} {ip}:5060;branch=z9hG4bK{serial}\r\n"
    "Max-Forwards: 70\r\nFrom: <sip:x@{ip}>;tag={serial}\r\nTo: <sip:{ip}>\r\n"
    "Call-ID: {serial}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
)


async def main() -> int:
    """Print the figures."""
    title(f"{CONNECTIONS:,} idle connections of phones with one node (uvloop):")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 2 * CONNECTIONS + 256)), hard))
    tcp, _ = await measure(tls=False)
    show("memory of an idle TCP connection", tcp, "kB")
    tls, handshake = await measure(tls=True)
    show("memory of an idle TLS connection", tls, "kB", goal=TLS_GOAL_KB)
    show("CPU of a TLS connection: handshake and OPTIONS", handshake * 1000, "ms")
    return 0


async def measure(*, tls: bool) -> tuple[float, float]:
    """The kB of memory (PSS) and seconds of CPU of each connection, in a node of its own."""
    (place,) = free_places(1)
    async with AsyncExitStack() as stack:
        node = SpawnedNode(
            "node",
            place,
            folder=Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ringmesh-bench-"))),
            network=f"bench-{secrets.token_hex(4)}",
            options=("--workers", "1", "--no-mdns"),
        )
        await stack.enter_async_context(node)
        await node.ready()
        opened = stack.enter_context(ExitStack())
        await asyncio.to_thread(open_many, opened, place, WARM, tls=tls)
        await asyncio.sleep(SETTLE)
        memory, cpu = proportional_mib(node.pid), cpu_seconds(node.pid)
        await asyncio.to_thread(open_many, opened, place, CONNECTIONS, tls=tls)
        used = cpu_seconds(node.pid) - cpu
        await asyncio.sleep(SETTLE)
        grown = proportional_mib(node.pid) - memory
    return grown * KB_IN_MIB / CONNECTIONS, used / CONNECTIONS


def open_many(stack: ExitStack, place: Place, count: int, *, tls: bool) -> None:
    """Connect from several addresses, and have one request answered over each."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for number in range(count):
        source = f"127.1.0.{1 + number // FROM_ONE_ADDRESS}"
        port = place.sip_port + tls
        plain = socket.create_connection((place.ip, port), 10, (source, 0))
        sock = stack.enter_context(context.wrap_socket(plain) if tls else plain)
        serial = secrets.token_hex(8)
        transport = "TLS" if tls else "TCP"
        sock.sendall(OPTIONS.format(ip=place.ip, serial=serial, transport=transport).encode())
        if not sock.recv(4096).startswith(b"SIP/2.0 200"):
            raise RuntimeError("OPTIONS was not answered 200")


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
