"""A trace (its JSON) as text: a ladder diagram, and the messages themselves."""

from collections.abc import Iterable, Sequence

from node.control import JsonObject

MAX_PARTIES = 6
"Columns of a ladder beside this node; further parties share the last."
_GUTTER = 14
_COLUMN = 34
THIS_NODE = "this node"


def ladder(trace: JsonObject) -> str:
    """The messages of a trace (its JSON) as arrows between this node and the other parties."""
    parties: Sequence[JsonObject] = trace["parties"]
    columns = _columns(len(parties))
    names = [THIS_NODE if party is None else _title(parties[party]) for party in columns]
    out = [" " * _GUTTER + "".join(name[: _COLUMN - 2].center(_COLUMN) for name in names).rstrip()]
    own = columns.index(None)
    for message in trace["messages"]:
        other = columns.index(min(message["party"], MAX_PARTIES - 1))
        out += _arrow(message, own, other, len(columns))
    if not trace["whole"]:
        out.insert(1, _missing(trace))
    return "\n".join(out) + "\n"


def as_text(trace: JsonObject) -> str:
    """The ladder of a trace (its JSON), and every message below it."""
    state = "under way" if trace["under_way"] else "ended"
    lines = [f"call {trace['call']} ({state}), Call-ID {trace['call_id']}", "", ladder(trace)]
    for number, message in enumerate(trace["messages"], 1):
        to = "to" if message["direction"] == "out" else "from"
        again = ", repeated" if message["repeated"] else ""
        lines.append(
            f"--- {number}: {message['time']} {to} {message['remote']} "
            f"by {message['transport']}, {message['bytes']} bytes{again}"
        )
        lines.append(_printable(message["text"].rstrip("\n")) + "\n")
    return "\n".join(lines)


def _columns(count: int) -> list[int | None]:
    """The parties from left to right, `None` being this node: who called stands left of it."""
    shown = range(min(count, MAX_PARTIES))
    return [*shown[:1], None, *shown[1:]]


def _arrow(message: JsonObject, own: int, other: int, count: int) -> Iterable[str]:
    """Two lines: what it is, and the arrow below."""
    label = ("again: " if message["repeated"] else "") + _printable(message["summary"])
    left, right = sorted((own, other))
    starts_left = (own < other) == (message["direction"] == "out")
    places = [position * _COLUMN + _COLUMN // 2 for position in range(count)]
    begin, end = places[left], places[right]
    width = end - begin - 1
    above, below = _rails(places), _rails(places)
    text = label[: width - 2].center(width)
    above[begin + 1 : end] = list(text)
    shaft = "-" * (width - 1)
    below[begin + 1 : end] = list(f"{shaft}>" if starts_left else f"<{shaft}")
    clock = f"{message['after']:.3f}"
    yield clock.rjust(_GUTTER - 2) + "  " + "".join(above).rstrip()
    yield " " * _GUTTER + "".join(below).rstrip()


def _rails(places: Sequence[int]) -> list[str]:
    row = [" "] * (places[-1] + 1)
    for place in places:
        row[place] = "|"
    return row


def _missing(trace: JsonObject) -> str:
    what = []
    if trace["left_out"]:
        what.append(f"{trace['left_out']} messages in its middle")
    if not trace["messages"] or not trace["messages"][0]["summary"].startswith("INVITE"):
        what.append("its beginning")
    return f"(not kept any more: {', '.join(what) or 'a part of it'})"


def _title(party: JsonObject) -> str:
    address: str = party["address"]
    return f"node {address[:12]}…" if party["kind"] == "node" else address


def _printable(text: str) -> str:
    """Nothing that a stranger wrote steers a terminal."""
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text)
