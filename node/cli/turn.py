"""`ringmesh turn credentials`: access to the relay that ends by itself."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from node.cli.options import AsJson, State, state_path_of
from node.cli.output import print_fields, print_json

app = typer.Typer(help="The relay for clients that cannot send directly.", no_args_is_help=True)
Issue = Callable[[str, int | None], dict[str, Any]]


@app.callback()
def _turn() -> None:
    """The relay for clients that cannot send directly."""


@app.command()
def credentials(
    login: Annotated[str, typer.Argument(metavar="LOGIN", help="Whose they are.")],
    ttl: Annotated[
        int | None, typer.Option(metavar="SECONDS", help="How long they work (default: a day).")
    ] = None,
    as_json: AsJson = False,
    state: State = None,
) -> None:
    """Print a user name and a password for TURN that work for some time only.

    They are for WebRTC clients and others that should not have the account's password.
    """
    with _issuer(state_path_of(state)) as issue:
        made = issue(login, ttl)
    if as_json:
        print_json(made)
        return
    print_fields(
        [
            ("username", made["username"]),
            ("password", made["password"]),
            ("seconds", made["ttl"]),
            ("uris", made["uris"]),
        ]
    )


@contextlib.contextmanager
def _issuer(path: Path) -> Iterator[Issue]:
    from node.cli.reach import reached
    from node.state import StateFolder

    with reached(path) as node:
        if not isinstance(node, StateFolder):
            client = node

            def ask(login: str, ttl: int | None) -> dict[str, Any]:
                body = {"login": login, "ttl": ttl}
                return dict(client.post("turn", "credentials", body=body))

            yield ask
            return
        from node.cli.stopped_desk import stopped_turn

        with stopped_turn(node) as issue:
            yield issue
