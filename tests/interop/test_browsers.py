"""JsSIP in Chromium over SIP/WebSocket: two pages, each at a node of its own, call and write."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from node.web_config import WEB_PORT
from tests.support.browser import Page, needs_browser, pages, serving
from tests.support.nodes import NodeProcess, running_nodes
from tests.support.softphone import softphone

pytestmark = [pytest.mark.interop, needs_browser]

TONES = {"alice": 440, "bob": 880}


@dataclass(frozen=True, slots=True)
class Home:
    """A node with one user."""

    node: NodeProcess
    account: dict[str, Any]

    @property
    def login(self) -> str:
        return str(self.account["login"])

    @property
    def number(self) -> str:
        return str(self.account["number"])

    def settings(self, **other: Any) -> str:
        place = self.node.place
        return json.dumps(
            {
                "uri": f"sip:{self.login}@{self.account['server']}",
                "password": self.account["password"],
                "url": f"ws://{place.ip}:{WEB_PORT + place.port_offset}/sip",
                "frequency": TONES[self.login],
            }
            | other
        )


@contextlib.asynccontextmanager
async def two_homes(folder: Path, page: str) -> AsyncIterator[tuple[Home, Home]]:
    """Two nodes that know each other and welcome a page of elsewhere."""
    settings = folder / "node.toml"
    settings.write_text(f'[sip]\nweb_origins = ["{page.rstrip("/")}"]\n')
    options = ("--no-mdns", "--workers", "1", "--config", str(settings))
    async with running_nodes(folder, 2, options=options) as nodes:
        homes = tuple(
            [Home(n, await n.add_user(name)) for n, name in zip(nodes, TONES, strict=True)]
        )
        one, other = homes
        await one.node.finds(other.number)
        await other.node.finds(one.number)
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
    async with (
        serving(softphone()) as page,
        two_homes(tmp_path, page) as homes,
        pages(tmp_path, page, page) as tabs,
    ):
        alice, bob = tabs
        for tab, home in zip(tabs, homes, strict=True):
            wrong = await tab.run(f"start({home.settings(password='wrong')})")
            assert wrong == ["REGISTER: Authentication Error"]
            assert await tab.run(f"start({home.settings()})") == []
            await home.node.has(registrations=1)
        for way in ("relay", "host"):
            for tab in tabs:
                await tab.run(f"onlyAnchors({json.dumps(way == 'relay')})")
            for sound in await heard(alice, bob, homes):
                assert sound["share"] >= 0.9, sound
                assert sound["dtls"] == "connected", sound
                assert (sound["remote"] == "relay") is (way == "relay"), sound
        for tab, home, friend, text in zip(
            tabs, homes, reversed(homes), ("grüß dich", "☎"), strict=True
        ):
            target = f"sip:{friend.number}@{home.account['server']}"
            assert await tab.run(f"text('{target}', {json.dumps(text)})") == 200
        assert await bob.run("texts(1)") == [[homes[0].number, "grüß dich"]]
        assert await alice.run("texts(1)") == [[homes[1].number, "☎"]]
        await bob.run("disconnect()")
        await homes[1].node.has(registrations=0)
