"""`ringmesh config check|show`."""

import os
from typing import Any

import typer

from node.cli.options import AsJson, ConfigFile, State, state_path_of
from node.cli.output import print_fields, print_json

app = typer.Typer(help="Check and show the configuration.", no_args_is_help=True)


@app.command()
def check(config: ConfigFile = None, as_json: AsJson = False, state: State = None) -> None:
    """Look at what `ringmesh up` would use, and complain or say `fine`. Nothing is changed.

    The file and the environment, the state folder, the files that settings name, and the database,
    also while the node runs.
    """
    from node.cli.checking import check_node
    from node.settings import load

    facts = check_node(load(config, os.environ), state_path_of(state))
    if as_json:
        print_json({"valid": True, **facts})
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
