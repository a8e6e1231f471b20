"""Forms over HTTP: those that cannot be read, and those that do not come."""

import asyncio
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from node.web import forms
from node.web.forms import Form
from tests.support.web_client import serving_web

LONG = 5.0
"Seconds, far more than a form is waited for in these tests."


async def echo(request: web.Request) -> web.Response:
    return web.Response(text=(await Form.of(request))["a"])


async def answer_to(client: TestClient[Any, Any], head: str, body: bytes = b"") -> bytes:
    """The first line that comes back to what is sent as it stands."""
    reader, writer = await asyncio.open_connection(client.host, client.port)
    writer.write(f"POST / HTTP/1.1\r\nHost: localhost\r\n{head}\r\n\r\n".encode() + body)
    try:
        return await asyncio.wait_for(reader.readline(), LONG)
    finally:
        writer.close()


async def test_a_form_that_does_not_come_is_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(forms, "FORM_SECONDS", 0.1)
    async with serving_web([web.post("/", echo)]) as client:
        head = "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 9"
        assert b" 408 " in await answer_to(client, head, b"a=1")
        assert b" 200 " in await answer_to(client, head, b"a=1234567")


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=b", b"--b\r\n\r\nno name\r\n--b--\r\n"),
        ("application/x-www-form-urlencoded; charset=rot13", b"a=1"),
        ("application/x-www-form-urlencoded", b"a=\xff"),
    ],
)
async def test_what_is_no_form_is_told_so(kind: str, body: bytes) -> None:
    async with serving_web([web.post("/", echo)]) as client:
        head = f"Content-Type: {kind}\r\nContent-Length: {len(body)}"
        assert b" 400 " in await answer_to(client, head, body)
