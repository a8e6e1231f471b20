"""The admin API's resource for finished calls."""

from aiohttp import web

from node.api_answers import answer
from node.call_log import DEFAULT_LIMIT, query, read_since
from node.control import NodeControl, RefusedError


def record_routes(control: NodeControl) -> list[web.RouteDef]:
    """The resource, read from a node's storage in its own thread."""

    async def records(request: web.Request) -> web.Response:
        asked = request.query
        text = asked.get("limit", str(DEFAULT_LIMIT))
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise RefusedError(f"limit is {text[:20]!r}, but must be a whole number", 400)
        since = asked.get("since")
        now = control.clock.unix()
        work = query(
            int(text),
            asked.get("account"),
            None if since is None else read_since(since, now=now),
        )
        return answer(await control.storage.run(work))

    return [web.get("/v1/records", records)]
