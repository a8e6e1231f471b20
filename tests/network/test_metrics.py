"""Metrics and health of real nodes, as Prometheus and a supervisor of services ask for them."""

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from node.metrics.table import METRICS
from node.phone.check import measure_call
from node.phone.tones import Limits
from tests.support.hep import read_hep
from tests.support.nodes import NodeProcess, add_user, phone_of, running_nodes


def samples(text: str) -> dict[str, float]:
    """The figures, each by its name and labels."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f"{key}={sample.labels[key]}" for key in sorted(sample.labels))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


async def over_socket(node: NodeProcess, path: str) -> tuple[int, str]:
    connector = aiohttp.UnixConnector(str(node.state / "api.sock"))
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.get(f"http://node{path}") as answer,
    ):
        return answer.status, await answer.text()


@pytest.fixture
def capture() -> Iterator[socket.socket]:
    """Where a capture server would listen; closed however the test ends."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.setblocking(False)
        yield listening


async def test_a_call_shows_in_the_metrics_and_the_nodes_are_ready(
    tmp_path: Path, capture: socket.socket
) -> None:
    settings = tmp_path / "a.toml"
    settings.write_text(f'[hep]\nserver = "127.0.0.1:{capture.getsockname()[1]}"\nid = 7\n')
    each = [("--config", str(settings))]
    async with running_nodes(tmp_path, 2, each=each) as (a, b):
        alice, bob = await add_user(a, "alice"), await add_user(b, "bob")
        await a.finds(bob["number"])
        async with phone_of(alice) as caller, phone_of(bob) as callee:
            target = f"sip:{bob['number']}@{alice['server']}"
            report = await measure_call(caller, callee, target, seconds=1, limits=Limits(loss=0.05))
            assert report.ok, str(report)
        await a.has(calls=0)
        await asyncio.sleep(1)  # the last counters of its media
        await _is_alive_and_found(a)
        status, text = await over_socket(a, "/metrics")
        assert status == 200
        figures = samples(text)
        assert figures["ringmesh_calls_total{class=2xx,direction=out,path=node}"] == 1
        assert figures["ringmesh_sip_requests_total{direction=out,method=INVITE,side=node}"] == 1
        assert figures["ringmesh_sip_responses_total{class=4xx,direction=out,side=sip}"] >= 1
        assert figures["ringmesh_rtp_packets_total{peer=node}"] > 20
        assert figures["ringmesh_rtp_jitter_seconds_count"] == 2
        assert figures["ringmesh_relay_packets_total{worker=0}"] > 40
        for name in ("links", "dht_contacts", "ready", "healthy", "relay_worker_up{worker=0}"):
            assert figures[f"ringmesh_{name}"] == 1, name
        assert abs(figures["ringmesh_start_time_seconds"] - time.time()) < 120
        assert figures["process_cpu_seconds_total"] > 0
        _documents_all(text)
        _was_captured(capture, sent=figures["ringmesh_hep_sent_total"])
        await _needs_a_token(a)


def _was_captured(capture: socket.socket, *, sent: float) -> None:
    """The capture server was told of all messages, phones' and other nodes', without secrets."""
    packets = []
    with contextlib.suppress(BlockingIOError):
        while True:
            packets.append(read_hep(capture.recv(65_536)))
    assert len(packets) == sent
    assert {packet["agent"] for packet in packets} == {7}
    invites = [packet for packet in packets if packet["payload"].startswith(b"INVITE ")]
    assert len({packet["correlation"] for packet in invites}) == 1
    assert {packet["destination_port"] for packet in invites} >= {5060, 7060}
    answers = [p["payload"] for p in packets if b"\r\nAuthorization: Digest" in p["payload"]]
    assert answers
    assert all(b"response=***" in payload for payload in answers)


def _documents_all(text: str) -> None:
    """What is on the page of a real node is what the table, and so the document, has."""
    named = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ringmesh_")}
    assert named == {metric.name for metric in METRICS}
    bare = {metric.name for metric in METRICS if f"\n{metric.name}" not in text}
    trunks = {metric.name for metric in METRICS if metric.labels[:1] == ("trunk",)}
    later = {
        "ringmesh_dht_network_size",
        "ringmesh_link_round_trip_seconds",
        "ringmesh_turn_refused_total",
    }
    assert bare <= trunks | later


async def _is_alive_and_found(node: NodeProcess) -> None:
    for path, word in (("/healthz", "healthy"), ("/readyz", "ready")):
        status, body = await over_socket(node, path)
        assert (status, json.loads(body)[word]) == (200, True), body
    said = json.loads(body)["checks"]["found"]["says"]
    assert said == "an own record was read back from another node"


async def _needs_a_token(node: NodeProcess) -> None:
    """On the web port health answers anybody, and figures need a right."""
    code, out, err = await node.command("console", "token", "prometheus", "--json")
    assert code == 0, err
    token = json.loads(out)["token"]
    address = f"http://{node.place.ip}:{8060 + node.place.port_offset}"
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{address}/healthz") as answer:
            assert answer.status == 200
        async with session.get(f"{address}/metrics") as answer:
            assert answer.status == 401
        headers = {"Authorization": f"Bearer {token}"}
        async with session.get(f"{address}/metrics", headers=headers) as answer:
            assert answer.status == 200
            assert answer.headers["Content-Type"].startswith("text/plain")
            assert "ringmesh_build_info{" in await answer.text()
