"""Calls through a PBX with a trunk, and through a provider with a number; both are Kamailio."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

from node.control import RefusedError
from node.phone.check import CallReport, measure_call
from node.phone.phone import Phone
from testbed.desk import CONFLICT, NodeDesk
from testbed.folder import Folder
from testbed.limits import ANSWER_WITHIN, SECONDS
from testbed.people import Person, phone_at
from testbed.programs import PASSWORD, PROVIDER_LOGIN, REALM
from testbed.topology import SIP_PORT, Provider, ServerPhone, Topology

STATE_WITHIN = 30.0
"Seconds until a trunk works."
FIND_WITHIN = 30.0
People = Mapping[str, Person]
Reports = AsyncIterator[tuple[str, CallReport]]


async def pbx_calls(topology: Topology, folder: Folder, people: People) -> Reports:
    """From another node to an extension behind a PBX, and from there to a number of the mesh.

    Raises:
        RingmeshError: the trunk does not work, or a phone cannot register.
    """
    for name, pbx in topology.pbxs.items():
        near = next(one for one in people.values() if one.desk.name == pbx.node)
        far = next(one for one in people.values() if one.desk.name != pbx.node)
        trunk = await _trunk(
            near.desk,
            {
                "name": name,
                "kind": "pbx",
                "static": f"{pbx.address}:{SIP_PORT}",
                "mode": "per-user",
            },
            "reachable",
        )
        await far.desk.finds(trunk["number"], within=FIND_WITHIN)
        async with _phone(pbx.phone, folder, f"{pbx.address}:{SIP_PORT}") as desk_phone:
            inward = f"{trunk['number']}*{pbx.phone.user}"
            yield (
                f"{far.name} calls {pbx.phone.user} behind {name}",
                await _measured(far.phone, desk_phone, inward),
            )
            outward = f"sip:{far.number}@{pbx.address}:{SIP_PORT}"
            yield (
                f"{pbx.phone.user} behind {name} calls {far.name}",
                await _measured(desk_phone, far.phone, outward),
            )


async def provider_calls(topology: Topology, folder: Folder, people: People) -> Reports:
    """Out by prefix to a telephone number, and in by the number that leads to a user.

    Raises:
        RingmeshError: the node cannot register there, or a phone cannot.
    """
    for name, provider in topology.providers.items():
        one = people[provider.leads_to]
        with contextlib.suppress(RefusedError):  # of an earlier run
            await one.desk.delete("dids", provider.did)
        await _trunk(one.desk, _provider_trunk(name, provider), "registered")
        server = f"{provider.address}:{SIP_PORT}"
        async with _phone(provider.phone, folder, server) as abroad:
            number = f"00{provider.phone.user.removeprefix('+')}"
            yield f"{one.name} calls {number}", await _measured(one.phone, abroad, number)
            yield (
                f"{provider.phone.user} calls {provider.did}",
                await _measured(abroad, one.phone, f"sip:{provider.did}@{server}"),
            )


def _provider_trunk(name: str, provider: Provider) -> dict[str, Any]:
    return {
        "name": name,
        "kind": "provider",
        "servers": [f"{provider.address}:{SIP_PORT}"],
        "login": PROVIDER_LOGIN,
        "password": PASSWORD,
        "domain": REALM,
        "rules": ["00=+", "+"],
        "dids": [f"{provider.did}={provider.leads_to}"],
    }


async def _trunk(desk: NodeDesk, wanted: dict[str, Any], state: str) -> dict[str, Any]:
    """A trunk that is as `wanted` and in that state; one of an earlier run is made anew."""
    try:
        await desk.post("trunks", **wanted)
    except RefusedError as error:
        if error.status != CONFLICT:
            raise
        await desk.delete("trunks", wanted["name"])
        await desk.post("trunks", **wanted)
    shown: dict[str, Any] = await desk.until(
        lambda trunk: bool(trunk["state"] == state),
        "trunks",
        wanted["name"],
        within=STATE_WITHIN,
        what=f"{state} as {wanted['name']}",
    )
    return shown


@contextlib.asynccontextmanager
async def _phone(part: ServerPhone, folder: Folder, server: str) -> AsyncIterator[Phone]:
    async with phone_at(part.name, part, folder) as phone:
        await phone.register(part.user, PASSWORD, server=server)
        yield phone


async def _measured(caller: Phone, callee: Phone, target: str) -> CallReport:
    return await measure_call(caller, callee, target, seconds=SECONDS, within=ANSWER_WITHIN)
