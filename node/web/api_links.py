"""The admin API's resources for invitations and for links that set up a device.

GET    /v1/invitations         GET    /v1/provisioning
POST   /v1/invitations         POST   /v1/users/{login}/provisioning
DELETE /v1/invitations/{id}    DELETE /v1/provisioning/{id}
"""

import msgspec
from aiohttp import web

from node.api_answers import answer, body_of
from node.control import NodeControl
from node.web.invitations import INVITATION_SECONDS
from node.web.provisioning import LINK_SECONDS


class NewInvitation(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The body of `POST /v1/invitations`."""

    uses: int = 1
    seconds: int = INVITATION_SECONDS
    note: str = ""


class NewDeviceLink(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The body of `POST /v1/users/{login}/provisioning`."""

    seconds: int = LINK_SECONDS


def link_routes(control: NodeControl) -> list[web.RouteDef]:
    """The resources, served by a node's `invitation_desk` and `provisioning_desk`."""

    async def invitations(_: web.Request) -> web.Response:
        return answer(control.invitation_desk.all())

    async def invite(request: web.Request) -> web.Response:
        new = await body_of(request, NewInvitation)
        made = await control.invitation_desk.create(
            uses=new.uses, seconds=new.seconds, note=new.note
        )
        return answer(made, status=201)

    async def take_back(request: web.Request) -> web.Response:
        return answer(await control.invitation_desk.revoke(request.match_info["id"]))

    async def links(_: web.Request) -> web.Response:
        return answer(control.provisioning_desk.all())

    async def issue(request: web.Request) -> web.Response:
        new, login = await body_of(request, NewDeviceLink), request.match_info["login"]
        return answer(await control.provisioning_desk.issue(login, seconds=new.seconds), status=201)

    async def close(request: web.Request) -> web.Response:
        return answer(await control.provisioning_desk.revoke(request.match_info["id"]))

    return [
        web.get("/v1/invitations", invitations),
        web.post("/v1/invitations", invite),
        web.delete("/v1/invitations/{id}", take_back),
        web.get("/v1/provisioning", links),
        web.post("/v1/users/{login}/provisioning", issue),
        web.delete("/v1/provisioning/{id}", close),
    ]
