"""Trunks, and telephone numbers of ordinary providers."""

from typing import Any

import msgspec
from aiohttp import web

from federation.model.errors import RingmeshError
from node.api_resources import ApiControl
from node.control import JsonObject
from node.trunks.options import NewTrunk
from node.web.forms import Form, status_of
from node.web.gate import Gate
from node.web.pages.people import phone_uri
from node.web.render import page

DONE = {
    "removed": "The trunk is removed, with the numbers that led to it.",
    "mapped": "The number leads there now.",
    "unmapped": "The number leads nowhere now.",
}


class Lines:
    """Trunks and numbers."""

    def __init__(self, control: ApiControl, gate: Gate) -> None:
        self._control = control
        self._gate = gate

    def routes(self) -> list[web.RouteDef]:
        """What they are reached by."""
        routes = [
            web.get("/trunks", self._trunks),
            web.post("/trunks", self._add),
            web.get("/trunks/{name}", self._trunk),
            web.post("/trunks/{name}/test", self._test),
            web.post("/trunks/{name}/remove", self._remove),
            web.get("/numbers", self._numbers),
            web.post("/numbers", self._map),
            web.post("/numbers/{number}/remove", self._unmap),
        ]
        return [self._gate.page(route) for route in routes]

    async def _trunks(self, request: web.Request) -> web.StreamResponse:
        return await self._list(request, Form())

    async def _list(
        self, request: web.Request, form: Form, error: RingmeshError | None = None
    ) -> web.StreamResponse:
        return page(
            request,
            "trunks.html",
            status=200 if error is None else status_of(error),
            trunks=await self._control.trunks(),
            form=form,
            error=error,
            done=DONE.get(request.query.get("done", "")),
        )

    async def _add(self, request: web.Request) -> web.StreamResponse:
        form = await Form.of(request)
        try:
            trunk = await self._control.trunk_add(_wanted(form))
        except RingmeshError as error:
            return await self._list(request, form, error)
        return self._sheet(request, trunk)

    def _sheet(
        self,
        request: web.Request,
        trunk: JsonObject,
        *,
        steps: JsonObject | None = None,
        error: RingmeshError | None = None,
    ) -> web.StreamResponse:
        uri = phone_uri(trunk) if "password" in trunk and "server" in trunk else None
        status = 200 if error is None else status_of(error)
        return page(
            request,
            "trunk.html",
            status=status,
            trunk=trunk,
            sheet=trunk,
            uri=uri,
            steps=steps,
            error=error,
        )

    async def _trunk(self, request: web.Request) -> web.StreamResponse:
        return self._sheet(request, await self._control.trunk_show(request.match_info["name"]))

    async def _test(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        steps = await self._control.trunk_test(name)
        return self._sheet(request, await self._control.trunk_show(name), steps=steps)

    async def _remove(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        try:
            await self._control.trunk_remove(name)
        except RingmeshError as error:
            trunk = await self._control.trunk_show(name)
            return self._sheet(request, trunk, error=error)
        raise web.HTTPSeeOther("/trunks?done=removed")

    async def _numbers(self, request: web.Request) -> web.StreamResponse:
        return await self._list_numbers(request, Form())

    async def _list_numbers(
        self, request: web.Request, form: Form, error: RingmeshError | None = None
    ) -> web.StreamResponse:
        return page(
            request,
            "numbers.html",
            status=200 if error is None else status_of(error),
            dids=await self._control.dids(),
            form=form,
            error=error,
            done=DONE.get(request.query.get("done", "")),
        )

    async def _map(self, request: web.Request) -> web.StreamResponse:
        form = await Form.of(request)
        try:
            await self._control.did_map(form["number"], form["target"])
        except RingmeshError as error:
            return await self._list_numbers(request, form, error)
        raise web.HTTPSeeOther("/numbers?done=mapped")

    async def _unmap(self, request: web.Request) -> web.StreamResponse:
        try:
            await self._control.did_unmap(request.match_info["number"])
        except RingmeshError as error:
            return await self._list_numbers(request, Form(), error)
        raise web.HTTPSeeOther("/numbers?done=unmapped")


def _wanted(form: Form) -> NewTrunk:
    """A trunk as the form describes it; what does not belong to its kind is left out."""
    wanted: dict[str, Any] = {"name": form["name"].lower(), "kind": form["kind"]}
    if form["kind"] == "pbx":
        wanted |= {"mode": form.text("mode"), "static": form.text("static")}
    else:
        wanted |= {
            "servers": form.lines("servers"),
            "login": form.text("login"),
            "password": form.text("password"),
            "rules": form.lines("rules"),
            "country": form.text("country"),
            "caller": form.text("caller"),
            "transport": form.text("transport"),
            "emergency": form.ticked("emergency") or None,
        }
    wanted["max_calls"] = form.number("max_calls", "the number of calls")
    return msgspec.convert(wanted, NewTrunk)
