"""The life of the node's process: identity, start, readiness, signals, drain.

`run` owns the order: lock and key first, then the node, then the admin API, then the word `ready`;
backwards at the end. What goes wrong on the way leaves nothing half-started.
"""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from federation.model.identity import NodeKey
from node.api import ApiServer
from node.api_resources import ApiControl
from node.banner import Voice
from node.config import Config
from node.control import JsonObject
from node.service_manager import READY, STOPPING, ServiceManager
from node.state import StateFolder

DRAIN_SECONDS = 4.0
"How long calls and peers are given to hear that the node ends; the whole stop takes under 5 s."
SAME_SIGNAL_SECONDS = 0.5
"One wish to stop may arrive twice, from a terminal and from `timeout` or `make`."
FIRST_LOGIN = "phone1"
log = structlog.get_logger("node")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the node is: its key, and its solution of the overlay id's puzzle."""

    key: NodeKey
    nonce: bytes


class RunnableNode(ApiControl, Protocol):
    """A node that can be started and stopped; `node.app.Node` is the one."""

    async def start(self) -> None:
        """Bind, load, join. On return calls are taken.

        Raises:
            RingmeshError: a person must change something; everything opened is closed again.
        """

    async def stop(self) -> None:
        """End calls, tell peers, close everything. Cancelling it closes without further waiting."""

    async def failed(self) -> str:
        """Return, with a sentence, only if the node cannot go on."""

    def reload(self) -> None:
        """Read again what may be changed while it runs (SIGHUP)."""

    def served(self) -> JsonObject:
        """`node.sheet.ServedAt.as_json` of this node, for commands while it is stopped."""


NodeFactory = Callable[[Config, StateFolder, Identity], RunnableNode]


async def run(
    config: Config,
    state: StateFolder,
    identity: Identity,
    make_node: NodeFactory,
    *,
    voice: Voice,
    on_stopping: Callable[[], None],
    at_once: Callable[[], None],
    manager: ServiceManager | None = None,
) -> int:
    """Run a node until SIGINT or SIGTERM; returns the process's exit code.

    The caller holds the state folder's lock. `voice` speaks to the person; `on_stopping` is called
    when the stop begins, so that a watchdog can bound it; `at_once` at a second signal. `manager`
    is who started the process, and is told of readiness and stop.

    Raises:
        RingmeshError: it could not be started.
    """
    manager = manager or ServiceManager({})

    def begin_stop() -> None:
        manager.tell(STOPPING)
        on_stopping()

    stopping = _Stop(begin_stop, at_once)
    node = make_node(config, state, identity)
    api = ApiServer(node, state.socket)
    with stopping:
        starting = asyncio.ensure_future(_start(node, api))
        if not await _unless(starting, stopping.asked):
            await _stop(node, api)
            return 0
        try:
            stopping.on_reload = node.reload
            await _greet(node, config, state, voice)
            manager.tell(READY, f"STATUS=ready on network {config.network}")
            trouble = asyncio.ensure_future(node.failed())
            failed = await _unless(trouble, stopping.asked)
        finally:
            stopping.begin()
            await _stop(node, api)
    if failed:
        log.error("node_failed", reason=trouble.result())
        return 1
    return 0


async def _start(node: RunnableNode, api: ApiServer) -> None:
    await node.start()
    try:
        await api.start()
    except BaseException:
        await node.stop()
        raise


async def _greet(node: RunnableNode, config: Config, state: StateFolder, voice: Voice) -> None:
    """Say what a person needs; at the first start make the account to say it of."""
    if not state.last_run() and not await node.users_list():
        voice.first_account(await node.user_add(FIRST_LOGIN), config, str(state.path))
    state.keep_last_run(node.served())
    status = await node.status()
    voice.ready(status, node.web_desk.link()["url"] if config.web.enabled else None)
    log.info("ready", node=status["node_id"], network=status["network"], server=status["server"])


async def _stop(node: RunnableNode, api: ApiServer) -> None:
    log.info("stopping")
    try:
        async with asyncio.timeout(DRAIN_SECONDS):
            await api.close()
            await node.stop()
    except TimeoutError:
        log.warning("drain_cut_short", after=DRAIN_SECONDS)
    log.info("stopped")


async def _unless(work: "asyncio.Future[Any]", asked: asyncio.Event) -> bool:
    """Wait for `work`, raising as it does; `False`, and `work` cancelled, if `asked` is first."""
    stop = asyncio.ensure_future(asked.wait())
    try:
        await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stop.cancel()
        if not work.done():
            work.cancel()
            await asyncio.wait({work})
    if work.cancelled():
        return False
    work.result()
    return True


class _Stop:
    """Turns SIGINT and SIGTERM into an event while the block lasts, and SIGHUP into a reload.

    The kernel sends SIGHUP as well when the terminal is closed; the node stops then, unless it was
    started with `nohup`.
    """

    def __init__(self, on_begin: Callable[[], None], at_once: Callable[[], None]) -> None:
        self.asked = asyncio.Event()
        self.on_reload: Callable[[], None] = _nothing
        "What SIGHUP does; nothing until the node has started."
        nohup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        self._needs_terminal = _has_terminal() and not nohup
        self._on_begin = on_begin
        self._at_once = at_once
        self._begun = False
        self._first: float | None = None

    def begin(self) -> None:
        """Ask for the stop; only the first time counts."""
        self.asked.set()
        if not self._begun:
            self._begun = True
            self._on_begin()

    def _signalled(self) -> None:
        now = time.monotonic()
        if self._first is None:
            self._first = now
        elif now - self._first > SAME_SIGNAL_SECONDS:
            self._at_once()
        self.begin()

    def _hung_up(self) -> None:
        if self._needs_terminal and not _has_terminal():
            self._signalled()
        else:
            self.on_reload()

    def __enter__(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._signalled)
        loop.add_signal_handler(signal.SIGHUP, self._hung_up)

    def __exit__(self, *_: object) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().remove_signal_handler(number)


def _has_terminal() -> bool:
    """Whether this process belongs to a terminal that is still there."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


def _nothing() -> None:
    """What SIGHUP does until the node has started."""
