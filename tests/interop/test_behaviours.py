"""What a phone may do in a call or a subscription, by SIPp at both ends of two real nodes.

Each case is a ladder for the caller (alice on the first node) and one for the callee (bob on the
second); see `tests.support.sipp_script`.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.ladders import caller, device, play, registered
from tests.support.nodes import Account, NodeProcess, add_user, running_nodes
from tests.support.programs import needs

pytestmark = [pytest.mark.interop, needs("sipp"), pytest.mark.asyncio(loop_scope="module")]
Mesh = tuple[list[NodeProcess], Account, Account, int]

HANGS_UP = "> ACK\n. 100\n> BYE\n< 200\n"

CASES: dict[str, tuple[str, str]] = {
    "late offer": (
        "> INVITE\n< 180?\n< 200\n  Body: m=audio\n> ACK offer\n. 100\n> BYE\n< 200",
        "< INVITE\n> 180\n> 200 offer\n< ACK\n  Body: m=audio\n< BYE\n> 200",
    ),
    "early media": (
        f"> INVITE offer\n< 183\n  Body: m=audio\n< 180\n< 200\n{HANGS_UP}",
        "< INVITE\n> 183 offer\n> 180\n. 100\n> 200 offer\n< ACK\n< BYE\n> 200",
    ),
    "hold and resume by the callee": (
        "> INVITE offer\n< 180?\n< 200\n> ACK\n< INVITE\n  Body: sendonly\n> 200 offer\n< ACK\n"
        "< INVITE\n> 200 offer\n< ACK\n< BYE\n> 200",
        "< INVITE\n> 200 offer\n< ACK\n> INVITE hold\n< 200\n> ACK\n> INVITE offer\n< 200\n> ACK\n"
        "> BYE\n< 200",
    ),
    "glare": (
        "> INVITE offer\n< 200\n> ACK\n> INVITE hold\n< 491\n> ACK\n> BYE\n< 200",
        "< INVITE\n> 200 offer\n< ACK\n< INVITE\n> 491\n< ACK\n< BYE\n> 200",
    ),
    "fax": (
        "> INVITE offer\n< 200\n> ACK\n< INVITE\n  Body: m=image [0-9]+ udptl t38\n> 200 fax\n"
        "< ACK\n> BYE\n< 200",
        "< INVITE\n> 200 offer\n< ACK\n> INVITE fax\n< 200\n  Body: m=image [0-9]+ udptl t38\n"
        "> ACK\n< BYE\n> 200",
    ),
    "dtmf by INFO": (
        "> INVITE offer\n< 200\n> ACK\n> INFO dtmf\n< 200\n> BYE\n< 200",
        "< INVITE\n> 200 offer\n< ACK\n< INFO\n  Body: Signal=5\n"
        "  Content-Type: application/dtmf-relay\n> 200\n< BYE\n> 200",
    ),
    "blind transfer": (
        "> INVITE offer\n< 200\n> ACK\n< REFER\n  Refer-To: carol\n> 202\n> NOTIFY fragment\n"
        "  Event: refer\n  Subscription-State: terminated;reason=noresource\n< 200\n> BYE\n< 200",
        "< INVITE\n> 200 offer\n< ACK\n> REFER\n  Refer-To: <sip:carol@elsewhere.test>\n< 202\n"
        "< NOTIFY\n  Subscription-State: terminated\n> 200\n< BYE\n> 200",
    ),
    "session timer": (
        f"> INVITE offer\n  Supported: timer\n  Session-Expires: 1800\n  Min-SE: 90\n"
        f"< 200\n  Session-Expires: 1800;refresher=uas\n{HANGS_UP}",
        "< INVITE\n  Session-Expires: 1800\n  Min-SE: 90\n> 200 offer\n  Require: timer\n"
        "  Session-Expires: 1800;refresher=uas\n< ACK\n< BYE\n> 200",
    ),
    "422 passes": (
        "> INVITE offer\n  Supported: timer\n  Session-Expires: 90\n< 422\n  Min-SE: 600\n> ACK",
        "< INVITE\n> 422\n  Min-SE: 600\n< ACK",
    ),
    "given up": (
        "> INVITE offer\n< 180\n> CANCEL\n< 200\n< 487\n> ACK",
        "< INVITE\n> 180\n< CANCEL\n> 200\n> 487 INVITE\n< ACK",
    ),
    "CANCEL crosses the 200": (
        "> INVITE offer\n< 180\n> CANCEL\n< 200\n< 200\n  CSeq: INVITE\n> ACK\n> BYE\n< 200",
        "< INVITE\n> 180\n< CANCEL\n> 200\n> 200 INVITE offer\n< ACK\n< BYE\n> 200",
    ),
    "before the 200": (  # RFC 3262, RFC 3311
        "> INVITE offer\n  Supported: 100rel\n< 183\n  RSeq: 77\n  Require: 100rel\n"
        "> PRACK\n  RAck: 77 2 INVITE\n< 200\n> UPDATE offer\n< 200\n  Body: m=audio\n"
        "< 200\n  CSeq: INVITE\n> ACK\n> INFO\n< 200\n> BYE\n< 200",
        "< INVITE\n  Supported: 100rel\n> 183 offer\n  Require: 100rel\n  RSeq: 77\n"
        "< PRACK\n  RAck: 77 [0-9]+ INVITE\n> 200\n< UPDATE\n  Body: m=audio\n> 200 offer\n"
        ". 100\n> 200 INVITE\n< ACK\n< INFO\n> 200\n< BYE\n> 200",
    ),
    "503 of a device is 480": (  # 503 would say that the caller's own server is overloaded
        "> INVITE offer\n< 480\n> ACK",
        "< INVITE\n> 503\n  Retry-After: 5\n< ACK",
    ),
    "busy": ("> INVITE offer\n< 486\n> ACK", "< INVITE\n> 486\n< ACK"),
    "presence": (
        "> SUBSCRIBE\n  Event: presence\n  Expires: 300\n< 200\n< NOTIFY\n  Event: presence\n"
        "> 200\n> SUBSCRIBE\n  Event: presence\n  Expires: 0\n< 200\n< NOTIFY\n"
        "  Subscription-State: terminated\n> 200",
        "< SUBSCRIBE\n  Event: presence\n> 200\n  Expires: 300\n> NOTIFY\n  Event: presence\n"
        "  Subscription-State: active;expires=300\n< 200\n< SUBSCRIBE\n> 200\n  Expires: 0\n"
        "> NOTIFY\n  Event: presence\n  Subscription-State: terminated;reason=timeout\n< 200",
    ),
}
for package in ("dialog", "message-summary"):
    CASES[package] = tuple(  # type: ignore[assignment]
        text.replace("Event: presence", f"Event: {package}") for text in CASES["presence"]
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mesh]:
    """Two nodes; alice on the first, bob on the second, registered at that port of its address."""
    async with running_nodes(tmp_path_factory.mktemp("nodes"), 2) as nodes:
        alice, bob = await asyncio.gather(add_user(nodes[0], "alice"), add_user(nodes[1], "bob"))
        await nodes[0].finds(bob["number"])
        async with registered(bob, "") as (port,):
            yield nodes, alice, bob, port


@pytest.mark.parametrize("name", [*CASES, "before the 200, over TCP"])
async def test_it_passes_between_two_nodes(mesh: Mesh, tmp_path: Path, name: str) -> None:
    nodes, alice, bob, port = mesh
    case, _, over = name.partition(", over ")
    calls, answers = CASES[case]
    await play(
        tmp_path,
        caller(alice, calls, bob["number"], transport=over.lower() or "udp"),
        device(bob, answers, port),
    )
    for node in nodes:
        await node.has(calls=0)
