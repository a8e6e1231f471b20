"""The options that `trunk add` and `trunk set` share."""

from typing import Annotated

import typer

Mode = Annotated[
    str | None,
    typer.Option(
        metavar="single|per-user",
        help="PBX: all calls to its contact (default), or NAME*123 rings its extension 123.",
    ),
]
Static = Annotated[
    str | None, typer.Option(metavar="HOST[:PORT]", help="PBX that does not register.")
]
Transport = Annotated[
    str | None, typer.Option(metavar="udp|tcp|tls", help="Towards --static or --server.")
]
MaxCalls = Annotated[
    int | None, typer.Option(metavar="N", help="Calls at a time (default: any number).")
]
Extensions = Annotated[
    bool | None,
    typer.Option(help="PBX: tell the network that NAME*123 may be called."),
]
Server = Annotated[
    list[str] | None,
    typer.Option(metavar="HOST[,HOST…]", help="Provider: its SIP servers, the preferred first."),
]
Login = Annotated[
    str | None, typer.Option(metavar="TEXT", help="Provider: the account this node has there.")
]
Password = Annotated[
    str | None, typer.Option(metavar="TEXT", help="`-` reads a line from standard input.")
]
Domain = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Provider: what stands behind the @ (default: the server)."),
]
Expires = Annotated[
    int | None, typer.Option(metavar="SECONDS", help="Provider: a registration's time (600).")
]
Prefix = Annotated[
    list[str] | None,
    typer.Option(
        metavar="DIGITS[=DIGITS]",
        help="Provider: numbers that begin so go out here; =DIGITS replaces the beginning.",
    ),
]
Priority = Annotated[
    int | None,
    typer.Option(metavar="N", help="Provider: of equal prefixes the lowest is first (10)."),
]
Country = Annotated[
    str | None,
    typer.Option(metavar="CODE", help="Provider: whose national numbers it uses, such as 49."),
]
Caller = Annotated[
    str | None,
    typer.Option(metavar="NUMBER", help="Provider: shown for callers without a number."),
]
CallerIdRule = Annotated[
    str | None,
    typer.Option(
        "--caller-id",
        metavar="did|fixed",
        help="Provider: show the caller's own number (default), or always that of --caller.",
    ),
]
MaxDaily = Annotated[
    int | None, typer.Option(metavar="N", help="Provider: calls out in a day (UTC).")
]
Emergency = Annotated[bool | None, typer.Option(help="Provider: emergency numbers go out here.")]
Source = Annotated[
    list[str] | None,
    typer.Option(metavar="IP[/BITS]", help="Provider: further addresses that it calls from."),
]
Offer = Annotated[
    list[str] | None,
    typer.Option(
        metavar="+DIGITS[,…]",
        help="Provider: numbers that begin so are offered to the nodes of --offer-to; + is all.",
    ),
]
OfferTo = Annotated[
    list[str] | None,
    typer.Option(metavar="NODE[,…]", help="Provider: ids of nodes that may call what is offered."),
]
OfferCalls = Annotated[
    int | None, typer.Option(metavar="N", help="Provider: their calls at a time, together (4).")
]
OfferDaily = Annotated[
    int | None, typer.Option(metavar="N", help="Provider: their calls in a day (UTC; 100).")
]
