"""What finding a target asks of the directory and of the pins."""

from typing import Protocol

from dht.finder import LookupResult
from federation.model.clocks import UnixTime
from federation.model.identity import NodeId, PublicKey
from federation.model.number import Number
from node.storage.pins import Pin, PinKind


class PrefixLookups(Protocol):
    """What is asked of the DHT."""

    async def find_prefixes(self, node: NodeId, trunk: str, *, budget: float = ...) -> LookupResult:
        """What a trunk offers."""


class Lookups(PrefixLookups, Protocol):
    """What is asked of the DHT."""

    async def find_number(self, number: Number, *, budget: float = ...) -> LookupResult:
        """The claims to a number."""

    async def find_user(self, node: NodeId, login: str, *, budget: float = ...) -> LookupResult:
        """The route of an account."""

    async def find_domain(self, node: NodeId, domain: str, *, budget: float = ...) -> LookupResult:
        """The nodes that answer for a domain."""

    async def find_address(self, node: NodeId, *, budget: float = ...) -> LookupResult:
        """Where a node is reached."""


class Pins(Protocol):
    """The keys that names had at first use (`node.storage.pins.PinBook`)."""

    def get(self, kind: PinKind, name: str) -> Pin | None:
        """The pin of a name, or a conflict about it."""

    def check(self, kind: PinKind, name: str, key: PublicKey, *, now: UnixTime) -> bool:
        """Whether `key` may be used for `name`."""

    def offer(self, kind: PinKind, name: str, key: PublicKey, *, now: UnixTime) -> bool:
        """Remember a key that is not believed; True if it was not remembered yet."""
