"""The web server (shell): one aiohttp application in the node's loop.

Public routes answer anybody and guard themselves; all others pass the gate first. Without
`web.listen` only this machine reaches it, in the clear; opened to others it speaks TLS with the
node's certificate, whichever is the newest when a connection begins.
"""

import asyncio
import errno
import ipaddress
import ssl
from collections.abc import Callable, Iterable
from typing import Protocol

import structlog
from aiohttp import web
from aiohttp.web_routedef import AbstractRouteDef

from federation.model.clocks import Clock
from federation.model.errors import ConfigError
from node.addresses import has_ipv6
from node.api import MAX_BODY_BYTES, SHUTDOWN_SECONDS, server_log
from node.config import Config
from node.web.doorman import IDLE_SECONDS, Doorman
from node.web.errors import errors_for_asker
from node.web.gate import add_headers
from node.web.own_host import own_host_only

_BACKLOG = 64
HANDSHAKE_SECONDS = 10.0
"How long a TLS handshake may take, as of phones."
log = structlog.get_logger("node")


class ServerContext(Protocol):
    """Has the newest TLS context (`node.certificates.Certificates`)."""

    @property
    def server(self) -> ssl.SSLContext:
        """Shows the node's certificate."""


class WebServer:
    """Serves routes from `start` to `close`."""

    def __init__(
        self,
        config: Config,
        routes: Iterable[AbstractRouteDef],
        certificates: ServerContext,
        clock: Clock,
    ) -> None:
        self._config = config
        self._clock = clock
        self._listeners: list[asyncio.Server] = []
        self._routes = list(routes)
        self._certificates = certificates
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Begin to listen.

        Raises:
            ConfigError: an address cannot be bound.
        """
        runner = web.AppRunner(
            self.application(),
            access_log=None,
            logger=server_log(),
            shutdown_timeout=SHUTDOWN_SECONDS,
            keepalive_timeout=IDLE_SECONDS,
        )
        await runner.setup()
        self._runner = runner
        assert runner.server is not None
        doorman = Doorman(runner.server, self._clock)
        context = _newest(lambda: self._certificates.server) if self._config.web.has_tls else None
        for host in web_hosts(self._config):
            await self._listen(doorman, host, context)

    async def close(self) -> None:
        """Stop listening; calling again is harmless."""
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    def application(self) -> web.Application:
        """What is served."""
        application = web.Application(
            middlewares=[errors_for_asker, *own_host_only(self._config.web)],
            client_max_size=MAX_BODY_BYTES,
        )
        application.on_response_prepare.append(add_headers)
        application.add_routes(self._routes)
        return application

    async def _listen(self, doorman: Doorman, host: str, context: ssl.SSLContext | None) -> None:
        port = self._config.web_port
        loop = asyncio.get_running_loop()
        try:
            listener = await loop.create_server(
                doorman,
                host,
                port,
                ssl=context,
                ssl_handshake_timeout=None if context is None else HANDSHAKE_SECONDS,
                backlog=_BACKLOG,
                reuse_address=True,
            )
            self._listeners.append(listener)
        except OSError as error:
            await self.close()
            where = f"web port: {host} {port}"
            if error.errno == errno.EADDRINUSE:
                raise ConfigError(
                    f"{where} is in use by another program; stop it, choose other ports with "
                    "--port-offset, or do without the console by web.enabled = false"
                ) from error
            raise ConfigError(
                f"{where} cannot be bound ({error.strerror}); "
                "use an address of this machine in web.listen"
            ) from error


def web_hosts(config: Config) -> tuple[str, ...]:
    """The addresses to bind: those that were set, else loopback.

    A node that listens on one loopback address only has its console there too, so that several
    can share a machine.
    """
    if config.web.listen:
        return tuple(dict.fromkeys(config.web.listen))
    if config.listen is not None and ipaddress.ip_address(config.listen).is_loopback:
        return (config.listen,)
    return ("127.0.0.1", "::1") if has_ipv6() else ("127.0.0.1",)


def _newest(current: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    """A context that hands each connection to the one that is current when it begins."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2

    def choose(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        connection.context = current()

    context.sni_callback = choose  # also called without SNI
    return context
