"""The part of the admin API that is about relaying for others.

GET    /v1/relay               GET    /v1/relay/candidates     GET /v1/relay/leases
POST   /v1/relay (on)          POST   /v1/relay/leases
DELETE /v1/relay (off)         DELETE /v1/relay/leases/{lease}
"""

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import msgspec
from aiohttp import web
from msgspec import Meta

from node.control import RefusedError
from node.relaying.answers import RelayControl
from node.relaying.consent import ConsentChange

MAX_LEASES_A_REQUEST = 4

Answer = Callable[[Any, int], web.Response]
_Body = TypeVar("_Body", bound=msgspec.Struct)


class WantedLeases(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The body of `POST /v1/relay/leases`."""

    count: Annotated[int, Meta(ge=1, le=MAX_LEASES_A_REQUEST)] = 2
    keep: bool = False
    "Keep so many in force until they are given back: renewed, and replaced where a relay is lost."


class RelayApi:
    """The handlers; `answer` makes a response of plain values and a status."""

    def __init__(self, control: RelayControl, answer: Answer) -> None:
        self._control = control
        self._answer = answer

    def routes(self) -> list[web.RouteDef]:
        """What they are reached by."""
        return [
            web.get("/v1/relay", self._usage),
            web.post("/v1/relay", self._on),
            web.delete("/v1/relay", self._off),
            web.get("/v1/relay/candidates", self._candidates),
            web.get("/v1/relay/leases", self._leases),
            web.post("/v1/relay/leases", self._borrow),
            web.delete("/v1/relay/leases/{lease}", self._give_back),
        ]

    async def _usage(self, _: web.Request) -> web.Response:
        return self._answer(await self._control.relay_usage(), 200)

    async def _on(self, request: web.Request) -> web.Response:
        change = await _read(request, ConsentChange)
        return self._answer(await self._control.relay_on(change), 200)

    async def _off(self, _: web.Request) -> web.Response:
        return self._answer(await self._control.relay_off(), 200)

    async def _candidates(self, _: web.Request) -> web.Response:
        return self._answer(await self._control.relay_candidates(), 200)

    async def _leases(self, _: web.Request) -> web.Response:
        return self._answer(await self._control.relay_leases(), 200)

    async def _borrow(self, request: web.Request) -> web.Response:
        wanted = await _read(request, WantedLeases)
        leases = await self._control.relay_borrow(wanted.count, keep=wanted.keep)
        return self._answer(leases, 201)

    async def _give_back(self, request: web.Request) -> web.Response:
        lease = request.match_info["lease"]
        return self._answer(await self._control.relay_give_back(lease), 200)


async def _read(request: web.Request, kind: type[_Body]) -> _Body:
    try:
        return msgspec.json.decode(await request.read() or b"{}", type=kind)
    except msgspec.DecodeError as error:
        raise RefusedError(f"the request's JSON will not do: {error}", 400) from error
