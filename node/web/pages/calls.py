"""Calls under way and calls that have ended, and the SIP messages of one."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from aiohttp import web

from federation.model.errors import RingmeshError
from node.api_resources import ApiControl
from node.call_log import query, read_since
from node.control import JsonObject, RefusedError
from node.web.forms import status_of
from node.web.gate import Gate
from node.web.ladder import draw
from node.web.render import page

PAGE_ROWS = 100
"Calls of the log on one page."


class Calls:
    """The calls."""

    def __init__(self, control: ApiControl, gate: Gate) -> None:
        self._control = control
        self._gate = gate

    def routes(self) -> list[web.RouteDef]:
        """What they are reached by."""
        routes = [
            web.get("/calls", self._live),
            web.get("/log", self._log),
            web.get("/calls/{id}", self._ladder),
            web.post("/calls/{id}/hangup", self._hangup),
        ]
        return [self._gate.page(route) for route in routes]

    async def _live(self, request: web.Request) -> web.StreamResponse:
        return await self._list(request)

    async def _list(
        self, request: web.Request, error: RingmeshError | None = None
    ) -> web.StreamResponse:
        status = 200 if error is None else status_of(error)
        calls = await self._control.calls()
        return page(request, "calls.html", status=status, calls=calls, error=error)

    async def _hangup(self, request: web.Request) -> web.StreamResponse:
        try:
            await self._control.hangup(request.match_info["id"])
        except RefusedError as error:
            return await self._list(request, error)
        raise web.HTTPSeeOther("/calls")

    async def _log(self, request: web.Request) -> web.StreamResponse:
        asked, error = request.query, None
        account, since = asked.get("account", "").strip(), asked.get("since", "").strip()
        records: Sequence[JsonObject] = []
        try:
            until = read_since(since, now=self._control.clock.unix()) if since else None
            records = await self._control.storage.run(query(PAGE_ROWS, account or None, until))
        except RefusedError as refused:
            error = refused
        return page(
            request,
            "log.html",
            status=200 if error is None else error.status,
            records=records,
            rows=PAGE_ROWS,
            account=account,
            since=since,
            error=error,
        )

    async def _ladder(self, request: web.Request) -> web.StreamResponse:
        call = request.match_info["id"]
        trace: dict[str, Any] = await self._control.trace_desk.trace(call)
        text = f"/v1/calls/{quote(call, safe='')}/trace?format=text"
        return page(request, "ladder.html", trace=trace, ladder=draw(trace), text=text)
