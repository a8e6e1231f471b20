"""One look at the node's figures, filled in by its parts and written as Prometheus reads it."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from federation.model.histogram import Histogram
from node.metrics.table import METRICS, Metric


class Figures:
    """What the parts say, by metric; a metric that nobody has a figure of stays without."""

    def __init__(self) -> None:
        self._families = {metric.name: _family(metric) for metric in METRICS}

    def put(self, name: str, value: float, *labels: str) -> None:
        """One figure; `name` is without `ringmesh_`, `labels` are in the order of the table."""
        family = self._families[f"ringmesh_{name}"]
        assert not isinstance(family, HistogramMetricFamily)
        family.add_metric(labels, value)  # type: ignore[attr-defined]

    def spread(self, name: str, histogram: Histogram) -> None:
        """One histogram, without labels."""
        family = self._families[f"ringmesh_{name}"]
        assert isinstance(family, HistogramMetricFamily)
        family.add_metric([], list(histogram.cumulative()), histogram.sum)

    def families(self) -> Iterable[Family]:
        """Everything, in the order of the table."""
        return self._families.values()


Source = Callable[[Figures], None]
"Puts the figures of one part of the node."


class MetricsPage(Collector):
    """Asks the sources when, and only when, somebody asks it: nothing is kept in between."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def describe(self) -> list[Family]:
        """Nothing, so that registering asks nobody."""
        return []

    def collect(self) -> Iterator[Family]:
        """Every family, filled."""
        figures = Figures()
        for source in self._sources:
            source(figures)
        yield from figures.families()

    def render(self, accept: str) -> tuple[bytes, str]:
        """The page in the format that `accept` (the HTTP field) asks for, and its content type."""
        try:
            encode, content_type = choose_encoder(accept)
        except (TypeError, ValueError):  # a version that is no number is too much for it
            encode, content_type = choose_encoder("")
        return encode(self._registry), content_type


def _family(metric: Metric) -> Family:
    if metric.kind == "counter":
        return CounterMetricFamily(metric.name, metric.text, labels=metric.labels)
    if metric.kind == "histogram":
        return HistogramMetricFamily(metric.name, metric.text, labels=metric.labels)
    return GaugeMetricFamily(metric.name, metric.text, labels=metric.labels)
