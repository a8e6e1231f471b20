"""Counted stand-ins for what would cost most of the CPU: signatures, puzzles and Argon2id.

They keep the form of the real thing (sizes, who can fail what) and none of its strength: whoever
knows a public key could make its marks. Hostile nodes of the simulation do not. Each use is
counted, and `cpu_seconds` says what the counted operations would have cost, from the table below.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import dht.directory
import dht.overlay_id
from dht.overlay_id import OverlayId
from federation.model.errors import SignatureError
from federation.model.identity import NodeId, PublicKey
from federation.model.network import Network

COSTS_US = {"sign": 41.0, "verify": 112.0, "puzzle": 510.0, "argon2id": 230_000.0}
"Microseconds of one core, measured with `cryptography` 50 on the machine of the design figures."
NETWORK = Network.named("simulation", puzzle_bits=0)
NONCE = bytes(8)


class Costs(Counter[str]):
    """How often each stand-in was used."""

    @property
    def cpu_seconds(self) -> float:
        """What the real operations would have cost."""
        return sum(COSTS_US[name] * count for name, count in self.items()) / 1e6


COSTS = Costs()
_PLACED: dict[bytes, OverlayId] = {}
"Ids that an attacker is granted wherever it wants them; the price is reported, not paid."


def _mark(key: bytes, message: bytes) -> bytes:
    return hashlib.blake2b(message, key=key, digest_size=64).digest()


class StandInKey:
    """Looks like a `NodeKey`; its marks are keyed hashes of the public bytes."""

    def __init__(self, name: bytes) -> None:
        self.id = NodeId(hashlib.sha256(b"stand-in key" + name).digest()[:31] + b"\x01")
        self.public = PublicKey(self.id)

    def sign(self, message: bytes) -> bytes:
        COSTS["sign"] += 1
        return _mark(bytes(self.id), message)


def verify(key: PublicKey, signature: bytes, message: bytes) -> None:
    COSTS["verify"] += 1
    if signature != _mark(bytes(key), message):
        raise SignatureError("the stand-in signature does not hold")


def overlay_id(key: NodeId, nonce: bytes, network: Network) -> OverlayId:
    COSTS["puzzle"] += 1
    return place_of(key)


def place_of(key: NodeId) -> OverlayId:
    placed = _PLACED.get(bytes(key))
    return placed or OverlayId(hashlib.sha256(b"stand-in id" + key).digest())


def place(key: NodeId, id_: OverlayId) -> None:
    """Give an attacker's key the id it wants."""
    _PLACED[bytes(key)] = id_


@contextmanager
def installed() -> Iterator[Costs]:
    """Put the stand-ins in place of the real operations, and count from zero."""
    COSTS.clear()
    _PLACED.clear()
    with (
        patch.object(PublicKey, "verify", verify),
        patch.object(dht.overlay_id, "overlay_id", overlay_id),
        patch.object(dht.directory, "overlay_id", overlay_id),
    ):
        yield COSTS
