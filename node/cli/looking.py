"""`ringmesh status`, `peers` and `resolve`: questions to the running node."""

from typing import Annotated, Any

import typer

from node.cli import traffic
from node.cli.options import AsJson, State, client_of
from node.cli.output import minute, print_fields, print_json, print_table

MAX_TARGET = 1024
"Characters of a URI that can be asked for."


def status(as_json: AsJson = False, state: State = None) -> None:
    """Show how the running node is."""
    answer = client_of(state).get("status")
    if as_json:
        print_json(answer)
        return
    print_fields(
        [
            ("ready", answer["ready"]),
            ("health", _health(answer.get("health"))),
            ("node", answer["node_id"]),
            ("key name", answer["key_name"]),
            ("network", answer.get("network")),
            ("server", answer.get("server")),
            ("addresses", answer["addresses"]),
            ("from outside", _outer(answer.get("outer", []))),
            ("peers", answer["peers"]),
            ("accounts", answer["accounts"]),
            ("registrations", answer["registrations"]),
            ("calls", answer["calls"]),
            ("overload", _overload(answer.get("overload"))),
            ("phones", _traffic(answer.get("traffic"))),
            ("relay workers", len(answer["relay"].get("workers", []))),
            ("relay for strangers", answer["relay"].get("strangers", {}).get("state")),
            ("reached from outside", reached(answer.get("directory", {}).get("reached", {}))),
            ("clock", answer.get("directory", {}).get("clock")),
        ]
    )


def _health(health: dict[str, Any] | None) -> object:
    """`ok`, or what is wrong."""
    if health is None:
        return None
    wrong = [check["says"] for check in health["checks"].values() if not check["ok"]]
    return wrong or "ok"


def _traffic(counts: dict[str, Any] | None) -> str | None:
    """What passed between this node and phones, in one line."""
    if not counts:
        return None
    values = zip(traffic.HEADINGS, traffic.columns(counts), strict=True)
    return ", ".join(f"{name} {value}" for name, value in values if value is not None)


def _overload(figures: dict[str, Any] | None) -> str:
    """In words: whether new work is turned away, and how much was."""
    if figures is None:
        return ""
    now = "new calls are being refused" if figures["now"] else "no"
    return f"{now} ({figures['refused']} requests refused since the start)"


def _outer(addresses: list[dict[str, Any]]) -> str:
    """In words: by which addresses this node is reached from outside a NAT."""
    words = []
    for outer in addresses:
        seen = f"seen by peers in {outer['networks']} networks"
        words.append(f"{outer['address']} ({seen if outer['networks'] else 'as set'})")
    return ", ".join(words)


def reached(families: dict[str, dict[str, Any]]) -> str:
    """In words: which families of addresses strangers can reach, as far as peers said."""
    words = []
    for name, reach in families.items():
        label = name.replace("ipv", "IPv")
        if not reach["needed"]:
            words.append(f"{label} not known yet")
        elif reach["serves"]:
            words.append(f"{label} yes")
        else:
            words.append(f"{label} no ({reach['confirmed']} of {reach['needed']} peers confirmed)")
    return ", ".join(words) or "not known yet"


def peers(as_json: AsJson = False, state: State = None) -> None:
    """Show the nodes this node knows."""
    answer = client_of(state).get("peers")
    if as_json:
        print_json(answer)
        return
    rows = [
        (
            peer["node_id"][:16],
            peer["address"],
            peer.get("linked"),
            None if peer.get("rtt") is None else f"{peer['rtt'] * 1000:.1f} ms",
            None if peer.get("last_heard") is None else f"{peer['last_heard']:.0f} s ago",
            *traffic.columns(peer.get("traffic")),
        )
        for peer in answer
    ]
    print_table(
        ("node", "address", "linked", "round trip", "heard", *traffic.HEADINGS),
        rows,
        "no other node is known: start one, or name one with ringmesh up --join HOST:PORT",
    )


def resolve(
    uri: Annotated[str, typer.Argument(help="A SIP URI, a number or a login.")],
    as_json: AsJson = False,
    state: State = None,
) -> int:
    """Show where a call to URI would go; exit code 1 if nowhere."""
    if len(uri) > MAX_TARGET:
        raise typer.BadParameter(f"a target has at most {MAX_TARGET} characters")
    answer = client_of(state).get("resolve", uri=uri)
    if as_json:
        print_json(answer)
    else:
        nodes = [
            f"{node['node_id']} {' '.join(node.get('addresses', []))}".rstrip()
            for node in answer.get("nodes", [])
        ]
        print_fields(
            [
                ("target", answer["target"]),
                ("kind", answer.get("kind")),
                ("nodes", nodes),
                *_pin(answer.get("pin")),
                ("answer", f"{answer['status']} {answer.get('reason', '')}".rstrip()),
            ]
        )
    return 0 if answer["status"] < 300 else 1


def _pin(pin: dict[str, Any] | None) -> list[tuple[str, object]]:
    """The pin of a target, and what conflicts with it."""
    if pin is None:
        return []
    rows: list[tuple[str, object]] = [
        ("pinned to", f"{pin['key'] or 'none'} since {minute(pin['since'])} UTC")
    ]
    if pin["conflict"]:
        keys = [offer["key"] for offer in pin["conflict"]]
        rows.append(("refused", [*keys, "see ringmesh pin list"]))
    return rows
