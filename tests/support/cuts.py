"""Cuts the mesh between two nodes of this machine: their datagrams vanish, their media goes on."""

import asyncio
import contextlib
import os
import secrets
import shutil
import subprocess
from collections.abc import AsyncIterator

import pytest

from tests.support.nodes import Place

_RULES = """
table inet {table} {{
    chain cut {{
        type filter hook input priority 0; policy accept;
        ip saddr {a} ip daddr {b} udp dport {b_port} drop
        ip saddr {b} ip daddr {a} udp dport {a_port} drop
    }}
}}
"""
_PROBE = """
table inet ringmesh_probe {
    chain c {
        type filter hook input priority 0;
    }
}
"""


class Cut:
    """Drops the mesh datagrams between two places, both ways, while `is_cut`."""

    def __init__(self, a: Place, b: Place) -> None:
        self._table = f"ringmesh_{secrets.token_hex(4)}"
        self._rules = _RULES.format(
            table=self._table,
            a=a.ip,
            b=b.ip,
            a_port=7060 + a.port_offset,
            b_port=7060 + b.port_offset,
        )
        self.is_cut = False

    async def cut(self) -> None:
        """From now on nothing arrives."""
        await self._nft("-f", "-", rules=self._rules)
        self.is_cut = True

    async def restore(self) -> None:
        """From now on everything arrives again."""
        if self.is_cut:
            await self._nft("delete", "table", "inet", self._table)
            self.is_cut = False

    async def _nft(self, *arguments: str, rules: str = "") -> None:
        done = await asyncio.to_thread(
            subprocess.run,
            ["nft", *arguments],
            input=rules,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            pytest.fail(f"nft {' '.join(arguments)}: {done.stderr}")


@contextlib.asynccontextmanager
async def cutting(a: Place, b: Place) -> AsyncIterator[Cut | None]:
    """A cut that can be made; restored afterwards. `None` where packets cannot be filtered."""
    if not can_cut():
        yield None
        return
    cut = Cut(a, b)
    try:
        yield cut
    finally:
        await cut.restore()


def can_cut() -> bool:
    """Whether this process may filter packets."""
    if shutil.which("nft") is None or os.geteuid() != 0:
        return False
    tried = subprocess.run(
        ["nft", "--check", "-f", "-"],
        input=_PROBE,
        capture_output=True,
        text=True,
        check=False,
    )
    return tried.returncode == 0
