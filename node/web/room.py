"""The web server and what belongs to it, made and joined."""

from collections.abc import Callable

from aiohttp import web

from federation.model.clocks import Clock, Entropy
from node.api_resources import ApiControl, api_routes
from node.config import Config
from node.loaded import Loaded
from node.sheet import ServedAt
from node.storage.storage import Storage
from node.web.access import Access
from node.web.desk import WebDesk
from node.web.gate import Gate
from node.web.server import ServerContext, WebServer, web_hosts


class WebRoom:
    """Opens the console and the API to people and programs with a right.

    Other parts add routes before `start`: `public` ones answer anybody and guard themselves, as
    health and SIP over WebSocket do; `authorised` ones need a session or a token.
    """

    def __init__(
        self,
        config: Config,
        loaded: Loaded,
        storage: Storage,
        certificates: ServerContext,
        *,
        served: Callable[[], ServedAt],
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self.public: list[web.RouteDef] = []
        self.authorised: list[web.RouteDef] = []
        self._config = config
        self._certificates = certificates
        self._served = served
        self.access = Access(
            loaded.grants, loaded.web_password, storage, clock=clock, entropy=entropy
        )
        self.gate = Gate(self.access, port=config.web_port, secure=config.web.has_tls)
        self.desk = WebDesk(
            self.access,
            storage,
            enabled=config.web.enabled,
            url=self.own_url,
            entropy=entropy,
        )
        self._server: WebServer | None = None

    async def start(self, control: ApiControl) -> None:
        """Serve everything, unless the settings say otherwise.

        Raises:
            ConfigError: an address cannot be bound.
        """
        if not self._config.web.enabled:
            return
        guarded = [*api_routes(control), *self.authorised]
        routes = [*self.public, *(self.gate.api(route) for route in guarded)]
        self._server = WebServer(self._config, routes, self._certificates)
        await self._server.start()

    async def close(self) -> None:
        """Stop serving; calling again is harmless."""
        if self._server is not None:
            await self._server.close()

    def own_url(self) -> str:
        """Where the operator reaches it from this machine, or from elsewhere once it is open."""
        return self.public_url() if self._config.web.is_open else self._url_at(self._first_host())

    def public_url(self) -> str:
        """Where others reach it, as far as it is open to them."""
        web_config = self._config.web
        if web_config.url is not None:
            return web_config.url.rstrip("/")
        if not web_config.is_open:
            return self._url_at(self._first_host())
        return self._url_at(self._served().web_host)

    def _first_host(self) -> str:
        host = web_hosts(self._config)[0]
        return f"[{host}]" if ":" in host else host

    def _url_at(self, host: str) -> str:
        scheme = "https" if self._config.web.has_tls else "http"
        return f"{scheme}://{host}:{self._config.web_port}"
