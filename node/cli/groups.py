"""`ringmesh group add|list|show|set|remove`, with the node running or stopped."""

from typing import Annotated, Any

import typer

from node.cli.feature_desks import open_features
from node.cli.options import AsJson, State, state_path_of
from node.cli.output import print_fields, print_json, print_table, spoken
from node.cli.users import forwarding_of

app = typer.Typer(
    help="Ring groups: one address and number that rings several accounts.", no_args_is_help=True
)
Name = Annotated[str, typer.Argument(metavar="NAME", help="The group's login, like sales.")]
_LIST = "Logins with commas between them, in the order in which they are rung."
At_once = Annotated[bool, typer.Option("--all", help="Ring all members at once.")]
In_turn = Annotated[bool, typer.Option("--in-turn", help="Ring one member after another.")]


@app.command()
def add(
    name: Name,
    members: Annotated[str, typer.Option(metavar="LOGIN,LOGIN", help=_LIST)],
    at_once: At_once = False,
    in_turn: In_turn = False,
    ring: Annotated[
        int, typer.Option(metavar="SECONDS", help="How long each member rings in turn.")
    ] = 20,
    extension: Annotated[
        str | None, typer.Option(metavar="DIGITS", help="A short number within this node.")
    ] = None,
    as_json: AsJson = False,
    state: State = None,
) -> None:
    """Make a group; members that are in a call or do not want to be disturbed are left out."""
    settings = {
        "members": members.split(","),
        "mode": _mode(at_once, in_turn) or "all",
        "ring": ring,
        "extension": extension,
    }
    with open_features(state_path_of(state)) as desk:
        _print(desk.group_add(name, settings), as_json=as_json)


@app.command("list")
def list_groups(as_json: AsJson = False, state: State = None) -> None:
    """List the groups."""
    with open_features(state_path_of(state)) as desk:
        groups = desk.groups()
    if as_json:
        print_json(groups)
        return
    print_table(
        ("group", "number", "extension", "rings", "members"),
        [
            (
                group["login"],
                spoken(group["number"]),
                group.get("extension"),
                _way(group),
                ", ".join(group["members"]),
            )
            for group in groups
        ],
        "no groups: add one with ringmesh group add NAME --members alice,bob",
    )


@app.command()
def show(name: Name, as_json: AsJson = False, state: State = None) -> None:
    """Show a group's number, addresses and members."""
    with open_features(state_path_of(state)) as desk:
        _print(desk.group(name), as_json=as_json)


@app.command("set")
def change(
    name: Name,
    members: Annotated[str | None, typer.Option(metavar="LOGIN,LOGIN", help=_LIST)] = None,
    at_once: At_once = False,
    in_turn: In_turn = False,
    ring: Annotated[
        int | None, typer.Option(metavar="SECONDS", help="How long each member rings in turn.")
    ] = None,
    as_json: AsJson = False,
    state: State = None,
) -> None:
    """Change a group; what is not given stays."""
    changes = {
        "members": None if members is None else members.split(","),
        "mode": _mode(at_once, in_turn),
        "ring": ring,
    }
    if all(value is None for value in changes.values()):
        raise typer.BadParameter("say what to change: --members, --all, --in-turn or --ring")
    with open_features(state_path_of(state)) as desk:
        _print(desk.group_set(name, changes), as_json=as_json)


@app.command()
def remove(name: Name, as_json: AsJson = False, state: State = None) -> None:
    """Remove a group; its number is gone for good, its members stay."""
    with open_features(state_path_of(state)) as desk:
        answer = desk.group_remove(name)
    if as_json:
        print_json(answer)
    else:
        typer.echo(f"{answer['removed']} is removed")


def _mode(at_once: bool, in_turn: bool) -> str | None:
    if at_once and in_turn:
        raise typer.BadParameter("either --all or --in-turn")
    if not (at_once or in_turn):
        return None
    return "all" if at_once else "in-turn"


def _way(group: dict[str, Any]) -> str:
    return "all at once" if group["mode"] == "all" else f"in turn, {group['ring']} s each"


def _print(group: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(group)
        return
    fields: list[tuple[str, object]] = [
        ("group", group["login"]),
        ("number", spoken(group["number"])),
        ("extension", group.get("extension")),
        ("addresses", group["uri"]),
        ("members", group["members"]),
        ("rings", _way(group)),
    ]
    if ways := forwarding_of(group):
        fields.append(("forwarded", ways))
    print_fields(fields)
