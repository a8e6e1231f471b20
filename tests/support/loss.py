"""Loses SIP datagrams between nodes and their phones, both ways; the mesh is left alone."""

import contextlib
import secrets
import subprocess
from collections.abc import Iterator, Sequence

import pytest

from node.spawned import Place
from tests.support.cuts import can_cut

_CHAIN = """
table inet {table} {{
    chain lose {{
        type filter hook input priority 0; policy accept;
        {rules}
    }}
}}
"""
_RULE = """
        ip daddr {ip} udp dport {port} numgen random mod 100 < {percent} counter drop
        ip saddr {ip} udp sport {port} numgen random mod 100 < {percent} counter drop
"""


@contextlib.contextmanager
def losing(places: Sequence[Place], percent: int) -> Iterator[None]:
    """Lose `percent` of the datagrams to and from the SIP port of each node, while in the block."""
    table = f"ringmesh_{secrets.token_hex(4)}"
    rules = "".join(_RULE.format(ip=p.ip, port=p.sip_port, percent=percent) for p in places)
    _nft("-f", "-", rules=_CHAIN.format(table=table, rules=rules))
    try:
        yield
    finally:
        _nft("delete", "table", "inet", table)


needs_filter = pytest.mark.skipif(
    not can_cut(), reason="datagrams are lost by nft: apt-get install nftables, and be root"
)
"Marks tests that lose datagrams."


def _nft(*arguments: str, rules: str = "") -> None:
    done = subprocess.run(
        ["nft", *arguments], input=rules, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"nft {' '.join(arguments)}: {done.stderr}")
