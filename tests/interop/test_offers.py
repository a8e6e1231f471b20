"""A provider's trunk serves another node: published, found, allowed on both sides, and called."""

from pathlib import Path

import pytest

from node.phone.check import measure_call
from node.phone.choices import Answer, Tone
from node.phone.errors import CallFailed
from tests.interop.test_trunks import ABROAD, has_state, sip_address
from tests.support.kamailio import LOGIN, PASSWORD, REALM, kamailio
from tests.support.nodes import NodeProcess, add_user, free_places, phone_of, running_nodes
from tests.support.programs import needs, needs_pjsua2

pytestmark = [pytest.mark.interop, needs_pjsua2]


@needs("kamailio")
async def test_a_number_is_called_over_the_trunk_of_another_node(tmp_path: Path) -> None:
    async with running_nodes(tmp_path, 1) as (first,):
        status = await first.get("status")
        key = status["node_id"]
        settings = tmp_path / "second.toml"
        settings.write_text(f'[dialling]\noffers_from = ["telco@{key}.ringmesh.alt"]\n')
        second = NodeProcess(
            "second",
            free_places(1)[0],
            folder=tmp_path,
            network=status["network"],
            options=(
                *("--no-mdns", "--workers", "1", "--join", first.place.mesh),
                *("--config", str(settings)),
            ),
        )
        async with kamailio(tmp_path / "k", sip_address(first)) as provider, second:
            await second.ready()
            await second.meets(1)
            alice = await add_user(second, "alice")
            other = (await second.get("status"))["node_id"]
            options = ["--login", LOGIN, "--password", PASSWORD, "--prefix", "+", "--domain", REALM]
            options += ["--server", provider.address, "--caller", "+49301234567"]
            options += ["--offer", "+44", "--offer-to", other]
            await first.ask("trunk", "add", "telco", "--provider", *options)
            await has_state(first, "telco", "registered")
            await second.finds(ABROAD)
            why = await second.ask("why", ABROAD)
            (offer,) = [look for look in why["lookups"] if look["record"] == "prefixes"]
            assert offer["records"][0]["prefixes"] == ["+44"]
            assert (why["kind"], why["nodes"][0]["node_id"]) == ("offer", key)
            async with (
                phone_of(alice) as caller,
                phone_of(provider.account(ABROAD), policy=Answer(), playing=Tone(880)) as abroad,
            ):
                dialled = f"sip:{ABROAD}@{sip_address(second)}"
                report = await measure_call(caller, abroad, dialled)
                assert report.problems == ()
                await first.ask("trunk", "set", "telco", "--offer-to", "a" * 51 + "q")
                with pytest.raises(CallFailed) as caught:
                    await (await caller.call(dialled)).wait_confirmed()
                assert caught.value.status == 404
            await second.stop_cleanly()
