"""Requests, responses and flows for tests of the SIP layers, and time that jumps to timers."""

import random
from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

from federation.model.address import Endpoint
from federation.model.clocks import Monotonic
from node.sip.effects import Effect
from node.sip.flow import Flow
from node.sip.message import Request, Response

LOCAL = Endpoint("192.0.2.1", 5060)
ALICE = Endpoint("192.0.2.10", 5070)
UDP = Flow("UDP", LOCAL, ALICE)
TCP = Flow("TCP", LOCAL, Endpoint("192.0.2.10", 41000), 7)
BRANCH = "z9hG4bK-alice-1"

E = TypeVar("E")


class SeededEntropy:
    """Random bytes that are the same in each run."""

    def __init__(self, seed: int = 1) -> None:
        self._random = random.Random(seed)

    def token(self, size: int) -> bytes:
        return self._random.randbytes(size)


class Timers(Protocol):
    """A core with timers."""

    def next_timer(self) -> Monotonic | None: ...

    def handle_timer(self, *, now: Monotonic) -> list[Effect]: ...


class VirtualTime:
    """Time for a core; moves when told."""

    def __init__(self) -> None:
        self.now = Monotonic(1000.0)

    @property
    def elapsed(self) -> float:
        return round(self.now - 1000.0, 6)

    def fire_next_timer(self, core: Timers) -> list[Effect]:
        """Jump to the next timer and fire it."""
        at = core.next_timer()
        assert at is not None, "no timer runs"
        assert at >= self.now
        self.now = at
        return core.handle_timer(now=at)

    def run(self, core: Timers, seconds: float) -> list[tuple[float, Effect]]:
        """Let that much time pass; return what the timers caused and when."""
        end = self.now + seconds
        seen: list[tuple[float, Effect]] = []
        while (at := core.next_timer()) is not None and at <= end:
            seen += [(self.elapsed, effect) for effect in self.fire_next_timer(core)]
        self.now = Monotonic(end)
        return seen


def request(
    method: str = "INVITE",
    *,
    branch: str | None = BRANCH,
    sent_by: str = "192.0.2.10:5070",
    transport: str = "UDP",
    via_params: str = ";rport",
    to_tag: str = "",
    cseq: int = 1,
    call_id: str = "call-1",
    from_tag: str = "alice",
    headers: Iterable[tuple[str, str]] = (),
    uri: str = "sip:bob@example.net",
    body: bytes = b"",
) -> Request:
    """A request as alice's phone sends it."""
    branch_text = "" if branch is None else f";branch={branch}"
    lines = [
        ("Via", f"SIP/2.0/{transport} {sent_by}{branch_text}{via_params}"),
        ("Max-Forwards", "70"),
        *headers,
        ("From", f"<sip:alice@example.net>;tag={from_tag}"),
        ("To", "<sip:bob@example.net>" + (f";tag={to_tag}" if to_tag else "")),
        ("Call-ID", call_id),
        ("CSeq", f"{cseq} {method}"),
    ]
    return Request.create(method, uri, lines, body)


def response(
    to: Request,
    status: int,
    *,
    tag: str = "bob",
    reason: str | None = None,
    headers: Iterable[tuple[str, str]] = (),
) -> Response:
    """A response to a request, as the other end would make it."""
    return Response.answering(to, status, reason, to_tag=tag, headers=headers)


def only(effects: Iterable[Effect], kind: Callable[..., E]) -> list[E]:
    """The effects of one kind."""
    return [effect for effect in effects if isinstance(effect, kind)]  # type: ignore[arg-type]
