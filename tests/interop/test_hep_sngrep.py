"""sngrep, a HEP server of others, writes what the node exports to a file, and it reads as sent."""

import asyncio
import shutil
import socket
import struct
from pathlib import Path

import pytest

from federation.model.address import Endpoint
from federation.model.clocks import SystemClock
from node.sip.flow import Flow
from node.tracing.hep import Agent
from node.tracing.hep_export import HepExport
from node.tracing.tap import RECEIVED, SENT

pytestmark = pytest.mark.interop
OWN, PHONE = Endpoint("192.0.2.1", 5060), Endpoint("192.0.2.9", 5062)
FLOW = Flow("UDP", OWN, PHONE)
FIELDS = (
    b"Via: SIP/2.0/UDP 192.0.2.9:5062;branch=z9hG4bK77\r\nFrom: <sip:a@192.0.2.1>;tag=1\r\n"
    b"To: <sip:bob@192.0.2.1>\r\nCall-ID: abc@x\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
)
INVITE = b"INVITE sip:bob@192.0.2.1 SIP/2.0\r\n" + FIELDS
RINGING = b"SIP/2.0 180 Ringing\r\n" + FIELDS
_ETHERNET, _IP, _UDP = 14, 20, 8


def captured(file: Path) -> list[tuple[float, str, int, str, int, bytes]]:
    """The UDP datagrams of a capture file: when, from, to, and what."""
    data = file.read_bytes()
    little = data[:4] == b"\xd4\xc3\xb2\xa1"
    order = "<" if little else ">"
    found, at = [], 24
    while at + 16 <= len(data):
        seconds, micro, size, _ = struct.unpack(f"{order}IIII", data[at : at + 16])
        frame = data[at + 16 : at + 16 + size]
        ip = frame[_ETHERNET:]
        source, destination = (socket.inet_ntoa(ip[start : start + 4]) for start in (12, 16))
        ports = struct.unpack("!HH", ip[_IP : _IP + 4])
        when = seconds + micro / 1e6
        found.append((when, source, ports[0], destination, ports[1], ip[_IP + _UDP :]))
        at += 16 + size
    return found


@pytest.mark.skipif(shutil.which("sngrep") is None, reason="sngrep is not installed (apt: sngrep)")
async def test_sngrep_takes_what_the_node_sends(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    file, clock = tmp_path / "calls.pcap", SystemClock()
    sngrep = await asyncio.create_subprocess_exec(
        *("sngrep", "-N", "-q", "-L", f"udp:127.0.0.1:{port}", "-O", str(file)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    export = HepExport(("127.0.0.1", port), Agent(42), places=lambda _: None, clock=clock)
    task = asyncio.create_task(export.run())
    try:
        async with asyncio.timeout(10):
            while export.sent < 2:  # until sngrep listens, the port is refused
                now = clock.monotonic()
                export.take([(now, RECEIVED, INVITE, FLOW), (now, SENT, RINGING, FLOW)])
                await asyncio.sleep(0.3)
        await asyncio.sleep(0.5)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        sngrep.terminate()
        await sngrep.wait()
    seen = captured(file)[-2:]
    assert [packet[1:] for packet in seen] == [
        (*PHONE, *OWN, INVITE),
        (*OWN, *PHONE, RINGING),
    ]
    assert abs(seen[0][0] - clock.unix()) < 10
