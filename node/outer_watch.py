"""Takes over the outer addresses that peers see, where no setting names them.

That no address is known harms nothing: a node that is not reached from outside, or whose peers are
too few to be believed, goes on with what it has.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence

import structlog

from dht.observed import OuterAddress
from federation.model.address import Endpoint
from node.control import JsonObject
from node.outer import OuterAddresses

LOOK_INTERVAL = 5.0
"Seconds between two looks at what peers agree on."
log = structlog.get_logger("node")

Ask = Callable[[Sequence[str]], Sequence[OuterAddress]]


class OuterWatch:
    """Knows where this node is reached from outside: by a setting, else by what peers say.

    A setting for a family overrides peers. Where the NAT changes the mesh port's number it may
    change others too, so only other nodes are told then, and phones are not.
    """

    def __init__(
        self,
        setting: Iterable[str],
        mesh_port: int,
        outer: OuterAddresses,
        *,
        ask: Ask,
        own: Callable[[], Sequence[str]],
        on_change: Callable[[], None],
    ) -> None:
        """`own` are the machine's addresses; `on_change` hears when other ones are told."""
        self._setting = OuterAddresses(setting)
        self._mesh_port = mesh_port
        self._outer = outer
        self._ask, self._own, self._on_change = ask, own, on_change
        self._learned: tuple[OuterAddress, ...] = ()

    async def follow(self) -> None:
        """Look again and again; ends when cancelled."""
        while True:
            self.look()
            await asyncio.sleep(LOOK_INTERVAL)

    def look(self) -> None:
        """Take over what peers agree on now."""
        before = self.endpoints
        settled = {":" in host for host in self._setting.addresses}
        self._learned = tuple(
            one for one in self._ask(self._own()) if one.endpoint.is_ipv6 not in settled
        )
        if self.endpoints == before:
            return
        log.info("outer_address", addresses=", ".join(map(str, self.endpoints)) or "unknown")
        self._outer.set_outer((*self._setting.addresses, *self._same_port))
        self._on_change()

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Where other nodes reach this one from outside."""
        set_ = (Endpoint(host, self._mesh_port) for host in self._setting.addresses)
        return (*set_, *(one.endpoint for one in self._learned))

    def told(self) -> list[JsonObject]:
        """The same for people: `address`, `source` (`setting` or `peers`), `networks` or null."""
        set_: list[JsonObject] = [
            {"address": host, "source": "setting", "networks": None}
            for host in self._setting.addresses
        ]
        return set_ + [
            {"address": str(one.endpoint), "source": "peers", "networks": one.networks}
            for one in self._learned
        ]

    @property
    def _same_port(self) -> Iterable[str]:
        ends = (one.endpoint for one in self._learned)
        return (end.host for end in ends if end.port == self._mesh_port)
