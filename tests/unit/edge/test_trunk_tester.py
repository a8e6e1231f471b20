"""`trunk test` on what does not work: each sentence names the thing and the way out."""

import asyncio

import pytest
from msgspec.structs import replace

from node.sip.locate import Hop, LocateError, Target
from node.trunks.tester import OPTIONS_PATIENCE, Step, TrunkTester
from tests.support.virtual_time import in_virtual_time
from tests.unit.edge.test_trunk_provider import Scene


async def tried(scene: Scene) -> list[Step]:
    """What the test of the trunk says; nothing of the trunk may change by it."""
    node = scene.world["A"]
    trunk = scene.trunks.book.get("telco")
    assert trunk is not None
    tester = TrunkTester(
        scene.trunks.lines, scene.trunks.book, node.entropy, scene.world.clock.monotonic
    )
    trying = asyncio.ensure_future(tester.test(trunk))
    while not trying.done():
        await scene.pass_time(0.1)
    assert scene.trunks.book.get("telco") == trunk
    return trying.result()


@in_virtual_time
async def test_all_is_well() -> None:
    scene = Scene()
    await scene.begin()
    steps = await tried(scene)
    assert {step["step"]: step["ok"] for step in steps} == {
        "dns": True,
        "reachable": True,
        "registration": True,
        "credentials": True,
        "calls out": True,
        "calls in": None,
    }
    await scene.end()


@in_virtual_time
async def test_a_server_that_is_not_there() -> None:
    scene = Scene()
    await scene.begin()
    scene.provider.phone.die()
    steps = {step["step"]: step for step in await tried(scene)}
    where = scene.provider.phone.flow.local
    assert steps["reachable"]["ok"] is False
    assert steps["reachable"]["says"] == (
        f"UDP {where} does not answer OPTIONS in {OPTIONS_PATIENCE:g} s: "
        "check its address and port, and that no firewall is between"
    )
    assert steps["registration"]["ok"] is False
    assert steps["credentials"]["says"] == "not tried: no server answers"
    await scene.end()


@in_virtual_time
async def test_a_name_without_address(monkeypatch: pytest.MonkeyPatch) -> None:
    async def locate(target: Target) -> tuple[Hop, ...]:
        raise LocateError(f"{target.host} has no address in the DNS")

    scene = Scene()
    scene.settings = replace(scene.settings, servers=("sip.nowhere.test",))
    monkeypatch.setattr(scene.trunks.finder, "locate", locate)
    await scene.begin()
    (dns, *_) = await tried(scene)
    assert dns == {
        "step": "dns",
        "ok": False,
        "says": "sip.nowhere.test: sip.nowhere.test has no address in the DNS; "
        "name another with: ringmesh trunk set telco --server HOST",
    }
    await scene.end()


@in_virtual_time
async def test_a_wrong_password() -> None:
    scene = Scene()
    scene.password = "not it"
    await scene.begin()
    steps = {step["step"]: step for step in await tried(scene)}
    assert steps["registration"]["says"].endswith("refuses the login or password")
    assert steps["credentials"]["says"] == (
        "give others with: ringmesh trunk set telco --login … --password …"
    )
    await scene.end()
