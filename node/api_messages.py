"""The admin API's resources for messages."""

import msgspec
from aiohttp import web

from node.api_answers import answer, body_of
from node.control import NodeControl


class NewMessage(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The body of `POST /v1/users/{login}/messages`: from that account."""

    to: str
    text: str


def message_routes(control: NodeControl) -> list[web.RouteDef]:
    """The resources, served by a node's `message_desk`."""

    async def send(request: web.Request) -> web.Response:
        new, login = await body_of(request, NewMessage), request.match_info["login"]
        return answer(await control.message_desk.send(login, new.to, new.text), status=201)

    async def waiting(request: web.Request) -> web.Response:
        return answer(control.message_desk.waiting(request.match_info["login"]))

    return [
        web.post("/v1/users/{login}/messages", send),
        web.get("/v1/users/{login}/messages", waiting),
    ]
