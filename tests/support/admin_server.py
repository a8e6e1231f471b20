"""Serves a node's admin API from a thread, so that a test can be its blocking client."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

from node.api import ApiServer
from node.control import NodeControl


@contextlib.contextmanager
def serving(control: NodeControl, path: Path) -> Iterator[None]:
    """Serve at `path` while the block lasts."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = ApiServer(control, path)
    try:
        asyncio.run_coroutine_threadsafe(server.start(), loop).result(10)
        yield
    finally:
        asyncio.run_coroutine_threadsafe(server.close(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
