"""What is remembered of peers over restarts, and how the file is kept."""

import asyncio
from pathlib import Path

from dht import canonical
from dht.memory import FORGOTTEN_AFTER_S, Memory
from dht.messages import pack_endpoint
from dht.overlay_id import OverlayId
from dht.peer_cache import (
    MAX_CACHE_BYTES,
    MAX_CACHED_PEERS,
    CachedPeer,
    PeerCache,
    read_peer_cache,
    write_peer_cache,
)
from dht.table import Contact
from federation.model.address import Endpoint
from federation.model.clocks import Monotonic, UnixTime
from federation.model.identity import NodeKey
from tests.support.dht_network import TESTNET, MemoryNetwork
from tests.support.virtual_loop import run_virtually

SOMEWHERE = Endpoint("192.0.2.1", 7060)
SOMEWHERE6 = Endpoint("2001:db8::1", 1)


def a_key(number: int) -> NodeKey:
    return NodeKey(number.to_bytes(32, "little"))


def a_peer(number: int) -> CachedPeer:
    endpoint = Endpoint(f"2001:db8:{number}::1", 7060)
    return CachedPeer(a_key(number).id, bytes(8), endpoint, 1_900_000_000, 1_900_003_600)


class FixedClock:
    def __init__(self, monotonic: float, unix: float) -> None:
        self.now, self.wall = monotonic, unix

    def monotonic(self) -> Monotonic:
        return Monotonic(self.now)

    def unix(self) -> UnixTime:
        return UnixTime(self.wall)


def a_contact(number: int, *, first: float, last: float) -> Contact:
    peer = a_peer(number)
    id_ = OverlayId(number.to_bytes(32, "big"))
    contact = Contact(id_, peer.key, peer.nonce, peer.endpoint, now=Monotonic(first))
    contact.last_heard = Monotonic(last)
    return contact


def test_the_file_survives_and_damage_reads_as_nothing(tmp_path: Path) -> None:
    path = tmp_path / "peers"
    cache = PeerCache(1_900_000_000_000, (a_peer(1), a_peer(2)), (SOMEWHERE, SOMEWHERE6))
    assert read_peer_cache(path, "test") == PeerCache()
    write_peer_cache(path, "test", cache)
    assert read_peer_cache(path, "test") == cache
    assert read_peer_cache(path, "main") == PeerCache()
    assert list(tmp_path.iterdir()) == [path]
    whole = path.read_bytes()
    for damaged in (b"", whole[:-1], whole + b"\0", b"\x80\x03cos\nsystem", bytes(99_999)):
        path.write_bytes(damaged)
        assert read_peer_cache(path, "test") == PeerCache()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes((whole[at] ^ 0xFF,)) + whole[at + 1 :])
        read_peer_cache(path, "test")


def test_a_full_file_fits_and_more_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "peers"
    peers = tuple(a_peer(n) for n in range(1, MAX_CACHED_PEERS + 20))
    write_peer_cache(path, "test", PeerCache(5, peers, (SOMEWHERE6,) * 70))
    assert path.stat().st_size <= MAX_CACHE_BYTES
    assert read_peer_cache(path, "test").peers == peers[:MAX_CACHED_PEERS]


def test_addresses_of_an_older_file_are_read(tmp_path: Path) -> None:
    path = tmp_path / "peers"
    path.write_bytes(canonical.pack([1, "test", 77, [pack_endpoint(SOMEWHERE)]]))
    assert read_peer_cache(path, "test") == PeerCache(77, (), (SOMEWHERE,))


def test_who_was_known_longest_comes_first_and_stays_as_old(tmp_path: Path) -> None:
    path = tmp_path / "peers"
    clock = FixedClock(10_000.0, 1_900_000_000.0)
    memory = Memory(path, TESTNET, clock)
    young, old = a_contact(1, first=9_000.0, last=9_999.0), a_contact(2, first=100.0, last=9_000.0)
    memory.save([young, old], newest_issued=5, lost=())
    clock.now, clock.wall = 50.0, 1_900_000_600.0
    again = Memory(path, TESTNET, clock)
    assert again.newest_issued == 5
    assert again.endpoints() == (old.endpoint, young.endpoint)
    met = a_contact(2, first=40.0, last=40.0)
    again.recognise(met)
    assert -10_600 < met.first_heard < -10_400
    stranger = a_contact(3, first=40.0, last=40.0)
    again.recognise(stranger)
    assert stranger.first_heard == 40.0


def test_who_is_silent_now_is_kept_for_a_week(tmp_path: Path) -> None:
    """A restart during a failure of the network does not make the node forget everybody."""
    path = tmp_path / "peers"
    clock = FixedClock(10_000.0, 1_900_000_000.0)
    memory = Memory(path, TESTNET, clock)
    both = [a_contact(1, first=100.0, last=9_999.0), a_contact(2, first=200.0, last=9_999.0)]
    memory.save(both, newest_issued=5, lost=())
    memory.save(both[1:], newest_issued=5, lost=())
    assert set(Memory(path, TESTNET, clock).endpoints()) == {c.endpoint for c in both}
    clock.wall += FORGOTTEN_AFTER_S + 3_600
    clock.now += FORGOTTEN_AFTER_S + 3_600
    both[1].last_heard = clock.monotonic()
    memory.save(both[1:], newest_issued=5, lost=())
    assert Memory(path, TESTNET, clock).endpoints() == (both[1].endpoint,)


def test_a_file_that_would_not_change_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "peers"
    clock = FixedClock(10_000.0, 1_900_000_000.0)
    memory = Memory(path, TESTNET, clock)
    contact = a_contact(1, first=100.0, last=9_999.0)
    memory.save([contact], newest_issued=5, lost=())
    path.unlink()
    contact.last_heard = Monotonic(10_001.0)
    memory.save([contact], newest_issued=5, lost=())
    assert not path.exists()
    memory.save([contact], newest_issued=6, lost=())
    assert path.exists()


def test_a_restarted_node_has_its_table_again_with_its_ages(tmp_path: Path) -> None:
    """More peers than are asked at once; each is pinged before it enters; who went is not in."""

    async def run() -> None:
        network = MemoryNetwork()
        nodes = [
            await network.node(n, cache=tmp_path / "peers" if n == 1 else None)
            for n in range(1, 41)
        ]
        for node in nodes[1:]:
            await node.directory.join([nodes[0].endpoint])
        await asyncio.sleep(600)
        before = {c.node for c in nodes[0].directory.contacts()}
        assert len(before) > 30
        await network.stop(nodes[0])
        gone = nodes[5]
        await network.stop(gone)
        await asyncio.sleep(60)
        again = await network.node(1, cache=tmp_path / "peers")
        await asyncio.sleep(10)
        after = {c.node for c in again.directory.contacts()}
        assert len(after) > 30
        assert gone.key.id not in after
        now = again.clock.monotonic()
        ages = [now - contact.first_heard for contact in again.directory._table]
        assert min(ages) > 500
        await network.close()

    run_virtually(run())
