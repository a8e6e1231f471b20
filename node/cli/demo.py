"""`ringmesh demo`."""

from pathlib import Path
from typing import Annotated

import typer

from node.cli.options import AsJson

Kept = Annotated[
    Path | None,
    typer.Option(
        "--state", metavar="DIR", help="Keep the nodes' states and logs here (default: nothing)."
    ),
]


def demo(as_json: AsJson = False, state: Kept = None) -> int:
    """Start three nodes and two phones on this machine, place a call, and measure the sound.

    Everything is temporary and on a network of its own. Exit code 1 if anything was not heard.
    """
    from node.demo import run_demo

    return run_demo(as_json=as_json, keep=state)
