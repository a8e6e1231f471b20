"""Who passes the gate of the web server, and who does not."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from node.web.access import Access, form_token
from node.web.gate import HEADERS, Gate
from tests.support.web_client import a_gate, serving_web

Client = TestClient[Any, Any]


@pytest.fixture
def gate() -> Gate:
    return a_gate()


@pytest.fixture
def access(gate: Gate) -> Access:
    return gate.access


@pytest.fixture
async def client(gate: Gate) -> AsyncIterator[Client]:
    async def handler(request: web.Request) -> web.Response:
        return web.json_response({"method": request.method})

    async with serving_web(
        [
            web.get("/open", handler),
            gate.api(web.get("/v1/thing", handler)),
            gate.api(web.post("/v1/thing", handler)),
            gate.page(web.get("/page", handler)),
            gate.page(web.post("/page", handler)),
        ]
    ) as client:
        yield client


def as_person(client: Client, gate: Gate) -> str:
    session = gate.access.open_session("test")
    client.session.cookie_jar.update_cookies({gate.cookie: session})
    return session


def own_origin(client: Client) -> str:
    return f"http://{client.host}:{client.port}"


async def test_without_a_right_nothing_but_public_routes_answers(client: Client) -> None:
    assert (await client.get("/open")).status == 200
    refused = await client.get("/v1/thing")
    assert refused.status == 401
    assert "console token" in (await refused.json())["error"]
    page = await client.get("/page", allow_redirects=False)
    assert (page.status, page.headers["Location"]) == (303, "/login?next=/page")
    assert (await client.post("/page")).status == 401


@pytest.mark.parametrize("header", ["Bearer wrong", "Bearer", "Basic eDp5", "Bearer " + "x" * 9000])
async def test_a_wrong_token_is_none(client: Client, header: str) -> None:
    assert (await client.get("/v1/thing", headers={"Authorization": header})).status in (400, 401)


async def test_a_program_comes_with_a_token_until_it_is_revoked(
    client: Client, access: Access
) -> None:
    grant, token = access.grant_token("monitor", None)
    headers = {"Authorization": f"Bearer {token}"}
    assert (await client.post("/v1/thing", headers=headers)).status == 200
    assert (await client.get("/page", headers=headers, allow_redirects=False)).status == 303
    access.book.remove(grant)
    assert (await client.post("/v1/thing", headers=headers)).status == 401


async def test_a_session_is_no_token_nor_a_token_a_session(client: Client, gate: Gate) -> None:
    session = gate.access.open_session("test")
    _, token = gate.access.grant_token("monitor", None)
    headers = {"Authorization": f"Bearer {session}"}
    assert (await client.get("/v1/thing", headers=headers)).status == 401
    client.session.cookie_jar.update_cookies({gate.cookie: token})
    assert (await client.get("/v1/thing")).status == 401


async def test_a_person_reads_with_the_cookie_alone(client: Client, gate: Gate) -> None:
    as_person(client, gate)
    assert (await client.get("/page")).status == 200
    assert (await client.get("/v1/thing")).status == 200


async def test_a_change_needs_the_own_page_and_its_token(client: Client, gate: Gate) -> None:
    session = as_person(client, gate)
    own, token = own_origin(client), form_token(session)
    good = {"Origin": own, "X-CSRF-Token": token}
    assert (await client.post("/v1/thing", headers=good)).status == 200
    assert (
        await client.post("/page", data={"csrf": token}, headers={"Sec-Fetch-Site": "same-origin"})
    ).status == 200
    for headers in (
        {"X-CSRF-Token": token},
        {"Origin": "http://evil.example", "X-CSRF-Token": token},
        {"Origin": "null", "X-CSRF-Token": token},
        {"Origin": own},
        {"Origin": own, "X-CSRF-Token": "0" * 32},
        {"Origin": own, "X-CSRF-Token": "ü"},
        {"Sec-Fetch-Site": "same-site", "X-CSRF-Token": token},
        {"Origin": "http://[", "X-CSRF-Token": token},
    ):
        assert (await client.post("/v1/thing", headers=headers)).status == 403, headers


async def test_a_form_that_cannot_be_read_is_told_so(client: Client, gate: Gate) -> None:
    as_person(client, gate)
    headers = {"Origin": own_origin(client), "Content-Type": "multipart/form-data"}
    assert (await client.post("/page", data=b"x", headers=headers)).status == 400


async def test_another_session_s_form_token_does_not_do(client: Client, gate: Gate) -> None:
    as_person(client, gate)
    other = form_token(gate.access.open_session("other"))
    headers = {"Origin": own_origin(client), "X-CSRF-Token": other}
    assert (await client.post("/v1/thing", headers=headers)).status == 403


@pytest.mark.parametrize("path", ["/open", "/v1/thing", "/nowhere"])
async def test_every_answer_has_the_headers(client: Client, path: str) -> None:
    answer = await client.get(path)
    assert HEADERS.items() <= dict(answer.headers).items()
    assert answer.headers["Cache-Control"] == "no-store"
