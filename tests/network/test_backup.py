"""A node that is moved by a backup: calls reach its users as before, with sound."""

from pathlib import Path

import pytest

from tests.support.nodes import NodeProcess, add_user, free_places, phone_of, running_nodes
from tests.support.programs import needs_pjsua2
from tests.support.talk import talk

PASSPHRASE = "tiny paper boats"


@needs_pjsua2
@pytest.mark.slow
async def test_a_node_moves_to_another_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Backed up while it runs, put back elsewhere; key, numbers and passwords come along."""
    monkeypatch.setenv("RINGMESH_PASSPHRASE", PASSPHRASE)
    file = str(tmp_path / "backup")
    async with running_nodes(tmp_path, 2) as (a, b):
        alice, bob = await add_user(a, "alice"), await add_user(b, "bob")
        await a.finds(bob["number"])
        made = await b.ask("backup", file)
        assert (made["node_id"], made["accounts"]) == (b.status["node_id"], 2)
        await b.stop_cleanly()

        moved = NodeProcess(
            "moved",
            free_places(1)[0],
            folder=tmp_path,
            network=a._network,
            options=("--no-mdns", "--workers", "1", "--join", a.place.mesh),
        )
        restored = await moved.ask("restore", file)
        assert restored["node_id"] == b.status["node_id"]
        async with moved:
            await moved.ready()
            await moved.meets(1)
            assert moved.status["node_id"] == b.status["node_id"]
            bob["server"] = (await moved.get("users", "bob"))["server"]
            await a.finds(bob["number"])
            async with phone_of(alice) as phone_a, phone_of(bob) as phone_b:
                await moved.has(registrations=1)
                there = await talk(phone_a, phone_b, f"sip:{bob['number']}@{alice['server']}")
                await there.is_heard()
                await there.hang_up()
                back = await talk(phone_b, phone_a, f"sip:{alice['number']}@{bob['server']}")
                await back.is_heard()
                await back.hang_up()
            await moved.stop_cleanly()


@needs_pjsua2
@pytest.mark.slow
async def test_a_user_moves_to_another_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With number and password; while both nodes have the account, both are found."""
    monkeypatch.setenv("RINGMESH_PASSPHRASE", PASSPHRASE)
    file = str(tmp_path / "bob")
    async with running_nodes(tmp_path, 3) as (a, b, c):
        alice, bob = await add_user(a, "alice"), await add_user(b, "bob")
        await a.finds(bob["number"])
        await b.ask("user", "export", "bob", file)
        arrived = await c.ask("user", "import", file)
        assert arrived["number"] == bob["number"]
        assert "password" not in arrived
        await a.until_resolved(bob["number"], {b.status["node_id"], c.status["node_id"]})
        await b.ask("user", "remove", "bob")
        await a.until_resolved(bob["number"], {c.status["node_id"]})
        moved = arrived | {"password": bob["password"]}
        async with phone_of(alice) as phone_a, phone_of(moved) as phone_b:
            call = await talk(phone_a, phone_b, f"sip:{bob['number']}@{alice['server']}")
            await call.is_heard()
            await call.hang_up()
