"""`ringmesh why`: the way of a call, explained before it is made."""

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from node.cli.looking import MAX_TARGET, reached
from node.cli.options import AsJson, State, client_of
from node.cli.output import cell, duration, minute, print_json, short, spoken

MAX_PEERS_SHOWN = 12
"Answers of peers that are listed for one lookup; --json has the others too."
MAX_RECORDS_SHOWN = 6
_LABEL_WIDTH = 9
_RECORDS = {
    "address": "where node {owner} is reached",
    "user": "where user {label} of node {owner} is reached",
    "domain": "which nodes answer for {label}, as node {owner} says",
    "number": "who has {label}",
}
_Line = tuple[str, str]
"A label, empty in further lines of the same part, and a text."


def why(
    uri: Annotated[str, typer.Argument(help="A SIP URI, a number or a login.")],
    as_json: AsJson = False,
    state: State = None,
) -> int:
    """Explain what a call to URI would meet, step by step, without making it.

    Exit code 1 if the call would lead nowhere.
    """
    if len(uri) > MAX_TARGET:
        raise typer.BadParameter(f"a target has at most {MAX_TARGET} characters")
    answer = client_of(state).get("why", uri=uri)
    if as_json:
        print_json(answer)
    else:
        for label, text in explained(answer):
            typer.echo(f"{label:<{_LABEL_WIDTH}}  {text}".rstrip())
    return 0 if answer["status"] < 300 else 1


def explained(answer: dict[str, Any]) -> Iterator[_Line]:
    """The answer in lines of limited number; control characters are masked."""
    yield "target", cell(answer["target"])
    yield "read as", cell(answer["reading"])
    for outer in answer.get("outer", ()):
        yield "this node", cell(f"reached from outside at {outer['address']}, {_source(outer)}")
    if answer["proof"] is not None:
        yield from _proof(answer["proof"])
    for number, lookup in enumerate(answer["lookups"], 1):
        yield from _lookup(f"lookup {number}", lookup)
    for pin in answer["pins"]:
        yield "pin", cell(f"{spoken(pin['name'])}: {pin['verdict']}")
    for node in answer["nodes"]:
        yield "node", cell(f"{node['node_id']} {' '.join(node['addresses'])}".rstrip())
        yield "", _link(node["link"])
    for device in answer["devices"] or ():
        way = "" if device["connected"] else " (not connected)"
        yield "device", cell(f"{device['uri']} by {device['transport']} {device['address']}{way}")
    if answer.get("sound") is not None and answer["kind"] != "none":
        yield from _sound(answer["sound"])
    took = f" ({duration(answer['seconds'])})" if answer["lookups"] or answer["proof"] else ""
    yield "verdict", cell(f"{_verdict(answer)}{took}")


def _sound(sound: dict[str, Any]) -> Iterator[_Line]:
    up, all_, free = sound["workers_up"], sound["workers"], sound["ports_free"]
    yield "sound", f"by a relay worker here: {up} of {all_} are there, {free} pairs of ports free"
    yield "", f"others reach this node: {reached(sound['reached'])}"
    strangers = sound["strangers"]
    if strangers["state"] != "off":
        yield (
            "",
            cell(
                f"relay for strangers {strangers['state']}: {strangers['kbit']:.0f} of "
                f"{strangers['kbit_limit']} kbit/s, {strangers['sessions']} of "
                f"{strangers['sessions_limit']} ports; calls of this node are not counted"
            ),
        )


def _source(outer: dict[str, Any]) -> str:
    if outer["source"] == "setting":
        return "as relay.external_address says"
    return f"as peers in {outer['networks']} networks see it"


def _verdict(answer: dict[str, Any]) -> str:
    if answer["status"] < 300:
        return f"found: {answer['reason']}"
    return f"a caller gets {answer['status']}: {answer['reason']}"


def _proof(proof: dict[str, Any]) -> Iterator[_Line]:
    label = "proof"
    for question in proof["dns"]:
        text = f"DNS {question['type']} {question['name']}: {_dns_answer(question)}"
        yield label, cell(text)
        label = ""
    for dial in proof["dialled"]:
        yield "", cell(_dial(dial))
    yield "", cell(f"{proof['domain']} is {proof['verdict']}")


def _dns_answer(question: dict[str, Any]) -> str:
    if question["answers"] is None:
        return question["error"] or f"no answer in {duration(question['seconds'])}"
    found = ", ".join(question["answers"][:4]) or "no such record"
    return f"{found} ({duration(question['seconds'])})"


def _dial(dial: dict[str, Any]) -> str:
    where = ", ".join(dial["dialled"] or dial["asked"])
    if dial["node_id"] is None:
        return f"asked {where} who it is: {'no answer' if dial['dialled'] else 'not dialled'}"
    claims = ", ".join(dial["claims"][:4]) or "no domain"
    return f"asked {where} who it is: node {dial['node_id']}, which claims {claims}"


def _lookup(label: str, lookup: dict[str, Any]) -> Iterator[_Line]:
    what = _RECORDS.get(lookup["record"], lookup["record"])
    what = what.format(label=spoken(lookup["label"]), owner=short(lookup["owner"]))
    took = f" in {duration(lookup['seconds'])}" if lookup["seconds"] is not None else ""
    reason = f": {lookup['reason']}" if lookup["reason"] else ""
    yield label, cell(f"{what}: {lookup['result']}{took}{reason}")
    if lookup["result"] == "cut off":
        yield "", "all lookups of a call together may take 4 s; this one was not done by then"
    elif lookup["seconds"] is None:
        yield "", "it is this node's own name: nobody else was asked"
    elif not lookup["asked"]:
        yield "", "nobody was asked: no other node is known, and this node's own store was all"
    else:
        yield "", _breadth(lookup)
    yield from _peers(lookup)
    shown = lookup["records"][:MAX_RECORDS_SHOWN]
    for record in shown:
        yield from _record(record)
    more = len(lookup["records"]) - len(shown) + lookup["records_left_out"]
    if more:
        yield "", f"and {more} more records; --json has them"


def _breadth(lookup: dict[str, Any]) -> str:
    hops = f"{lookup['hops']} hop{'' if lookup['hops'] == 1 else 's'}"
    end = "; enough of them agreed" if lookup["agreed"] else ""
    places = [
        f"place {place['place'][:8]}…: {place['answered']} of {place['asked']} answered"
        for place in lookup["places"]
        if place["asked"]
    ]
    unheard = lookup["asked"] - sum(place["asked"] for place in lookup["places"])
    if unheard > 0:
        places.append(f"{unheard} more asked and not waited for")
    return f"{'; '.join(places)}; {hops}{end}"


def _peers(lookup: dict[str, Any]) -> Iterator[_Line]:
    """Those who had records first, then the others, as they answered."""
    steps = sorted(lookup["steps"], key=lambda step: not (step["records"] or step["refused"]))
    shown = steps[:MAX_PEERS_SHOWN]
    width = max((len(step["address"]) for step in shown), default=0)
    for step in shown:
        who = short(step["node_id"]) or f"id {step['overlay_id'][:8]}…"
        at = duration(step["at"])
        yield "", f"  {cell(step['address']):<{width}}  {who:<17}  {at:>9}  {_said(step)}"
    more = len(steps) - len(shown) + lookup["steps_left_out"]
    if more:
        yield "", f"  and {more} more peers; --json has them"


def _said(step: dict[str, Any]) -> str:
    if not step["answered"]:
        return "no answer"
    parts = [f"{step['records']} record{'' if step['records'] == 1 else 's'}"]
    if step["refused"]:
        parts.append(f"{step['refused']} refused as not valid")
    parts.append(f"named {step['contacts']} other{'' if step['contacts'] == 1 else 's'}")
    return ", ".join(parts)


def _record(record: dict[str, Any]) -> Iterator[_Line]:
    owner = f"record of key {short(record['owner'])}"
    yield "", cell(f"  {owner}: {record['verdict']}")
    yield "", f"    issued {minute(record['issued'])}, good until {minute(record['expires'])} UTC"
    for node in record["nodes"]:
        at = f" at {node['hint']}" if node["hint"] else ""
        yield "", cell(f"    leads to node {short(node['node_id'])}{at}")
    if record["prefixes"]:
        yield "", cell(f"    offers {', '.join(record['prefixes'])}")
    if record["addresses"]:
        yield "", cell(f"    reached at {', '.join(record['addresses'])}")


def _link(link: dict[str, Any] | None) -> str:
    if link is None:
        return "no link to it yet: a call makes one first"
    trip = f", round trip {duration(link['rtt'])}" if link["rtt"] is not None else ""
    return cell(f"linked for {duration(link['since'])} by way of {link['address']}{trip}")
