"""A headless Chromium driven by Playwright, for the pages of the console."""

import contextlib
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.browser import NAMES

playwright = pytest.importorskip("playwright.async_api", reason="no Playwright: make setup")
axe = pytest.importorskip("axe_playwright_python.async_playwright", reason="no axe: make setup")

DESK = {"width": 1280, "height": 860}
HAND = {"width": 390, "height": 844}
SHOTS = "CONSOLE_SHOTS"
"Variable with a folder for screenshots; none are taken without it."
_SERIOUS = ("serious", "critical")


class Browser:
    """One Chromium; its contexts are people with a browser each."""

    def __init__(self, chromium: Any) -> None:
        self._chromium = chromium
        self.complaints: list[str] = []
        "What pages wrote to the console as errors, and what they raised."
        self.expected: tuple[str, ...] = ()
        "Parts of complaints that the test means to cause."

    async def person(self, size: dict[str, int], scheme: str = "light") -> Any:
        """A page of somebody's browser."""
        context = await self._chromium.new_context(viewport=size, color_scheme=scheme)
        page = await context.new_page()
        page.set_default_timeout(20_000)
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        return page

    def _heard(self, message: Any) -> None:
        if message.type == "error":
            self.complaints.append(f"{message.text} ({message.location.get('url')})")

    @property
    def unexpected(self) -> list[str]:
        return [text for text in self.complaints if not any(part in text for part in self.expected)]


@contextlib.asynccontextmanager
async def a_console_browser() -> AsyncIterator[Browser]:
    """Chromium as it is installed; nothing is fetched."""
    program = next((path for name in NAMES if (path := shutil.which(name))), None)
    async with playwright.async_playwright() as driver:
        chromium = await driver.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        try:
            yield Browser(chromium)
        finally:
            await chromium.close()


async def accessible(page: Any) -> None:
    """Fail unless axe finds nothing serious on a page."""
    found = await axe.Axe().run(page)
    serious = [
        f"{page.url}: {one['id']}: {one['nodes'][0]['html'][:160]} {one['nodes'][0].get('any')}"
        for one in found.response["violations"]
        if one["impact"] in _SERIOUS
    ]
    assert serious == []


async def shoot(page: Any, name: str) -> None:
    """Keep a picture, where somebody asked for pictures."""
    if folder := os.environ.get(SHOTS):
        await page.screenshot(path=Path(folder) / f"{name}.png")
