"""The end of a call's media that faces another node: sealed legs, made by offer and answer.

An offer brings, for each m= line, a block of receive ids and a secret; its answer brings one id,
the index it took and a secret. Both together give the keys. A leg belongs to (To-tag, m= line)
and is made once: later offers repeat nil for lines that have theirs.
"""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from federation.messages import LegAddress, LegAnswer, LegOffer
from federation.model.address import Endpoint
from federation.model.clocks import Entropy
from federation.model.errors import PeerError
from media_relay.sealed import derive_leg_keys
from media_relay.session import RelaySession

Leg = LegOffer | LegAnswer

BLOCK = 8
"Receive ids offered for each m= line of a dialog-forming INVITE, one for each To-tag."
LAST_INDEX = BLOCK - 1
"Kept for a 2xx."
SECRET_BYTES = 32


class LegError(PeerError):
    """A leg that does not fit what was offered."""


class NoIndex(LegError):
    """Every leg of the block is taken by other To-tags."""


@dataclass(frozen=True, slots=True)
class _Installed:
    leg_id: int
    answer: LegAnswer | None
    "What we answered with, to be repeated in later responses of this To-tag."


LegMark = tuple[dict[tuple[str, int], LegOffer], dict[tuple[str, int], LegOffer]]
"What a `LegEnd` had offered and been offered at one moment."


class LegEnd:
    """The legs of one call towards one node (one branch of it)."""

    def __init__(
        self, session: RelaySession, entropy: Entropy, local_ip: str, peer_ip: str
    ) -> None:
        self._session = session
        self._entropy = entropy
        self._port = session.leg_port(local_ip).port
        self.peer_ip = peer_ip
        self._ours: dict[tuple[str, int], LegOffer] = {}
        self._theirs: dict[tuple[str, int], LegOffer] = {}
        self._legs: dict[tuple[str, int], _Installed] = {}
        self._indexes: dict[str, int] = {}

    def handle(self, line: int, tag: str) -> int | None:
        """The leg id of this To-tag's m= line, once it is installed."""
        installed = self._legs.get((tag, line))
        return None if installed is None else installed.leg_id

    @property
    def leg_ids(self) -> frozenset[int]:
        """Every leg that is installed."""
        return frozenset(installed.leg_id for installed in self._legs.values())

    def take(self, line: int, tag: str, leg: Leg | None, peer_ip: str) -> None:
        """Learn what the other node brought for one m= line.

        Raises:
            LegError: an answer to nothing, or one outside what was offered.
        """
        if peer_ip:
            self.peer_ip = peer_ip
        match leg:
            case LegOffer():
                if (tag, line) not in self._legs:
                    self._theirs[(tag, line)] = leg
            case LegAnswer():
                if (tag, line) not in self._legs:
                    self._accept(line, tag, leg)
            case None:
                pass

    def give(self, line: int, tag: str, *, is_offer: bool, forming: bool) -> Leg | None:
        """What we bring for one m= line: nil where it keeps its leg.

        Raises:
            NoIndex: the block the other node offered is used up.
        """
        installed = self._legs.get((tag, line))
        if installed is not None:
            return installed.answer if forming and not is_offer else None
        if is_offer:
            return self._offer(line, tag, BLOCK if forming and not tag else 1)
        return self._answer(line, tag)

    def _offer(self, line: int, tag: str, count: int) -> LegOffer:
        known = self._ours.get((tag, line))
        if known is None:
            known = self._ours[(tag, line)] = LegOffer(
                address=LegAddress(None, self._port),
                first_id=self._session.leg_block(count),
                count=count,
                secret=self._entropy.token(SECRET_BYTES),
            )
        return known

    def _answer(self, line: int, tag: str) -> LegAnswer | None:
        offer = self._theirs.get((tag, line)) or self._theirs.get(("", line))
        if offer is None:
            return None
        index = self._index(tag) if offer.count > 1 else 0
        if index >= offer.count:
            raise NoIndex("every leg of the offered block is taken")
        own = self._session.leg_block(1)
        answer = LegAnswer(
            address=LegAddress(None, self._port),
            own_id=own,
            index=index,
            secret=self._entropy.token(SECRET_BYTES),
        )
        theirs = offer.first_id + index
        forth, back = derive_leg_keys(offer.secret, answer.secret, theirs, own)
        self._install(own, theirs, offer.address, send_key=back, receive_key=forth)
        self._legs[(tag, line)] = _Installed(own, answer)
        return answer

    def _accept(self, line: int, tag: str, answer: LegAnswer) -> None:
        offer = self._ours.get((tag, line)) or self._ours.get(("", line))
        if offer is None:
            raise LegError("a leg was answered that nobody offered")
        if not 0 <= answer.index < offer.count:
            raise LegError(f"leg index {answer.index} is outside the block of {offer.count}")
        own = offer.first_id + answer.index
        if any(installed.leg_id == own for installed in self._legs.values()):
            raise LegError(f"leg index {answer.index} was taken by another To-tag")
        forth, back = derive_leg_keys(offer.secret, answer.secret, own, answer.own_id)
        self._install(own, answer.own_id, answer.address, send_key=forth, receive_key=back)
        self._legs[(tag, line)] = _Installed(own, None)

    def _install(
        self,
        own: int,
        theirs: int,
        address: LegAddress,
        *,
        send_key: bytes,
        receive_key: bytes,
    ) -> None:
        host, port = address
        told = host is not None and host != self.peer_ip
        self._session.install_leg(
            own,
            peer_leg=theirs,
            peer=Endpoint(host if host is not None else self.peer_ip, port),
            send_key=send_key,
            receive_key=receive_key,
            told=told,
        )

    def _index(self, tag: str) -> int:
        """The place of this To-tag in the offered block; the last is left for a 2xx."""
        if tag not in self._indexes:
            if len(self._indexes) >= LAST_INDEX:
                raise NoIndex("only the leg kept for a final answer is left")
            self._indexes[tag] = len(self._indexes)
        return self._indexes[tag]

    def take_last_index(self, tag: str) -> None:
        """Give a 2xx, whose To-tag has no index yet, the one kept for it.

        Raises:
            NoIndex: another 2xx has it.
        """
        if tag in self._indexes:
            return
        if len(self._indexes) < LAST_INDEX:
            self._indexes[tag] = len(self._indexes)
        elif LAST_INDEX not in self._indexes.values():
            self._indexes[tag] = LAST_INDEX
        else:
            raise NoIndex("every leg of the offered block is taken")

    def mark(self) -> LegMark:
        """What was offered so far, for `take_back`."""
        return dict(self._ours), dict(self._theirs)

    def take_back(self, mark: LegMark) -> None:
        """Free what an offer brought that was refused."""
        ours, theirs = mark
        installed = {leg.leg_id for leg in self._legs.values()}
        for key, offer in self._ours.items():
            if ours.get(key) != offer:
                self._free_block(offer, installed)
        self._ours, self._theirs = dict(ours), dict(theirs)

    def keep_only(self, tag: str, lines: Iterable[int]) -> None:
        """Free this To-tag's legs of all other m= lines."""
        kept = set(lines)
        for key in [key for key in self._legs if key[0] == tag and key[1] not in kept]:
            self._session.free_leg(self._legs.pop(key).leg_id)

    def release_all_but(self, tag: str) -> None:
        """Free the legs of other To-tags and the ids of the block that nobody took."""
        kept = {self._legs[key].leg_id for key in self._legs if key[0] == tag}
        for (other, _line), installed in list(self._legs.items()):
            if other != tag:
                self._session.free_leg(installed.leg_id)
        self._legs = {key: leg for key, leg in self._legs.items() if key[0] == tag}
        for offer in self._ours.values():
            self._free_block(offer, kept)
        self._ours.clear()

    def _free_block(self, offer: LegOffer, kept: AbstractSet[int]) -> None:
        for leg_id in range(offer.first_id, offer.first_id + offer.count):
            if leg_id not in kept:
                self._session.free_leg(leg_id)

    def close(self) -> None:
        """Free everything of this end."""
        for installed in self._legs.values():
            self._session.free_leg(installed.leg_id)
        for offer in self._ours.values():
            self._free_block(offer, frozenset())
        self._legs.clear()
        self._ours.clear()
        self._theirs.clear()
