"""`ringmesh call list|hangup`."""

from typing import Annotated

import typer

from node.cli.options import AsJson, State, client_of
from node.cli.output import print_json, print_table

app = typer.Typer(help="Show and end calls.", no_args_is_help=True)


@app.command("list")
def list_calls(as_json: AsJson = False, state: State = None) -> None:
    """Show the calls under way."""
    answer = client_of(state).get("calls")
    if as_json:
        print_json(answer)
        return
    rows = [
        (call["id"], call["from"], call["to"], call["state"], f"{call.get('since', 0):.0f} s")
        for call in answer
    ]
    print_table(("call", "from", "to", "state", "since"), rows, "no calls")


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
