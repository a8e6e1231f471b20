"""The admin API's resources for forwarding, do-not-disturb and ring groups."""

import msgspec
from aiohttp import web

from node.api_answers import answer, body_of
from node.control import NodeControl
from node.storage.features import RING_SECONDS
from node.storage.ring_groups import RingMode


class SetFeatures(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The body of `POST /v1/users/{login}/features`; `off` drops all forwarding first."""

    always: str | None = None
    busy: str | None = None
    no_answer: str | None = None
    after: int | None = None
    off: bool = False
    dnd: bool | None = None


class NewGroup(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The body of `POST /v1/groups`."""

    login: str
    members: list[str]
    mode: str = RingMode.ALL.value
    ring: int = RING_SECONDS
    extension: str | None = None
    name: str = ""


class ChangedGroup(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The body of `POST /v1/groups/{login}`; what is not given stays."""

    members: list[str] | None = None
    mode: str | None = None
    ring: int | None = None


def feature_routes(control: NodeControl) -> list[web.RouteDef]:
    """The resources, served by a node's `phone_features`."""

    async def set_features(request: web.Request) -> web.Response:
        new, login = await body_of(request, SetFeatures), request.match_info["login"]
        return answer(await control.phone_features.forward(login, **msgspec.structs.asdict(new)))

    async def groups(_: web.Request) -> web.Response:
        return answer(control.phone_features.desk.groups())

    async def group(request: web.Request) -> web.Response:
        return answer(control.phone_features.desk.group(request.match_info["login"]))

    async def group_add(request: web.Request) -> web.Response:
        new = msgspec.structs.asdict(await body_of(request, NewGroup))
        return answer(await control.phone_features.group_add(new.pop("login"), **new), status=201)

    async def group_set(request: web.Request) -> web.Response:
        changed, login = await body_of(request, ChangedGroup), request.match_info["login"]
        changes = msgspec.structs.asdict(changed)
        return answer(await control.phone_features.group_set(login, **changes))

    async def group_remove(request: web.Request) -> web.Response:
        return answer(await control.phone_features.group_remove(request.match_info["login"]))

    return [
        web.post("/v1/users/{login}/features", set_features),
        web.get("/v1/groups", groups),
        web.post("/v1/groups", group_add),
        web.get("/v1/groups/{login}", group),
        web.post("/v1/groups/{login}", group_set),
        web.delete("/v1/groups/{login}", group_remove),
    ]
