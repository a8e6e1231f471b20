"""The admin API's resource for the SIP messages of a call."""

from aiohttp import web

from node.api_answers import answer
from node.control import NodeControl, RefusedError
from node.tracing.ladder import as_text


def trace_routes(control: NodeControl) -> list[web.RouteDef]:
    """The resource, served by a node's `trace_desk`; `format=text` is for people."""

    async def trace(request: web.Request) -> web.Response:
        form = request.query.get("format", "json")
        if form not in ("json", "text"):
            raise RefusedError(f"format is {form[:20]!r}, but must be json or text", 400)
        found = await control.trace_desk.trace(request.match_info["id"])
        return web.Response(text=as_text(found)) if form == "text" else answer(found)

    return [web.get("/v1/calls/{id}/trace", trace)]
