"""Every name of kademlia and aioquic that is not promised to stay: the list is whole, and holds.

What the code uses is read from its source, so a new use of a private name fails here until it is
listed; and each listed name is looked for in the library, so an upgrade that moves it fails too.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aioquic import tls
from aioquic.quic.connection import QuicConnection
from aioquic.quic.stream import QuicStreamSender
from kademlia.node import Node
from kademlia.routing import KBucket, RoutingTable

from dht.table import Contact, DiverseBucket, SecureTable
from federation.model.network import Network
from federation.quic.certificate import node_certificate, quic_configuration
from federation.quic.pinned import PinnedConnection
from tests.support.mesh_nodes import key

ROOT = Path(__file__).parents[3]
AIOQUIC_CONNECTION = {
    "_close_event", "_handshake_complete", "_initialize", "_is_client", "_local_max_data",
    "_local_max_streams_bidi", "_local_max_streams_uni", "_streams",
}  # fmt: skip
AIOQUIC_TLS = {
    "_peer_certificate", "_peer_certificate_chain", "_request_client_certificate",
    "_server_handle_certificate", "_set_peer_certificate", "_signature_algorithms",
    "_supported_groups",
}  # fmt: skip
AIOQUIC_SENDER = {"_buffer"}
KADEMLIA: dict[type, set[str]] = {
    KBucket: {
        "add_node", "has_in_range", "ksize", "nodes", "range", "remove_node",
        "replacement_nodes", "split", "touch_last_updated",
    },
    RoutingTable: {
        "add_contact", "buckets", "find_neighbors", "flush", "get_bucket_for", "ksize",
        "lonely_buckets", "node", "remove_contact", "split_bucket",
    },
    Node: {"id", "long_id", "same_home_as"},
}  # fmt: skip
"What our subclasses override, inherit or read: documented nowhere, private or not."


def private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def used_and_made(package: str) -> tuple[dict[str, set[str]], set[str]]:
    """Private attributes that a package uses, with the files, and those that it makes itself."""
    used: dict[str, set[str]] = {}
    made: set[str] = set()
    for file in sorted((ROOT / package).rglob("*.py")):
        for part in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            match part:
                case ast.Attribute(attr=name, ctx=ast.Store(), value=ast.Name(id="self")):
                    made.add(name)
                    used.setdefault(name, set()).add(file.name)
                case ast.Attribute(attr=name) if private(name):
                    used.setdefault(name, set()).add(file.name)
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                    made.add(name)
                case ast.AnnAssign(target=ast.Name(id=name)):
                    made.add(name)
    return used, made


def foreign(package: str) -> dict[str, set[str]]:
    used, made = used_and_made(package)
    return {name: files for name, files in used.items() if private(name) and name not in made}


def test_the_dht_uses_no_private_name_of_a_library() -> None:
    assert foreign("dht") == {}


def test_the_private_names_of_aioquic_are_those_listed_and_in_one_file() -> None:
    used = foreign("federation/quic")
    listed = AIOQUIC_CONNECTION | AIOQUIC_TLS | AIOQUIC_SENDER
    assert set(used) | {"_initialize"} == listed
    assert set().union(*used.values()) == {"pinned.py"}


def test_no_other_package_reaches_into_a_library_for_them() -> None:
    listed = AIOQUIC_CONNECTION | AIOQUIC_TLS
    for package in ("federation", "node", "dht", "media_relay"):
        strangers = {
            name: files - {"pinned.py"}
            for name, files in foreign(package).items()
            if name in listed and files - {"pinned.py"}
        }
        assert strangers == {}


def a_connection() -> PinnedConnection:
    node = key(1)
    network = Network.named("test")
    configuration = quic_configuration(node, node_certificate(node), network, is_client=True)
    connection = PinnedConnection(configuration=configuration)
    connection.connect(("127.0.0.1", 1), now=0.0)
    return connection


@pytest.mark.parametrize(
    ("thing", "names"),
    [
        (QuicConnection(configuration=a_connection().configuration), AIOQUIC_CONNECTION),
        (tls.Context(is_client=False), AIOQUIC_TLS),
        (QuicStreamSender(stream_id=0, writable=True), AIOQUIC_SENDER),
        (KBucket(0, 9, 4), KADEMLIA[KBucket]),
        (RoutingTable(None, 4, Node(bytes(20))), KADEMLIA[RoutingTable]),
        (Node(bytes(20)), KADEMLIA[Node]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_library_has_them(thing: Any, names: set[str]) -> None:
    assert {name for name in names if not hasattr(thing, name)} == set()


def names_shared(ours: type, theirs: type, thing: object) -> Iterator[str]:
    """Names of the library's class or instance that our subclass overrides or our table reads."""
    library = {name for name in (*vars(theirs), *vars(thing)) if not name.startswith("__")}
    yield from library & {name for name in vars(ours) if not name.startswith("__")}
    holders = HOLDERS[theirs]
    for part in ast.walk(ast.parse((ROOT / "dht" / "table.py").read_text(encoding="utf-8"))):
        if isinstance(part, ast.ClassDef):
            for inner in ast.walk(part):
                match inner:
                    case ast.Attribute(attr=name, value=ast.Name(id=holder)) if name in library:
                        if holder in holders or (holder == "self" and part.name == ours.__name__):
                            yield name


HOLDERS: dict[type, set[str]] = {
    KBucket: {"bucket", "one", "two", "half"},
    RoutingTable: set(),
    Node: {"node"},
}
"What variables that hold such an object are called in the table."


@pytest.mark.parametrize(
    ("ours", "theirs", "thing"),
    [
        (DiverseBucket, KBucket, KBucket(0, 9, 4)),
        (SecureTable, RoutingTable, RoutingTable(None, 4, Node(bytes(20)))),
        (Contact, Node, Node(bytes(20))),
    ],
)
def test_the_names_of_kademlia_are_those_listed(ours: type, theirs: type, thing: object) -> None:
    assert set(names_shared(ours, theirs, thing)) == KADEMLIA[theirs]
