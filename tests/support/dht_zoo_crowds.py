"""Hostile peers whose harm is in their number: of ids, of faces, of claims."""

from dataclasses import replace
from typing import ClassVar

from dht import messages
from dht.messages import ContactEntry, Observed, Part
from dht.overlay_id import overlay_id
from dht.publisher import Issuer, Publication
from dht.record import Kind, positions
from federation.model.address import Endpoint
from federation.model.identity import AccountKey, NodeKey
from federation.model.number import Number
from tests.support.dht_zoo import ZOO, ZooNode, zoo_key
from tests.support.dht_zoo_peers import CLOCK, ENTROPY, Asked, Liar, Peer

MAX_CLAIMS = 2
"Claims in one answer of `ClaimHolder`, so that it is one datagram."


class ManyFaces(Peer):
    """Answers once as itself, and before that under many keys and many puzzle solutions."""

    FACES = 60

    def on_request(self, asked: Asked) -> None:
        seen = Observed(asked.source, bytes(16))
        body = messages.encode_part(Part(0, 1, seen, self.answer(asked)))
        for number in range(self.FACES):
            frame = self.frame_for(asked, body)
            if number % 2:
                key = NodeKey(ENTROPY.token(32))
                frame = replace(frame, sender=key.id)
                self.send(frame.signed(key, ZOO), asked.source)
            else:
                frame = replace(frame, nonce=ENTROPY.token(8))
                self.send(frame.signed(self.key, ZOO), asked.source)


class ClaimHolder(Peer):
    """Holds claims of every number, signed by whoever: others each time it is asked."""

    number = Number("022345678901234")
    claims: ClassVar[list[bytes]] = []

    def held(self, position: bytes) -> tuple[bytes, ...]:
        start = self.asked * MAX_CLAIMS % max(1, len(self.claims))
        return tuple(self.claims[start : start + MAX_CLAIMS])

    def named(self, asked: Asked) -> tuple[ContactEntry, ...]:
        return ()


def made_up_claims(count: int) -> list[bytes]:
    """Claims of `ClaimHolder.number` by as many accounts, none of which it belongs to."""
    issuer = Issuer(zoo_key(9_999), ZOO)
    found = []
    for serial in range(count):
        account = AccountKey(serial.to_bytes(4, "big") + bytes([13]) * 28)
        publication = Publication(kind=Kind.NUMBER, label=ClaimHolder.number, account=account)
        record = issuer.issue(publication, (Endpoint("127.0.0.1", 9),), now=CLOCK.unix())
        assert record is not None
        found.append(record.envelope)
    return found


class Eclipse(Liar):
    """One of a group whose ids were ground to lie nearest to the places of one record."""


def ground_keys(key: bytes, honest: list[ZooNode], count: int) -> list[tuple[NodeKey, bytes]]:
    """Keys and nonces whose ids lie nearer to both places of a record than any honest node.

    `count` for each place; without a puzzle each try costs half a millisecond.
    """
    found: list[tuple[NodeKey, bytes]] = []
    for position in positions(key):
        place = int.from_bytes(position, "big")
        bound = min(node.directory.own_id.number ^ place for node in honest)
        serial, mine = 0, 0
        owner = NodeKey(bytes(position))
        while mine < count:
            serial += 1
            nonce = serial.to_bytes(8, "big")
            if overlay_id(owner.id, nonce, ZOO).number ^ place < bound:
                found.append((owner, nonce))
                mine += 1
    return found
