"""Whether others believe that this node answers for its own domains, and what DNS lacks if not.

A domain is shown as an account's server only where that works: other nodes find this node's key
behind the name, and phones that ask DNS for it are led here. Nothing waits for these looks.
"""

import asyncio
import contextlib
from collections.abc import Callable, Collection, Iterable, Sequence

import structlog

from dht.scope import may_try
from federation.domain_proof import DomainProof, Identify, ResolveError, Resolver, in_order
from federation.messages import Hello
from federation.model.address import AddressError, Endpoint, Scope, parse_ip, scope_of
from federation.model.identity import NodeId
from node.sheet import SIP_PORT

LOOK_INTERVAL = 600.0
"Seconds between two looks."
MISSES_BELIEVED = 2
"Looks in a row that must fail before a proven domain counts as lost: DNS may just be silent."
log = structlog.get_logger("node")


class OwnDomains:
    """Looks at a node's own domains at start and from time to time.

    `on_change` is told which of them are proven, whenever that changes. For each domain the log
    says once what is missing, and again when that changes.
    """

    def __init__(
        self,
        domains: Callable[[], Sequence[str]],
        *,
        node: NodeId,
        proof: DomainProof,
        resolver: Resolver,
        addresses: Callable[[], Collection[str]],
        sip_port: int,
        on_change: Callable[[frozenset[str]], None],
    ) -> None:
        self._domains = domains
        self._node = node
        self._proof = proof
        self._resolver = resolver
        self._addresses = addresses
        self._sip_port = sip_port
        self._on_change = on_change
        self._proven: frozenset[str] = frozenset()
        self._misses: dict[str, int] = {}
        self._told: dict[str, str] = {}
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Look now, again each `LOOK_INTERVAL`, and after `look_soon`, until cancelled."""
        while True:
            self._changed.clear()
            await self.look()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_INTERVAL):
                    await self._changed.wait()

    def look_soon(self) -> None:
        """The domains have changed, or somebody thinks that DNS has."""
        self._changed.set()

    def is_proven(self, domain: str) -> bool | None:
        """Whether others believe the name and phones are led here; `None`: not looked yet."""
        return domain in self._proven if domain in self._misses else None

    def lack(self, domain: str) -> str:
        """What the last look found missing; empty if nothing, or not looked yet."""
        return "" if self.is_proven(domain) else self._told.get(domain, "")

    async def look(self) -> None:
        """Look at each domain once."""
        domains = tuple(self._domains())
        lacks = await asyncio.gather(*map(self.lack_now, domains))
        proven = set()
        for gone in (self._told.keys() | self._misses.keys()) - set(domains):
            self._told.pop(gone, None)
            self._misses.pop(gone, None)
        for domain, lack in zip(domains, lacks, strict=True):
            self._misses[domain] = self._misses.get(domain, 0) + 1 if lack else 0
            if not lack or (domain in self._proven and self._misses[domain] < MISSES_BELIEVED):
                proven.add(domain)
            else:
                self._tell(domain, lack)
        for domain in proven - self._proven:
            self._told.pop(domain, None)
            log.info("domain_proven", domain=domain)
        if proven != self._proven:
            self._proven = frozenset(proven)
            self._on_change(self._proven)

    def _tell(self, domain: str, lack: str) -> None:
        if self._told.get(domain) != lack:
            self._told[domain] = lack
            log.warning("domain_not_proven", domain=domain, reason=lack)

    async def lack_now(self, domain: str) -> str:
        """What DNS lacks at this moment; empty where nothing is missing."""
        return await self.lack_of_proof(domain) or await self.lack_of_way(domain)

    async def lack_of_proof(self, domain: str) -> str:
        """What keeps others from believing the name; asks anew."""
        record = f'TXT record _ringmesh.{domain} with the text "{self._node.text}"'
        self._proof.forget(domain)
        found = await self._proof.prove(domain)
        if found is None:
            return f"others do not believe the name: DNS needs a {record}"
        if found != self._node:
            return f"DNS names another node, {found.text}: it needs a {record}"
        return ""

    async def lack_of_way(self, domain: str) -> str:
        """What keeps phones from finding this node by the name."""
        return await lack_of_way(domain, self._resolver, self._addresses(), self._sip_port)


async def lack_of_way(
    domain: str, resolver: Resolver, addresses: Collection[str], sip_port: int
) -> str:
    """What keeps phones from finding a node with these addresses by the domain's name."""
    hosts: list[str] = []
    try:
        hosts += await resolver.addresses(domain)
        if sip_port == SIP_PORT:  # with a port in `server`, phones ask for no SRV
            for service in in_order(await resolver.services(f"_sip._udp.{domain}")):
                hosts += await resolver.addresses(service.target)
    except ResolveError:
        return f"DNS does not answer for {domain}, so phones do not find this node by it"
    if not hosts:
        return f"phones find no server: DNS needs an A or AAAA record {domain}"
    own = set(addresses)
    if own.isdisjoint(hosts) and any(map(is_global, own)):
        return f"DNS leads phones to {hosts[0]}, which is no address of this node"
    return ""


def careful(
    identify: Identify,
    node: NodeId,
    own: Callable[[], Collection[Endpoint]],
    hello: Callable[[], Hello],
) -> Identify:
    """`identify` that knows this node's own addresses, and dials no network of others' choosing.

    DNS is written by strangers: private addresses in it count only where this node has one too.
    """

    async def find(endpoints: Iterable[Endpoint]) -> tuple[NodeId, Hello] | None:
        asked, ours = list(endpoints), own()
        if not set(ours).isdisjoint(asked):
            return node, hello()
        usable = [endpoint for endpoint in asked if may_try(endpoint, ours)]
        return await identify(usable) if usable else None

    return find


def is_global(address: str) -> bool:
    """Whether it is an IP address that the whole internet may know."""
    try:
        return scope_of(parse_ip(address)) is Scope.GLOBAL
    except AddressError:
        return False
