"""The web server and what belongs to it, made and joined."""

from collections.abc import Callable

from aiohttp import web
from aiohttp.web_routedef import AbstractRouteDef

from federation.model.clocks import Clock, Entropy
from node.accounts.account import Account
from node.accounts.book import AccountBook, AccountChange, AccountRemoved
from node.api_resources import ApiControl, api_routes
from node.config import Config
from node.control import RefusedError
from node.loaded import Loaded
from node.sheet import ServedAt
from node.storage.one_time import DeviceLinkBook, InvitationBook
from node.storage.storage import Storage
from node.web.access import Access
from node.web.desk import OFF, WebDesk
from node.web.gate import Gate
from node.web.invitations import InvitationDesk
from node.web.pages.access import AccessPages
from node.web.pages.calls import Calls
from node.web.pages.entrance import Entrance
from node.web.pages.lines import Lines
from node.web.pages.network import Network
from node.web.pages.overview import Overview
from node.web.pages.people import People
from node.web.pages.visitors import Visitors
from node.web.provisioning import ProvisioningDesk
from node.web.rates import Tries
from node.web.render import HERE
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
        account: Callable[[str], Account],
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        """`account` finds an account by its login, or refuses."""
        self.public: list[web.RouteDef] = []
        self.authorised: list[web.RouteDef] = []
        self._config = config
        self._certificates = certificates
        self._served = served
        self._clock = clock
        # Apart, so that who holds an invitation gains no tries of the password by it.
        self._tries, self._visits = Tries(clock), Tries(clock)
        access = Access(loaded.grants, loaded.web_password, storage, clock=clock, entropy=entropy)
        self._access = access
        self._gate = Gate(access, port=config.web_port, secure=config.web.is_secure)
        self.desk = WebDesk(
            access, storage, enabled=config.web.enabled, url=self.url, entropy=entropy
        )
        only_here = not config.web.is_open and config.web.url is None
        self.invitations = InvitationDesk(
            InvitationBook(loaded.invitations, storage),
            storage,
            url=self.url,
            only_here=only_here,
            clock=clock,
            entropy=entropy,
        )
        self.provisioning = ProvisioningDesk(
            DeviceLinkBook(loaded.device_links, storage),
            storage,
            account=account,
            url=self.url,
            only_here=only_here,
            clock=clock,
            entropy=entropy,
        )
        self._server: WebServer | None = None
        self._overview: Overview | None = None

    def follow(self, accounts: AccountBook) -> None:
        """Links of an account end with it."""

        def changed(change: AccountChange) -> None:
            if isinstance(change, AccountRemoved):
                self.provisioning.forget(change.account.login)

        accounts.listen(changed)

    async def start(self, control: ApiControl) -> None:
        """Serve everything, unless the settings say otherwise.

        Raises:
            ConfigError: an address cannot be bound.
        """
        if self._config.web.enabled:
            self._server = WebServer(
                self._config, self.routes(control), self._certificates, self._clock
            )
            await self._server.start()

    async def close(self) -> None:
        """Stop serving; calling again is harmless."""
        if self._overview is not None:
            self._overview.stop()
        if self._server is not None:
            await self._server.close()

    def routes(self, control: ApiControl) -> list[AbstractRouteDef]:
        """Everything that is served."""
        gate = self._gate
        overview = self._overview = Overview(control, gate)
        visitors = Visitors(
            control, self.invitations, self.provisioning, self._visits, url=self.url
        )
        return [
            web.static("/static", HERE / "static"),
            *self.public,
            *Entrance(self._access, gate, self._tries).routes(),
            *visitors.routes(),
            *(gate.api(route) for route in (*api_routes(control), *self.authorised)),
            *overview.routes(),
            *People(control, gate).routes(),
            *Calls(control, gate).routes(),
            *Lines(control, gate).routes(),
            *Network(control, gate).routes(),
            *AccessPages(control, gate).routes(),
        ]

    def url(self) -> str:
        """Where it is reached: by others as far as it is open to them, else from this machine.

        Raises:
            RefusedError: there is none.
        """
        web_config = self._config.web
        if not web_config.enabled:
            raise RefusedError(OFF)
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
