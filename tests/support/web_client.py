"""A web server of a test, with a client that keeps cookies as a browser does."""

import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from federation.model.clocks import SystemClock, SystemEntropy
from node.config import Config
from node.web.access import Access
from node.web.gate import Gate
from node.web.server import WebServer


class Kept:
    """A writer that keeps rows in memory."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, tuple[Any, ...]], Mapping[str, Any]] = {}

    def put(
        self, table: str, key: tuple[Any, ...], row: Mapping[str, Any], *, is_new: bool = False
    ) -> None:
        self.rows[table, key] = row

    def remove(self, table: str, key: tuple[Any, ...]) -> None:
        self.rows.pop((table, key), None)


def an_access() -> Access:
    return Access([], None, Kept(), clock=SystemClock(), entropy=SystemEntropy())


def a_gate() -> Gate:
    return Gate(an_access(), port=8060, secure=False)


@contextlib.asynccontextmanager
async def serving_web(
    routes: Iterable[web.RouteDef], config: Config | None = None
) -> AsyncIterator[TestClient[Any, Any]]:
    """A client of these routes, served as the node serves them."""
    application = WebServer(
        config or Config(),
        routes,
        None,  # type: ignore[arg-type]
        SystemClock(),
    ).application()
    async with TestClient(TestServer(application)) as client:
        yield client
