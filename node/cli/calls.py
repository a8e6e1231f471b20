"""`ringmesh call list|hangup|log|trace`."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from node.cli.options import AsJson, State, client_of, state_path_of
from node.cli.output import minute, print_json, print_table, short, spoken

_SIDES = ("from_caller", "from_callee")
app = typer.Typer(help="Show and end calls.", no_args_is_help=True)


@app.command("list")
def list_calls(as_json: AsJson = False, state: State = None) -> None:
    """Show the calls under way."""
    answer = client_of(state).get("calls")
    if as_json:
        print_json(answer)
        return
    print_table(
        ("call", "from", "to", "state", "since", "other node", "codec", "loss", "jitter"),
        [_live_row(call) for call in answer],
        "no calls",
    )


@app.command()
def hangup(
    call: Annotated[str, typer.Argument(help="A call's id from `ringmesh call list`, or `all`.")],
    as_json: AsJson = False,
    state: State = None,
) -> None:
    """End one call, or all of them."""
    if not call:
        raise typer.BadParameter("say which call: an id from `ringmesh call list`, or `all`")
    answer = client_of(state).delete("calls", call)
    if as_json:
        print_json(answer)
    else:
        ended = answer["ended"]
        typer.echo(f"{ended} call{'' if ended == 1 else 's'} ended")


@app.command()
def log(
    limit: Annotated[
        int, typer.Option(metavar="N", help="At most so many calls, the newest first.")
    ] = 100,
    account: Annotated[
        str | None, typer.Option(metavar="LOGIN", help="Only calls of this account.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="WHEN", help="Only later ones: 12h, 7d, 2026-01-31 (UTC)."),
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV instead of a table.")] = False,
    as_json: AsJson = False,
    state: State = None,
) -> None:
    """Show the calls that have ended: who, when, how long, how it sounded. Also while stopped."""
    if as_csv and as_json:
        raise typer.BadParameter("either --csv or --json")
    calls = _records(state_path_of(state), limit, account, since)
    if as_json:
        print_json(calls)
    elif as_csv:
        from node.call_log import as_csv as written

        typer.echo(written(calls), nl=False)
    else:
        print_table(
            (
                "call",
                "started (UTC)",
                "from",
                "to",
                "",
                "s",
                "end",
                "codec",
                "loss",
                "jitter",
                "MOS",
            ),
            [_row(call) for call in calls],
            "no calls",
        )


@app.command()
def trace(
    call: Annotated[
        str,
        typer.Argument(help="An id from `ringmesh call list` or `call log`, or a Call-ID."),
    ],
    as_text: Annotated[
        bool, typer.Option("--text", help="Print every message below the diagram.")
    ] = False,
    as_json: AsJson = False,
    state: State = None,
) -> None:
    """Show the SIP messages of a call, under way or ended, as a ladder. Secrets are masked."""
    if as_text and as_json:
        raise typer.BadParameter("either --text or --json")
    if not call:
        raise typer.BadParameter("say which call: an id from `ringmesh call list`, or a Call-ID")
    answer = client_of(state).get("calls", call, "trace")
    if as_json:
        print_json(answer)
        return
    from node.tracing.ladder import as_text as written
    from node.tracing.ladder import ladder

    typer.echo(written(answer) if as_text else ladder(answer), nl=False)


def _records(
    path: Path, limit: int, account: str | None, since: str | None
) -> list[dict[str, Any]]:
    from node.cli.reach import reached
    from node.state import StateFolder

    with reached(path) as node:
        if not isinstance(node, StateFolder):
            asked = {"limit": str(limit), "account": account, "since": since}
            given = {name: value for name, value in asked.items() if value is not None}
            return list(node.get("records", **given))
        from federation.model.clocks import SystemClock
        from node.call_log import query, read_since
        from node.cli.stopped_desk import stopped_database

        begin = None if since is None else read_since(since, now=SystemClock().unix())
        work = query(limit, account, begin)
        with stopped_database(node) as database, database.read() as connection:
            return work(connection)


def _live_row(call: dict[str, Any]) -> tuple[object, ...]:
    streams = [stream for side in _SIDES if (stream := call.get(side))]
    return (
        *(call["id"], call["from"], call["to"], call["state"]),
        f"{call.get('since', 0):.0f} s",
        short(call.get("peer")),
        call.get("codec"),
        _each(f"{_loss(stream):.1%}" for stream in streams),
        _each(map(_jitter, streams)),
    )


def _jitter(stream: dict[str, Any]) -> str:
    return "-" if stream["jitter"] is None else f"{stream['jitter'] * 1000:.0f} ms"


def _row(call: dict[str, Any]) -> tuple[object, ...]:
    streams = [stream for side in _SIDES if (stream := call[side])]
    end = call["reason"] if call["answered"] else f"{call['status']}"
    return (
        call["id"],
        minute(call["started"]),
        spoken(call["from"].partition("@")[0]) if call["from"] else None,
        call["to"],
        " ".join(filter(None, (call["direction"], call["path"]))),
        f"{call['duration']:.0f}",
        end,
        call["codec"],
        _each(f"{_loss(stream):.1%}" for stream in streams),
        _each(map(_jitter, streams)),
        _each(f"{stream['mos']:.1f}" for stream in streams if stream["mos"] is not None),
    )


def _each(texts: Iterable[str]) -> str | None:
    """The caller's stream and the callee's."""
    return " / ".join(texts) or None


def _loss(stream: dict[str, Any]) -> float:
    whole = stream["packets"] + stream["lost"]
    return float(stream["lost"] / whole) if whole else 0.0
