"""Sends what a lookup asks, so that the path learns little of what is looked for.

What is looked for is asked under seal only. Nobody's seal key is known before its first answer, so
a stranger is first asked in the clear for contacts near a random place about as far from the target
as the region is wide: that says no more than whom we ask says already, brings the walk on, and
brings the stranger's key. Who is near enough to hold the record is then asked for it under seal. In
a network too small to have regions the first question is a ping.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, NamedTuple, TypeAlias

from dht.lookup import Ask, Lookup
from dht.messages import WANTS_IPV4, WANTS_IPV6, FindNode, Get, Nodes
from dht.overlay import SENDS, Overlay, Reply
from federation.model.address import Endpoint
from federation.model.clocks import Entropy

RANDOM_BYTES = 40
"Of which a place near the target is made; more than an id has, so that it is as good as uniform."


class Arrival(NamedTuple):
    """What came of an `Ask`."""

    ask: Ask
    reply: Reply | None
    is_first: bool = False
    "Contacts only: what the node holds is being asked."


Inbox: TypeAlias = asyncio.Queue[Arrival]


class Asking:
    """The questions of one node's lookups. With `sealed` off strangers are asked in the clear."""

    def __init__(
        self,
        *,
        overlay: Overlay,
        own_endpoints: Callable[[], Iterable[Endpoint]],
        entropy: Entropy,
        sealed: bool,
    ) -> None:
        self._overlay, self._own_endpoints = overlay, own_endpoints
        self._entropy, self._sealed = entropy, sealed

    def send(self, lookup: Lookup, asks: list[Ask], inbox: Inbox) -> None:
        """Ask; what comes of each is put into the inbox."""
        want = 0
        for endpoint in self._own_endpoints() if asks else ():
            want |= WANTS_IPV6 if endpoint.is_ipv6 else WANTS_IPV4
        want = want or WANTS_IPV4 | WANTS_IPV6
        for ask in asks:
            work = self._work(lookup, ask, want, inbox)
            asyncio.ensure_future(work).add_done_callback(
                lambda done, ask=ask: inbox.put_nowait(Arrival(ask, _result(done)))  # type: ignore[misc]
            )

    def _work(
        self, lookup: Lookup, ask: Ask, want: int, inbox: Inbox
    ) -> "asyncio.Future[Reply | None] | Coroutine[Any, Any, Reply | None]":
        if ask.radius is not None:
            sample = FindNode(lookup.target, ask.radius.to_bytes(32, "big"), want)
            return self._ask(ask, sample)
        if not lookup.wants_records:
            return self._ask(ask, FindNode(lookup.target, want=want))
        if self._sealed and not self._has_key(ask):
            return self._introduced(lookup, ask, want, inbox)
        return self._ask(ask, Get(lookup.target, want=want))

    async def _introduced(self, lookup: Lookup, ask: Ask, want: int, inbox: Inbox) -> Reply | None:
        """Ask a stranger: first for its key and for contacts, then for what it holds."""
        place = lookup.near_target(self._entropy.token(RANDOM_BYTES))
        if place is not None:
            reply = await self._ask(ask, FindNode(place, want=want))
            if reply is None or lookup.outcome is not None or not lookup.may_hold(ask.id):
                return reply
            if isinstance(reply.answer, Nodes):
                inbox.put_nowait(Arrival(ask, reply, is_first=True))
        if not self._has_key(ask) and not await self._overlay.ping(
            ask.endpoint, recipient=ask.id, patience=ask.patience, sends=_sends(ask)
        ):
            return None
        return await self._ask(ask, Get(lookup.target, want=want))

    def _has_key(self, ask: Ask) -> bool:
        contact = self._overlay.known(ask.id)
        return contact is not None and contact.seal_key is not None

    def _ask(self, ask: Ask, request: FindNode | Get) -> "asyncio.Future[Reply | None]":
        return asyncio.ensure_future(
            self._overlay.ask(
                ask.endpoint,
                request,
                recipient=ask.id,
                patience=ask.patience,
                sends=_sends(ask),
            )
        )


def _sends(ask: Ask) -> int:
    return 1 if ask.is_spare else SENDS


def _result(done: "asyncio.Future[Reply | None]") -> Reply | None:
    return None if done.cancelled() else done.result()
