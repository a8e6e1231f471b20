"""`ringmesh pin list|accept|forget`, with the node running or stopped."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Protocol

import typer

from node.cli.options import AsJson, State, state_path_of
from node.cli.output import minute, print_json, print_table, short, spoken

app = typer.Typer(
    help="Which key each called number or domain had at first, and keys that were refused since.",
    no_args_is_help=True,
)
Name = Annotated[
    str, typer.Argument(metavar="NAME", help="A number of 15 digits, or a domain like example.org.")
]


class PinCommands(Protocol):
    """Carries out pin commands (`node.pin_desk.PinDesk`, or a running node's API)."""

    def all(self) -> list[dict[str, Any]]:
        """Every pin."""

    def accept(self, name: str, key: str | None = None) -> dict[str, Any]:
        """Pin a name to another key."""

    def check_claim(self, name: str, key: str | None) -> None:
        """Refuse a key that is not a number's."""

    def forget(self, name: str) -> dict[str, Any]:
        """Drop a pin."""


@app.command("list")
def list_pins(as_json: AsJson = False, state: State = None) -> None:
    """List the pinned numbers and domains; conflicts stand first and are explained below."""
    with _pins(state_path_of(state)) as desk:
        pins = desk.all()
    if as_json:
        print_json(pins)
        return
    print_table(
        ("kind", "name", "key", "since (UTC)", "last seen", "conflict"),
        [
            (
                pin["kind"],
                spoken(pin["name"]),
                short(pin["key"]) or "none",
                minute(pin["since"]),
                minute(pin["last_seen"]),
                _conflict(pin),
            )
            for pin in pins
        ],
        "nothing is pinned yet: a number or domain is when it is called for the first time",
    )
    for pin in pins:
        _explain(pin)


@app.command()
def accept(
    name: Name,
    key: Annotated[
        str | None,
        typer.Argument(
            metavar="KEY",
            help="Which key, where several were refused; the pinned one keeps it. "
            "For a name never called, any key you were given.",
        ),
    ] = None,
    as_json: AsJson = False,
    state: State = None,
) -> None:
    """Believe the new key of a number or domain that was refused because another is pinned.

    Ask the person first, by another way: this is how you notice that somebody takes a name over.
    """
    with _pins(state_path_of(state)) as desk:
        desk.check_claim(name, key)
        pin = desk.accept(name, key)
    if as_json:
        print_json(pin)
    else:
        typer.echo(f"{spoken(pin['name'])} is pinned to {pin['key']}")


@app.command()
def forget(name: Name, as_json: AsJson = False, state: State = None) -> None:
    """Drop a pin: whichever key the next call meets is pinned."""
    with _pins(state_path_of(state)) as desk:
        pin = desk.forget(name)
    if as_json:
        print_json(pin)
    else:
        typer.echo(f"{spoken(pin['name'])} is forgotten; the next call pins the key it meets")


class _RunningPins:
    """Asks the running node."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def all(self) -> list[dict[str, Any]]:
        pins: list[dict[str, Any]] = self._client.get("pins")
        return pins

    def accept(self, name: str, key: str | None = None) -> dict[str, Any]:
        pin: dict[str, Any] = self._client.post("pins", name, body={"key": key})
        return pin

    def check_claim(self, name: str, key: str | None) -> None:
        """The node does so itself."""

    def forget(self, name: str) -> dict[str, Any]:
        pin: dict[str, Any] = self._client.delete("pins", name)
        return pin


@contextlib.contextmanager
def _pins(path: Path) -> Iterator[PinCommands]:
    from node.cli.reach import reached
    from node.state import StateFolder

    with reached(path) as node:
        if not isinstance(node, StateFolder):
            yield _RunningPins(node)
            return
        from node.cli.stopped_desk import stopped_pins

        with stopped_pins(node) as desk:
            yield desk


def _conflict(pin: dict[str, Any]) -> str | None:
    count = len(pin["conflict"])
    return f"{count} other key{'' if count == 1 else 's'}" if count else None


def _explain(pin: dict[str, Any]) -> None:
    """What a conflict is about, with whole keys, and what can be done."""
    if not pin["conflict"]:
        return
    name = spoken(pin["name"])
    command = f"ringmesh pin accept {pin['name']}"
    calls = "calls go to the pinned key or nowhere" if pin["key"] else "calls are refused"
    typer.echo(f"\n{name} has a conflict; {calls}:")
    if pin["key"]:
        typer.echo(f"  pinned   {pin['key']}")
    for offer in pin["conflict"]:
        seen = f"since {minute(offer['since'])}, last seen {minute(offer['last_seen'])}"
        typer.echo(f"  refused  {offer['key']} {seen}")
    if len(pin["conflict"]) == 1 and pin["key"]:
        typer.echo(f"  to take the new key    {command}")
    else:
        typer.echo(f"  to take one of them    {command} KEY")
    if pin["key"]:
        typer.echo(f"  to keep the pinned one {command} {pin['key']}")
