"""`ringmesh invite create|list|revoke`, and `user provision|links`: links for others to use."""

from typing import Annotated, Any

import typer

from node.cli.options import AsJson, State, client_of
from node.cli.output import minute, print_fields, print_json, print_table

app = typer.Typer(
    help="Links by which people make an account for themselves.", no_args_is_help=True
)
Ttl = Annotated[
    str | None, typer.Option(metavar="TIME", help="How long it is open, like 12h or 7d.")
]
_ONLY_HERE = (
    "Only this machine can open it: set web.listen to let others reach the web server "
    "(and web.url, where a proxy is in front)."
)


@app.command()
def create(
    uses: Annotated[
        int, typer.Option(metavar="N", help="How many people may make an account.")
    ] = 1,
    ttl: Ttl = None,
    note: Annotated[str, typer.Option(metavar="TEXT", help="For whom, as a note for you.")] = "",
    as_json: AsJson = False,
    state: State = None,
) -> None:
    """Make an invitation and print its link, which is shown only now (7 days unless said)."""
    body: dict[str, Any] = {"uses": uses, "note": note, **_seconds(ttl)}
    made = client_of(state).post("invitations", body=body)
    if as_json:
        print_json(made)
        return
    typer.echo(made["url"])
    _warn(made)


@app.command("list")
def list_invitations(as_json: AsJson = False, state: State = None) -> None:
    """List the invitations that are open."""
    found = client_of(state).get("invitations")
    if as_json:
        print_json(found)
        return
    rows = [
        (one["id"], one["note"], f"{one['used']} of {one['uses']}", minute(one["until"]))
        for one in found
    ]
    print_table(("id", "note", "used", "until"), rows, "none: ringmesh invite create")


@app.command()
def revoke(
    name: Annotated[str, typer.Argument(metavar="ID", help="Its id in the list.")],
    as_json: AsJson = False,
    state: State = None,
) -> None:
    """Take an invitation back; accounts that were made by it stay."""
    answer = client_of(state).delete("invitations", name)
    if as_json:
        print_json(answer)
    else:
        typer.echo(f"{answer['revoked']} is taken back")


def provision(
    login: Annotated[str, typer.Argument(metavar="LOGIN", help="Whose device it is.")],
    ttl: Ttl = None,
    as_json: AsJson = False,
    state: State = None,
) -> None:
    """Make a link that sets up one device, once (a day unless said).

    Nothing changes until a device fetches it. Then LOGIN gets a new password, and devices that
    have the old one are logged out.
    """
    made = client_of(state).post("users", login, "provisioning", body=_seconds(ttl))
    if as_json:
        print_json(made)
        return
    kinds = ("linphone", "yealink", "grandstream", "snom", "poly")
    print_fields([*((kind, made[kind]) for kind in kinds), ("until", minute(made["until"]))])
    _warn(made)


def links(as_json: AsJson = False, state: State = None) -> None:
    """List the links of `user provision` that no device has fetched yet."""
    found = client_of(state).get("provisioning")
    if as_json:
        print_json(found)
        return
    rows = [(one["id"], one["login"], minute(one["until"])) for one in found]
    print_table(("id", "login", "until"), rows, "none: ringmesh user provision LOGIN")


def _seconds(ttl: str | None) -> dict[str, int]:
    from node.ban_desk import read_seconds

    return {} if ttl is None else {"seconds": read_seconds(ttl)}


def _warn(made: dict[str, Any]) -> None:
    if made["only_here"]:
        typer.echo(_ONLY_HERE, err=True)
