"""Peers over restarts: who was known longest is asked first, and keeps its age.

A node's table is hard to take over because those who are in it stay. That must outlive a restart:
peers that were known are pinged before anybody else is met, longest known first, and one that
answers with its old key is as old as it was. Nobody enters the table unasked.
"""

from collections.abc import Iterable
from pathlib import Path

import structlog

from dht.peer_cache import (
    MAX_CACHED_ADDRESSES,
    MAX_CACHED_PEERS,
    CachedPeer,
    PeerCache,
    read_peer_cache,
    write_peer_cache,
)
from dht.table import Contact
from federation.model.address import Endpoint
from federation.model.clocks import Clock, Monotonic
from federation.model.network import Network

log = structlog.get_logger("dht")

FORGOTTEN_AFTER_S = 7 * 86_400
"A remembered peer that was not heard for so long is left out."
_FINE_S = 60
"Ages are kept to the minute, so that the file is not written for less."
_COARSE_S = 3_600


class Memory:
    """The peer cache of one node. Without a path nothing is remembered."""

    def __init__(self, path: Path | None, network: Network, clock: Clock) -> None:
        self._path, self._network, self._clock = path, network.name, clock
        self._written = PeerCache() if path is None else read_peer_cache(path, network.name)
        self.newest_issued = self._written.newest_issued
        "When this node issued its newest record, ms since 1970; 0: not known."
        self._peers = {peer.key: peer for peer in self._written.peers}

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Where somebody may be, longest known first."""
        known = (peer.endpoint for peer in self._peers.values())
        return tuple(dict.fromkeys((*known, *self._written.endpoints)))

    def recognise(self, contact: Contact) -> None:
        """A contact is new in the table: if it was known before, it is as old as it was."""
        peer = self._peers.get(contact.key)
        if peer is not None:
            age = max(0.0, self._clock.unix() - peer.first_heard)
            contact.first_heard = min(contact.first_heard, Monotonic(self._clock.monotonic() - age))

    def save(
        self, contacts: Iterable[Contact], *, newest_issued: int, lost: Iterable[Endpoint]
    ) -> None:
        """Write the file if it would change. Who is not in the table now is kept for a week."""
        if self._path is None:
            return
        by_age = sorted(contacts, key=lambda contact: contact.first_heard)
        current = {contact.key: self._as_cached(contact) for contact in by_age}
        oldest = self._clock.unix() - FORGOTTEN_AFTER_S
        for key, peer in self._peers.items():
            if key not in current and peer.last_heard >= oldest:
                current[key] = peer
        self._peers = dict(list(current.items())[:MAX_CACHED_PEERS])
        endpoints = () if by_age else tuple(lost)[:MAX_CACHED_ADDRESSES]
        content = PeerCache(newest_issued, tuple(self._peers.values()), endpoints)
        if content == self._written:
            return
        try:
            write_peer_cache(self._path, self._network, content)
        except OSError as error:
            log.warning("peer_cache_not_written", path=str(self._path), reason=str(error))
        else:
            self._written = content

    def _as_cached(self, contact: Contact) -> CachedPeer:
        began = self._clock.unix() - self._clock.monotonic()
        first, last = began + contact.first_heard, began + contact.last_heard
        return CachedPeer(
            contact.key,
            contact.nonce,
            contact.endpoint,
            max(0, int(first) // _FINE_S * _FINE_S),
            max(0, int(last) // _COARSE_S * _COARSE_S),
        )
