"""`/metrics`, `/healthz` and `/readyz`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

from node.api_answers import answer
from node.metrics.health import Health

if TYPE_CHECKING:
    from node.metrics.page import Source


@dataclass(frozen=True, slots=True)
class Monitor:
    """What machines ask about the node."""

    health: Health
    sources: Sequence["Source"]
    look: Callable[[], None]
    "Has what was noted lately counted."

    def metrics_routes(self) -> list[web.RouteDef]:
        """The page of figures."""
        return [web.get("/metrics", self._metrics)]

    def health_routes(self) -> list[web.RouteDef]:
        """200 where all is well, else 503; the body says what is not."""
        return [web.get("/healthz", self._healthz), web.get("/readyz", self._readyz)]

    async def _metrics(self, request: web.Request) -> web.Response:
        # Not before somebody asks: the library takes a while to be imported.
        from node.metrics.page import MetricsPage

        self.look()
        self.health.renew()
        body, content_type = MetricsPage(self.sources).render(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def _healthz(self, _: web.Request) -> web.Response:
        said = self.health.healthy()
        return answer(said, status=200 if said["healthy"] else 503)

    async def _readyz(self, _: web.Request) -> web.Response:
        said = await self.health.ready()
        return answer(said, status=200 if said["ready"] else 503)
