"""The admin API: JSON over HTTP on a Unix socket in the state folder, under `/v1`.

    GET    /v1/status              GET    /v1/users            GET    /v1/calls
    GET    /v1/peers               POST   /v1/users            DELETE /v1/calls/{id}  (id or `all`)
    GET    /v1/resolve?uri=        GET    /v1/users/{login}        GET    /v1/pins
    GET    /v1/why?uri=            DELETE /v1/users/{login}        POST   /v1/pins/{name}
    GET    /v1/dht                 POST   /v1/users/{login}/password
                                                                   DELETE /v1/pins/{name}
    GET    /v1/domains             DELETE /v1/domains/{name}
    POST   /v1/domains             GET    /v1/domains/{name}/check
    POST   /v1/turn/credentials

    GET    /v1/groups              POST   /v1/users/{login}/features
    POST   /v1/groups              GET, POST, DELETE /v1/groups/{login}
    Trunks and DIDs: `node.trunk_api`.
    GET    /v1/records?limit=&account=&since=
    GET    /v1/bans                POST /v1/bans               DELETE /v1/bans/{address}

Whoever may open the socket may do everything: its mode is 0600, in a folder of mode 0700. Errors
are `{"error": "<sentence>"}` with a fitting status.
"""

import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

import msgspec
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from federation.model.errors import ConfigError, PeerError, RingmeshError, UsageError
from node.api_answers import answer as _answer
from node.api_answers import body_of as _body
from node.api_bans import ban_routes
from node.api_features import feature_routes
from node.api_messages import message_routes
from node.api_records import record_routes
from node.control import NodeControl, RefusedError
from node.relaying.answers import RelayControl
from node.relaying.api import RelayApi
from node.trunk_answers import TrunkControl
from node.trunk_api import TrunkApi
from node.unix_socket import listen_at

MAX_BODY_BYTES = 65536
MAX_TARGET = 1024
"Characters of a URI that can be asked for."
SHUTDOWN_SECONDS = 1.0
"How long a request under way may still take when the node stops."
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ApiControl(NodeControl, TrunkControl, RelayControl, Protocol):
    """All that the API asks of a node."""


class NewUser(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The body of `POST /v1/users`."""

    login: str
    password: str | None = None
    extension: str | None = None
    name: str | None = None


class NewPassword(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The body of `POST /v1/users/{login}/password`; without one, a password is generated."""

    password: str | None = None


class AcceptedKey(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The body of `POST /v1/pins/{name}`; without a key, the one that was refused."""

    key: str | None = None


class WantedCredentials(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The body of `POST /v1/turn/credentials`; `ttl` in seconds, a day by default."""

    login: str
    ttl: int | None = None


class NewDomain(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The body of `POST /v1/domains`."""

    name: str


class ApiServer:
    """Serves a `NodeControl` at a socket path from `start` to `close`."""

    def __init__(self, control: ApiControl, path: Path) -> None:
        self._control = control
        self._path = path
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Begin to listen.

        Raises:
            ConfigError: the socket cannot be made.
        """
        try:
            listener = listen_at(self._path)
        except OSError as error:
            raise ConfigError(
                f"{self._path} cannot be made: {error.strerror}; "
                "give another state folder with --state"
            ) from error
        runner = web.AppRunner(
            self._application(),
            access_log=None,
            logger=_server_log(),
            shutdown_timeout=SHUTDOWN_SECONDS,
        )
        await runner.setup()
        await web.SockSite(runner, listener).start()
        self._runner = runner

    async def close(self) -> None:
        """Stop listening and remove the socket; calling again is harmless."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()
            self._path.unlink(missing_ok=True)

    def _application(self) -> web.Application:
        application = web.Application(
            middlewares=[_errors_as_sentences], client_max_size=MAX_BODY_BYTES
        )
        application.add_routes(
            [
                web.get("/v1/status", self._status),
                web.get("/v1/peers", self._peers),
                web.get("/v1/resolve", self._resolve),
                web.get("/v1/why", self._why),
                web.get("/v1/dht", self._dht),
                web.get("/v1/pins", self._pins),
                web.post("/v1/pins/{name}", self._pin_accept),
                web.delete("/v1/pins/{name}", self._pin_forget),
                web.get("/v1/domains", self._domains),
                web.post("/v1/domains", self._domain_add),
                web.delete("/v1/domains/{name}", self._domain_remove),
                web.get("/v1/domains/{name}/check", self._domain_verify),
                web.get("/v1/users", self._users),
                web.post("/v1/users", self._user_add),
                web.get("/v1/users/{login}", self._user_show),
                web.delete("/v1/users/{login}", self._user_remove),
                web.post("/v1/users/{login}/password", self._user_passwd),
                web.post("/v1/turn/credentials", self._turn_credentials),
                web.get("/v1/calls", self._calls),
                web.delete("/v1/calls/{id}", self._hangup),
                *feature_routes(self._control),
                *record_routes(self._control),
                *message_routes(self._control),
                *ban_routes(self._control),
            ]
        )
        application.add_routes(TrunkApi(self._control, _answer).routes())
        application.add_routes(RelayApi(self._control, _answer).routes())
        return application

    async def _status(self, _: web.Request) -> web.Response:
        return _answer(await self._control.status())

    async def _peers(self, _: web.Request) -> web.Response:
        return _answer(await self._control.peers())

    async def _resolve(self, request: web.Request) -> web.Response:
        return _answer(await self._control.resolve(_asked_for(request)))

    async def _why(self, request: web.Request) -> web.Response:
        return _answer(await self._control.why(_asked_for(request)))

    async def _dht(self, _: web.Request) -> web.Response:
        return _answer(await self._control.dht())

    async def _pins(self, _: web.Request) -> web.Response:
        return _answer(await self._control.pins())

    async def _pin_accept(self, request: web.Request) -> web.Response:
        accepted = await _body(request, AcceptedKey)
        return _answer(await self._control.pin_accept(request.match_info["name"], accepted.key))

    async def _pin_forget(self, request: web.Request) -> web.Response:
        return _answer(await self._control.pin_forget(request.match_info["name"]))

    async def _domains(self, _: web.Request) -> web.Response:
        return _answer(await self._control.domains())

    async def _domain_add(self, request: web.Request) -> web.Response:
        new = await _body(request, NewDomain)
        return _answer(await self._control.domain_add(new.name), status=201)

    async def _domain_remove(self, request: web.Request) -> web.Response:
        return _answer(await self._control.domain_remove(request.match_info["name"]))

    async def _domain_verify(self, request: web.Request) -> web.Response:
        return _answer(await self._control.domain_verify(request.match_info["name"]))

    async def _users(self, _: web.Request) -> web.Response:
        return _answer(await self._control.users_list())

    async def _user_add(self, request: web.Request) -> web.Response:
        new = await _body(request, NewUser)
        sheet = await self._control.user_add(
            new.login, password=new.password, extension=new.extension, name=new.name
        )
        return _answer(sheet, status=201)

    async def _user_show(self, request: web.Request) -> web.Response:
        return _answer(await self._control.user_show(request.match_info["login"]))

    async def _user_remove(self, request: web.Request) -> web.Response:
        await self._control.user_remove(request.match_info["login"])
        return _answer({"removed": request.match_info["login"]})

    async def _user_passwd(self, request: web.Request) -> web.Response:
        new = await _body(request, NewPassword)
        login = request.match_info["login"]
        return _answer(await self._control.user_passwd(login, password=new.password))

    async def _turn_credentials(self, request: web.Request) -> web.Response:
        wanted = await _body(request, WantedCredentials)
        return _answer(await self._control.turn_credentials(wanted.login, ttl=wanted.ttl))

    async def _calls(self, _: web.Request) -> web.Response:
        return _answer(await self._control.calls())

    async def _hangup(self, request: web.Request) -> web.Response:
        return _answer({"ended": await self._control.hangup(request.match_info["id"])})


def _server_log() -> logging.Logger:
    """The server's log without what is no HTTP: the client hears of that, and it is no fault."""
    log = logging.getLogger("ringmesh.api")
    if not log.filters:
        log.addFilter(lambda record: not _is_clients_fault(record))
    return log


def _is_clients_fault(record: logging.LogRecord) -> bool:
    return record.exc_info is not None and isinstance(record.exc_info[1], HttpProcessingError)


@web.middleware
async def _errors_as_sentences(request: web.Request, handler: _Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except RefusedError as error:
        return _error(str(error), error.status)
    except (ConfigError, PeerError) as error:
        return _error(str(error), 400)
    except UsageError:
        raise  # a mistake of ours: 500, and the whole of it in the log
    except RingmeshError as error:
        return _error(str(error), 503)
    except web.HTTPException as error:
        return _error(_HTTP_SENTENCES.get(error.status, error.reason), error.status)


_HTTP_SENTENCES = {
    404: "there is no such resource; the API's resources stand in node/README.md",
    405: "that resource does not take this method",
    413: f"a request may have at most {MAX_BODY_BYTES} bytes",
}


def _asked_for(request: web.Request) -> str:
    uri = request.query.get("uri", "")
    if not uri:
        raise RefusedError("say what to resolve: a number, a login or user@domain", 400)
    if len(uri) > MAX_TARGET:
        raise RefusedError(f"a target has at most {MAX_TARGET} characters", 400)
    return uri


def _error(sentence: str, status: int) -> web.Response:
    return _answer({"error": sentence}, status)
