"""A flood over connections takes its turns: others are heard in between, and nothing is lost."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop
from cryptography import x509

from federation.model.clocks import SystemClock
from node.sip.flow import Flow
from node.sip.transports import SipTransports
from node.sip.transports.turns import SHARE
from tests.support.sip_exchange import request as sip_request
from tests.support.tls_material import Authority, Contexts

NUMBER = b"000000"
MESSAGE = sip_request("OPTIONS", body=NUMBER).encode()
FLOOD = 300
WORK = 0.001
"Seconds that each message costs."
NAME = "example.org"
WITHIN = 10.0


def numbered(number: int) -> bytes:
    return MESSAGE.replace(NUMBER, b"%06d" % number)


async def flooded(contexts: Contexts, transport: str) -> tuple[list[int], int]:
    """The messages in the order in which they came, and the most that one turn took.

    Those of the flood are numbered from 0; the other connection's one is number `FLOOD`.
    """
    came: list[int] = []
    most = before = 0

    def take(data: bytes, flow: Flow) -> None:
        came.append(int(data[-6:]))
        until = time.monotonic() + WORK
        while time.monotonic() < until:
            pass

    transports = SipTransports(
        on_data=take, on_closed=lambda flow: None, clock=SystemClock(), tls=contexts
    )
    await transports.start(("127.0.0.1",), 0, 0)
    port, tls = transports.port, {}
    if transport == "TLS":
        port, tls = transports.tls_port, {"ssl": contexts.client, "server_hostname": NAME}
    try:
        links = [await asyncio.open_connection("127.0.0.1", port, **tls) for _ in range(2)]
        (_, floods), (_, other) = links
        floods.write(b"".join(numbered(number) for number in range(FLOOD)))
        floods.close()  # and its end comes right behind
        async with asyncio.timeout(WITHIN):
            while len(came) <= FLOOD:
                if came and not before:
                    other.write(numbered(FLOOD))
                most, before = max(most, len(came) - before), len(came)
                await asyncio.sleep(0)
        other.close()
    finally:
        await transports.close()
    return came, most


@pytest.mark.parametrize("transport", ["TCP", "TLS"])
@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_others_are_heard_in_between(
    tmp_path: Path, loop: Callable[[], asyncio.AbstractEventLoop], transport: str
) -> None:
    authority = Authority.make()
    contexts = Contexts(tmp_path, authority.issue(x509.DNSName(NAME)), authority)
    with asyncio.Runner(loop_factory=loop) as runner:
        came, most = runner.run(flooded(contexts, transport))
    assert [number for number in came if number < FLOOD] == list(range(FLOOD))
    assert came.index(FLOOD) < FLOOD / 2
    assert most <= SHARE / WORK + 1
