"""What the admin API has under `/v1`, for whichever server offers it.

GET    /v1/status              GET    /v1/users            GET    /v1/calls
GET    /v1/peers               POST   /v1/users            DELETE /v1/calls/{id}  (id or `all`)
GET    /v1/resolve?uri=        GET    /v1/users/{login}        GET    /v1/pins
GET    /v1/why?uri=            DELETE /v1/users/{login}        POST   /v1/pins/{name}
GET    /v1/dht                 POST   /v1/users/{login}/password
                                                               DELETE /v1/pins/{name}
GET    /v1/domains             DELETE /v1/domains/{name}
POST   /v1/domains             GET    /v1/domains/{name}/check
POST   /v1/turn/credentials    POST   /v1/users/import

GET    /v1/groups              POST   /v1/users/{login}/features
POST   /v1/groups              GET, POST, DELETE /v1/groups/{login}
Trunks and DIDs: `node.trunk_api`.
GET    /v1/records?limit=&account=&since=
GET    /v1/calls/{id}/trace?format=
GET    /v1/bans                POST /v1/bans               DELETE /v1/bans/{address}
The console's own: `node.web.api`; invitations and links for devices: `node.web.api_links`.
GET    /v1/openapi.json
"""

from typing import Protocol

import msgspec
from aiohttp import web

from node.api_answers import answer as _answer
from node.api_answers import body_of as _body
from node.api_arrivals import ArrivalControl, arrival_routes
from node.api_bans import ban_routes
from node.api_features import feature_routes
from node.api_messages import message_routes
from node.api_openapi import openapi_routes
from node.api_records import record_routes
from node.api_traces import trace_routes
from node.control import NodeControl, RefusedError
from node.relaying.answers import RelayControl
from node.relaying.api import RelayApi
from node.trunk_answers import TrunkControl
from node.trunk_api import TrunkApi
from node.web.api import console_routes
from node.web.api_links import link_routes

MAX_TARGET = 1024
"Characters of a URI that can be asked for."


class ApiControl(NodeControl, TrunkControl, RelayControl, ArrivalControl, Protocol):
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


def api_routes(control: ApiControl) -> list[web.RouteDef]:
    """Every resource of the API, served by a node."""
    return [
        *CoreApi(control).routes(),
        *feature_routes(control),
        *arrival_routes(control),
        *record_routes(control),
        *message_routes(control),
        *ban_routes(control),
        *console_routes(control),
        *trace_routes(control),
        *link_routes(control),
        *openapi_routes(),
        *TrunkApi(control, _answer).routes(),
        *RelayApi(control, _answer).routes(),
    ]


class CoreApi:
    """The resources that have no file of their own."""

    def __init__(self, control: ApiControl) -> None:
        self._control = control

    def routes(self) -> list[web.RouteDef]:
        """What they are reached by."""
        return [
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
        ]

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


def _asked_for(request: web.Request) -> str:
    uri = request.query.get("uri", "")
    if not uri:
        raise RefusedError("say what to resolve: a number, a login or user@domain", 400)
    if len(uri) > MAX_TARGET:
        raise RefusedError(f"a target has at most {MAX_TARGET} characters", 400)
    return uri
