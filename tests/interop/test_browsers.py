"""JsSIP in Chromium over SIP/WebSocket: two pages, each at a node of its own, call and write."""

import asyncio
import contextlib
import json
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from dht.overlay_id import solve
from federation.model.clocks import SystemEntropy
from node.app import Node
from node.config import Config, MediaConfig, MeshConfig
from node.process import Identity
from node.spawned import Place, free_places
from node.state import StateFolder
from tests.support.browser import Page, needs_browser, pages, serving
from tests.support.softphone import softphone

pytestmark = [pytest.mark.interop, needs_browser]

TONES = {"alice": 440, "bob": 880}
WITHIN = 20.0


@dataclass(frozen=True, slots=True)
class Home:
    """A node with one user, and the page from which a browser registers as it."""

    node: Node
    account: dict[str, Any]
    address: str

    @property
    def login(self) -> str:
        return str(self.account["login"])

    @property
    def number(self) -> str:
        return str(self.account["number"])

    def settings(self, **other: Any) -> str:
        return json.dumps(
            {
                "uri": f"sip:{self.login}@{self.account['server']}",
                "password": self.account["password"],
                "url": self.address.replace("http", "ws", 1) + "sip",
                "frequency": TONES[self.login],
            }
            | other
        )

    async def has(self, devices: int) -> None:
        """Wait until that many devices of the user are registered."""
        async with asyncio.timeout(WITHIN):
            while len((await self.node.user_show(self.login))["devices"]) != devices:
                await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def a_home(
    folder: Path, network: str, place: Place, login: str, script: str, join: tuple[str, ...]
) -> AsyncIterator[Home]:
    config = Config(
        network=network,
        listen=place.ip,
        port_offset=place.port_offset,
        mesh=MeshConfig(mdns=False, join=join),
        media=MediaConfig(workers=1),
    )
    state, entropy = StateFolder.open(folder / login), SystemEntropy()
    key = state.node_key(entropy)
    node = Node(config, state, Identity(key, solve(key.id, config.net, entropy=entropy)))
    await node.start()
    app = web.Application()
    app.add_routes([serving(script), *node._transports.web.routes()])
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, place.ip, 0)
        await site.start()
        (host, port) = runner.addresses[0][:2]
        account = await node.user_add(login)
        yield Home(node, account, f"http://{host}:{port}/")
    finally:
        await node.stop()
        await runner.cleanup()


@contextlib.asynccontextmanager
async def two_homes(folder: Path) -> AsyncIterator[tuple[Home, Home]]:
    network, script = f"test-{secrets.token_hex(6)}", softphone()
    here, there = free_places(2)
    async with (
        a_home(folder, network, here, "alice", script, ()) as one,
        a_home(folder, network, there, "bob", script, (here.mesh,)) as other,
    ):
        async with asyncio.timeout(WITHIN):
            while True:
                found = [
                    await a.node.resolve(b.account["number"])
                    for a, b in ((one, other), (other, one))
                ]
                if all(answer["status"] == 200 for answer in found):
                    break
                await asyncio.sleep(0.1)
        yield one, other


async def heard(alice: Page, bob: Page, homes: tuple[Home, Home]) -> list[dict[str, Any]]:
    """Alice calls bob by number; what she and he hear of the other, and how it came."""
    one, other = homes
    answered, caller = await asyncio.gather(
        alice.run(f"call('sip:{other.number}@{one.account['server']}')"), bob.run("answer()")
    )
    assert answered
    assert one.number in caller
    sounds = await asyncio.gather(
        alice.run(f"hear({TONES['bob']})"), bob.run(f"hear({TONES['alice']})")
    )
    await bob.run("hangUp()")
    assert await alice.run("isOver()")
    return list(sounds)


async def test_two_browsers_call_and_write_to_each_other_across_two_nodes(tmp_path: Path) -> None:
    """Sound is DTLS-SRTP end to end, by ICE: through anchors and a sealed leg, or past them."""
    async with two_homes(tmp_path) as homes, pages(tmp_path, *(h.address for h in homes)) as tabs:
        alice, bob = tabs
        for page, home in zip(tabs, homes, strict=True):
            wrong = await page.run(f"start({home.settings(password='wrong')})")
            assert wrong == ["REGISTER: Authentication Error"]
            assert await page.run(f"start({home.settings()})") == []
            await home.has(devices=1)
        for way in ("relay", "host"):
            for page in tabs:
                await page.run(f"onlyAnchors({json.dumps(way == 'relay')})")
            for sound in await heard(alice, bob, homes):
                assert sound["share"] >= 0.9, sound
                assert sound["dtls"] == "connected", sound
                assert (sound["remote"] == "relay") is (way == "relay"), sound
        for page, home, friend, text in zip(
            tabs, homes, reversed(homes), ("grüß dich", "☎"), strict=True
        ):
            target = f"sip:{friend.number}@{home.account['server']}"
            assert await page.run(f"text('{target}', {json.dumps(text)})") == 200
        assert await bob.run("texts(1)") == [[homes[0].number, "grüß dich"]]
        assert await alice.run("texts(1)") == [[homes[1].number, "☎"]]
        await bob.run("disconnect()")
        await homes[1].has(devices=0)
