"""The admin API's resources about the console itself.

POST   /v1/console/links       GET    /v1/console/grants
POST   /v1/console/tokens      DELETE /v1/console/grants/{id}  (id, a token's name, or `sessions`)
POST   /v1/console/password    DELETE /v1/console/password
"""

import msgspec
from aiohttp import web

from node.api_answers import answer, body_of
from node.control import NodeControl


class NewToken(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The body of `POST /v1/console/tokens`; without `seconds` until it is revoked."""

    name: str
    seconds: int | None = None


class NewConsolePassword(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The body of `POST /v1/console/password`; without one, a password is generated."""

    password: str | None = None


def console_routes(control: NodeControl) -> list[web.RouteDef]:
    """The resources, served by a node's `web_desk`."""

    async def link(_: web.Request) -> web.Response:
        return answer(control.web_desk.link(), status=201)

    async def grants(_: web.Request) -> web.Response:
        return answer(control.web_desk.grants())

    async def token(request: web.Request) -> web.Response:
        new = await body_of(request, NewToken)
        return answer(await control.web_desk.token(new.name, new.seconds), status=201)

    async def revoke(request: web.Request) -> web.Response:
        return answer(await control.web_desk.revoke(request.match_info["id"]))

    async def set_password(request: web.Request) -> web.Response:
        new = await body_of(request, NewConsolePassword)
        return answer(await control.web_desk.password(new.password))

    async def no_password(_: web.Request) -> web.Response:
        return answer(await control.web_desk.password(None, off=True))

    return [
        web.post("/v1/console/links", link),
        web.get("/v1/console/grants", grants),
        web.post("/v1/console/tokens", token),
        web.delete("/v1/console/grants/{id}", revoke),
        web.post("/v1/console/password", set_password),
        web.delete("/v1/console/password", no_password),
    ]
