"""`ringmesh user forward|dnd`, with the node running or stopped."""

from typing import Annotated, Any

import typer

from node.cli.feature_desks import open_features
from node.cli.options import AsJson, State, state_path_of
from node.cli.output import print_json
from node.cli.users import forwarding_of

Account = Annotated[str, typer.Argument(metavar="LOGIN", help="A user, a trunk or a ring group.")]


def _to(help_text: str) -> Any:
    return typer.Option(metavar="TARGET", help=help_text)


def forward(
    login: Account,
    always: Annotated[str | None, _to("Where every call goes at once.")] = None,
    busy: Annotated[
        str | None, _to("Where calls go while all devices, or the only one, are busy.")
    ] = None,
    no_answer: Annotated[
        str | None, _to("Where calls go that nobody takes, or while no device is connected.")
    ] = None,
    after: Annotated[
        int | None, typer.Option(metavar="SECONDS", help="How long it rings before (20).")
    ] = None,
    off: Annotated[
        bool, typer.Option("--off", help="Forward nothing any more, but what is given beside.")
    ] = False,
    as_json: AsJson = False,
    state: State = None,
) -> None:
    """Send an account's calls on: to a number, a login, user@domain. Without options, show it."""
    changes = {
        "always": always,
        "busy": busy,
        "no_answer": no_answer,
        "after": after,
        "off": off,
    }
    with open_features(state_path_of(state)) as desk:
        answer = desk.set(login, changes)
    if as_json:
        print_json(answer)
        return
    ways = forwarding_of(answer)
    for way in ways or ["not forwarded"]:
        typer.echo(f"calls for {answer['login']}: {way}")


def dnd(
    login: Account,
    switch: Annotated[str, typer.Argument(metavar="on|off")],
    as_json: AsJson = False,
    state: State = None,
) -> None:
    """Switch do-not-disturb: nothing rings, callers hear that the account is busy."""
    if switch not in ("on", "off"):
        raise typer.BadParameter("say on or off")
    with open_features(state_path_of(state)) as desk:
        answer = desk.set(login, {"dnd": switch == "on"})
    if as_json:
        print_json(answer)
    else:
        typer.echo(f"do not disturb is {'on' if answer['dnd'] else 'off'} for {answer['login']}")
