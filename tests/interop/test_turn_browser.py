"""Chromium's WebRTC through the relay alone: every path, time-limited credentials, a tone heard."""

import contextlib
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from media_relay.turn.credentials import time_limited_password
from tests.interop.test_turn_clients import SECRET, Server, coturn, ours
from tests.support.browser import Page, PageError, a_page, needs_browser, pin_of
from tests.support.programs import needs
from tests.support.turn_pool import LOGIN, PASSWORD

pytestmark = [pytest.mark.interop, needs_browser]

SCRIPT = (Path(__file__).parents[1] / "support" / "relay_page.js").read_text()
WAYS = ("udp", "tcp", "tls")


def uri(server: Server, way: str) -> str:
    if way == "tls":
        return f"turns:127.0.0.1:{server.tls_port}?transport=tcp"
    return f"turn:127.0.0.1:{server.port}?transport={way}"


async def talk(page: Page, urls: str, username: str, credential: str) -> dict[str, Any]:
    """Let two connections of the page talk through a server; what was heard, and how."""
    entry = json.dumps({"urls": urls, "username": username, "credential": credential})
    result: dict[str, Any] = await page.run(f"talk({entry})", within=30)
    return result


@contextlib.asynccontextmanager
async def browsing(folder: Path) -> AsyncIterator[Page]:
    """The page, believing the certificate that the server in `folder` shows."""
    async with a_page(folder, SCRIPT, pins=(pin_of(folder / "certificate.pem"),)) as page:
        yield page


def verify(heard: dict[str, Any], way: str) -> None:
    """The tone came, all the time, and by relays on both sides."""
    assert heard["share"] >= 0.9, heard
    assert (heard["local"], heard["remote"], heard["by"]) == ("relay", "relay", way), heard
    assert heard["packets"] >= 50, heard
    assert heard["lost"] <= heard["packets"] * 0.02, heard


async def test_a_browser_with_a_time_limited_name(tmp_path: Path) -> None:
    """Over UDP, TCP and TLS; a name whose time is over, or of nobody, gets no candidate."""
    username = f"{int(time.time()) + 600}:{LOGIN}"
    password = time_limited_password(SECRET, username)
    async with ours(tmp_path) as server, browsing(tmp_path) as page:
        for way in WAYS:
            verify(await talk(page, uri(server, way), username, password), way)
        late = f"{int(time.time()) - 5}:{LOGIN}"
        with pytest.raises(PageError, match="401"):
            await talk(page, uri(server, "udp"), late, time_limited_password(SECRET, late))


@needs("turnserver")
@pytest.mark.slow
async def test_the_same_page_at_coturn(tmp_path: Path) -> None:
    """The control: what the page expects of a relay is what coturn does."""
    async with coturn(tmp_path) as server, browsing(tmp_path) as page:
        for way in WAYS:
            verify(await talk(page, uri(server, way), LOGIN, PASSWORD), way)
