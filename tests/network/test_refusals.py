"""What a running node refuses: passwords that prove nothing, callers they are not, odd commands."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from federation.model.address import Endpoint
from node.sip.message import Request, Response
from tests.support.digest_client import DigestClient
from tests.support.nodes import Account, NodeProcess, add_user, running_nodes
from tests.support.sip_client import SipClient, md5_in, sip_client

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass
class World:
    """One node with two accounts."""

    node: NodeProcess
    alice: Account
    bob: Account

    @property
    def sip(self) -> Endpoint:
        return Endpoint(self.node.place.ip, self.node.place.sip_port)

    def digest(self, account: Account | None = None) -> DigestClient:
        account = account or self.alice
        return DigestClient(account["login"], account["password"])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with running_nodes(tmp_path_factory.mktemp("refusals"), 1) as (node,):
        yield World(node, await add_user(node, "alice"), await add_user(node, "bob"))


@pytest_asyncio.fixture(loop_scope="module")
async def phone(world: World) -> AsyncIterator[SipClient]:
    async with sip_client(world.sip) as client:
        yield client


def is_stale(response: Response) -> bool:
    challenge = md5_in(response.get_all("WWW-Authenticate"))
    return re.search(r"stale=true", challenge, re.IGNORECASE) is not None


# Digest


async def test_credentials_are_good_once(world: World, phone: SipClient) -> None:
    """The same bytes from elsewhere, and the same count again, prove nothing."""
    first = phone.request("REGISTER", login="alice")
    challenge = await phone.ask(first)
    assert challenge.status == 401
    good = phone.again(world.digest(), first, challenge)
    assert (await phone.ask(good)).status == 200
    async with sip_client(world.sip) as thief:
        stolen = thief.fresh(good)
        stolen.set("Contact", f"<sip:alice@{thief.own}>")
        answer = await thief.ask(stolen)
        assert answer.status == 401
    assert (await phone.ask(phone.fresh(good))).status == 401
    shown = await world.node.get("users", "alice")
    assert [device["address"] for device in shown["devices"]] == [str(phone.own)]
    again = phone.fresh(first)
    assert (await phone.ask_as(world.digest(), again)).status == 200, "and a new count is"


async def test_a_nonce_that_is_not_ours(world: World, phone: SipClient) -> None:
    """An invented or changed nonce is answered with a good one and `stale`, if anything."""
    first = phone.request("REGISTER", login="alice")
    challenge = await phone.ask(first)
    asked = md5_in(challenge.get_all("WWW-Authenticate"))
    nonce = re.search(r'nonce="([^"]+)"', asked)
    assert nonce is not None
    changed = nonce[1][:-1] + ("A" if nonce[1][-1] != "A" else "B")
    for invented in (changed, "0" * len(nonce[1]), "x"):
        request = phone.fresh(first)
        answer = world.digest().answer(asked.replace(nonce[1], invented), request)
        request.append("Authorization", answer)
        refused = await phone.ask(request)
        assert refused.status == 401
        following = phone.again(world.digest(), first, refused)
        assert (await phone.ask(following)).status == 200


@pytest.mark.parametrize(
    "change",
    [
        {"password": "wrong-password"},
        {"username": "nobody"},
        {"username": "bob"},
        {"realm": "example.org"},
    ],
    ids=["password", "no such login", "another login", "realm"],
)
async def test_wrong_credentials(world: World, phone: SipClient, change: dict[str, str]) -> None:
    """The answer is the same whatever was wrong: nobody learns which logins there are."""
    settings = {"username": "alice", "password": world.alice["password"]} | change
    request = phone.request("REGISTER", login=settings["username"])
    answer = await phone.ask_as(DigestClient(**settings), request)
    assert answer.status == 401
    assert not is_stale(answer)


async def test_credentials_for_another_target(world: World, phone: SipClient) -> None:
    """`uri` must be the Request-URI, or one answer would serve for any request."""
    first = phone.request("REGISTER", login="alice")
    challenge = await phone.ask(first)
    request = phone.fresh(first)
    asked = md5_in(challenge.get_all("WWW-Authenticate"))
    elsewhere = world.digest().answer(asked, request, uri="sip:elsewhere.example")
    request.append("Authorization", elsewhere)
    assert (await phone.ask(request)).status in (400, 401)


# Who may appear as whom


async def test_an_account_registers_itself_only(world: World, phone: SipClient) -> None:
    request = phone.request("REGISTER", login="bob")
    assert (await phone.ask_as(world.digest(), request)).status == 403
    shown = await world.node.get("users", "bob")
    assert shown["devices"] == []


@pytest.mark.parametrize("method", ["INVITE", "MESSAGE", "SUBSCRIBE"])
async def test_an_account_calls_as_itself_only(world: World, phone: SipClient, method: str) -> None:
    target = f"sip:bob@{world.sip}"
    as_bob = phone.request(method, target, login="bob")
    refused = await phone.ask_as(world.digest(), as_bob)
    assert refused.status == 403
    assert "From must be the account" in (refused.get("Reason") or "")
    as_herself = phone.request(method, target, login="alice")
    answer = await phone.ask_as(world.digest(), as_herself)
    assert answer.status == (202 if method == "MESSAGE" else 480), "no phone is there"
    assert (await phone.ask(phone.request(method, target, login="alice"))).status == 407


async def test_a_dialog_that_is_not_there(world: World, phone: SipClient) -> None:
    """No To-tag of a stranger's opens a way past the digest."""
    for method in ("INVITE", "BYE", "REFER", "INFO"):
        inside = phone.request(method, f"sip:bob@{world.sip}", to=f"<sip:bob@{world.sip}>;tag=1")
        assert (await phone.ask(inside)).status == 481


async def test_a_request_that_comes_round_is_a_loop(world: World, phone: SipClient) -> None:
    """RFC 3261 16.3: what is at bob's contact asks for bob again."""
    async with sip_client(world.sip) as contact:
        assert (await contact.register("bob", world.bob["password"])).status == 200
        target = f"sip:bob@{world.sip}"
        message = phone.request("MESSAGE", target, login="alice")
        asking = asyncio.create_task(phone.ask_as(world.digest(), message))
        while (arrived := await contact.heard()).call_id != message.call_id:
            contact.send(Response.answering(arrived, 200, to_tag="b"))  # what was kept comes first
        assert isinstance(arrived, Request)
        again = arrived.copy()
        again.uri = message.uri
        again.prepend("Via", f"SIP/2.0/UDP {contact.own};rport;branch=z9hG4bK-again")
        assert (await contact.ask(again)).status == 482
        contact.send(Response.answering(arrived, 200, to_tag="b"))
        assert (await asking).status == 200
        assert (await contact.register("bob", world.bob["password"], expires=0)).status == 200


# The command line

SENTENCES = [
    (("user", "add", "alice"), 1, "login 'alice': there is one already"),
    (("user", "add", "Al ice"), 1, "use lower-case letters a-z"),
    (("user", "add", "12345678"), 1, "it looks like a telephone number; use at most 6 digits"),
    (("user", "add", "echo"), 1, "this name belongs to a service of the node; choose another"),
    (("user", "add", "emil", "--extension", "12a"), 1, "use digits only, such as 101"),
    (("user", "add", "emil", "--password", "short"), 1, "use 8 to 128"),
    (("user", "show", "nobody"), 1, "`ringmesh user list` shows which there are"),
    (("call", "hangup", "17"), 1, "`ringmesh call list` shows which are"),
    (("resolve", ""), 1, "a number, a login or user@domain"),
    (("resolve", "sip:"), 1, "give a number, a login or user@domain"),
    (("up", "--port-offset", "15"), 2, "0, or a multiple of 10 up to 280"),
    (("up",), 1, "or give this node a folder of its own with --state"),
]


async def test_every_refusal_is_a_sentence_that_says_what_would_do(world: World) -> None:
    """One line on standard error, nothing on standard output, and the fitting exit code."""
    outcomes = await asyncio.gather(*(world.node.command(*asked) for asked, _, _ in SENTENCES))
    for (asked, code, sentence), (exit_code, output, complaint) in zip(
        SENTENCES, outcomes, strict=True
    ):
        assert (exit_code, output) == (code, ""), asked
        assert complaint.startswith("ringmesh: "), asked
        assert sentence in complaint, asked
        assert len(complaint.splitlines()) == 1, asked


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("nobody", "nobody has this name or number"),
        ("x@192.0.2.77", "192.0.2.77 is not this node"),
        ("x@abc.ringmesh.alt", "this key name is misspelt"),
        ("0312345", "numbers of this network have 15 digits"),
    ],
)
async def test_a_target_that_leads_nowhere(world: World, target: str, reason: str) -> None:
    code, output, complaint = await world.node.command("resolve", target)
    assert (code, complaint) == (1, "")
    assert reason in output
