"""`ringmesh ban|unban|bans`, with the node running or stopped."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

from node.cli.options import AsJson, State, state_path_of
from node.cli.output import minute, print_json, print_table

if TYPE_CHECKING:
    from node.api_client import ApiClient

Address = Annotated[
    str, typer.Argument(metavar="ADDRESS", help="An IP address; of IPv6 its /64 is meant.")
]


class BanCommands(Protocol):
    """Carries out ban commands (`node.ban_desk.BanDesk`, or a running node's API)."""

    def all(self) -> list[dict[str, Any]]:
        """Every ban."""

    def ban(
        self, address: str, *, seconds: int | None = None, reason: str | None = None
    ) -> dict[str, Any]:
        """Ban an address."""

    def unban(self, address: str) -> dict[str, Any]:
        """Lift its bans."""


def ban(
    address: Address,
    seconds: Annotated[
        str | None,
        typer.Option("--for", metavar="TIME", help="10m, 12h, 7d (default: until unban)."),
    ] = None,
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="For the list.")] = None,
    as_json: AsJson = False,
    state: State = None,
) -> None:
    """Hear nothing from an address any more: no SIP message of it is answered."""
    from node.ban_desk import read_seconds

    length = None if seconds is None else read_seconds(seconds)
    with _bans(state_path_of(state)) as desk:
        made = desk.ban(address, seconds=length, reason=reason)
    if as_json:
        print_json(made)
    else:
        end = (
            "until it is lifted" if made["until"] is None else f"until {minute(made['until'])} UTC"
        )
        typer.echo(f"{made['address']} is banned {end}")


def unban(address: Address, as_json: AsJson = False, state: State = None) -> None:
    """Hear an address again; what it did is forgotten."""
    with _bans(state_path_of(state)) as desk:
        lifted = desk.unban(address)
    if as_json:
        print_json(lifted)
    else:
        typer.echo(f"{lifted['address']} is heard again")


def bans(as_json: AsJson = False, state: State = None) -> None:
    """List what is banned: by the node itself, and by command."""
    with _bans(state_path_of(state)) as desk:
        found = desk.all()
    if as_json:
        print_json(found)
        return
    print_table(
        ("address", "port", "reason", "by", "since (UTC)", "until"),
        [
            (
                entry["address"],
                entry["port"] or "all",
                entry["reason"],
                entry["by"],
                minute(entry["since"]),
                minute(entry["until"]) or "unban",
            )
            for entry in found
        ],
        "nothing is banned",
    )


class _RunningBans:
    """Asks the running node."""

    def __init__(self, client: "ApiClient") -> None:
        self._client = client

    def all(self) -> list[dict[str, Any]]:
        return list(self._client.get("bans"))

    def ban(
        self, address: str, *, seconds: int | None = None, reason: str | None = None
    ) -> dict[str, Any]:
        body = {"address": address, "seconds": seconds, "reason": reason}
        return dict(self._client.post("bans", body=body))

    def unban(self, address: str) -> dict[str, Any]:
        return dict(self._client.delete("bans", address.removesuffix("/64")))


@contextlib.contextmanager
def _bans(path: Path) -> Iterator[BanCommands]:
    from node.cli.reach import reached
    from node.state import StateFolder

    with reached(path) as node:
        if not isinstance(node, StateFolder):
            yield _RunningBans(node)
            return
        from node.cli.stopped_desk import stopped_bans

        with stopped_bans(node) as desk:
            yield desk
