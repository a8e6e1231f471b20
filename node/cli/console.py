"""`ringmesh console link|password|token|list|revoke`: who may use the web console."""

import sys
from typing import Annotated, Any

import typer

from node.cli.options import AsJson, State, client_of
from node.cli.output import minute, print_json, print_table

app = typer.Typer(help="The web console, and who may use it.", no_args_is_help=True)


@app.command()
def link(as_json: AsJson = False, state: State = None) -> None:
    """Print a link that opens the console once, within an hour."""
    made = client_of(state).post("console", "links", body={})
    if as_json:
        print_json(made)
    else:
        typer.echo(made["url"])


@app.command()
def password(
    text: Annotated[
        str | None,
        typer.Option(
            "--password",
            metavar="TEXT",
            help="The password (default: a generated one); - reads it from standard input.",
        ),
    ] = None,
    off: Annotated[bool, typer.Option("--off", help="Let nobody in by a password.")] = False,
    as_json: AsJson = False,
    state: State = None,
) -> None:
    """Set the password of the console's login page. Whoever is in stays in."""
    client = client_of(state)
    if off:
        answer = client.delete("console", "password")
    else:
        if text == "-":
            text = sys.stdin.readline().rstrip("\r\n")
        answer = client.post("console", "password", body={"password": text})
    if as_json:
        print_json(answer)
    elif off:
        typer.echo("the console has no password; ringmesh console link opens it")
    else:
        typer.echo(f"the console's password is now {answer['password']}")


@app.command()
def token(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for, like prometheus.")],
    ttl: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="How long it works, like 90d (default: for good)."),
    ] = None,
    as_json: AsJson = False,
    state: State = None,
) -> None:
    """Make a token with which a program may use the API: `Authorization: Bearer TOKEN`."""
    from node.ban_desk import read_seconds

    body: dict[str, Any] = {"name": name}
    if ttl is not None:
        body["seconds"] = read_seconds(ttl)
    made = client_of(state).post("console", "tokens", body=body)
    if as_json:
        print_json(made)
    else:
        typer.echo(made["token"])
        typer.echo("It is shown only now.", err=True)


@app.command("list")
def list_grants(as_json: AsJson = False, state: State = None) -> None:
    """List the browsers and programs that may use the console and its API."""
    grants = client_of(state).get("console", "grants")
    if as_json:
        print_json(grants)
        return
    rows = [
        (one["id"], one["kind"], one["name"], minute(one["since"]), minute(one["until"]))
        for one in grants
    ]
    print_table(("id", "kind", "name", "since", "until"), rows, "nobody: ringmesh console link")


@app.command()
def revoke(
    name: Annotated[
        str, typer.Argument(metavar="ID", help="An id, a token's name, or `sessions`.")
    ],
    as_json: AsJson = False,
    state: State = None,
) -> None:
    """End a session or a token at once."""
    answer = client_of(state).delete("console", "grants", name)
    if as_json:
        print_json(answer)
    else:
        typer.echo(f"{answer['revoked']} ended")
