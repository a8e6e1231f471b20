"""A headless Chromium, driven over the DevTools protocol, with a page from loopback."""

import asyncio
import base64
import contextlib
import hashlib
import itertools
import json
import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.support.programs import running

NAMES = ("chromium-headless-shell", "chromium")
"Either will do; the first is smaller."
_START = 15.0
_LONGEST_MESSAGE = 1 << 22
_IS_LOADED = "document.readyState === 'complete' && location.port > 0"

needs_browser = pytest.mark.skipif(
    not any(shutil.which(name) for name in NAMES),
    reason=f"no Chromium: apt-get install {NAMES[0]}",
)
"Marks tests that run a page in Chromium."


class PageError(Exception):
    """What a script in the page raised."""


class Page:
    """One open page; obtained from `a_page`."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._serials = itertools.count(1)

    async def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """Send one command of the protocol and wait for its answer; events are passed over."""
        serial = next(self._serials)
        await self._socket.send_json({"id": serial, "method": method, "params": params})
        while True:
            message = await self._socket.receive_json()
            if message.get("id") == serial:
                if "error" in message:
                    raise PageError(f"{method}: {message['error']}")
                result: dict[str, Any] = message["result"]
                return result

    async def run(self, expression: str, within: float = 20.0) -> Any:
        """The value of an expression, awaited if it is a promise.

        Raises:
            PageError: the script raised.
        """
        async with asyncio.timeout(within):
            answer = await self.ask(
                "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
            )
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise PageError(details.get("exception", {}).get("description", details["text"]))
        return answer["result"].get("value")


def pin_of(certificate: Path) -> str:
    """What Chromium calls a certificate's key: base64 of the SHA-256 of its SPKI."""
    public = x509.load_pem_x509_certificate(certificate.read_bytes()).public_key()
    spki = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(spki).digest()).decode()


@contextlib.asynccontextmanager
async def a_page(folder: Path, script: str, *, pins: tuple[str, ...] = ()) -> AsyncIterator[Page]:
    """A page with `script`, until the block ends.

    Certificates whose keys are among `pins` are believed; all others are checked as ever.
    """
    async with serving(script) as address, pages(folder, address, pins=pins) as (page,):
        yield page


@contextlib.asynccontextmanager
async def pages(
    folder: Path, *addresses: str, pins: tuple[str, ...] = ()
) -> AsyncIterator[list[Page]]:
    """A page of one browser for each address, loaded, until the block ends."""
    program = next(filter(None, map(shutil.which, NAMES)))
    profile = folder / "profile"
    command = [
        program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        "--disable-background-networking", "--no-first-run", "--remote-debugging-port=0",
        f"--user-data-dir={profile}", "--autoplay-policy=no-user-gesture-required",
        "--allow-loopback-in-peer-connection", "--disable-renderer-backgrounding",
    ]  # fmt: skip
    if pins:
        command.append(f"--ignore-certificate-errors-spki-list={','.join(pins)}")
    async with running(*command, "about:blank") as browser, aiohttp.ClientSession() as http:
        await browser.says("/devtools/browser/", _START)
        found = re.search(r"ws://(\S+?)/devtools/browser/\S+", browser.output)
        assert found, browser.output
        async with _channel(http, found[0]) as whole, contextlib.AsyncExitStack() as stack:
            opened: list[Page] = []
            try:
                for address in addresses:
                    channel = _channel(http, await _new_page(http, found[1], address))
                    opened.append(await stack.enter_async_context(channel))
                async with asyncio.timeout(_START):
                    for page in opened:
                        while not await page.run(_IS_LOADED):
                            await asyncio.sleep(0.05)
                yield opened
            finally:
                await stack.aclose()
                # Told to end, it ends its helpers, too; by a signal it would leave them.
                await whole.ask("Browser.close")
                await browser.ends()


async def _new_page(http: aiohttp.ClientSession, host: str, address: str) -> str:
    """Open a page; where it can be driven."""
    async with http.put(f"http://{host}/json/new?{address}") as answer:
        return str(json.loads(await answer.text())["webSocketDebuggerUrl"])


@contextlib.asynccontextmanager
async def _channel(http: aiohttp.ClientSession, url: str) -> AsyncIterator[Page]:
    async with http.ws_connect(url, max_msg_size=_LONGEST_MESSAGE) as socket:
        yield Page(socket)


@contextlib.asynccontextmanager
async def serving(script: str) -> AsyncIterator[str]:
    """The address of a page with `script`, served until the block ends."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(
            text=f"<!doctype html><title>page</title><script>{script}</script>",
            content_type="text/html",
        )

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        yield f"http://127.0.0.1:{port}/"
    finally:
        await runner.cleanup()
