"""Requests over 1,300 bytes reach a real phone that registered over UDP, in one piece by TCP."""

import socket
from pathlib import Path

import pytest

from tests.support.nodes import add_user, phone_of, running_nodes
from tests.support.programs import needs_pjsua2

pytestmark = [needs_pjsua2, pytest.mark.slow]
ESTABLISHED = "01"


def dialled_from(ip: str, own_ports: set[int]) -> int:
    """How many established TCP connections begin at `ip` at another port than these."""
    wanted = socket.inet_aton(ip)[::-1].hex().upper()
    count = 0
    for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]:
        fields = line.split()
        host, _, port = fields[1].rpartition(":")
        if (host, fields[3]) == (wanted, ESTABLISHED) and int(port, 16) not in own_ports:
            count += 1
    return count


async def test_a_long_message_arrives_over_tcp(tmp_path: Path) -> None:
    text = "long " * 600
    async with running_nodes(tmp_path, 1) as (node,):
        alice, bob = await add_user(node, "alice"), await add_user(node, "bob")
        ip, own = node.place.ip, {node.place.sip_port, node.place.sip_port + 1}
        async with phone_of(alice) as sender, phone_of(bob) as phone:
            assert await sender.send_message("bob", "short") == 200
            assert (await phone.next_message()).text == "short"
            assert dialled_from(ip, own) == 0
            assert await sender.send_message("bob", text) == 200
            assert (await phone.next_message()).text == text
            assert dialled_from(ip, own) == 1
