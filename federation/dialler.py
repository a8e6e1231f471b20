"""Finding a way to a node: every address at once, while fresh ones are being asked for.

All addresses known are dialled together (RFC 8305's concern, settled by racing); those that the
`addresses` lookup brings join the race. The first connection whose peer proves the key gets our
hello and thereby becomes the link, so that the other side never sees two; if no hello comes back,
the next one gets it.
"""

import asyncio
from collections.abc import Callable, Iterable

import structlog

from federation.link import Link, LinkEvents
from federation.messages import Bye, Cancel, LinkError, Request, Response, StreamError
from federation.model.address import Endpoint, Scope, scope_of
from federation.model.errors import RingmeshError
from federation.model.identity import NodeId
from federation.ports import AddressLookup

DIAL_TIMEOUT = 1.5
"Seconds for each address, from first packet to hello."
LOOKUP_TIMEOUT = 2.0
"Seconds for the fresh address record."
MAX_RACED = 16
"Addresses dialled in one attempt."
_log = structlog.get_logger("links")

MakeLink = Callable[[Endpoint, NodeId | None, LinkEvents], Link]


class Dialler:
    """One attempt. Ends with exactly one of `on_up` and `on_failed`, unless aborted before."""

    def __init__(
        self,
        node: NodeId | None,
        *,
        make_link: MakeLink,
        on_up: Callable[[Link], None],
        on_failed: Callable[[], None],
    ) -> None:
        self._node = node
        self._make_link = make_link
        self._on_up = on_up
        self._on_failed = on_failed
        self._loop = asyncio.get_running_loop()
        self._racers: dict[Link, asyncio.TimerHandle] = {}
        self._tried: set[Endpoint] = set()
        self._chosen: Link | None = None
        self._lookup: asyncio.Task[None] | None = None
        self._is_over = False

    @property
    def has_begun(self) -> bool:
        """Whether a connection has been chosen and our hello sent on it."""
        return self._chosen is not None

    def start(self, hints: Iterable[Endpoint], addresses: AddressLookup | None) -> None:
        """Dial the hints, and what `addresses` finds when it does."""
        if addresses is not None and self._node is not None:
            self._lookup = self._loop.create_task(self._look_up(addresses, self._node))
        self.try_also(hints)
        if self._lookup is None:
            # The caller hears of a failure after this returned, never within.
            self._loop.call_soon(self._settle)

    def try_also(self, endpoints: Iterable[Endpoint]) -> None:
        """Let further addresses join the race."""
        for endpoint in endpoints:
            if self._is_over or len(self._tried) >= MAX_RACED:
                return
            if endpoint in self._tried or not _can_be_dialled(endpoint):
                continue
            self._tried.add(endpoint)
            link = self._make_link(endpoint, self._node, self)
            self._racers[link] = self._loop.call_later(
                DIAL_TIMEOUT, link.close, LinkError.SILENT, "dial timeout"
            )

    def abort(self) -> None:
        """Stop, and say nothing."""
        self._finish()

    # -- links ----------------------------------------------------------------------------

    def link_established(self, link: Link) -> None:
        """A connection may be chosen."""
        if self._chosen is None and not self._is_over:
            self._chosen = link
            link.begin()

    def link_up(self, link: Link) -> None:
        """The race is won."""
        self._racers.pop(link).cancel()
        self._finish()
        self._on_up(link)

    def link_closed(self, link: Link, reason: str) -> None:
        """A runner is out."""
        timer = self._racers.pop(link, None)
        if timer is not None:
            timer.cancel()
        if self._is_over:
            return
        _log.debug("dial_failed", node=str(self._node), address=str(link.endpoint), why=reason)
        if self._chosen is link:
            self._chosen = next((other for other in self._racers if other.peer is not None), None)
            if self._chosen is not None:
                self._chosen.begin()
        self._settle()

    def link_received(
        self, link: Link, stream: int, frame: Request | Response | Cancel | Bye
    ) -> None:
        """Nothing is received before a link is up."""

    def link_stream_ended(self, link: Link, stream: int, error: StreamError) -> None:
        """There is no stream to end before a link is up."""

    def link_leaving(self, link: Link, reason: str) -> None:
        """Nobody leaves before a link is up."""

    # -- inside ---------------------------------------------------------------------------

    async def _look_up(self, addresses: AddressLookup, node: NodeId) -> None:
        found: Iterable[Endpoint] = ()
        try:
            async with asyncio.timeout(LOOKUP_TIMEOUT):
                found = await addresses(node)
        except TimeoutError:
            _log.debug("address_lookup_timeout", node=str(node))
        except RingmeshError as error:
            _log.debug("address_lookup_failed", node=str(node), error=str(error))
        self._lookup = None
        self.try_also(found)
        self._settle()

    def _settle(self) -> None:
        if not self._is_over and not self._racers and self._lookup is None:
            self._finish()
            self._on_failed()

    def _finish(self) -> None:
        self._is_over = True
        if self._lookup is not None:
            self._lookup.cancel()
            self._lookup = None
        racers, self._racers = self._racers, {}
        for link, timer in racers.items():
            timer.cancel()
            link.close(LinkError.NONE, "another address was faster")


def _can_be_dialled(endpoint: Endpoint) -> bool:
    return endpoint.port != 0 and scope_of(endpoint.ip) is not Scope.FORBIDDEN
