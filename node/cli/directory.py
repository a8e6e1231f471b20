"""`ringmesh dht stats`: figures of the directory, whichever the node has."""

from typing import Any

import typer

from node.cli.options import AsJson, State, client_of
from node.cli.output import cell, duration, print_fields, print_json

app = typer.Typer(
    help="The directory that nodes keep together: who can be found where.", no_args_is_help=True
)
_LABELS = {
    "own_id": "own place",
    "records": "records held",
    "record_bytes": "bytes of records",
    "published": "records published",
    "network_size": "nodes, estimated",
    "queued_claims": "claims to verify",
    "waiting": "questions under way",
    "observed": "seen by peers as",
    "clock_skew": "clock of peers",
    "reach": "reached from outside",
    "lookup_times": "time of lookups",
    "round_trips": "round trips",
}
_FIRST = ("contacts", "buckets", "network_size", "records", "record_bytes", "published", "lookups")
_OUTCOMES = {"Found": "found", "NotFound": "not found", "Inconclusive": "inconclusive"}
_REASONS = {
    "malformed": "refused: malformed",
    "limited": "refused: too many",
    "challenged": "refused: address unproven",
    "unmatched": "refused: answer to nothing",
    "impostors": "refused: impostor",
}


@app.command()
def stats(as_json: AsJson = False, state: State = None) -> None:
    """Show contacts, records, lookups, traffic and what was refused since the start."""
    figures = client_of(state).get("dht")
    if as_json:
        print_json(figures)
        return
    names = [name for name in _FIRST if name in figures]
    names += [name for name in figures if name not in names]
    rows = ((_LABELS.get(name, name.replace("_", " ")), _shown(name, figures)) for name in names)
    print_fields(list(rows))


def _shown(name: str, figures: dict[str, Any]) -> object:
    value = figures[name]
    match name:
        case "lookups":
            counts = {label: value.get(key, 0) for key, label in _OUTCOMES.items()}
            return _lines(counts | {k: v for k, v in value.items() if k not in _OUTCOMES})
        case "lookup_times" | "round_trips":
            return _times(value)
        case "buckets":
            return [f"{_count(b['contacts'])} at {b['shared_bits']} shared bits" for b in value]
        case "reach":
            return [_reach(family) for family in value]
        case "clock_skew" if value is not None:
            side = "ahead of" if value > 0 else "behind"
            return f"{duration(abs(value))} {side} ours (median)"
        case "network_size":
            return "not known yet" if value is None else round(value)
        case "traffic":
            return _lines({_REASONS.get(k, k.replace("_", " ")): v for k, v in value.items()})
    return _any(value)


def _any(value: object) -> object:
    """A figure that is not known here by name."""
    if isinstance(value, dict):
        return _lines({str(name).replace("_", " "): item for name, item in value.items()})
    if isinstance(value, list):
        return [cell(_flat(item)) for item in value]
    return value


def _flat(item: object) -> object:
    if isinstance(item, dict):
        return ", ".join(f"{str(name).replace('_', ' ')} {cell(v)}" for name, v in item.items())
    return item


def _lines(values: dict[str, Any]) -> list[str]:
    width = max(map(len, values), default=0)
    return [f"{name:<{width}}  {cell(_flat(value))}" for name, value in values.items()]


def _times(value: dict[str, Any]) -> str:
    if not value["count"]:
        return "none yet"
    middle, nearly, longest = (duration(value[name]) for name in ("p50", "p99", "longest"))
    return (
        f"half within {middle}, 99 % within {nearly}, longest {longest} ({value['count']} of late)"
    )


def _reach(family: dict[str, Any]) -> str:
    word = "serves" if family["serves"] else "only a client so far"
    proof = f"{family['confirmed']} of {family['needed']} networks confirmed"
    return f"IPv{family['family']}: {word}{f', {proof}' if family['needed'] else ''}"


def _count(contacts: int) -> str:
    return f"{contacts} contact{'' if contacts == 1 else 's'}"
