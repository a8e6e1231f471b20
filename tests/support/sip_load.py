"""Everything the SIP and SDP parsers can do with some bytes, and the CPU time it takes."""

import sys
import time
from collections.abc import Callable

from federation.model.address import Endpoint
from node.sip.message import Message, Request, Response, SipParseError, parse_message
from node.sip.sdp import Candidate, Sdp, SdpError, candidate_ips
from node.sip.text import split_values

VIEWS = (
    "top_via", "vias", "from_", "to", "call_id", "cseq", "max_forwards", "contacts", "routes",
    "record_routes", "is_star_contact",
)  # fmt: skip
MEDIA_VIEWS = (
    "connection", "own_connection", "rtp_endpoint", "rtcp", "rtcp_endpoint", "has_rtcp_mux",
    "is_udp", "is_tcp", "is_udptl", "is_live", "mid", "direction", "is_held", "ice_ufrag",
    "has_ice", "candidates", "candidate_ips",
)  # fmt: skip


def exercise(data: bytes) -> Message | None:
    """Parse, check, read every view, answer, edit and write; only `SipParseError` may come up."""
    try:
        message = parse_message(data)
    except SipParseError as error:
        if error.partial is not None:
            Response.answering(error.partial, error.status, error.reason, to_tag="x").encode()
        return None
    try:
        message.check()
    except SipParseError as error:
        if error.partial is not None:
            Response.answering(error.partial, error.status, error.reason, to_tag="x").encode()
    for view in VIEWS:
        try:
            str(getattr(message, view))
        except SipParseError:
            continue
    if isinstance(message, Request):
        try:
            str(message.uri)
        except SipParseError:
            pass
        else:
            message.uri.same_as(message.uri)
    for name in {name for name, _ in message.header_lines()}:
        message.values(name)
        if len(message.get_all(name)) == 1:
            split_values(message.get(name) or "")
    edited = message.copy()
    edited.pop_first_value("Via")
    edited.prepend("Via", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx")
    edited.pop_first_value("Route")
    edited.set("Max-Forwards", "69")
    edited.encode()
    return message


def exercise_sdp(data: bytes) -> Sdp | None:
    """Parse, read everything, anchor every line and write; only `SdpError` may come up."""
    candidate_ips(data)
    try:
        sdp = Sdp.parse(data)
    except SdpError:
        return None
    _ = sdp.origin, sdp.connection, sdp.bundles(), sdp.groups("LS")
    edited = sdp.copy()
    if edited.connection is not None:
        for media in edited.media:
            media.pin_connection()
        edited.session.set_connection("198.51.100.1")
    for media in edited.media:
        for view in MEDIA_VIEWS:
            getattr(media, view)
        media.set_address("198.51.100.1", 10_000)
        media.set_rtcp(Endpoint("198.51.100.1", 10_001))
        media.add_candidate(Candidate.anchor(1, Endpoint("198.51.100.1", 10_000)))
        media.remove("remote-candidates")
        media.remove_candidates(lambda candidate: candidate.kind == "host")
        media.set_direction("inactive")
    edited.encode()
    return sdp


def is_traced() -> bool:
    """Whether a debugger or a coverage tool slows every line: CPU time then says nothing."""
    monitoring = getattr(sys, "monitoring", None)
    return sys.gettrace() is not None or (
        monitoring is not None and any(monitoring.get_tool(tool) for tool in range(6))
    )


def cpu_seconds(work: Callable[[], object], enough: float) -> float:
    """The least CPU time of up to eight runs; stops at the first that took `enough` or less."""
    best = float("inf")
    for _ in range(8):
        begin = time.process_time()
        work()
        best = min(best, time.process_time() - begin)
        if best <= enough:
            break
    return best
