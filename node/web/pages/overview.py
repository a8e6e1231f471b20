"""The overview, the map, and what keeps them up to date while they are looked at."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from aiohttp import web

from node.api_resources import ApiControl
from node.control import JsonObject, RefusedError
from node.web.access import form_token
from node.web.gate import GRANT, SESSION, Gate
from node.web.render import fragment, page

LOOK_SECONDS = 1.0
"Between two looks at the node for one who watches."
KEEP_ALIVE_SECONDS = 15.0
MAX_WATCHERS = 32
MAX_NODES = 200
"On the map; the nearest ones. All are in the API."
RETRY_MILLISECONDS = 2000
"After which a browser that lost the node tries again."


class Overview:
    """Pages that follow the node by server-sent events."""

    def __init__(self, control: ApiControl, gate: Gate) -> None:
        self._control = control
        self._gate = gate
        self._watchers = 0
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Let go of those who watch: the node ends."""
        self._stopping.set()

    def routes(self) -> list[web.RouteDef]:
        """What they are reached by."""
        return [
            self._gate.page(web.get("/", self._overview)),
            self._gate.page(web.get("/map", self._map)),
            self._gate.page(web.get("/events", self._events, allow_head=False)),
            self._gate.api(web.get("/session", self._session)),
        ]

    async def _overview(self, request: web.Request) -> web.StreamResponse:
        status, calls = await self._control.status(), await self._control.calls()
        return page(request, "overview.html", **_named(status), calls=calls)

    async def _map(self, request: web.Request) -> web.StreamResponse:
        status, peers = await self._control.status(), await self._control.peers()
        return page(request, "map.html", **_named(status), peers=_nearest(peers))

    async def _session(self, request: web.Request) -> web.StreamResponse:
        """Whether the session still holds: 401 where it does not."""
        return web.json_response({"until": request[GRANT].until})

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """`event: NAME`, one for each part of a page that has changed (`?parts=overview,calls`)."""
        wanted = [name for name in request.query.get("parts", "").split(",") if name in PARTS]
        if not wanted:
            raise RefusedError(f"say which parts to watch: {', '.join(PARTS)}", 400)
        if self._watchers >= MAX_WATCHERS:
            raise RefusedError(f"{MAX_WATCHERS} pages watch this node already", 503)
        self._watchers += 1
        try:
            return await self._stream(request, wanted)
        finally:
            self._watchers -= 1

    async def _stream(self, request: web.Request, wanted: list[str]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(f"retry: {RETRY_MILLISECONDS}\n\n".encode())
        csrf, last, silent = form_token(request[SESSION]), dict[str, bytes](), 0.0
        while self._is_allowed(request):
            out = b""
            for name in wanted:
                body = msgspec.json.encode(await PARTS[name](self._control, csrf))
                if body != last.get(name):
                    last[name] = body
                    out += b"event: %s\ndata: %s\n\n" % (name.encode(), body)
            silent = 0.0 if out else silent + LOOK_SECONDS
            if not out and silent >= KEEP_ALIVE_SECONDS:
                out, silent = b": still here\n\n", 0.0
            try:
                if out:
                    await response.write(out)
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._stopping.wait()
                break
            except TimeoutError:
                continue
            except ConnectionError:
                break
        return response

    def _is_allowed(self, request: web.Request) -> bool:
        """Whether the session still holds: a page left open must not outlive a logout."""
        return request[GRANT] in self._gate.access.book and self._gate.is_person(request)


def _named(status: JsonObject) -> dict[str, Any]:
    """The node's status beside the name that `page` gives the HTTP status."""
    return {"node": status}


async def _overview_part(control: ApiControl, csrf: str) -> str:
    return fragment("part_overview.html", _named(await control.status()))


async def _calls_part(control: ApiControl, csrf: str) -> str:
    return fragment("part_calls.html", {"calls": await control.calls(), "csrf": csrf})


async def _map_part(control: ApiControl, csrf: str) -> JsonObject:
    """What the map draws: `self`, and `nodes` with `id`, `linked`, `rtt`, `address`, `software`."""
    status, peers = await control.status(), _nearest(await control.peers())
    return {
        "self": status["node_id"],
        "nodes": [
            {
                "id": peer["node_id"],
                "linked": peer["linked"],
                "rtt": None if peer["rtt"] is None else round(peer["rtt"], 3),
                "address": peer["address"],
            }
            for peer in peers
        ],
        "table": fragment("part_peers.html", {"peers": peers}),
    }


PARTS: Mapping[str, Callable[[ApiControl, str], Any]] = {
    "overview": _overview_part,
    "calls": _calls_part,
    "map": _map_part,
}
"What can be watched."


def _nearest(peers: list[JsonObject]) -> list[JsonObject]:
    """Those that are linked, then by round trip; in an order that does not change for nothing."""

    def rank(peer: JsonObject) -> tuple[bool, float, str]:
        rtt = peer["rtt"]
        return not peer["linked"], 9.0 if rtt is None else round(rtt, 1), str(peer["node_id"])

    return sorted(peers, key=rank)[:MAX_NODES]
