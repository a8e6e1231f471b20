"""`ringmesh user add|list|show|passwd|remove`, with the node running or stopped."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from node.cli.options import AsJson, State, state_path_of
from node.cli.output import print_fields, print_json, print_table, spoken

if TYPE_CHECKING:
    from node.cli.desk import UserDesk
    from node.cli.user_file import NewUser

app = typer.Typer(help="The users of this node.", no_args_is_help=True)
Login = Annotated[
    str, typer.Argument(metavar="LOGIN", help="Letters a-z, digits, `.`, `_` and `-`.")
]
Password = Annotated[
    str | None,
    typer.Option(
        metavar="TEXT", help="8 or more characters; `-` reads a line (default: generated)."
    ),
]


@app.command()
def add(
    login: Annotated[
        str | None, typer.Argument(metavar="LOGIN", help="The new user's login.")
    ] = None,
    password: Password = None,
    extension: Annotated[
        str | None, typer.Option(metavar="DIGITS", help="A short number within this node.")
    ] = None,
    name: Annotated[str | None, typer.Option(metavar="TEXT", help="The name others see.")] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="FILE.csv",
            help="Add many: columns login, password, extension, name; `-` reads standard input.",
        ),
    ] = None,
    as_json: AsJson = False,
    state: State = None,
) -> int:
    """Add a user, or with --from all those in a file, and print what their phones need."""
    from node.cli.desk import open_desk
    from node.cli.user_file import NewUser, read_users

    if (login is None) == (file is None):
        raise typer.BadParameter("give one LOGIN, or --from FILE.csv")
    if file is not None:
        if password or extension or name:
            raise typer.BadParameter("with --from, password, extension and name stand in the file")
        users = read_users(file)
        with open_desk(state_path_of(state), create=True) as desk:
            return _add_many(desk, users, as_json=as_json)
    new = NewUser(
        login=login or "", password=given_password(password), extension=extension, name=name
    )
    with open_desk(state_path_of(state), create=True) as desk:
        print_sheet(desk.add(new), as_json=as_json)
    return 0


@app.command("list")
def list_users(as_json: AsJson = False, state: State = None) -> None:
    """List the users."""
    from node.cli.desk import open_desk

    with open_desk(state_path_of(state)) as desk:
        users = desk.all()
    if as_json:
        print_json(users)
        return
    print_table(
        ("login", "number", "extension", "name", "devices"),
        [
            (
                user["login"],
                spoken(user["number"]),
                user.get("extension"),
                user.get("name"),
                user.get("devices"),
            )
            for user in users
        ],
        "no users: add one with ringmesh user add NAME",
    )


@app.command()
def show(login: Login, as_json: AsJson = False, state: State = None) -> None:
    """Show a user's server, number and addresses (the password is kept nowhere)."""
    from node.cli.desk import open_desk

    with open_desk(state_path_of(state)) as desk:
        print_sheet(desk.show(login), as_json=as_json)


@app.command()
def passwd(
    login: Login, password: Password = None, as_json: AsJson = False, state: State = None
) -> None:
    """Give a user a new password; devices must then be told."""
    from node.cli.desk import open_desk

    with open_desk(state_path_of(state)) as desk:
        print_sheet(desk.passwd(login, given_password(password)), as_json=as_json)


@app.command()
def remove(login: Login, as_json: AsJson = False, state: State = None) -> None:
    """Remove a user; number and key are gone for good, unless `user export` kept them."""
    from node.cli.desk import open_desk

    with open_desk(state_path_of(state)) as desk:
        desk.remove(login)
    if as_json:
        print_json({"removed": login})
    else:
        typer.echo(f"{login} is removed")


def given_password(password: str | None) -> str | None:
    """A password from the option, or from standard input so that no list of processes shows it."""
    if password == "-":  # noqa: S105 (the word for standard input)
        return sys.stdin.readline().rstrip("\r\n")
    return password


def print_sheet(sheet: dict[str, Any], *, as_json: bool) -> None:
    """Write a user's sheet."""
    if as_json:
        print_json(sheet)
        return
    fields: list[tuple[str, object]] = [("login", sheet["login"])]
    if "password" in sheet:
        fields.append(("password", sheet["password"]))
    fields += [
        ("server", sheet["server"]),
        ("number", spoken(sheet["number"])),
        ("extension", sheet.get("extension")),
        ("name", sheet.get("name")),
        ("addresses", sheet["uri"]),
    ]
    if sheet.get("dnd"):
        fields.append(("do not disturb", "on"))
    if ways := forwarding_of(sheet):
        fields.append(("forwarded", ways))
    if "devices" in sheet:
        fields.append(("devices", [_device(device) for device in sheet["devices"]]))
    print_fields(fields)


def forwarding_of(sheet: dict[str, Any]) -> list[str]:
    """Where an account's calls go on to, in words."""
    ways = sheet.get("forwarding") or {}
    words = {
        "always": "always to {}",
        "busy": "when busy to {}",
        "no_answer": f"without an answer for {ways.get('after')} s to {{}}",
    }
    return [text.format(spoken(ways[name])) for name, text in words.items() if ways.get(name)]


def _device(device: Any) -> str:
    if not isinstance(device, dict):
        return str(device)
    return " ".join(str(value) for value in device.values() if value not in (None, ""))


def _add_many(desk: "UserDesk", users: list["NewUser"], *, as_json: bool) -> int:
    """Add all; who is refused is told one by one and does not stop the others."""
    with _progress(len(users)) as on_progress:
        outcomes = desk.add_many(users, on_progress)
    sheets = [outcome for outcome in outcomes if isinstance(outcome, dict)]
    refused = [
        f"{user.place}{user.login}: {outcome}"
        for user, outcome in zip(users, outcomes, strict=True)
        if isinstance(outcome, str)
    ]
    if as_json:
        print_json({"added": sheets, "refused": refused})
    else:
        print_table(
            ("login", "password", "server", "number"),
            [(s["login"], s["password"], s["server"], spoken(s["number"])) for s in sheets],
            "nobody was added",
        )
        for sentence in refused:
            typer.echo(f"ringmesh: {sentence}", err=True)
    return 1 if refused else 0


@contextlib.contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """A bar on standard error, if that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("Adding users", total=total)
        yield lambda done: bar.update(task, completed=done)
