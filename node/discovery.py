"""Finds nodes on this machine and its local networks by multicast DNS (RFC 6762, RFC 6763).

A node announces `<key text>._ringmesh._udp.local.` with its mesh port, its addresses and two TXT
entries: `net`, the network's name, and `id`, its key once more. What is found is a hint only: the
endpoint is asked to prove its key before anything is believed. Discovery never holds the start up,
and where multicast cannot be opened the node goes on without it.
"""

import asyncio
from collections.abc import Callable, Sequence

import structlog
from zeroconf import Error as ZeroconfError
from zeroconf import IPVersion, ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from federation.model.address import AddressError, Endpoint, Scope, parse_ip, scope_of
from federation.model.identity import KeyFormatError, NodeId
from federation.model.network import Network

SERVICE_TYPE = "_ringmesh._udp.local."
RESOLVE_MILLISECONDS = 3000
MAX_PENDING = 64
"Instances looked into at one time; on a flooded network the rest wait for their next announcement."
MAX_ENDPOINTS = 16
"Addresses taken from one announcement."
LOOPBACK = "127.0.0.1"
OnFound = Callable[[NodeId, tuple[Endpoint, ...]], None]
log = structlog.get_logger("discovery")


class Discovery:
    """Announces one node and reports others of its network.

    `on_found` is called in the loop, again whenever an announcement changes; never for this node.
    """

    def __init__(
        self,
        *,
        node: NodeId,
        network: Network,
        port: int,
        addresses: Sequence[str],
        on_found: OnFound,
    ) -> None:
        """Take what to announce: the mesh port and the addresses it is reachable at."""
        self._node = node
        self._network = network
        self._port = port
        self._addresses = tuple(addresses)
        self._on_found = on_found
        self._zeroconf: AsyncZeroconf | None = None
        self._browser: AsyncServiceBrowser | None = None
        self._pending: dict[str, asyncio.Task[None]] = {}

    @property
    def is_active(self) -> bool:
        """Whether multicast could be opened."""
        return self._zeroconf is not None

    async def start(self) -> None:
        """Announce and begin to look; where that is impossible, say so once in the log."""
        try:
            self._zeroconf = _open(_interfaces(self._addresses))
            await self._zeroconf.async_register_service(
                self._announcement(), cooperating_responders=True
            )
        except (OSError, RuntimeError, ZeroconfError) as error:
            log.warning("mdns_unavailable", reason=str(error) or type(error).__name__)
            await self._shut()
            return
        self._browser = AsyncServiceBrowser(
            self._zeroconf.zeroconf, SERVICE_TYPE, handlers=[self._changed]
        )

    async def close(self) -> None:
        """Take the announcement back and stop; calling again is harmless."""
        if self._browser is not None:
            await self._browser.async_cancel()
            self._browser = None
        pending, self._pending = list(self._pending.values()), {}
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        await self._shut()

    async def _shut(self) -> None:
        multicast, self._zeroconf = self._zeroconf, None
        if multicast is not None:
            await multicast.async_unregister_all_services()
            await multicast.async_close()

    def _announcement(self) -> AsyncServiceInfo:
        beyond = [a for a in self._addresses if scope_of(parse_ip(a)) is not Scope.LOOPBACK]
        return AsyncServiceInfo(
            SERVICE_TYPE,
            f"{self._node.text}.{SERVICE_TYPE}",
            port=self._port,
            properties={"net": self._network.name, "id": self._node.text},
            server=f"{self._node.text}.local.",
            parsed_addresses=beyond or list(self._addresses),
        )

    def _changed(
        self,
        zeroconf: Zeroconf,
        service_type: str,
        name: str,
        state_change: ServiceStateChange,
    ) -> None:
        if state_change is ServiceStateChange.Removed or name in self._pending:
            return
        try:
            node = NodeId.from_text(name.removesuffix(f".{service_type}"))
        except KeyFormatError:
            return
        if node == self._node:
            return
        info = AsyncServiceInfo(service_type, name)
        if info.load_from_cache(zeroconf):
            self._report(node, info)
        elif len(self._pending) < MAX_PENDING:
            task = asyncio.get_running_loop().create_task(self._ask(zeroconf, node, info))
            self._pending[name] = task
            task.add_done_callback(lambda _: self._pending.pop(name, None))

    async def _ask(self, zeroconf: Zeroconf, node: NodeId, info: AsyncServiceInfo) -> None:
        if await info.async_request(zeroconf, RESOLVE_MILLISECONDS):
            self._report(node, info)

    def _report(self, node: NodeId, info: AsyncServiceInfo) -> None:
        entries = info.decoded_properties
        if entries.get("net") != self._network.name or entries.get("id") != node.text:
            return
        endpoints = _endpoints(info)
        if endpoints:
            self._on_found(node, endpoints)


def _endpoints(info: AsyncServiceInfo) -> tuple[Endpoint, ...]:
    if not info.port:
        return ()
    found = []
    for text in info.parsed_addresses()[:MAX_ENDPOINTS]:
        try:
            ip = parse_ip(text)
        except AddressError:
            continue
        if scope_of(ip) not in (Scope.FORBIDDEN, Scope.LINK_LOCAL):
            found.append(Endpoint.from_ip(ip, info.port))
    return tuple(found)


def _interfaces(addresses: Sequence[str]) -> list[str]:
    """The interfaces to speak on, by address: loopback for this machine, then the node's own."""
    own = [a for a in addresses if scope_of(parse_ip(a)) is not Scope.LOOPBACK]
    return [LOOPBACK, *own]


def _open(interfaces: list[str]) -> AsyncZeroconf:
    """Open multicast, on IPv4 alone where IPv6 is not to be had.

    Raises:
        OSError: the sockets cannot be opened.
        RuntimeError: no interface can be used.
    """
    v4 = [text for text in interfaces if ":" not in text]
    if len(v4) < len(interfaces):
        try:
            return AsyncZeroconf(interfaces=interfaces, ip_version=IPVersion.All)
        except (OSError, RuntimeError):
            log.debug("mdns_without_ipv6")
    return AsyncZeroconf(interfaces=v4, ip_version=IPVersion.V4Only)
