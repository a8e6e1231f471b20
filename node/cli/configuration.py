"""`ringmesh config check|show`."""

import os
from typing import Any

import typer

from node.cli.options import AsJson, ConfigFile, State
from node.cli.output import print_fields, print_json

app = typer.Typer(help="Check and show the configuration.", no_args_is_help=True)


@app.command()
def check(config: ConfigFile = None, as_json: AsJson = False, state: State = None) -> None:
    """Read the file and the environment as `ringmesh up` would, and complain or say `fine`."""
    from node.settings import load

    load(config, os.environ)
    if as_json:
        print_json({"valid": True})
    else:
        typer.echo("fine")


@app.command()
def show(config: ConfigFile = None, as_json: AsJson = False, state: State = None) -> None:
    """Show every setting as it would be used, defaults included."""
    from node.settings import load

    tree = load(config, os.environ).as_dict()
    if as_json:
        print_json(tree)
    else:
        print_fields(_flat(tree))


def _flat(tree: dict[str, Any], prefix: str = "") -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = []
    for name, value in tree.items():
        if isinstance(value, dict):
            rows += _flat(value, f"{prefix}{name}.")
        else:
            rows.append((prefix + name, ", ".join(value) if isinstance(value, tuple) else value))
    return rows
