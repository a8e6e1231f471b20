"""The one UDP port."""

import asyncio
import itertools
import socket

import pytest

from federation.mesh import DATAGRAMS_A_TURN, MeshSocket
from federation.model.address import Endpoint
from federation.model.errors import ConfigError

LOOPBACK = "127.0.0.1"


async def test_datagrams_go_by_their_first_byte() -> None:
    got: list[tuple[str, int, Endpoint]] = []
    async with MeshSocket([LOOPBACK], 0) as a, MeshSocket([LOOPBACK], 0) as b:
        b.on_quic = lambda data, source: got.append(("quic", data[0], source))
        b.on_dht = lambda data, source: got.append(("dht", data[0], source))
        b.on_stun = lambda data, source: got.append(("stun", data[0], source))
        for first in (0, 3, 4, 5, 7, 8, 9, 63, 64, 255):
            a.send(bytes([first]), b.local_endpoints[0])
        async with asyncio.timeout(3):
            while b.received.total() < 10:
                await asyncio.sleep(0.005)
        me = a.local_endpoints[0]
        assert got == [
            ("stun", 0, me),
            ("stun", 3, me),
            ("dht", 8, me),
            ("quic", 64, me),
            ("quic", 255, me),
        ]
        assert b.received == {"stun": 2, "dht": 1, "quic": 2, "unknown": 5}
        assert b.bytes_received == a.bytes_sent == 10


async def test_both_families_have_the_same_port_and_one_form_of_address() -> None:
    sources: list[Endpoint] = []
    async with MeshSocket([LOOPBACK, "::1"], 0) as mesh, MeshSocket(["::1"], 0) as other:
        v4, v6 = mesh.local_endpoints
        assert v4.port == v6.port != 0
        mesh.on_dht = lambda data, source: sources.append(source)
        other.send(b"\x08", v6)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
            plain.bind((LOOPBACK, 0))
            plain.sendto(b"\x08", v4)
            async with asyncio.timeout(3):
                while len(sources) < 2:
                    await asyncio.sleep(0.005)
            assert set(sources) == {other.local_endpoints[0], Endpoint(*plain.getsockname())}


@pytest.mark.parametrize(
    ("wildcard", "asked", "peer"), [("0.0.0.0", "127.0.0.5", LOOPBACK), ("::", "::1", "::1")]
)
async def test_a_socket_on_all_addresses_answers_from_the_one_that_was_asked(
    wildcard: str, asked: str, peer: str
) -> None:
    answers: list[Endpoint] = []
    async with MeshSocket([wildcard], 0) as mesh, MeshSocket([peer], 0) as other:
        target = Endpoint(asked, mesh.local_endpoints[0].port)
        mesh.on_dht = lambda data, source: mesh.send(b"\x08", source)
        other.on_dht = lambda data, source: answers.append(source)
        other.send(b"\x08", target)
        async with asyncio.timeout(3):
            while not answers:
                await asyncio.sleep(0.005)
        assert answers == [target]


async def test_a_flood_of_one_kind_lets_others_have_their_turn() -> None:
    async with MeshSocket([LOOPBACK], 0) as a, MeshSocket([LOOPBACK], 0) as b:
        turns: list[int] = []
        b.on_quic = lambda data, source: None

        def count() -> None:
            turns.append(b.received["quic"])
            asyncio.get_running_loop().call_soon(count)

        for _ in range(3 * DATAGRAMS_A_TURN):
            a.send(b"\x40", b.local_endpoints[0])
        count()
        async with asyncio.timeout(3):
            while b.received["quic"] < 3 * DATAGRAMS_A_TURN:
                await asyncio.sleep(0)
        steps = {later - earlier for earlier, later in itertools.pairwise(turns)}
        assert max(steps) <= DATAGRAMS_A_TURN


async def test_a_port_in_use_is_said_so() -> None:
    async with MeshSocket([LOOPBACK], 0) as mesh:
        taken = mesh.local_endpoints[0].port
        with pytest.raises(ConfigError, match=f"127.0.0.1:{taken} .UDP. is in use"):
            await MeshSocket([LOOPBACK], taken).start()


async def test_an_address_of_another_machine_is_said_so() -> None:
    with pytest.raises(ConfigError, match="cannot be bound"):
        await MeshSocket(["192.0.2.1"], 0).start()


@pytest.mark.parametrize("hosts", [[], [LOOPBACK, "127.0.0.2"], ["::1", "::"]])
def test_one_address_of_each_family_at_most(hosts: list[str]) -> None:
    with pytest.raises(ConfigError):
        MeshSocket(hosts, 0)


async def test_what_cannot_be_sent_is_counted_as_lost() -> None:
    async with MeshSocket([LOOPBACK], 0) as mesh:
        mesh.send(b"\x08", Endpoint("::1", 9))
        mesh.send(bytes(70_000), Endpoint(LOOPBACK, 9))
        assert (mesh.unsent, mesh.bytes_sent) == (2, 0)
    mesh.send(b"\x08", Endpoint(LOOPBACK, 9))
    assert mesh.unsent == 3
    mesh.close()
