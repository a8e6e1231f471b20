"""Which node key stands behind a domain.

A domain is proven by a TXT record at `_ringmesh.<domain>` whose text is a node key; without one, by
the node found at the SRV record `_ringmesh._udp.<domain>`, or else at the domain's own addresses,
that proves its key in the QUIC handshake and claims the domain in its hello. A key name
(`<key>.ringmesh.alt`) proves itself and never meets DNS.

Pinning (first use, and refusing a change) is for whoever stores the pins; this says what DNS and
the network say now.
"""

import asyncio
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from federation.messages import Hello
from federation.model.address import AddressError, Endpoint, parse_ip
from federation.model.clocks import Clock, Monotonic
from federation.model.errors import PeerError
from federation.model.identity import KEY_NAME_SUFFIX, KeyFormatError, NodeId

if TYPE_CHECKING:
    from dns.asyncresolver import Resolver as AsyncResolver

DEFAULT_MESH_PORT = 7060
PROOF_BUDGET = 1.0
"Seconds for everything, asked only for a domain without a cached answer."
FAILURE_LIFETIME = 600.0
"Seconds that a failure is believed."
PROOF_LIFETIME = 3_600.0
"Seconds that a proof is believed."
MAX_CACHED = 4_096
MAX_UNDER_WAY = 256
"Proofs sought at once; more fail without being remembered."
MAX_TARGETS = 4
"SRV targets that are looked at."
MAX_ADDRESSES = 8
"Addresses that are dialled."
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")

T = TypeVar("T")
Identify = Callable[[Iterable[Endpoint]], Awaitable[tuple[NodeId, Hello] | None]]
"Finds out which node answers, and what it claims (`Links.identify`)."


class DomainError(PeerError):
    """Not a domain name that could be asked for."""


class ResolveError(PeerError):
    """DNS gave no answer, not even that there is nothing."""


@dataclass(frozen=True, slots=True)
class Service:
    """One SRV record (RFC 2782)."""

    priority: int
    weight: int
    port: int
    target: str


class Resolver(Protocol):
    """DNS. A name without such records is an empty answer, anything else a `ResolveError`."""

    async def texts(self, name: str) -> Sequence[str]:
        """TXT: the strings of each record joined."""

    async def services(self, name: str) -> Sequence[Service]:
        """SRV."""

    async def addresses(self, name: str) -> Sequence[str]:
        """A and AAAA, as IP addresses."""


def normal_domain(domain: str) -> str:
    """The form in which domains are compared: lower case, no final dot, IDNA by the caller.

    Raises:
        DomainError: not a host name of at least two labels, or an IP address.
    """
    name = domain.lower().removesuffix(".")
    labels = name.split(".")
    if len(name) > 253 or len(labels) < 2 or labels[-1].isdigit():
        raise DomainError(f"{domain!r} is not a domain name")
    if not all(_LABEL.fullmatch(label) for label in labels):
        raise DomainError(f"{domain!r} is not a domain name")
    return name


def keys_in_texts(texts: Iterable[str]) -> set[NodeId]:
    """The node keys in a set of TXT records; texts that are none are left out."""
    keys: set[NodeId] = set()
    for text in texts:
        try:
            keys.add(NodeId.from_text(text.strip().lower()))
        except KeyFormatError:
            continue
    return keys


def in_order(services: Iterable[Service]) -> list[Service]:
    """The usable services, best first; a target of `.` means that there is none (RFC 2782)."""
    usable = [service for service in services if service.target.rstrip(".") and service.port]
    return sorted(usable, key=lambda service: (service.priority, -service.weight))[:MAX_TARGETS]


class DomainProof:
    """Proves domains, one search for each at a time, and remembers the outcome."""

    def __init__(
        self,
        *,
        identify: Identify,
        clock: Clock,
        resolver: Resolver,
        default_port: int = DEFAULT_MESH_PORT,
    ) -> None:
        self._identify = identify
        self._clock = clock
        self._resolver = resolver
        self._default_port = default_port
        self._cache: OrderedDict[str, tuple[NodeId | None, Monotonic]] = OrderedDict()
        self._searches: dict[str, asyncio.Task[NodeId | None]] = {}

    def cached(self, domain: str) -> NodeId | None:
        """The key of a domain that is proven already; never asks anybody."""
        try:
            name = normal_domain(domain)
            return NodeId.from_key_name(name)
        except DomainError:
            return None
        except KeyFormatError:
            known = self._known(name)
            return None if known is None else known[0]

    async def prove(self, domain: str) -> NodeId | None:
        """The key behind a domain, or `None`: within `PROOF_BUDGET`, at once if known."""
        try:
            name = normal_domain(domain)
        except DomainError:
            return None
        if name.endswith(KEY_NAME_SUFFIX):
            return self.cached(name)
        known = self._known(name)
        if known is not None:
            return known[0]
        search = self._searches.get(name)
        if search is None:
            if len(self._searches) >= MAX_UNDER_WAY:
                return None
            search = asyncio.get_running_loop().create_task(self._search(name))
            self._searches[name] = search
        # One caller's cancellation must not end the search of the others.
        return await asyncio.shield(search)

    def forget(self, domain: str) -> None:
        """Ask anew the next time."""
        self._cache.pop(normal_domain(domain), None)

    async def close(self) -> None:
        """End every search."""
        searches = list(self._searches.values())
        for search in searches:
            search.cancel()
        await asyncio.gather(*searches, return_exceptions=True)

    # -- inside ---------------------------------------------------------------------------

    def _known(self, name: str) -> tuple[NodeId | None] | None:
        entry = self._cache.get(name)
        if entry is None or entry[1] <= self._clock.monotonic():
            return None
        return (entry[0],)

    async def _search(self, name: str) -> NodeId | None:
        found: NodeId | None = None
        try:
            async with asyncio.timeout(PROOF_BUDGET):
                found = await self._find(name)
        except (TimeoutError, ResolveError):
            pass  # no proof; an answer that comes late is asked for again in ten minutes
        finally:
            del self._searches[name]
        lifetime = FAILURE_LIFETIME if found is None else PROOF_LIFETIME
        self._cache[name] = (found, Monotonic(self._clock.monotonic() + lifetime))
        self._cache.move_to_end(name)
        if len(self._cache) > MAX_CACHED:
            self._cache.popitem(last=False)
        return found

    async def _find(self, name: str) -> NodeId | None:
        async with asyncio.TaskGroup() as group:
            # Asked together: a second round trip would cost a call its dial.
            texts = group.create_task(_or_nothing(self._resolver.texts(f"_ringmesh.{name}")))
            endpoints = group.create_task(self._endpoints(name))
        keys = keys_in_texts(texts.result())
        if keys:
            # Two different keys prove nothing: which of them answers would be chance.
            return keys.pop() if len(keys) == 1 else None
        if not endpoints.result():
            return None
        identity = await self._identify(endpoints.result())
        if identity is None:
            return None
        node, hello = identity
        claims = {claimed.lower().removesuffix(".") for claimed in hello.domains}
        return node if name in claims else None

    async def _endpoints(self, name: str) -> list[Endpoint]:
        services = self._resolver.services(f"_ringmesh._udp.{name}")
        own = self._resolver.addresses(name)
        found, own_hosts = await asyncio.gather(_or_nothing(services), _or_nothing(own))
        targets = in_order(found)
        if not targets:
            return _endpoints(own_hosts, self._default_port)
        hosts = await asyncio.gather(
            *(_or_nothing(self._resolver.addresses(service.target)) for service in targets)
        )
        endpoints: list[Endpoint] = []
        for service, addresses in zip(targets, hosts, strict=True):
            endpoints += _endpoints(addresses, service.port)
        return endpoints[:MAX_ADDRESSES]


async def _or_nothing(answer: Awaitable[Sequence[T]]) -> Sequence[T]:
    try:
        return await answer
    except ResolveError:
        return ()


def _endpoints(hosts: Iterable[str], port: int) -> list[Endpoint]:
    endpoints = []
    for host in hosts:
        try:
            endpoints.append(Endpoint.from_ip(parse_ip(host), port))
        except AddressError:
            continue
    return endpoints[:MAX_ADDRESSES]


class DnsResolver:
    """`Resolver` over the system's DNS servers, or those given.

    dnspython is imported with the first question: it takes a tenth of a node's start.
    """

    def __init__(self, nameservers: Sequence[Endpoint] = ()) -> None:
        self._nameservers = nameservers
        self._resolver: AsyncResolver | None = None

    async def texts(self, name: str) -> Sequence[str]:
        """TXT records."""
        return [
            b"".join(record.strings).decode("utf-8", "replace")
            for record in await self._ask(name, "TXT")
        ]

    async def services(self, name: str) -> Sequence[Service]:
        """SRV records."""
        return [
            Service(record.priority, record.weight, record.port, record.target.to_text())
            for record in await self._ask(name, "SRV")
        ]

    async def addresses(self, name: str) -> Sequence[str]:
        """A and AAAA records; one family that fails does not hide the other."""
        answers = await asyncio.gather(
            *(_or_nothing(self._ask(name, kind)) for kind in ("A", "AAAA"))
        )
        return [record.address for answer in answers for record in answer]

    async def _ask(self, name: str, kind: str) -> Sequence[Any]:
        from dns.exception import DNSException
        from dns.resolver import NXDOMAIN

        try:
            answer = await self._resolver_now().resolve(
                name, kind, raise_on_no_answer=False, search=False, lifetime=PROOF_BUDGET
            )
        except NXDOMAIN:
            return ()
        except (DNSException, OSError) as error:
            raise ResolveError(f"{kind} of {name}: {error}") from error
        return () if answer.rrset is None else list(answer.rrset)

    def _resolver_now(self) -> "AsyncResolver":
        if self._resolver is None:
            from dns.asyncresolver import Resolver as AsyncResolver
            from dns.nameserver import Do53Nameserver

            resolver = AsyncResolver(configure=not self._nameservers)
            if self._nameservers:
                resolver.nameservers = [
                    Do53Nameserver(server.host, server.port) for server in self._nameservers
                ]
            # A silent server must leave time to ask the next one.
            resolver.timeout = PROOF_BUDGET / 2
            self._resolver = resolver
        return self._resolver
