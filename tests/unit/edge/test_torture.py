"""The messages of RFC 4475, sent to an edge by a stranger: what comes back, and what does not."""

import csv
from pathlib import Path

import pytest

from federation.model.address import Endpoint
from node.sip.flow import Flow, TransportName
from node.sip.message import Response, parse_message
from tests.support.edges import World
from tests.support.virtual_time import in_virtual_time

VECTORS = Path(__file__).parents[2] / "vectors" / "sip-torture"
with (VECTORS / "manifest.tsv").open(encoding="utf-8", newline="") as _manifest:
    MANIFEST = {row["name"]: row for row in csv.DictReader(_manifest, delimiter="\t")}
ASKED = "203.0.113.9"

REFUSED = {
    "badvers": 505, "bext01": 420, "unkscm": 416, "novelsc": 416,
    "badinv01": 400, "clerr": 400, "ncl": 400, "scalar02": 400, "quotbal": 400, "ltgtruri": 400,
    "lwsruri": 400, "lwsstart": 400, "trws": 400, "escruri": 400, "regbadct": 400,
    "badaspec": 400, "baddn": 400, "mismatch01": 400, "mismatch02": 400, "insuf": 400,
    "multi01": 400, "mcl01": 400,
}  # fmt: skip
ANSWERED = {
    "zeromf": 200,  # OPTIONS whose way ends here
    "wsinv": 481,  # a dialog that nobody has
    **dict.fromkeys(("escnull", "dblreq", "unksm2", "regaut01", "cparam01", "cparam02",
                     "regescrt"), 404),  # this node is not the registrar of example.com
}  # fmt: skip
"Requests that are understood and end here; all other good ones have to prove who sends them."
SILENT = {name for name, row in MANIFEST.items() if row["kind"] == "resp"}


def expected(name: str) -> list[int]:
    if name in SILENT:
        return []
    return [REFUSED.get(name) or ANSWERED.get(name) or 407]


def test_every_invalid_request_is_refused_and_every_valid_one_is_not() -> None:
    """The one doubtful date is not the business of a proxy."""
    invalid = {
        name
        for name, row in MANIFEST.items()
        if row["validity"] == "invalid" and row["kind"] == "req"
    }
    assert invalid - {"baddate"} == REFUSED.keys() - {"bext01", "unkscm", "novelsc"}


@pytest.mark.parametrize("transport", ["UDP", "TCP"])
@pytest.mark.parametrize("name", sorted(MANIFEST))
def test_an_edge_answers_as_the_rfc_says(name: str, transport: TransportName) -> None:
    @in_virtual_time
    async def run() -> None:
        world = World("A")
        alice = world.phone("A", "alice")
        await world.registered()
        node, sent = world["A"], []
        node.edge._hub.wires = Recorder(sent)
        source = Flow(
            transport, Endpoint(node.ip, 5060), Endpoint(ASKED, 9999), int(transport == "TCP")
        )
        data = (VECTORS / MANIFEST[name]["file"]).read_bytes()
        node.edge.receive(data, source)
        await world.settle(40)
        assert [response.status for response, _ in sent] == expected(name)
        for response, flow in sent:
            assert (flow.transport, flow.remote.host) == (transport, ASKED)
            assert len(response.get_all("To")) == len(response.get_all("Call-ID")) == (
                0 if name == "insuf" else 1
            )  # fmt: skip
        assert alice.inbox == []
        await world.over()

    run()


class Recorder:
    """Keeps what is sent."""

    def __init__(self, sent: list[tuple[Response, Flow]]) -> None:
        self._sent = sent

    def send(self, data: bytes, flow: Flow) -> None:
        message = parse_message(data)
        assert isinstance(message, Response)
        self._sent.append((message, flow))
