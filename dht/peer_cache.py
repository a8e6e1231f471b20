"""What a node remembers over restarts: its peers, and when it last issued a record.

The file is one canonical array: [2, network, newest issued (ms), peers, addresses]. `peers` are
[public key, nonce, packed address and port, first heard, last heard (s since 1970)], longest known
first, in shelves of 64; `addresses` are packed addresses and ports that may lead to somebody. An
overlay id follows from key and nonce and is computed anew when the peer answers. Files of format 1
have addresses in place of peers and nothing after. The file is replaced in one step and holds
nothing secret. What cannot be read counts as nothing remembered.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from dht import canonical
from dht.canonical import CanonicalError, Value, read_array, read_bytes, read_int, read_text
from dht.frame import NONCE_BYTES
from dht.messages import MAX_TIME_MS, pack_endpoint, unpack_endpoint
from federation.model.address import AddressError, Endpoint
from federation.model.identity import KEY_BYTES, KeyFormatError, NodeId
from federation.model.network import MAX_NAME_BYTES

SHELF = 64
MAX_CACHED_PEERS = 512
MAX_CACHED_ADDRESSES = 64
MAX_CACHE_BYTES = 65_536
MAX_TIME_S = MAX_TIME_MS // 1000
_FORMAT = 2
_OLD_FORMAT = 1


class CachedPeer(NamedTuple):
    """One contact, as it is remembered."""

    key: NodeId
    nonce: bytes
    endpoint: Endpoint
    first_heard: int
    "Seconds since 1970."
    last_heard: int


@dataclass(frozen=True, slots=True)
class PeerCache:
    """The content of the file."""

    newest_issued: int = 0
    peers: tuple[CachedPeer, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()


def read_peer_cache(path: Path, network: str) -> PeerCache:
    """Read the file; an absent, damaged or foreign one reads as empty."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_CACHE_BYTES + 1)
        fields = read_array(canonical.unpack(data), 4, 5)
        version = read_int(fields[0], _OLD_FORMAT, _FORMAT)
        if read_text(fields[1], MAX_NAME_BYTES) != network:
            return PeerCache()
        newest = read_int(fields[2], 0, MAX_TIME_MS)
        if version == _OLD_FORMAT:
            return PeerCache(newest, (), _read_addresses(fields[3]))
        shelves = read_array(fields[3], 0, MAX_CACHED_PEERS // SHELF)
        peers = tuple(_read_peer(peer) for shelf in shelves for peer in read_array(shelf, 1, SHELF))
        return PeerCache(newest, peers, _read_addresses(read_array(fields, 5, 5)[4]))
    except (OSError, CanonicalError, AddressError, KeyFormatError):
        return PeerCache()


def write_peer_cache(path: Path, network: str, cache: PeerCache) -> None:
    """Replace the file in one step.

    Raises:
        OSError: it cannot be written.
    """
    peers: list[Value] = [_peer_value(peer) for peer in cache.peers[:MAX_CACHED_PEERS]]
    shelves: list[Value] = [peers[at : at + SHELF] for at in range(0, len(peers), SHELF)]
    endpoints: list[Value] = [pack_endpoint(e) for e in cache.endpoints[:MAX_CACHED_ADDRESSES]]
    data = canonical.pack([_FORMAT, network, cache.newest_issued, shelves, endpoints])
    beside = path.with_name(path.name + ".new")
    with beside.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def _read_addresses(value: Value) -> tuple[Endpoint, ...]:
    return tuple(map(unpack_endpoint, read_array(value, 0, MAX_CACHED_ADDRESSES)))


def _peer_value(peer: CachedPeer) -> Value:
    endpoint = pack_endpoint(peer.endpoint)
    return [bytes(peer.key), peer.nonce, endpoint, peer.first_heard, peer.last_heard]


def _read_peer(value: Value) -> CachedPeer:
    key, nonce, endpoint, first, last = read_array(value, 5, 5)
    return CachedPeer(
        NodeId(read_bytes(key, KEY_BYTES)),
        read_bytes(nonce, NONCE_BYTES),
        unpack_endpoint(endpoint),
        read_int(first, 0, MAX_TIME_S),
        read_int(last, 0, MAX_TIME_S),
    )
