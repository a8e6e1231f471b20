"""`ringmesh message send|list`."""

from typing import Annotated

import typer

from node.cli.options import AsJson, State, client_of
from node.cli.output import cell, print_json, print_table, spoken

app = typer.Typer(help="Send messages, and see which wait.", no_args_is_help=True)


@app.command()
def send(
    sender: Annotated[str, typer.Argument(metavar="FROM", help="The login it comes from.")],
    to: Annotated[str, typer.Argument(metavar="TO", help="A number, a login or user@domain.")],
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What to say.")],
    as_json: AsJson = False,
    state: State = None,
) -> None:
    """Send a text as FROM's phone would; it is kept there if nobody is."""
    answer = client_of(state).post("users", sender, "messages", body={"to": to, "text": text})
    if as_json:
        print_json(answer)
    else:
        typer.echo("kept until a device registers" if answer["kept"] else "delivered")


@app.command("list")
def list_messages(
    login: Annotated[str, typer.Argument(metavar="LOGIN", help="Whose messages.")],
    as_json: AsJson = False,
    state: State = None,
) -> None:
    """Show what waits for LOGIN, without what was written."""
    answer = client_of(state).get("users", login, "messages")
    if as_json:
        print_json(answer)
        return
    rows = [
        (
            cell(spoken(one["from"])),
            cell(one["name"]),
            cell(one["sent"]),
            str(one["bytes"]),
            one["expires"],
        )
        for one in answer
    ]
    print_table(("from", "name", "sent", "bytes", "until"), rows, "no messages wait")
