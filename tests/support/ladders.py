"""Ladders (`tests.support.sipp_script`), played by SIPp at the ends of real nodes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

from federation.model.address import Endpoint
from node.sip.message import Response
from tests.support.nodes import Account
from tests.support.ports import free_port
from tests.support.sip_client import SipClient, sip_client
from tests.support.sipp import Account as SippAccount
from tests.support.sipp import sipp

SIP_PORT = 5060
FINISHED_WITHIN = 8.0
"Seconds for a case."
KNOWN = (("Supported", "path, outbound, gruu"),)
"What every device says that it understands when it registers."

ACCEPTS = "> 180\n> 200 offer\n< ACK\n< BYE\n> 200\n"
TALKS = f"< INVITE\n{ACCEPTS}"
"A ladder of who takes the call."
CALLS = "> INVITE offer\n< 180?\n< 200\n> ACK\n. 100\n> BYE\n< 200\n"
"A ladder of who calls and hangs up."


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """One SIPp of a case."""

    ladder: str
    "Empty: nothing may come here."
    node: str
    "The address of the node that it speaks with."
    ip: str = ""
    "Its own address; empty: the node's."
    port: int = 0
    "Where it listens; 0: anywhere."
    transport: str = "udp"
    login: str = ""
    password: str = ""
    aim: str = ""
    "What is dialled: a user of the node, or a whole address."


def refused(status: int) -> str:
    """A ladder of who calls and is told no."""
    return f"> INVITE offer\n< 180?\n< {status}\n> ACK\n"


def asked_for(uri: str) -> str:
    """How a ladder begins of who must be called by that Request-URI."""
    return f"< INVITE\n  Message: ^INVITE {uri} SIP\n"


def caller(account: Account, ladder: str, aim: str, transport: str = "udp") -> End:
    """An account's phone that calls."""
    login, password = account["login"], account["password"]
    return End(
        ladder=ladder, node=account["server"], login=login, password=password, aim=aim,
        transport=transport,
    )  # fmt: skip


def device(account: Account, ladder: str, port: int) -> End:
    """A device that was registered at that port (`registered`)."""
    return End(ladder=ladder, node=account["server"], port=port)


async def play(folder: Path, *ends: End) -> None:
    """Play a case; those who wait are there before anybody calls. Every ladder must be done."""
    async with AsyncExitStack() as stack:
        running, left_alone = [], []
        for end in sorted(ends, key=lambda end: end.ladder.startswith(">")):
            if not end.ladder:
                silent = sip_client(Endpoint(end.node, SIP_PORT), ip=end.ip or None, port=end.port)
                left_alone.append(await stack.enter_async_context(silent))
                continue
            own = Path(mkdtemp(dir=folder))
            dials = [SippAccount(end.login, end.password, end.aim)] if end.aim else []
            program = sipp(
                own, end.ladder, ip=end.ip or end.node, port=end.port, transport=end.transport,
                target=f"{end.node}:{SIP_PORT}" if dials else None, accounts=dials,
                limit=FINISHED_WITHIN,
            )  # fmt: skip
            running.append((end, await stack.enter_async_context(program)))
        results = await asyncio.gather(*(program.result() for _, program in running))
    told = [
        f"{end.ladder}\n{result.errors}"
        for (end, _), result in zip(running, results, strict=True)
        if (result.successful, result.failed) != (1, 0)
    ]
    assert not told, "\n".join(told)
    assert [phone.received for phone in left_alone] == [[]] * len(left_alone)


async def register(
    phone: SipClient, account: Account, contact: str, *more: tuple[str, str], expires: int = 300
) -> Response:
    """Register a contact, or `*` with `expires` 0, from a socket; `more` are header fields."""
    headers = (*KNOWN, *more)
    answer = await phone.register(
        account["login"], account["password"], contact=contact, expires=expires, headers=headers
    )
    assert answer.status == 200, answer.start_line
    return answer


@asynccontextmanager
async def registered(account: Account, *parameters: str) -> AsyncIterator[list[int]]:
    """The ports at which devices of an account are registered meanwhile.

    `parameters` are what stands behind the URI in the Contact of the first, the second …
    """
    host, ports = account["server"], []
    server = Endpoint(host, SIP_PORT)
    for more in parameters:
        ports.append(free_port(host))
        async with sip_client(server, port=ports[-1]) as phone:
            await register(phone, account, f"<sip:{account['login']}@{phone.own}>{more}")
    try:
        yield ports
    finally:
        async with sip_client(server) as phone:
            await register(phone, account, "*", expires=0)
