"""A node asks another for a relay: with consent it is lent one and has a receipt, else not."""

import asyncio
import contextlib
import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from federation.model.address import Endpoint
from node.api_client import ApiClient
from node.control import RefusedError
from tests.support.nodes import NodeProcess, running_nodes
from tests.support.turn_core import code_of
from tests.support.turn_wire import WireClient

WITHIN = 30.0


async def said(node: NodeProcess, *command: str) -> Any:
    code, printed, errors = await node.command(*command, "--json")
    assert code == 0, errors
    return json.loads(printed)


async def asked(node: NodeProcess, method: str, *segments: str, **body: Any) -> Any:
    client = ApiClient(node.state / "api.sock", timeout=20)
    return await asyncio.to_thread(client.request, method, *segments, body=body or None)


async def sees_relay(node: NodeProcess, other: str, *, willing: bool = True) -> None:
    """Wait until a node knows that another relays for strangers, or no more."""
    async with asyncio.timeout(WITHIN):
        while True:
            found = [one["node_id"] for one in await asked(node, "GET", "relay", "candidates")]
            if (other in found) is willing:
                return
            await asyncio.sleep(0.2)


def relayed(lease: dict[str, Any], count: int) -> int:
    """Bytes that came through a lent relay out of `count` datagrams of 100 bytes each way."""
    server = Endpoint.parse(lease["uris"][0].partition(":")[2].partition("?")[0])
    client = WireClient(server, lease["username"])
    client.password = lease["password"]
    came = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        peer.settimeout(5)
        try:
            code = code_of(client.allocate())
            if code:
                return -code
            assert code_of(client.bind(0x4000, Endpoint.of(peer.getsockname()))) == 0
            for _ in range(count):
                client.wire.send(b"\x40\x00\x00\x64" + bytes(100))
                data, relay = peer.recvfrom(200)
                peer.sendto(data, relay)
                came += len(data) + len(client.wire.hear()) - 4
                time.sleep(0.005)  # well below the rate: nothing is dropped
        finally:
            client.close()
    return came


@pytest.mark.slow
async def test_a_relay_is_lent_with_consent_and_only_so(tmp_path: Path) -> None:
    settings = tmp_path / "node.toml"
    settings.write_text('[relay]\nallow_peers = ["127.0.0.0/8"]\n')
    options = ("--no-mdns", "--workers", "1", "--config", str(settings))
    async with running_nodes(tmp_path, 2, options=options) as (lender, asker):
        await asker.meets(1)
        lender_id = (await said(lender, "status"))["node_id"]
        assert (await said(lender, "relay", "usage"))["state"] == "off"
        with pytest.raises(RefusedError, match="no node that is known relays"):
            await asked(asker, "POST", "relay", "leases")
        on = await said(lender, "relay", "on", "--kbit", "4000", "--sessions", "3")
        assert on["state"] == "open"
        assert on["limits"]["sessions"] == 3
        await sees_relay(asker, lender_id)
        (lease,) = await asked(asker, "POST", "relay", "leases", count=2)
        assert lease["node_id"] == lender_id
        assert await asyncio.to_thread(relayed, lease, 50) == 10_000
        receipt = await asked(asker, "DELETE", "relay", "leases", lease["lease"])
        assert receipt["node_id"] == lender_id
        assert (receipt["bytes_to_peers"], receipt["bytes_to_clients"]) == (5000, 5000)
        assert await asyncio.to_thread(relayed, lease, 1) == -401
        usage = await said(lender, "relay", "usage")
        assert 10_000 <= usage["bytes"] <= 10_000 + 4 * 50
        (again,) = await asked(asker, "POST", "relay", "leases", count=1, keep=True)
        assert again["kept"]
        assert await asked(asker, "GET", "relay", "leases") == [again]
        off = await said(lender, "relay", "off")
        assert off["state"] == "off"
        assert await asyncio.to_thread(relayed, again, 1) == -401
        await sees_relay(asker, lender_id, willing=False)
        await lender.stop_cleanly()
        await lender.start()
        await lender.ready()
        kept = await said(lender, "relay", "usage")
        assert (kept["state"], kept["bytes"]) == ("off", usage["bytes"])
        assert kept["limits"]["sessions"] == 3


@pytest.mark.slow
async def test_the_month_is_used_up_over_a_restart(tmp_path: Path) -> None:
    """What was relayed is remembered by a node that was killed, within a second's worth."""
    settings = tmp_path / "node.toml"
    settings.write_text('[relay]\nallow_peers = ["127.0.0.0/8"]\n')
    options = ("--no-mdns", "--workers", "1", "--config", str(settings))
    async with running_nodes(tmp_path, 2, options=options) as (lender, asker):
        await asker.meets(1)
        lender_id = (await said(lender, "status"))["node_id"]
        await said(lender, "relay", "on", "--gb-month", "0.00002")
        await sees_relay(asker, lender_id)
        (lease,) = await asked(asker, "POST", "relay", "leases", count=1)
        assert await asyncio.to_thread(relayed, lease, 50) == 10_000
        await asyncio.sleep(2.5)
        await lender.kill()
        await lender.start()
        await lender.ready()
        usage = await said(lender, "relay", "usage")
        assert usage["state"] == "open"
        assert 10_000 <= usage["bytes"] <= 10_200
        await sees_relay(asker, lender_id)
        (lease,) = await asked(asker, "POST", "relay", "leases", count=1)
        with contextlib.suppress(TimeoutError):
            await asyncio.to_thread(relayed, lease, 100)
        async with asyncio.timeout(WITHIN):
            while (await said(lender, "relay", "usage"))["state"] != "month":
                await asyncio.sleep(0.3)
        used = (await said(lender, "relay", "usage"))["bytes"]
        assert 19_700 <= used <= 20_400
        with pytest.raises(RefusedError, match="no node that is known relays"):
            await asked(asker, "POST", "relay", "leases")
