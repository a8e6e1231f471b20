"""Overload on a real node: new work is refused at once, and what is under way goes on.

The flood comes over TCP, which loses nothing; so the socket of UDP stays free, and what is asked
there is answered in its turn.
"""

import asyncio
import contextlib
import re
import secrets
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

from federation.model.address import Endpoint
from node.sip.cheap_refusal import RETRY_AFTER
from node.sip.message import Request, Response
from tests.support.digest_client import DigestClient
from tests.support.nodes import add_user, running_nodes
from tests.support.sip_client import SipClient, sip_client

CONNECTIONS, EACH = 4, 3000
ROUNDS = 40
"Questions while it lasts, fewer than registered devices may ask in an overload."
CALM_WITHIN = 3.0
"Seconds after the flood, in which nothing comes over any connection."
END = b"\r\n\r\n"
OFFER = "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\n"
REGISTER = (
    "REGISTER sip:{host} SIP/2.0\r\nVia: SIP/2.0/TCP {host};branch=z9hG4bK{id}\r\n"
    "From: <sip:a@{host}>;tag=1\r\nTo: <sip:a@{host}>\r\nCall-ID: {id}\r\nCSeq: 1 REGISTER\r\n"
    "Max-Forwards: 70\r\nContact: <sip:a@{host}>\r\nContent-Length: 0\r\n\r\n"
)


def requests_of_a_stranger(host: str) -> bytes:
    """REGISTERs, made beforehand: what sends them must be faster than the node."""
    ids = (secrets.token_hex(6) for _ in range(EACH))
    return "".join(REGISTER.format(host=host, id=each) for each in ids).encode()


async def flood(server: Endpoint, requests: bytes) -> Counter[int]:
    """Send them as fast as a connection carries them; the answers by status."""
    reader, writer = await asyncio.open_connection(*server)
    answers = b""
    with contextlib.closing(writer):
        writer.write(requests)
        while answers.count(END) < EACH:
            answers += await reader.read(2**20)
    return Counter(int(status) for status in re.findall(rb"^SIP/2.0 (\d+)", answers, re.MULTILINE))


async def in_a_call(phone: SipClient, digest: DigestClient) -> Callable[[str], Request]:
    """Call the echo; what makes requests inside of that call."""
    offer = OFFER.format(ip=phone.own.host).encode()
    invite = phone.request(
        "INVITE", f"sip:echo@{phone.server.host}", login=digest.username,
        headers=[("Content-Type", "application/sdp")], body=offer,
    )  # fmt: skip
    answer = await phone.ask_as(digest, invite)
    assert answer.status == 200, answer.start_line

    def inside(method: str) -> Request:
        uri, to = str(answer.contacts[0].uri), answer.get("To")
        request = phone.request(method, uri, to=to, call_id=answer.call_id)
        request.set("From", answer.get("From") or "")
        if method == "ACK":
            request.set("CSeq", f"{answer.cseq.number} ACK")
        return request

    phone.send(inside("ACK"))
    return inside


async def test_new_work_is_refused_and_calls_and_emergencies_are_not(tmp_path: Path) -> None:
    """A registered phone is heard as well: a flood of others does not shut it out."""
    async with running_nodes(tmp_path, 1) as (node,), AsyncExitStack() as stack:
        alice = await add_user(node, "alice")
        server = Endpoint(node.place.ip, node.place.sip_port)
        phone, caller, helpless, newcomer = [
            await stack.enter_async_context(sip_client(server)) for _ in range(4)
        ]
        for each in (phone, caller):
            assert (await each.register("alice", alice["password"])).status == 200
        inside = await in_a_call(caller, DigestClient("alice", alice["password"]))
        sos = f"sip:112@{server.host}"

        async def asked() -> list[Response]:
            return await asyncio.gather(
                phone.ask(phone.request("OPTIONS")),
                caller.ask(inside("INFO")),
                helpless.ask(helpless.request("INVITE", sos, login="alice")),
                newcomer.ask(newcomer.request("OPTIONS")),
            )

        before = [answer.status for answer in await asked()]
        streams = [requests_of_a_stranger(server.host) for _ in range(CONNECTIONS)]
        floods = [asyncio.create_task(flood(server, each)) for each in streams]
        heard: list[list[Response]] = []
        while len(heard) < ROUNDS and not all(each.done() for each in floods):
            heard.append(await asked())
        statuses = sum(await asyncio.gather(*floods), Counter[int]())
        *others, newcomers = zip(*heard, strict=True)
        assert [{answer.status for answer in each} for each in others] == [
            {status} for status in before[:-1]
        ]
        refused = [answer for answer in newcomers if answer.status == 503]
        assert refused
        assert all(int(answer.get("Retry-After") or 0) >= RETRY_AFTER for answer in refused)
        assert statuses.keys() == {401, 503}
        async with asyncio.timeout(CALM_WITHIN):
            while (last := await asked())[-1].status == 503:
                refused.append(last[-1])
                await asyncio.sleep(0.1)
        assert [answer.status for answer in last] == before
        counted = (await node.ask("status"))["overload"]["refused"]
        assert counted == statuses[503] + len(refused)
        assert (await caller.ask(inside("BYE"))).status == 200
