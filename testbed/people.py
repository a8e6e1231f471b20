"""The people of a testbed: each a phone, the account that it registers as, and their node."""

import sys
from dataclasses import dataclass
from typing import Any

from node.phone.phone import Phone
from testbed.desk import NodeDesk
from testbed.folder import Folder
from testbed.topology import Placed, Topology

NUMBER_WITHIN = 20.0
"Seconds for an account's number."
REGISTER_WITHIN = 20.0


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who can call and be called."""

    name: str
    phone: Phone
    desk: NodeDesk
    "Their node."
    server: str
    "What the phone has as its server."
    account: dict[str, Any]

    @property
    def number(self) -> str:
        """What others dial."""
        return str(self.account["number"])

    async def register(self) -> None:
        """Tell the node where the phone is. Raises: PhoneError."""
        await self.phone.register(
            self.account["login"],
            self.account["password"],
            server=self.server,
            within=REGISTER_WITHIN,
        )


def phone_at(name: str, part: Placed, folder: Folder) -> Phone:
    """The phone of that name, reached through its handset."""
    line = (sys.executable, "-m", "testbed.line", str(folder.handset(name)))
    return Phone(local_ip=str(part.address), name=name, child=line)


async def person(topology: Topology, name: str, folder: Folder, desk: NodeDesk) -> Person:
    """Give a phone of the topology its account; it is neither started nor registered yet."""
    part = topology.phones[name]
    account = await desk.account(name, within=NUMBER_WITHIN)
    return Person(name, phone_at(name, part, folder), desk, topology.server_of(name), account)
