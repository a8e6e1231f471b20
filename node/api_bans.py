"""The admin API's resource for banned sources."""

import msgspec
from aiohttp import web

from node.api_answers import answer, body_of
from node.control import NodeControl


class NewBan(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The body of `POST /v1/bans`; without `seconds` until it is lifted."""

    address: str
    seconds: int | None = None
    reason: str | None = None


def ban_routes(control: NodeControl) -> list[web.RouteDef]:
    """The resource; changes are committed before the answer."""

    async def bans(_: web.Request) -> web.Response:
        return answer(control.ban_desk.all())

    async def ban(request: web.Request) -> web.Response:
        new = await body_of(request, NewBan)
        made = control.ban_desk.ban(new.address, seconds=new.seconds, reason=new.reason)
        await control.storage.flush()
        return answer(made, status=201)

    async def unban(request: web.Request) -> web.Response:
        lifted = control.ban_desk.unban(request.match_info["address"])
        await control.storage.flush()
        return answer(lifted)

    return [
        web.get("/v1/bans", bans),
        web.post("/v1/bans", ban),
        web.delete("/v1/bans/{address}", unban),
    ]
