"""What a node remembers over restarts: its peers, and when it last issued a record.

The file is one canonical array: [1, network, newest issued (ms), [packed
address and port, ...]]. It is replaced in one step and holds nothing secret. What cannot be read
counts as nothing remembered.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from dht import canonical
from dht.canonical import CanonicalError, Value, read_array, read_int, read_text
from dht.messages import MAX_TIME_MS, pack_endpoint, unpack_endpoint
from federation.model.address import AddressError, Endpoint
from federation.model.network import MAX_NAME_BYTES

MAX_CACHED_PEERS = 64
MAX_CACHE_BYTES = 16_384
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class PeerCache:
    """The content of the file."""

    newest_issued: int = 0
    endpoints: tuple[Endpoint, ...] = ()


def read_peer_cache(path: Path, network: str) -> PeerCache:
    """Read the file; an absent, damaged or foreign one reads as empty."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_CACHE_BYTES + 1)
        version, name, newest, peers = read_array(canonical.unpack(data), 4, 4)
        read_int(version, _FORMAT, _FORMAT)
        if read_text(name, MAX_NAME_BYTES) != network:
            return PeerCache()
        endpoints = tuple(map(unpack_endpoint, read_array(peers, 0, MAX_CACHED_PEERS)))
        return PeerCache(read_int(newest, 0, MAX_TIME_MS), endpoints)
    except (OSError, CanonicalError, AddressError):
        return PeerCache()


def write_peer_cache(path: Path, network: str, cache: PeerCache) -> None:
    """Replace the file in one step.

    Raises:
        OSError: it cannot be written.
    """
    peers: list[Value] = [pack_endpoint(e) for e in cache.endpoints[:MAX_CACHED_PEERS]]
    data = canonical.pack([_FORMAT, network, cache.newest_issued, peers])
    beside = path.with_name(path.name + ".new")
    with beside.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
