"""A node's accounts use its TURN server with the password of their phones."""

import asyncio
import json
import socket
from pathlib import Path

import pytest

from federation.model.address import Endpoint
from media_relay.stun.attributes import Attribute, Method
from tests.support.nodes import add_user, running_nodes
from tests.support.turn_core import UDP, code_of
from tests.support.turn_wire import WireClient


def relay_something(server: Endpoint, transport: str, login: str, password: str) -> int:
    """Allocate, and send a datagram to a socket of ours and back; the error code, 0 if it came."""
    client = WireClient(server, login, transport=transport)
    client.password = password
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        peer.settimeout(5)
        try:
            code = code_of(client.ask(Method.ALLOCATE, [(Attribute.REQUESTED_TRANSPORT, UDP)]))
            if code:
                return code
            assert code_of(client.bind(0x4000, Endpoint.of(peer.getsockname()))) == 0
            client.wire.send(b"\x40\x00\x00\x05hello")
            data, relay = peer.recvfrom(100)
            assert data == b"hello"
            peer.sendto(b"hello yourself", relay)
            assert client.wire.hear() == b"\x40\x00\x00\x0ehello yourself"
            return code_of(client.refresh(0))
        finally:
            client.close()


@pytest.mark.slow
async def test_accounts_use_turn_with_their_password(tmp_path: Path) -> None:
    """Over UDP, TCP and TLS; a new password holds at once, a removed account is refused."""
    settings = tmp_path / "node.toml"
    settings.write_text('[relay]\nallow_peers = ["127.0.0.0/8"]\n')
    options = ("--no-mdns", "--workers", "2", "--config", str(settings))
    async with running_nodes(tmp_path, 1, options=options) as (node,):
        alice = await add_user(node, "alice")
        turn = alice["turn"]
        assert turn["username"] == "alice"
        for uri in turn["uris"]:
            scheme, _, rest = uri.partition(":")
            address, _, transport = rest.partition("?transport=")
            wire = "tls" if scheme == "turns" else transport
            server = Endpoint.parse(address)
            code = await asyncio.to_thread(
                relay_something, server, wire, "alice", alice["password"]
            )
            assert code == 0, uri
        server = Endpoint.parse(turn["uris"][0][5:].partition("?")[0])
        code, printed, _ = await node.command("turn", "credentials", "alice", "--json")
        assert code == 0
        lent = json.loads(printed)
        spent = lent["username"], lent["password"]
        assert await asyncio.to_thread(relay_something, server, "udp", *spent) == 0
        assert (await node.command("user", "passwd", "alice", "--json"))[0] == 0
        wrong = await asyncio.to_thread(relay_something, server, "udp", "alice", alice["password"])
        assert wrong == 401
        assert (await node.command("user", "remove", "alice"))[0] == 0
        gone = await asyncio.to_thread(relay_something, server, "udp", "alice", "whatever")
        assert gone == 401
