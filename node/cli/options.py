"""Options and arguments that several commands share, and where they lead."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from node.api_client import ApiClient

State = Annotated[
    Path | None,
    typer.Option(
        "--state",
        metavar="DIR",
        help="The node's state folder (default: $RINGMESH_STATE, else the XDG state folder).",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", envvar="RINGMESH_CONFIG", help="A TOML file."),
]


def state_path_of(option: Path | None) -> Path:
    """The state folder that a command means."""
    from node.state import state_path

    return state_path(option, os.environ)


def client_of(option: Path | None) -> "ApiClient":
    """A client of the node on the state folder that a command means."""
    from node.api_client import ApiClient

    return ApiClient(state_path_of(option) / "api.sock")
