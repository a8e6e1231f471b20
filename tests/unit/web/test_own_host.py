"""Which names a request may call the web server by: a page whose own name was led here may not."""

from typing import Any

import pytest
from aiohttp import web

from node.config import Config
from node.web_config import WebConfig
from tests.support.web_client import serving_web

MINE = (
    "127.0.0.1:8060",
    "[::1]:8060",
    "localhost",
    "LOCALHOST:9000",
    "app.localhost:1",
    "10.0.0.1",
)
ANOTHER_S = ("evil.example:8060", "127.0.0.1.evil.example", "localhost.evil.example", "x", "[", "")


async def hello(_: web.Request) -> web.Response:
    return web.Response(text="hello")


async def statuses(settings: dict[str, Any], hosts: tuple[str, ...]) -> set[int]:
    config = Config(web=WebConfig(**settings))
    async with serving_web([web.get("/", hello), web.post("/", hello)], config) as client:
        found = set()
        for host in hosts:
            for method in ("GET", "POST"):
                headers = {"Host": host, "Origin": f"http://{host}"}
                found.add((await client.request(method, "/", headers=headers)).status)
        return found


async def test_a_server_for_this_machine_is_called_by_its_address_or_localhost() -> None:
    assert await statuses({}, MINE) == {200}
    assert await statuses({}, ANOTHER_S) == {421}
    assert await statuses({"listen": ("127.0.0.2",)}, ANOTHER_S) == {421}


async def test_behind_a_proxy_on_this_machine_it_also_has_the_proxy_s_name() -> None:
    settings = {"url": "https://Phone.example.org:8443"}
    assert await statuses(settings, (*MINE, "phone.example.org", "PHONE.example.org:8443")) == {200}
    assert await statuses(settings, ANOTHER_S) == {421}


@pytest.mark.parametrize("plain", [True, False])
async def test_opened_to_others_it_has_the_names_that_they_give_it(plain: bool) -> None:
    assert await statuses({"listen": ("0.0.0.0",), "plain": plain}, ("phone.lan", *MINE)) == {200}


async def test_the_refusal_says_what_would_do() -> None:
    async with serving_web([web.get("/", hello)]) as client:
        answer = await client.get("/", headers={"Host": "phone.example.org"})
        assert "web.url" in (await answer.json())["error"]
