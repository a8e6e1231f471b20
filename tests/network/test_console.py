"""The console in a browser: from the first link to a call, a map that moves, an invitation."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from node.phone.choices import Tone
from node.phone.phone import Phone
from tests.support.browser import needs_browser
from tests.support.console_browser import (
    DESK,
    HAND,
    Browser,
    a_console_browser,
    accessible,
    shoot,
)
from tests.support.nodes import NodeProcess, free_places

pytestmark = [pytest.mark.slow, pytest.mark.interop, needs_browser]

PAGES = (
    "/", "/map", "/accounts", "/accounts/alice", "/accounts/alice/connect", "/invitations",
    "/messages", "/calls", "/log", "/trunks", "/numbers", "/relay", "/why?uri=alice", "/domains",
    "/bans", "/access",
)  # fmt: skip


async def test_the_console_from_first_start_to_last(tmp_path: Path) -> None:
    places = free_places(2)
    options = ("--no-mdns", "--workers", "1")
    node = NodeProcess("node1", places[0], folder=tmp_path, network="console-test", options=options)
    other = NodeProcess(
        "node2",
        places[1],
        folder=tmp_path,
        network="console-test",
        options=(*options, "--join", places[0].mesh),
    )
    async with node, a_console_browser() as browser:
        await node.ready()
        desk = await first_start(browser, await link_of(node))
        hand = await browser.person(HAND, "dark")
        await hand.context.add_cookies(await desk.context.cookies())
        base = desk.url.rstrip("/")
        async with other:
            watcher = await a_node_joins(desk, base, other)
            await other.stop_cleanly()
        account = await add_an_account(desk)
        await a_call(desk, hand, base, account, node)
        await an_invitation(browser, desk, base)
        await relay_with_a_cap(desk, base)
        await everything_is_accessible(desk, hand, base)
        await the_node_is_gone(watcher)
        await a_restart(browser, desk, base, node)
        assert browser.unexpected == []
        await node.stop_cleanly()


async def link_of(node: NodeProcess) -> str:
    """The link that `up` printed with `ready`."""
    async with asyncio.timeout(20):
        while True:
            for line in node.log.read_text().splitlines():
                if line.startswith('{"ready"'):
                    return str(json.loads(line)["ready"]["console"])
            await asyncio.sleep(0.1)


async def first_start(browser: Browser, link: str) -> Any:
    desk = await browser.person(DESK)
    await desk.goto(link)
    await desk.get_by_role("heading", name="Overview").wait_for()
    assert "No phone is registered yet" in await desk.content()
    browser.expected += ("status of 410",)
    stranger = await browser.person(DESK)
    await stranger.goto(link)
    assert "was used already" in await stranger.content()
    await stranger.context.close()
    return desk


async def add_an_account(desk: Any) -> dict[str, str]:
    await desk.get_by_role("link", name="Accounts").first.click()
    await desk.get_by_label("Login").fill("alice")
    await desk.get_by_label("Name", exact=False).first.fill("Alice Ünal")
    await desk.get_by_role("button", name="Add").click()
    await desk.get_by_text("The password is shown only now").wait_for()
    shown = {
        await row.locator("dt").inner_text(): await row.locator("code").inner_text()
        for row in await desk.locator(".copied").all()
        if await row.is_visible()
    }
    assert await desk.locator("svg.qr").count() == 1
    await desk.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await desk.get_by_label("Copy Password").click()
    assert await desk.evaluate("navigator.clipboard.readText()") == shown["Password"]
    await shoot(desk, "connect")
    await desk.get_by_role("button", name="Make a link").click()
    assert await desk.get_by_label("Copy Linphone").is_visible()
    return shown


async def a_call(
    desk: Any, hand: Any, base: str, account: dict[str, str], node: NodeProcess
) -> None:
    """It appears where the page is open, with its quality, and is ended from there."""
    await desk.goto(f"{base}/")
    await hand.goto(f"{base}/calls")
    async with Phone(name="alice") as phone:
        await phone.register(account["Login"], account["Password"], server=account["Server"])
        call = await phone.call(f"sip:*43@{account['Server']}", playing=Tone(440))
        await call.wait_confirmed()
        for page in (desk, hand):
            await page.locator(".quality.good").first.wait_for()
        assert "talking" in await desk.locator("[data-live=calls]").inner_text()
        ladder = await desk.get_by_role("link", name="Ladder").element_handle()
        await desk.wait_for_timeout(2500)
        assert await ladder.evaluate("link => link.isConnected"), "an update takes buttons away"
        await shoot(desk, "overview")
        await shoot(hand, "calls-phone")
        await desk.get_by_role("link", name="Ladder").click()
        await desk.get_by_text("INVITE sip:*43").first.wait_for()
        await shoot(desk, "ladder")
        await accessible(desk)
        await desk.goto(f"{base}/calls")
        await desk.get_by_role("button", name="Hang up").click()
        await call.wait_ended()
        await hand.get_by_text("Nobody is talking").wait_for()
    async with asyncio.timeout(10):
        while "*43" not in await desk.content():
            await asyncio.sleep(0.3)
            await desk.goto(f"{base}/log")


async def a_node_joins(desk: Any, base: str, other: NodeProcess) -> Any:
    """It appears without a reload; the page that watches is left open."""
    watcher = await desk.context.new_page()
    await watcher.goto(f"{base}/map")
    await watcher.locator("#map[data-count='0']").wait_for()
    await other.ready()
    await watcher.locator("#map[data-count='1']").wait_for()
    assert await watcher.locator("#peers tbody tr").count() == 1
    await watcher.wait_for_timeout(1500)
    await shoot(watcher, "map")
    return watcher


async def the_node_is_gone(watcher: Any) -> None:
    """A node that stopped is asked once it was quiet for a minute, and then forgotten."""
    await watcher.locator("#map[data-count='0']").wait_for(timeout=120_000)
    assert "No other node is known" in await watcher.locator("#peers").inner_text()


async def an_invitation(browser: Browser, desk: Any, base: str) -> None:
    await desk.goto(f"{base}/invitations")
    await desk.get_by_label("For whom").fill("Bob")
    await desk.get_by_role("button", name="Make a link").click()
    link = await desk.locator(".copied code").first.inner_text()
    guest = await browser.person(HAND)
    await guest.goto(link)
    await accessible(guest)
    await guest.get_by_label("Login").fill("bob")
    await guest.get_by_label("Your name").fill("Bob")
    await guest.get_by_role("button", name="Make my account").click()
    await guest.get_by_role("heading", name="Welcome, Bob").wait_for()
    assert len(await guest.locator("code.secret").inner_text()) == 16
    await accessible(guest)
    await shoot(guest, "joined-phone")
    await guest.goto(link)
    assert "used up" in await guest.content()
    await guest.context.close()
    await desk.goto(f"{base}/accounts")
    await desk.get_by_role("link", name="bob", exact=True).wait_for()


async def relay_with_a_cap(desk: Any, base: str) -> None:
    await desk.goto(f"{base}/relay")
    await desk.get_by_label("On, within these limits").check()
    await desk.get_by_label("kbit/s for all together").fill("1500")
    await desk.get_by_label("GB a month").fill("5")
    await desk.get_by_role("button", name="Save").click()
    await desk.get_by_text("relays for others within the limits").wait_for()
    await desk.goto(f"{base}/")
    assert "of 5.0 GB" in await desk.content()
    assert await desk.locator("meter").count() == 2


async def everything_is_accessible(desk: Any, hand: Any, base: str) -> None:
    """At both sizes, light and dark; nothing is wider than the screen."""
    for path in PAGES:
        for page in (desk, hand):
            answer = await page.goto(f"{base}{path}")
            assert answer.status == 200, path
            await accessible(page)
            wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            assert await page.evaluate(wide) <= 0, (path, page.viewport_size)
    await hand.goto(f"{base}/accounts")
    await hand.get_by_role("link", name="Menu").click()
    await hand.get_by_role("link", name="Relay").wait_for()
    await accessible(hand)
    await shoot(hand, "menu-phone")


async def a_restart(browser: Browser, desk: Any, base: str, node: NodeProcess) -> None:
    """A page that is open says that the node is away, and goes on when it is back."""
    browser.expected += ("ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE_CHUNKED", "ERR_EMPTY_RESPONSE")
    await desk.goto(f"{base}/")
    await desk.wait_for_timeout(1500)
    await node.stop_cleanly()
    await desk.get_by_text("The node does not answer").wait_for()
    await node.start()
    await node.ready()
    await desk.locator("#connection").wait_for(state="hidden", timeout=20_000)
    await desk.get_by_role("button", name="Log out").click()
    await desk.get_by_role("heading", name="Log in").wait_for()
    await accessible(desk)
