"""`ringmesh did map|list|unmap`, with the node running or stopped."""

from typing import Annotated

import typer

from node.cli.options import AsJson, State, state_path_of
from node.cli.output import print_json, print_table

app = typer.Typer(
    help="Telephone numbers of providers, and whom they lead to.", no_args_is_help=True
)
Number = Annotated[
    str, typer.Argument(metavar="NUMBER", help="In international form, such as '+49 30 1234567'.")
]


@app.command("map")
def map_number(
    number: Number,
    target: Annotated[
        str, typer.Argument(metavar="LOGIN|TRUNK|TRUNK*EXT", help="Who is called by it.")
    ],
    as_json: AsJson = False,
    state: State = None,
) -> None:
    """Have a number lead to a user, a PBX, or an extension behind a PBX."""
    from node.cli.trunk_desk import open_trunks

    with open_trunks(state_path_of(state)) as desk:
        mapped = desk.map(number, target)
    if as_json:
        print_json(mapped)
    else:
        typer.echo(f"{mapped['number']} leads to {mapped['target']}")


@app.command("list")
def list_numbers(as_json: AsJson = False, state: State = None) -> None:
    """List the mapped numbers."""
    from node.cli.trunk_desk import open_trunks

    with open_trunks(state_path_of(state)) as desk:
        dids = desk.dids()
    if as_json:
        print_json(dids)
        return
    print_table(
        ("number", "leads to"),
        [(did["number"], did["target"]) for did in dids],
        "no numbers: map one with ringmesh did map NUMBER LOGIN",
    )


@app.command()
def unmap(number: Number, as_json: AsJson = False, state: State = None) -> None:
    """Have a number lead nowhere."""
    from node.cli.trunk_desk import open_trunks

    with open_trunks(state_path_of(state)) as desk:
        answer = desk.unmap(number)
    if as_json:
        print_json(answer)
    else:
        typer.echo(f"{answer['unmapped']} leads to {answer['target']} no more")
