"""Messages that wait for a user's next registration: whose, in which order, and how many."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from federation.model.clocks import UnixTime
from node.storage.messages import KeptMessage

MAX_BODY = 16_384
"Bytes of one message; a larger one is not kept."
QUOTA = 100
"Messages that wait for one account."
QUOTA_BYTES = 262_144
"Their bytes together."
QUOTA_OF_NODE = 50
"Those in one account's box that came by way of one other node."
QUOTA_OF_STRANGERS = 20
"Those in one account's box from all of plain SIP elsewhere."
MAX_OF_NODE = 1_000
"Messages of one other node in all boxes."
MAX_OF_STRANGERS = 1_000
MAX_MESSAGES = 20_000
"Messages in all boxes."
MAX_BYTES = 67_108_864
"Their bytes together."
MAX_REFUSALS = 5
"Registrations at which every device refused a message, after which it is dropped."
OWN, STRANGERS, NODE = "account", "strangers", "node:"


@dataclass(slots=True)
class Mailboxes:
    """Every message that waits, by account and in order."""

    _boxes: dict[str, dict[int, KeptMessage]] = field(default_factory=dict)
    _by_source: Counter[str] = field(default_factory=Counter)
    _refusals: Counter[int] = field(default_factory=Counter)
    _unsafe: set[int] = field(default_factory=set)
    "Those that are not on the disk yet: they count, but nobody gets them."
    _count: int = 0
    _bytes: int = 0
    _next_id: int = 1

    def restore(self, messages: Iterable[KeptMessage]) -> None:
        """Take what was kept before a restart."""
        for message in messages:
            self.add(message)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[KeptMessage]:
        return iter([message for box in self._boxes.values() for message in box.values()])

    def new_id(self) -> int:
        """A number above all before it."""
        self._next_id += 1
        return self._next_id - 1

    def of(self, login: str) -> tuple[KeptMessage, ...]:
        """What waits for an account, the oldest first."""
        return tuple(self._boxes.get(login, {}).values())

    def next_of(self, login: str, after: int = 0) -> KeptMessage | None:
        """The first message for an account with a higher id than `after` that is on the disk."""
        for message in self._boxes.get(login, {}).values():
            if message.id > after:
                return None if message.id in self._unsafe else message
        return None

    def has(self, login: str) -> bool:
        """Whether anything waits for an account."""
        return login in self._boxes

    def lack_of_room(self, login: str, source: str, size: int) -> str | None:
        """Why one more message cannot be kept, or `None`."""
        if size > MAX_BODY:
            return "nobody is there, and the message is too long to be kept"
        box = self._boxes.get(login, {}).values()
        if len(box) >= QUOTA or sum(message.size for message in box) + size > QUOTA_BYTES:
            return "nobody is there, and too many messages wait already"
        own = sum(message.source == source for message in box)
        in_all = self._by_source[source]
        if source.startswith(NODE) and (own >= QUOTA_OF_NODE or in_all >= MAX_OF_NODE):
            return "nobody is there, and too many messages of this node wait already"
        if source == STRANGERS and (own >= QUOTA_OF_STRANGERS or in_all >= MAX_OF_STRANGERS):
            return "nobody is there, and too many messages of other networks wait already"
        if self._count >= MAX_MESSAGES or self._bytes + size > MAX_BYTES:
            return "nobody is there, and this node keeps as many messages as it can"
        return None

    def add(self, message: KeptMessage, *, is_safe: bool = True) -> None:
        """Keep a message; one that is not yet safe on the disk is told by `made_safe`."""
        if not is_safe:
            self._unsafe.add(message.id)
        self._boxes.setdefault(message.login, {})[message.id] = message
        self._by_source[message.source] += 1
        self._count += 1
        self._bytes += message.size
        self._next_id = max(self._next_id, message.id + 1)

    def made_safe(self, message: KeptMessage) -> bool:
        """A message is on the disk now; whether it is still wanted."""
        self._unsafe.discard(message.id)
        return message.id in self._boxes.get(message.login, {})

    def remove(self, message: KeptMessage) -> bool:
        """Forget a message; whether it was there."""
        box = self._boxes.get(message.login, {})
        if box.pop(message.id, None) is None:
            return False
        if not box:
            del self._boxes[message.login]
        self._by_source[message.source] -= 1
        if not self._by_source[message.source]:
            del self._by_source[message.source]
        self._refusals.pop(message.id, None)
        self._count -= 1
        self._bytes -= message.size
        return True

    def refused(self, message: KeptMessage) -> bool:
        """Every device refused a message once more; whether that was once too often."""
        self._refusals[message.id] += 1
        return self._refusals[message.id] >= MAX_REFUSALS

    def expired(self, now: UnixTime) -> list[KeptMessage]:
        """The messages that are too old."""
        return [message for message in self if message.expires_at <= now]
