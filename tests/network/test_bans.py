"""Scanners and guessers at addresses of their own: banned, listed and lifted, and others are heard.

Loopback is never banned, so the test gives the loopback interface three documentation addresses
(RFC 5737) while it runs.
"""

import asyncio
import contextlib
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from federation.model.address import Endpoint
from node.edge.guard import SLOW_INTERVAL
from node.spawned import Place
from tests.support.nodes import NodeProcess, add_user
from tests.support.sip_client import SipClient, sip_client

pytestmark = pytest.mark.skipif(
    shutil.which("ip") is None or os.geteuid() != 0,
    reason="addresses are added by ip: apt-get install iproute2, and be root",
)
SILENT = 1.0
"Seconds without an answer that count as silence."
SCANNER = (("User-Agent", "friendly-scanner"),)
GUESSES = 3
"Passwords of unknown users until a source is slowed: three points of six each, which wear off."


@contextlib.contextmanager
def addresses(count: int) -> Iterator[list[str]]:
    """Addresses that are nobody's, on the loopback interface."""
    first = secrets.randbelow(250 - count) + 1
    made = [f"198.51.100.{first + number}" for number in range(count)]
    try:
        for address in made:
            subprocess.run(["ip", "address", "add", f"{address}/32", "dev", "lo"], check=True)
        yield made
    finally:
        for address in made:
            subprocess.run(["ip", "address", "del", f"{address}/32", "dev", "lo"], check=False)


async def is_heard(client: SipClient, headers: tuple[tuple[str, str], ...] = ()) -> bool:
    """Whether the node answers a request."""
    try:
        await client.ask(client.request("OPTIONS", headers=headers), within=SILENT)
    except TimeoutError:
        return False
    return True


async def banned(node: NodeProcess) -> list[tuple[str, int | None, str]]:
    return [(ban["address"], ban["port"], ban["reason"]) for ban in await node.ask("bans")]


async def test_a_ban_from_its_cause_to_its_end(tmp_path: Path) -> None:
    with addresses(3) as (home, office, attacker):
        node = NodeProcess(
            "node",
            Place(home),
            folder=tmp_path,
            network=f"test-{secrets.token_hex(6)}",
            options=("--no-mdns", "--workers", "1"),
        )
        async with node:
            await node.ready()
            alice = await add_user(node, "alice")
            server = Endpoint(home, 5060)
            async with (
                sip_client(server, ip=office) as phone,
                sip_client(server, ip=office) as colleague,
                sip_client(server, ip=attacker) as scanner,
            ):
                assert (await phone.register("alice", alice["password"])).status == 200
                # One refusal, then nothing, whoever asks from there.
                first = await scanner.ask(scanner.request("OPTIONS", headers=SCANNER))
                assert first.status == 403
                assert not await is_heard(scanner)
                # A scanner in the office is alone with its ban.
                await colleague.ask(colleague.request("OPTIONS", headers=SCANNER))
                assert not await is_heard(colleague)
                assert await is_heard(phone)
                assert (await phone.register("alice", alice["password"])).status == 200
                port = colleague.own.port
                assert set(await banned(node)) == {
                    (attacker, None, "scanner"),
                    (office, port, "scanner"),
                }
                lines = [line for line in node.log.read_text().splitlines() if '"banned"' in line]
                assert len(lines) == 2
                assert attacker in lines[0]
                await node.ask("unban", attacker)
                assert await is_heard(scanner)
                # Who guesses is slowed: one message in two seconds is heard.
                for _ in range(GUESSES):
                    assert (await scanner.register("nobody", "a guess")).status == 401
                assert not await is_heard(scanner)
                await asyncio.sleep(SLOW_INTERVAL)
                assert await is_heard(scanner)
                await node.ask("ban", attacker, "--for", "1h")
                assert not await is_heard(scanner)
                assert await is_heard(phone)
            assert await node.stop() == 0
