"""The dashboard and the alert rules ask for metrics and labels that the node has."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from node.metrics.table import METRICS

DOCS = Path(__file__).parents[3] / "docs"
DASHBOARD = json.loads((DOCS / "grafana" / "ringmesh.json").read_text(encoding="utf-8"))
RULES = (DOCS / "prometheus" / "alerts.yml").read_text(encoding="utf-8")
OF_PROMETHEUS = {"instance", "job", "le"}


def series() -> dict[str, set[str]]:
    """Every name that can be asked for, and its labels."""
    found = {}
    for metric in METRICS:
        ends = ("_bucket", "_sum", "_count") if metric.kind == "histogram" else ("",)
        found |= {metric.name + end: set(metric.labels) | OF_PROMETHEUS for end in ends}
    for name in ("process_cpu_seconds_total", "process_resident_memory_bytes", "up"):
        found[name] = OF_PROMETHEUS
    return found


SERIES = series()


def dashboard_expressions() -> list[str]:
    panels: list[dict[str, Any]] = DASHBOARD["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", ())]


def alert_expressions() -> list[str]:
    return re.findall(r"^ +expr: (.+)$", RULES, re.MULTILINE)


@pytest.mark.parametrize("expression", [*dashboard_expressions(), *alert_expressions()])
def test_an_expression_asks_for_what_there_is(expression: str) -> None:
    asked = re.findall(r"\b((?:ringmesh|process)_\w+|up)\b(?:\{([^}]*)\})?", expression)
    assert asked
    labels: set[str] = set()
    for name, selectors in asked:
        assert name in SERIES
        labels |= SERIES[name]
        assert set(re.findall(r"(\w+) *(?:=~|!~|=|!=)", selectors)) <= SERIES[name]
    for words in re.findall(r"\b(?:by|on) \(([^)]*)\)", expression):
        assert {word.strip() for word in words.split(",")} <= labels


def test_a_legend_names_labels_that_its_expression_keeps() -> None:
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
                kept = re.findall(r"by \(([^)]*)\)", target["expr"])
                if kept:
                    assert label in re.split(r", *", kept[0]), target
                else:
                    assert label in SERIES[
                        re.findall(r"(?:ringmesh|process)_\w+", target["expr"])[-1]
                    ] or (label == "instance")


def test_every_metric_is_on_the_dashboard() -> None:
    text = " ".join(dashboard_expressions())
    missing = {metric.name for metric in METRICS if metric.name not in text}
    assert missing <= {
        "ringmesh_rtp_told_lost_total",
        "ringmesh_call_talk_seconds_total",
        "ringmesh_link_transactions",
        "ringmesh_dht_record_bytes",
        "ringmesh_dht_network_size",
        "ringmesh_dht_datagrams_total",
        "ringmesh_guests_bytes_total",
    }


def test_panels_have_ids_of_their_own_and_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
