"""The part of the admin API that is about trunks and DIDs.

GET    /v1/trunks              GET    /v1/trunks/{name}        GET    /v1/dids
POST   /v1/trunks              PATCH  /v1/trunks/{name}        POST   /v1/dids
GET    /v1/trunks/{name}/test  DELETE /v1/trunks/{name}        DELETE /v1/dids/{number}
"""

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from node.control import RefusedError
from node.trunk_answers import TrunkControl
from node.trunks.options import NewTrunk, TrunkOptions

Answer = Callable[[Any, int], web.Response]
_Body = TypeVar("_Body", bound=msgspec.Struct)


class NewDid(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The body of `POST /v1/dids`."""

    number: str
    target: str


class TrunkApi:
    """The handlers; `answer` makes a response of plain values and a status."""

    def __init__(self, control: TrunkControl, answer: Answer) -> None:
        self._control = control
        self._answer = answer

    def routes(self) -> list[web.RouteDef]:
        """What they are reached by."""
        return [
            web.get("/v1/trunks", self._all),
            web.post("/v1/trunks", self._add),
            web.get("/v1/trunks/{name}", self._show),
            web.patch("/v1/trunks/{name}", self._set),
            web.delete("/v1/trunks/{name}", self._remove),
            web.get("/v1/trunks/{name}/test", self._test),
            web.get("/v1/dids", self._dids),
            web.post("/v1/dids", self._map),
            web.delete("/v1/dids/{number}", self._unmap),
        ]

    async def _all(self, _: web.Request) -> web.Response:
        return self._answer(await self._control.trunks(), 200)

    async def _show(self, request: web.Request) -> web.Response:
        return self._answer(await self._control.trunk_show(request.match_info["name"]), 200)

    async def _add(self, request: web.Request) -> web.Response:
        new = await _read(request, NewTrunk)
        return self._answer(await self._control.trunk_add(new), 201)

    async def _set(self, request: web.Request) -> web.Response:
        options = await _read(request, TrunkOptions)
        return self._answer(await self._control.trunk_set(request.match_info["name"], options), 200)

    async def _remove(self, request: web.Request) -> web.Response:
        return self._answer(await self._control.trunk_remove(request.match_info["name"]), 200)

    async def _test(self, request: web.Request) -> web.Response:
        return self._answer(await self._control.trunk_test(request.match_info["name"]), 200)

    async def _dids(self, _: web.Request) -> web.Response:
        return self._answer(await self._control.dids(), 200)

    async def _map(self, request: web.Request) -> web.Response:
        new = await _read(request, NewDid)
        return self._answer(await self._control.did_map(new.number, new.target), 201)

    async def _unmap(self, request: web.Request) -> web.Response:
        return self._answer(await self._control.did_unmap(request.match_info["number"]), 200)


async def _read(request: web.Request, kind: type[_Body]) -> _Body:
    try:
        return msgspec.json.decode(await request.read() or b"{}", type=kind)
    except msgspec.DecodeError as error:
        raise RefusedError(f"the request's JSON will not do: {error}", 400) from error
