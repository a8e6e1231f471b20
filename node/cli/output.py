"""What commands print: JSON for programs, short tables for people."""

import json
import sys
from collections.abc import Sequence
from typing import Any

import typer

_GAP = "  "
_SHORT = 16
"Characters of a key that are shown where the whole would be in the way."


def print_json(value: Any) -> None:
    """Write one JSON document."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(headings: Sequence[str], rows: Sequence[Sequence[object]], empty: str) -> None:
    """Write rows under headings, or the sentence `empty` where there are none.

    On a terminal long cells are folded; elsewhere each row stays one whole line.
    """
    if not rows:
        typer.echo(empty)
        return
    cells = [[cell(value) for value in row] for row in rows]
    if sys.stdout.isatty():
        _print_rich(headings, cells)
        return
    widths = [max(map(len, column)) for column in zip(headings, *cells, strict=True)]
    for row in (headings, *cells):
        padded = (text.ljust(width) for text, width in zip(row, widths, strict=True))
        typer.echo(_GAP.join(padded).rstrip())


def print_fields(fields: Sequence[tuple[str, object]]) -> None:
    """Write labelled values, one or more lines each."""
    width = max(len(label) for label, _ in fields)
    for label, value in fields:
        values = value if isinstance(value, (list, tuple)) else [value]
        for index, item in enumerate(values or ["-"]):
            typer.echo(f"{(label if not index else ''):<{width}}{_GAP}{cell(item)}")


def cell(value: object) -> str:
    """One value as people read it; control characters never reach the terminal."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}"
    return "".join(c if c.isprintable() else "?" for c in str(value))


def spoken(name: str | None) -> str | None:
    """A number of the network in groups of digits; anything else as it is."""
    from federation.model.number import Number

    return Number(name).spoken if name and Number.fits(name) else name


def short(key: str | None) -> str | None:
    """The beginning of a key, enough for people to tell it from others."""
    return key if key is None or len(key) <= _SHORT else f"{key[:_SHORT]}…"


def minute(instant: str | None) -> str | None:
    """An instant of the API, to the minute, in UTC."""
    return None if instant is None else instant[:16].replace("T", " ")


def duration(seconds: float | None) -> str | None:
    """A short time in milliseconds, a longer one in seconds."""
    if seconds is None:
        return None
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _print_rich(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*headings, box=box.SIMPLE_HEAD, pad_edge=False)
    for column in table.columns:
        column.overflow = "fold"
    for row in rows:
        table.add_row(*map(Text, row))
    Console().print(table)
