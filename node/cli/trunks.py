"""`ringmesh trunk add|list|show|set|remove|test`, with the node running or stopped."""

import sys
from typing import Annotated, Any

import typer

from node.cli import traffic
from node.cli import trunk_options as given
from node.cli.options import AsJson, State, state_path_of
from node.cli.output import cell, print_fields, print_json, print_table, spoken

app = typer.Typer(
    help="Trunks: PBXs of yours, and providers you have an account at.", no_args_is_help=True
)
Name = Annotated[str, typer.Argument(metavar="NAME", help="The trunk; for a PBX also its login.")]
_RENAMED = {"server": "servers", "prefix": "rules", "source": "sources", "offer": "offers"}


@app.command()
def add(
    name: Name,
    pbx: Annotated[
        bool, typer.Option("--pbx", help="A PBX that is to have an account here.")
    ] = False,
    provider: Annotated[
        bool, typer.Option("--provider", help="A provider that this node has an account at.")
    ] = False,
    mode: given.Mode = None,
    static: given.Static = None,
    extensions: given.Extensions = None,
    server: given.Server = None,
    login: given.Login = None,
    password: given.Password = None,
    transport: given.Transport = None,
    domain: given.Domain = None,
    expires: given.Expires = None,
    prefix: given.Prefix = None,
    priority: given.Priority = None,
    country: given.Country = None,
    caller: given.Caller = None,
    caller_id: given.CallerIdRule = None,
    max_calls: given.MaxCalls = None,
    max_daily: given.MaxDaily = None,
    emergency: given.Emergency = None,
    source: given.Source = None,
    offer: given.Offer = None,
    offer_to: given.OfferTo = None,
    offer_calls: given.OfferCalls = None,
    offer_daily: given.OfferDaily = None,
    did: Annotated[
        list[str] | None,
        typer.Option(metavar="NUMBER[=LOGIN]", help="Map a number as well, as did map does."),
    ] = None,
    as_json: AsJson = False,
    state: State = None,
) -> None:
    """Add a trunk, and print what a PBX needs to be told."""
    options = _given(locals())
    if pbx == provider:
        raise typer.BadParameter("say --pbx or --provider")
    from node.cli.trunk_desk import open_trunks

    options |= {"name": name, "kind": "pbx" if pbx else "provider", "dids": did or []}
    with open_trunks(state_path_of(state), create=True) as desk:
        _print_sheet(desk.add(options), as_json=as_json)


@app.command("set")
def change(
    name: Name,
    mode: given.Mode = None,
    static: given.Static = None,
    extensions: given.Extensions = None,
    server: given.Server = None,
    login: given.Login = None,
    password: given.Password = None,
    transport: given.Transport = None,
    domain: given.Domain = None,
    expires: given.Expires = None,
    prefix: given.Prefix = None,
    priority: given.Priority = None,
    country: given.Country = None,
    caller: given.Caller = None,
    caller_id: given.CallerIdRule = None,
    max_calls: given.MaxCalls = None,
    max_daily: given.MaxDaily = None,
    emergency: given.Emergency = None,
    source: given.Source = None,
    offer: given.Offer = None,
    offer_to: given.OfferTo = None,
    offer_calls: given.OfferCalls = None,
    offer_daily: given.OfferDaily = None,
    as_json: AsJson = False,
    state: State = None,
) -> None:
    """Change a trunk; what is not given stays, and an empty text or 0 takes a setting away."""
    options = _given(locals())
    if not options:
        raise typer.BadParameter("say what to change, as in --max-calls 10")
    from node.cli.trunk_desk import open_trunks

    with open_trunks(state_path_of(state)) as desk:
        _print_sheet(desk.change(name, options), as_json=as_json)


@app.command("list")
def list_trunks(as_json: AsJson = False, state: State = None) -> None:
    """List the trunks, and how each is."""
    from node.cli.trunk_desk import open_trunks

    with open_trunks(state_path_of(state)) as desk:
        trunks = desk.all()
    if as_json:
        print_json(trunks)
        return
    print_table(
        ("name", "kind", "state", "calls", "numbers", *traffic.HEADINGS, "reason"),
        [
            (
                *(t["name"], t["kind"], t["state"], t["calls"], len(t["dids"])),
                *traffic.columns(t.get("traffic")),
                t["reason"],
            )
            for t in trunks
        ],
        "no trunks: add one with ringmesh trunk add NAME --pbx, or --provider",
    )


@app.command()
def show(name: Name, as_json: AsJson = False, state: State = None) -> None:
    """Show a trunk's settings, how it is, and what a PBX needs (passwords are not shown)."""
    from node.cli.trunk_desk import open_trunks

    with open_trunks(state_path_of(state)) as desk:
        _print_sheet(desk.show(name), as_json=as_json)


@app.command()
def remove(name: Name, as_json: AsJson = False, state: State = None) -> None:
    """Remove a trunk; a PBX's number is gone for good, and numbers mapped to it are unmapped."""
    from node.cli.trunk_desk import open_trunks

    with open_trunks(state_path_of(state)) as desk:
        answer = desk.remove(name)
    if as_json:
        print_json(answer)
        return
    typer.echo(f"{name} is removed")
    if answer["unmapped"]:
        typer.echo(f"no longer mapped: {', '.join(answer['unmapped'])}")


@app.command("test")
def try_one(name: Name, as_json: AsJson = False, state: State = None) -> int:
    """Try a trunk step by step; exit code 1 if something does not work."""
    from node.cli.trunk_desk import open_trunks

    with open_trunks(state_path_of(state)) as desk:
        answer = desk.test(name)
    if as_json:
        print_json(answer)
    else:
        marks = {True: "ok", False: "FAILS", None: "note"}
        print_table(
            ("step", "", "what was found"),
            [(s["step"], marks[s["ok"]], s["says"]) for s in answer["steps"]],
            "nothing to test",
        )
    return 0 if answer["works"] else 1


def _given(values: dict[str, Any]) -> dict[str, Any]:
    """The options that were given, by the names that the API has for them."""
    skipped = ("name", "pbx", "provider", "did", "as_json", "state")
    options = {
        _RENAMED.get(key, key): value
        for key, value in values.items()
        if key not in skipped and value is not None
    }
    if options.get("password") == "-":
        options["password"] = sys.stdin.readline().rstrip("\r\n")
    return options


def _print_sheet(sheet: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(sheet)
        return
    fields: list[tuple[str, object]] = [("trunk", f"{sheet['name']} ({sheet['kind']})")]
    if sheet["state"] is not None:
        reason = f": {cell(sheet['reason'])}" if sheet["reason"] else ""
        fields.append(("state", f"{sheet['state']}{reason}"))
    if sheet["kind"] == "pbx":
        fields += _for_the_pbx(sheet)
    known = {"name", "kind", "state", "reason", "dids", "turn", "uri", "number", "password"}
    known.add("traffic")
    known |= {"login", "server", "extension"} if sheet["kind"] == "pbx" else set()
    for key, value in sheet.items():
        if key not in known and (value or value == 0) and value is not False:
            fields.append((key.replace("_", " "), value))
    fields.append(("numbers", sheet["dids"]))
    fields += traffic.fields(sheet.get("traffic"))
    print_fields(fields)


def _for_the_pbx(sheet: dict[str, Any]) -> list[tuple[str, object]]:
    fields: list[tuple[str, object]] = [("login", sheet.get("login"))]
    if "password" in sheet:
        fields.append(("password", sheet["password"]))
    return [
        *fields,
        ("server", sheet.get("server")),
        ("number", spoken(sheet.get("number"))),
        ("addresses", sheet.get("uri", [])),
    ]
