"""`ringmesh up`: the process around a node."""

import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from node.cli.options import AsJson, ConfigFile, State, state_path_of

if TYPE_CHECKING:
    from node.config import Config
    from node.process import Identity
    from node.state import StateFolder

STOP_SECONDS = 4.8
"Seconds after the first signal at which the process ends whatever still hangs."
INTERRUPTED = 130
OPEN_FILES = 65536
"Sockets and files a node may hold, where the system allows that many."


def up(
    state: State = None,
    listen: Annotated[
        str | None, typer.Option(metavar="ADDR", help="One IP address (default: all of them).")
    ] = None,
    port_offset: Annotated[
        int | None, typer.Option(metavar="N", help="Added to every listening port: 0, 10, … 280.")
    ] = None,
    network: Annotated[
        str | None, typer.Option(metavar="NAME", help="The network to belong to (default: main).")
    ] = None,
    join: Annotated[
        list[str] | None, typer.Option(metavar="HOST:PORT", help="A node to ask first; repeatable.")
    ] = None,
    no_mdns: Annotated[
        bool, typer.Option("--no-mdns", help="Neither look nor be found on the local network.")
    ] = False,
    domain: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A domain of yours; repeatable.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(metavar="N", help="Relay processes (default: one a core).")
    ] = None,
    config: ConfigFile = None,
    log_format: Annotated[
        str | None,
        typer.Option(metavar="text|json", help="Form of the log (default: text on a terminal)."),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Start a node; it runs until Ctrl-C. None of the options is needed.

    With --json the first account and the readiness are JSON documents on standard output.
    """
    from node.settings import load

    options: dict[str, Any] = {
        "listen": listen,
        "port_offset": port_offset,
        "network": network,
        "mesh.join": join or None,
        "mesh.mdns": False if no_mdns else None,
        "domains": domain or None,
        "media.workers": workers,
        "log.format": log_format,
    }
    return start(load(config, os.environ, options), state_path_of(state), as_json=as_json)


def start(config: "Config", path: Path, *, as_json: bool) -> int:
    """Hold the state folder, have an identity, and run the node on it."""
    from node.logs import configure
    from node.state import StateFolder

    configure(config.log)
    folder = StateFolder.open(path)
    with folder.lock():
        return _run(config, folder, _identity(config, folder), as_json=as_json)


def _identity(config: "Config", folder: "StateFolder") -> "Identity":
    """The node's key and overlay nonce, made at the first start."""
    from dht.overlay_id import PuzzleError, overlay_id
    from federation.model.clocks import SystemEntropy
    from node.process import Identity

    key = folder.node_key(SystemEntropy())
    nonce = folder.overlay_nonce(key, config.net)
    if nonce is not None:
        try:
            overlay_id(key.id, nonce, config.net)
        except PuzzleError:
            nonce = None
    if nonce is None:
        nonce = _solve(config, key.id)
        folder.keep_overlay_nonce(key, config.net, nonce)
    return Identity(key, nonce)


def _solve(config: "Config", node: Any) -> bytes:
    """Solve the overlay id's puzzle, with a bar on a terminal."""
    from dht.overlay_id import solve
    from federation.model.clocks import SystemEntropy

    typer.echo("Making this node's place in the network (once, some seconds) …", err=True)
    if not sys.stderr.isatty():
        return solve(node, config.net, entropy=SystemEntropy())
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("puzzle", total=1.0)

        def advance(tries: int, expected: int) -> None:
            progress.update(bar, completed=1 - 0.5 ** (tries / expected))

        return solve(node, config.net, entropy=SystemEntropy(), on_progress=advance)


def _run(config: "Config", folder: "StateFolder", identity: "Identity", *, as_json: bool) -> int:
    import asyncio

    from node.app import Node
    from node.banner import JsonVoice, TextVoice
    from node.collector import Collector
    from node.process import run
    from node.service_manager import ServiceManager

    _raise_file_limit()
    voice = (JsonVoice if as_json else TextVoice)(lambda text: print(text, flush=True))  # noqa: T201
    collector = Collector()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        collector.follow(runner.get_loop())
        return runner.run(
            run(
                config,
                folder,
                identity,
                Node,
                voice=voice,
                on_stopping=_watch,
                at_once=lambda: os._exit(INTERRUPTED),
                manager=ServiceManager(os.environ),
            )
        )


def _watch() -> None:
    """End the process in time even if a thread or a lookup hangs."""
    watchdog = threading.Timer(STOP_SECONDS, lambda: os._exit(0))
    watchdog.daemon = True
    watchdog.start()


def _loop_factory() -> Any:
    """uvloop where there is one, else the standard loop."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _raise_file_limit() -> None:
    """Allow as many sockets as the system lets us: a call takes about ten."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
