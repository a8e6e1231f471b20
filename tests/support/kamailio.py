"""Runs Kamailio as a provider that the node has an account at, or as a PBX behind it."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.ports import free_port
from tests.support.programs import Program, running

CONFIG = Path(__file__).parent / "kamailio.cfg"
IP = "127.0.9.9"
"Neither a node's nor a phone's: what comes from it is Kamailio's."
REALM = "provider.test"
PASSWORD = "provider secret"
LOGIN = "u100"
"The node's account at the provider."


@dataclass(frozen=True, slots=True)
class Kamailio:
    """One that runs."""

    program: Program
    address: str
    "`IP:PORT`"

    def account(self, login: str) -> dict[str, str]:
        """What a phone needs to register there."""
        return {"login": login, "password": PASSWORD, "server": self.address}


@contextlib.asynccontextmanager
async def kamailio(folder: Path, node: str, *, is_pbx: bool = False) -> AsyncIterator[Kamailio]:
    """Run it until the block ends; `node` is the `IP:PORT` of the node that it works with."""
    address = f"{IP}:{free_port(IP)}"
    given = {
        "REALM": REALM,
        "PASSWORD": PASSWORD,
        "NODE": node,
        "NODE_IP": node.rpartition(":")[0],
    }
    defines = [f'{key}="{value}"' for key, value in given.items()]
    if is_pbx:
        defines.append("PBX=1")
    options = [part for define in defines for part in ("-A", define)]
    command = ("kamailio", "-DD", "-E", "-f", str(CONFIG), "-l", f"udp:{address}")
    folder.mkdir(parents=True, exist_ok=True)
    pid_file = str(folder / "kamailio.pid")
    async with running(
        *command, "-Y", str(folder), "-P", pid_file, "-m", "32", "-M", "4", *options
    ) as program:
        yield Kamailio(program, address)
