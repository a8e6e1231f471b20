"""`ringmesh relay on|off|usage|candidates`: relaying for other nodes' users, with consent."""

from typing import Annotated, Any

import typer

from node.cli.options import AsJson, State, client_of
from node.cli.output import duration, print_fields, print_json, print_table

app = typer.Typer(
    help="Relaying for users of other nodes, as far as you agree to it.", no_args_is_help=True
)
_STATES = {
    "open": "on",
    "off": "off",
    "hours": "on, but not at this time of day",
    "month": "on, but this month's bytes are used up",
}


@app.command()
def on(
    kbit: Annotated[
        int | None, typer.Option(metavar="N", help="kbit/s for all strangers together.")
    ] = None,
    sessions: Annotated[
        int | None, typer.Option(metavar="N", help="Relay ports for all of them together.")
    ] = None,
    gb_month: Annotated[
        float | None, typer.Option(metavar="N", help="GB in a calendar month.")
    ] = None,
    hours: Annotated[
        str | None, typer.Option(metavar="08-22", help="Hours of the day; `all` for all.")
    ] = None,
    as_json: AsJson = False,
    state: State = None,
) -> None:
    """Relay for strangers within limits; those not given stay as they were.

    Your own users are never counted and never slowed.
    """
    body = {"kbit": kbit, "sessions": sessions, "gb_month": gb_month, "hours": hours}
    _print(client_of(state).post("relay", body=body), as_json)


@app.command()
def off(as_json: AsJson = False, state: State = None) -> None:
    """Relay for strangers no more, at once."""
    _print(client_of(state).delete("relay"), as_json)


@app.command()
def usage(as_json: AsJson = False, state: State = None) -> None:
    """Show the limits and what is used of them."""
    _print(client_of(state).get("relay"), as_json)


@app.command()
def candidates(as_json: AsJson = False, state: State = None) -> None:
    """List other nodes that relay for strangers, in the order in which they would be asked."""
    found = client_of(state).get("relay", "candidates")
    if as_json:
        print_json(found)
        return
    keys = ("kbit_free", "sessions_free", "full")
    rows = [
        (one["node_id"][:16], one["address"], duration(one["rtt"]), *(one[key] for key in keys))
        for one in found
    ]
    print_table(
        ("node", "address", "round trip", "kbit/s free", "sessions free", "full"),
        rows,
        "no node that is known relays for strangers",
    )


def _print(answer: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(answer)
        return
    limits, now = answer["limits"], answer["now"]
    print_fields(
        [
            ("for strangers", _STATES.get(answer["state"], answer["state"])),
            ("kbit/s", f"{now['kbit']:.0f} of {limits['kbit']}"),
            ("sessions", f"{now['sessions']} of {limits['sessions']}"),
            ("this month", f"{answer['bytes'] / 1e9:.3f} of {limits['gb_month']:g} GB"),
            ("hours", limits["hours"] or "all"),
        ]
    )
