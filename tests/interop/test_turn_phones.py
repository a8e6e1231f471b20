"""Telephones by others that may only use the relay: what they say to each other is measured."""

import asyncio
import contextlib
from pathlib import Path

import pytest

from node.phone.check import hear, measure_call
from node.phone.choices import Answer, Tone, TurnRelay
from node.phone.phone import Phone
from node.phone.tones import Limits, judge
from tests.interop.test_turn_clients import Server, coturn, ours
from tests.support.baresip import baresip
from tests.support.programs import needs, needs_pjsua2
from tests.support.turn_pool import LOGIN, PASSWORD

pytestmark = [pytest.mark.interop, pytest.mark.slow]

NOISY = Limits(loss=0.05)
TALK = 2.0
"Seconds."
LEAST = 60
"Packets that a relay must have passed on each way in that time."
SERVERS = [
    pytest.param(ours, id="ours"),
    pytest.param(coturn, marks=needs("turnserver"), id="coturn"),
]


def relay(server: Server, way: str) -> TurnRelay:
    port = server.tls_port if way == "tls" else server.port
    return TurnRelay(f"127.0.0.1:{port}", LOGIN, PASSWORD, way)  # type: ignore[arg-type]


def turn_of(server: Server, kind: str) -> str:
    """What an account of baresip says to have `kind` (ice, turn) use a server."""
    return (
        f';medianat={kind};stunserver="turn:127.0.0.1:{server.port}"'
        f';stunuser={LOGIN};stunpass="{PASSWORD}"'
    )


async def carried(server: Server) -> None:
    """Wait until our relay has counted the call both ways; coturn is not asked."""
    if server.pool is None:
        return
    async with asyncio.timeout(5):
        while True:
            sums = server.pool.turn_report().accounts.get(LOGIN)
            if sums and min(sums.packets_to_peers, sums.packets_to_clients) >= LEAST:
                return
            await asyncio.sleep(0.1)


@needs_pjsua2
@pytest.mark.parametrize("start", SERVERS)
async def test_pjsua2_over_udp_tcp_and_tls(start: object, tmp_path: Path) -> None:
    """Its ICE offers a relay and nothing else."""

    async def over(server: Server, way: str) -> None:
        turn = relay(server, way)
        async with Phone(name="alice", turn=turn) as alice, Phone(name="bob", turn=turn) as bob:
            report = await measure_call(alice, bob, bob.uri, seconds=TALK, limits=NOISY)
            assert report.ok, f"{way}: {report}"

    async with start(tmp_path) as server:  # type: ignore[operator]
        await asyncio.gather(*(over(server, way) for way in ("udp", "tcp", "tls")))
        await carried(server)


@needs("baresip")
@pytest.mark.parametrize("start", SERVERS)
async def test_baresip_over_udp(start: object, tmp_path: Path) -> None:
    """Its TURN module writes the relay into its SDP; it knows UDP alone."""
    async with start(tmp_path) as server, contextlib.AsyncExitStack() as stack:  # type: ignore[operator]
        phones = []
        for name, frequency in (("alice", 440), ("bob", 880)):
            (tmp_path / name).mkdir()
            phones.append(
                await stack.enter_async_context(
                    baresip(
                        tmp_path / name,
                        name=name,
                        frequency=frequency,
                        media=turn_of(server, "turn"),
                        modules=("turn",),
                    )
                )
            )
        caller, callee = phones
        await caller.dial(callee.uri)
        await callee.event("CALL_ESTABLISHED")
        await asyncio.sleep(TALK)  # real phones talk in real time
        await carried(server)
        await caller.hang_up()
        await callee.event("CALL_CLOSED")
        for phone, tone in ((caller, 880), (callee, 440)):
            verdict = judge(phone.heard(), tone, limits=NOISY)
            assert verdict.ok, f"{verdict}\n{phone.program.output}"


@needs("baresip")
@needs_pjsua2
@pytest.mark.parametrize("start", SERVERS)
async def test_baresips_ice_with_pjsua2s(start: object, tmp_path: Path) -> None:
    """It offers every candidate; the other phone's one is a relay, so all runs through that."""
    async with (
        start(tmp_path) as server,  # type: ignore[operator]
        Phone(name="bob", turn=relay(server, "tcp"), policy=Answer(), playing=Tone(880)) as bob,
        baresip(tmp_path, frequency=440, media=turn_of(server, "ice"), modules=("ice",)) as alice,
    ):
        await alice.dial(bob.uri)
        call = await bob.next_call()
        await call.wait_confirmed()
        verdict = await hear(call, 440, seconds=TALK, limits=NOISY)
        assert verdict.ok, verdict
        await carried(server)
        await call.hang_up()
        await alice.event("CALL_CLOSED")
        verdict = judge(alice.heard(), 880, limits=NOISY)
        assert verdict.ok, f"{verdict}\n{alice.program.output}"
