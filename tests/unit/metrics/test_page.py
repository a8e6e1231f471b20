"""The metrics page, its table and its documentation say the same, in a form Prometheus reads."""

import re
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as read_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families

from federation.model.histogram import Histogram
from node.metrics.page import Figures, MetricsPage
from node.metrics.table import METRICS

DOCUMENT = Path(__file__).parents[3] / "docs" / "metrics.md"


def filled(figures: Figures) -> None:
    for metric in METRICS:
        name = metric.name.removeprefix("ringmesh_")
        if metric.kind == "histogram":
            histogram = Histogram((0.1, 1.0))
            for value in (0.05, 0.1, 0.5, 7.0):
                histogram.observe(value)
            figures.spread(name, histogram)
        else:
            figures.put(name, 1, *(f'a "{label}"\n' for label in metric.labels))


def test_every_metric_is_read_as_what_the_table_says() -> None:
    text = MetricsPage([filled]).render("")[0].decode()
    read = {family.name: family for family in text_string_to_metric_families(text)}
    for metric in METRICS:
        family = read.pop(metric.name.removesuffix("_total"))
        assert (family.type, family.documentation) == (metric.kind, metric.text)
        labels = set(family.samples[0].labels) - {"le"}
        assert labels == set(metric.labels)
    assert all(name.startswith(("process_", "python_")) for name in read)


def test_newer_servers_get_openmetrics() -> None:
    body, content_type = MetricsPage([filled]).render("application/openmetrics-text;version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert len(list(read_openmetrics(body.decode()))) >= len(METRICS)


@pytest.mark.parametrize(
    "accept", ["application/openmetrics-text;version=new", "text/plain;version=1..0;=;,", "\x00"]
)
def test_a_format_that_cannot_be_read_gets_the_usual_one(accept: str) -> None:
    body, content_type = MetricsPage([filled]).render(accept)
    assert content_type.startswith("text/plain")
    assert b"ringmesh_build_info" in body


def test_a_histogram_adds_up() -> None:
    histogram = Histogram((0.1, 1.0))
    for value in (0.05, 0.1, 0.5, 7.0):
        histogram.observe(value)
    assert histogram.cumulative() == [("0.1", 2), ("1.0", 3), ("+Inf", 4)]
    assert histogram.sum == pytest.approx(7.65)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_names_follow_the_customs_of_prometheus(
    metric: tuple[str, str, tuple[str, ...], str],
) -> None:
    name, kind, labels, _ = metric
    assert re.fullmatch(r"ringmesh_[a-z0-9_]+", name)
    assert name.endswith("_total") is (kind == "counter")
    assert not re.search(r"(milli|_ms$|_kb|bits|percent|minutes)", name), "base units only"
    assert not set(labels) & {"login", "user", "account", "number", "caller", "node"}


def test_the_document_has_the_table() -> None:
    rows = re.findall(
        r"^\| `(ringmesh_\w+)` \| (\w+) \| ([^|]*) \| (.*) \|$",
        DOCUMENT.read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    expected = [
        (name, kind, ", ".join(f"`{label}`" for label in labels), text)
        for name, kind, labels, text in METRICS
    ]
    assert [tuple(cell.strip() for cell in row) for row in rows] == expected
