"""Two nodes for all calls between phones of different makes."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from tests.support.nodes import Account, NodeProcess, add_user, running_nodes
from tests.support.programs import needs, needs_pjsua2

NEEDED = [
    pytest.mark.interop,
    needs("baresip"),
    needs("linphonec"),
    needs_pjsua2,
    pytest.mark.asyncio(loop_scope="session"),
]
"What the tests here are marked with."


@dataclass
class Mesh:
    """Two nodes; alice and dora on the first, bob and carol on the second."""

    nodes: list[NodeProcess]
    alice: Account
    dora: Account
    bob: Account
    carol: Account

    def dialled(self, caller: str, callee: str) -> str:
        """What a phone of `caller` dials."""
        number = getattr(self, callee)["number"]
        return f"sip:{number}@{getattr(self, caller)['server']}"

    async def is_idle(self) -> None:
        """Both nodes have let go of every call."""
        for node in self.nodes:
            await node.has(calls=0)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mesh]:
    async with running_nodes(tmp_path_factory.mktemp("nodes"), 2) as nodes:
        here, there = nodes
        alice, dora, bob, carol = await asyncio.gather(
            *(add_user(here, login) for login in ("alice", "dora")),
            *(add_user(there, login) for login in ("bob", "carol")),
        )
        await asyncio.gather(
            *(there.finds(account["number"]) for account in (alice, dora)),
            *(here.finds(account["number"]) for account in (bob, carol)),
        )
        yield Mesh(nodes, alice, dora, bob, carol)
