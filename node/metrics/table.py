"""Every metric there is, in one table: what it counts, in which unit, by which labels.

Units are the base ones: seconds, bytes, ratios. No label names a user; trunks and relay
workers are named, since the operator made them and there are few.
"""

from typing import NamedTuple


class Metric(NamedTuple):
    """One metric."""

    name: str
    kind: str
    "`gauge`, `counter` (its name ends in `_total`) or `histogram`."
    labels: tuple[str, ...]
    text: str


def _rows(kind: str, *rows: tuple[str, str, str]) -> list[Metric]:
    return [
        Metric(f"ringmesh_{name}", kind, tuple(labels.split()), text) for name, labels, text in rows
    ]


METRICS = (
    *_rows(
        "gauge",
        ("build_info", "version", "1, for the version in its label"),
        ("start_time_seconds", "", "when the node was started, in seconds since 1970"),
        ("ready", "", "1 while calls are taken and other nodes find this one, as /readyz says"),
        ("healthy", "", "1 while nothing is wrong by /healthz"),
    ),
    *_rows(
        "counter",
        ("sip_requests_total", "direction side method", "SIP requests, repeated ones too"),
        ("sip_responses_total", "direction side class", "SIP responses, by the first digit"),
        ("sip_timeouts_total", "peer", "requests of ours without a final answer in time"),
        ("sip_repeats_total", "direction", "messages that came again, or were sent again"),
        ("sip_shed_total", "", "requests answered 503 because the node could not keep up"),
    ),
    *_rows(
        "gauge",
        ("sip_transactions", "state", "unanswered, requests (ours), lingering (finished)"),
        ("sip_dialogs", "", "dialog sets, calls and subscriptions"),
        ("overloaded", "", "1 while new requests are, or were lately, answered 503"),
        ("banned_sources", "", "sources that are not heard"),
        ("accounts", "kind", "accounts: user, trunk, group"),
        ("registrations", "", "devices that are registered"),
        ("messages_waiting", "", "texts kept for those who are not there"),
        ("calls_under_way", "state", "calls that have not ended: ringing, up"),
    ),
    *_rows(
        "counter",
        ("calls_total", "direction path class", "calls that ended, by their final answer"),
        ("call_talk_seconds_total", "", "from answer to end, of calls that ended"),
    ),
    *_rows(
        "counter",
        ("rtp_packets_total", "peer", "RTP that arrived, of calls that ended"),
        ("rtp_lost_total", "peer", "RTP that did not arrive here"),
        ("rtp_told_lost_total", "peer", "RTP of ours that did not arrive there, by RTCP"),
    ),
    *_rows(
        "histogram",
        ("rtp_jitter_seconds", "", "jitter of the main streams of calls that ended"),
        ("rtp_loss_ratio", "", "share of lost packets of the main streams of calls that ended"),
    ),
    *_rows(
        "gauge",
        ("trunk_up", "trunk", "1 while calls can go over it"),
        ("trunk_calls", "trunk", "calls under way over it"),
    ),
    *_rows(
        "counter",
        ("trunk_requests_total", "trunk direction", "SIP requests between this node and it"),
        ("trunk_responses_total", "trunk direction class", "SIP responses likewise"),
        ("trunk_timeouts_total", "trunk", "requests that it did not answer"),
        ("trunk_rtp_packets_total", "trunk", "RTP that arrived from it"),
        ("trunk_rtp_lost_total", "trunk", "RTP from it that did not arrive"),
    ),
    *_rows(
        "gauge",
        ("links", "", "links to other nodes that are up"),
        ("link_transactions", "", "requests on them without a final answer"),
        ("link_round_trip_seconds", "", "the median of the links' latest pings"),
        ("dht_contacts", "", "nodes in the table"),
        ("dht_records", "", "records kept for others"),
        ("dht_record_bytes", "", "their size"),
        ("dht_published", "", "own names that are published"),
        ("dht_network_size", "", "estimated nodes of the network; absent while unknown"),
        ("dht_clock_skew_seconds", "", "peers' clocks ahead of ours; absent while unknown"),
        ("dht_round_trip_seconds", "", "the median of the contacts' round trips"),
    ),
    *_rows(
        "counter",
        ("mesh_bytes_total", "direction", "bytes of the mesh socket, QUIC and DHT"),
        ("dht_lookups_total", "outcome", "lookups: found, not_found, inconclusive"),
        ("dht_datagrams_total", "direction", "DHT datagrams"),
        ("dht_bytes_total", "direction", "their bytes"),
        ("dht_refused_total", "reason", "DHT datagrams that were not taken, and why"),
    ),
    *_rows("histogram", ("dht_lookup_seconds", "", "how long lookups took")),
    *_rows(
        "gauge",
        ("relay_worker_up", "worker", "1 while the process is there"),
        ("relay_sessions", "worker", "calls whose media it carries"),
        ("relay_endpoints", "worker", "anchors and sealed legs"),
        ("relay_ports", "state", "pairs of media ports: in_use, free"),
    ),
    *_rows(
        "counter",
        ("relay_packets_total", "worker", "datagrams it sent"),
        ("relay_bytes_total", "worker", "bytes it sent"),
        ("relay_strays_total", "worker", "sealed datagrams that were for no leg"),
        ("relay_restarts_total", "worker", "how often it was replaced"),
        ("relay_drops_total", "reason", "media of calls that ended that went nowhere, and why"),
    ),
    *_rows(
        "gauge",
        ("turn_allocations", "", "TURN allocations"),
        ("turn_connections", "", "connections of TURN clients over TCP and TLS"),
        ("turn_ports", "", "relay ports held, reserved ones too"),
        ("guests_admitted", "", "1 while users of other nodes may use the relay"),
        ("guests_ports", "", "relay ports that they hold"),
        ("guests_ports_limit", "", "and may hold"),
        ("guests_bytes_per_second", "", "what is relayed for them now"),
        ("guests_bytes_per_second_limit", "", "and may be"),
        ("guests_month_bytes", "", "what was relayed for them this month"),
        ("guests_month_bytes_limit", "", "and may be"),
    ),
    *_rows(
        "counter",
        ("turn_dropped_bytes_total", "", "TURN data dropped as it was over an account's rate"),
        ("turn_refused_total", "code", "TURN requests refused; 401 are challenges, 0 was no STUN"),
        ("guests_bytes_total", "", "what was relayed for them since the start"),
        ("guests_dropped_bytes_total", "", "what was dropped because it was over their limits"),
    ),
    *_rows(
        "gauge",
        ("storage_healthy", "", "1 if the last write to the database succeeded"),
        ("storage_waiting_rows", "", "rows that are not written yet"),
        ("trace_messages", "stage", "SIP messages kept for traces: recent, of calls"),
        ("trace_bytes", "stage", "their bytes"),
    ),
    *_rows(
        "counter",
        ("trace_dropped_total", "", "messages that were too many to be kept"),
        ("hep_sent_total", "", "SIP messages sent to the capture server"),
        ("hep_dropped_total", "", "SIP messages that were not sent to it"),
    ),
    *_rows("histogram", ("event_loop_lag_seconds", "", "how late the event loop is, each second")),
)
BY_NAME = {metric.name: metric for metric in METRICS}
