"""How a node takes over the outer address that its peers see."""

from collections.abc import Sequence

from dht.observed import OuterAddress
from federation.model.address import Endpoint
from node.cli.explaining import explained
from node.cli.looking import _outer
from node.outer import OuterAddresses
from node.outer_watch import OuterWatch

INNER, OUTER, OTHER = "10.0.0.5", "5.6.7.8", "5.6.7.9"


class Peers:
    """What peers agree on at present, and how often the node was told of a change."""

    def __init__(self) -> None:
        self.agree: list[OuterAddress] = []
        self.changes = 0

    def ask(self, own: Sequence[str]) -> Sequence[OuterAddress]:
        assert own == [INNER]
        return self.agree

    def changed(self) -> None:
        self.changes += 1


def watching(*setting: str) -> tuple[OuterWatch, Peers, OuterAddresses]:
    peers, outer = Peers(), OuterAddresses(setting)
    watch = OuterWatch(
        setting, 7060, outer, ask=peers.ask, own=lambda: [INNER], on_change=peers.changed
    )
    return watch, peers, outer


def seen(host: str, port: int = 7060) -> list[OuterAddress]:
    return [OuterAddress(Endpoint(host, port), 4)]


def test_what_peers_agree_on_is_told_to_nodes_and_phones_until_it_changes() -> None:
    watch, peers, outer = watching()
    watch.look()
    assert (watch.endpoints, outer.addresses, peers.changes) == ((), (), 0)
    peers.agree = seen(OUTER)
    watch.look()
    watch.look()
    assert (outer.addresses, peers.changes) == ((OUTER,), 1)
    assert watch.endpoints == (Endpoint(OUTER, 7060),)
    peers.agree = seen(OTHER)
    watch.look()
    assert (outer.addresses, peers.changes) == ((OTHER,), 2)
    peers.agree = []
    watch.look()
    assert (watch.endpoints, outer.addresses, peers.changes) == ((), (), 3)


def test_a_setting_overrides_peers_in_its_family() -> None:
    watch, peers, outer = watching(OUTER)
    peers.agree = [*seen(OTHER), OuterAddress(Endpoint("2a01::8", 7060), 3)]
    watch.look()
    assert outer.addresses == (OUTER, "2a01::8")
    assert watch.endpoints == (Endpoint(OUTER, 7060), Endpoint("2a01::8", 7060))
    assert watch.told() == [
        {"address": OUTER, "source": "setting", "networks": None},
        {"address": "[2a01::8]:7060", "source": "peers", "networks": 3},
    ]


def test_where_the_nat_changes_port_numbers_phones_are_not_told() -> None:
    """Only the mesh port is known to be forwarded, and from another number."""
    watch, peers, outer = watching()
    peers.agree = seen(OUTER, 9999)
    watch.look()
    assert (watch.endpoints, outer.addresses) == ((Endpoint(OUTER, 9999),), ())


def test_people_are_told_where_it_comes_from() -> None:
    watch, peers, _ = watching(OUTER)
    peers.agree = [OuterAddress(Endpoint("2a01::8", 7060), 3)]
    watch.look()
    assert _outer(watch.told()) == (
        "5.6.7.8 (as set), [2a01::8]:7060 (seen by peers in 3 networks)"
    )
    answer = {
        "target": "alice",
        "reading": "a user here",
        "outer": watch.told(),
        "proof": None,
        "lookups": [],
        "pins": [],
        "nodes": [],
        "devices": None,
        "status": 404,
        "reason": "nobody",
    }
    lines = [text for label, text in explained(answer) if label == "this node"]
    assert lines == [
        "reached from outside at 5.6.7.8, as relay.external_address says",
        "reached from outside at [2a01::8]:7060, as peers in 3 networks see it",
    ]
