"""A wrong clock is noticed by the peers' clocks, and said."""

import asyncio

import pytest
from structlog.testing import capture_logs

from dht.clock_check import ClockVerdict, clock_skew, judged_clock
from dht.finder import NotFound
from dht.overlay_id import OverlayId
from dht.record import Kind
from dht.table import Contact
from federation.model.address import Endpoint
from federation.model.clocks import Monotonic
from federation.model.identity import NodeKey
from tests.support.dht_network import MemoryNetwork
from tests.support.virtual_loop import run_virtually


def a_contact(number: int, host: str, skew: float | None) -> Contact:
    key = NodeKey(bytes([number]) * 32)
    id_ = OverlayId(bytes([number]) * 32)
    contact = Contact(id_, key.id, bytes(8), Endpoint(host, 7060), now=Monotonic(0.0))
    contact.skew = skew
    return contact


def test_each_network_has_one_voice_and_the_median_counts() -> None:
    liars = [a_contact(n, f"5.6.{n}.1", 500.0) for n in range(1, 9)]
    honest = [a_contact(20 + n, f"{30 + n}.1.1.1", float(n)) for n in (0, 1)]
    assert clock_skew([*liars, *honest]) == 1.0
    assert clock_skew([*liars, a_contact(30, "9.9.9.9", None)]) == 500.0
    assert clock_skew([a_contact(30, "9.9.9.9", None)]) is None
    lan = [a_contact(40 + n, f"192.168.0.{n}", skew) for n, skew in ((1, 0.0), (2, 0.0), (3, 90.0))]
    assert clock_skew(lan) == 0.0


@pytest.mark.parametrize(
    ("skew", "verdict"),
    [
        (None, ClockVerdict.UNKNOWN),
        (0.0, ClockVerdict.GOOD),
        (-60.0, ClockVerdict.GOOD),
        (61.0, ClockVerdict.OFF),
        (-300.0, ClockVerdict.OFF),
        (301.0, ClockVerdict.WRONG),
        (-301.0, ClockVerdict.WRONG),
    ],
)
def test_what_is_said_of_a_difference(skew: float | None, verdict: ClockVerdict) -> None:
    assert judged_clock(skew) is verdict


@pytest.mark.parametrize(("wrong_by", "level"), [(-120.0, "warning"), (400.0, "error")])
def test_a_wrong_clock_is_said_once_an_hour_and_in_the_figures(wrong_by: float, level: str) -> None:
    async def run() -> None:
        network = MemoryNetwork()
        nodes = [await network.node(n) for n in (1, 2, 3, 4)]
        nodes[3].clock.skew = wrong_by
        for node in nodes[1:]:
            await node.directory.join([nodes[0].endpoint])
        with capture_logs() as logs:
            await asyncio.sleep(1_200)
        said = [line for line in logs if line["event"] == "clock_differs_from_peers"]
        assert [line["log_level"] for line in said] == [level]
        skew = nodes[3].directory.stats().clock_skew
        assert skew == pytest.approx(-wrong_by, abs=0.1)
        assert said[0]["meaning"] == nodes[3].directory.stats().clock
        assert nodes[0].directory.stats().clock == ClockVerdict.GOOD.text
        await network.close()

    run_virtually(run())


def test_with_a_clock_over_five_minutes_off_records_are_refused() -> None:
    """Which is what the message says."""

    async def run() -> None:
        network = MemoryNetwork()
        one, two = await network.node(1), await network.node(2)
        one.clock.skew = 400.0
        await one.directory.join([two.endpoint])
        one.directory.publish_user("alice")
        assert not await one.directory.published(Kind.USER, "alice")
        assert await two.directory.find_user(one.key.id, "alice") == NotFound()
        assert "refuse" in one.directory.stats().clock
        await network.close()

    run_virtually(run())
