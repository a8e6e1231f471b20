"""Every route of the web server: who may ask it without a right."""

import re
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from federation.model.clocks import SystemClock, SystemEntropy
from node.config import Config
from node.control import RefusedError
from node.web.room import WebRoom
from node.web_config import WebConfig
from tests.support.memory_node import SERVED, MemoryNode
from tests.support.web_client import Kept, serving_web

PUBLIC = {
    "GET /static", "GET /enter/{token}", "GET /login", "POST /login",
    "GET /join/{token}", "POST /join/{token}", "GET /p/{token}/", "GET /p/{token}/{file}",
}  # fmt: skip
"What answers anybody, and is guarded by a secret of its own where it gives anything."


def a_room(config: Config | None = None) -> WebRoom:
    loaded: Any = SimpleNamespace(grants=[], web_password=None, invitations=[], device_links=[])
    return WebRoom(
        config or Config(),
        loaded,
        Kept(),  # type: ignore[arg-type]
        None,  # type: ignore[arg-type]
        served=lambda: SERVED,
        account=lambda login: None,  # type: ignore[arg-type, return-value]
        clock=SystemClock(),
        entropy=SystemEntropy(),
    )


async def test_no_route_answers_without_a_right_but_those_that_may() -> None:
    room = a_room()

    async def secret(_: web.Request) -> web.Response:
        return web.Response(text="secret")

    room.authorised.append(web.get("/metrics", secret))
    async with serving_web(room.routes(MemoryNode())) as client:
        asked = 0
        for route in client.app.router.routes():
            assert route.resource is not None
            name = f"{route.method} {route.resource.canonical}".replace("{file:.+}", "{file}")
            if name in PUBLIC or name.replace("HEAD", "GET") in PUBLIC:
                continue
            asked += 1
            await is_refused(client, route.method, re.sub(r"{\w+}", "x", route.resource.canonical))
        assert asked > 100


async def is_refused(client: TestClient[Any, Any], method: str, path: str) -> None:
    answer = await client.request(method, path, allow_redirects=False)
    if answer.status == 303:
        assert answer.headers["Location"].startswith("/login?"), (method, path)
        assert method in ("GET", "HEAD")
    else:
        assert answer.status == 401, (method, path, answer.status)


async def test_what_other_parts_make_public_is_public() -> None:
    room = a_room()

    async def health(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    room.public.append(web.get("/healthz", health))
    async with serving_web(room.routes(MemoryNode())) as client:
        assert await (await client.get("/healthz")).text() == "ok"


@pytest.mark.parametrize(
    ("settings", "url", "cookie"),
    [
        ({}, "http://127.0.0.1:8060", "ringmesh-8060"),
        ({"listen": ("0.0.0.0",)}, "https://192.0.2.7:8060", "__Host-ringmesh-8060"),
        ({"listen": ("0.0.0.0",), "plain": True}, "http://192.0.2.7:8060", "ringmesh-8060"),
        ({"url": "https://x.example/"}, "https://x.example", "__Host-ringmesh-8060"),
    ],
)
def test_links_lead_to_where_the_server_is_reached(
    settings: dict[str, Any], url: str, cookie: str
) -> None:
    room = a_room(Config(web=WebConfig(**settings)))
    assert (room.url(), room._gate.cookie) == (url, cookie)


async def test_without_a_server_no_link_is_given_out() -> None:
    room = a_room(Config(web=WebConfig(enabled=False)))
    with pytest.raises(RefusedError, match=r"web\.enabled"):
        await room.invitations.create()
    with pytest.raises(RefusedError, match=r"web\.enabled"):
        room.desk.link()
    assert room.invitations.all() == []
