"""Presence and waiting messages (RFC 3856, RFC 3842), asked for and told by real phones."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from federation.model.address import Endpoint
from tests.interop.makes.conftest import NEEDED, Mesh
from tests.support.baresip import baresip
from tests.support.handsets import line_of
from tests.support.linphone import Habits, linphone
from tests.support.nodes import Account, phone_of
from tests.support.ports import free_port
from tests.support.programs import needs
from tests.support.sip_client import sip_client
from tests.support.sipp import sipp

pytestmark = NEEDED
MAILBOX = """\
< SUBSCRIBE
  Event: message-summary
> 200
  Expires: 600
> NOTIFY waiting
  Event: message-summary
  Subscription-State: active;expires=600
< 200
> NOTIFY waiting
  Event: message-summary
  Subscription-State: terminated;reason=noresource
< 200
"""


async def test_presence(mesh: Mesh, tmp_path: Path) -> None:
    """Each make sees pjsua2 come, be busy and go, and is seen by it."""
    here, there = tmp_path / "linphone", tmp_path / "baresip"
    here.mkdir()
    there.mkdir()
    at_bob, at_carol = (mesh.dialled("alice", callee) for callee in ("bob", "carol"))
    async with phone_of(mesh.alice) as alice:
        await alice.appear("online")
        async with (
            linphone(
                here, line_of(mesh.bob), frequency=660,
                habits=Habits(watches=mesh.dialled("bob", "alice")),
            ) as bob,
            baresip(
                there, line=line_of(mesh.carol), modules=("contact", "presence"),
                contact=mesh.dialled("carol", "alice"),
            ) as carol,
        ):  # fmt: skip
            for uri in (at_bob, at_carol):
                await alice.watch(uri)
            await alice.wait_presence(at_bob, "online")
            for command, state in (("presence_online", "online"), ("presence_offline", "offline")):
                await carol.command(command)
                await alice.wait_presence(at_carol, state)
            for state in ("online", "busy", "offline"):
                await alice.appear(state)
                await bob.says(f"Friend .* is {state.title()}")
                await carol.sees(state.title())


@needs("sipp")
@pytest.mark.parametrize("make", ["pjsua2", "baresip"])
async def test_waiting_messages(mesh: Mesh, tmp_path: Path, make: str) -> None:
    """A mailbox is a further device of the account; SIPp plays it, for no phone does."""
    account = mesh.alice
    (folder := tmp_path / "sipp").mkdir()
    async with (
        registered_port(account) as port,
        sipp(folder, MAILBOX, ip=account["server"], port=port, limit=8) as mailbox,
    ):
        if make == "pjsua2":
            async with phone_of(account, asks_for_messages=True) as phone:
                assert "Voice-Message: 2/8" in await phone.next_waiting()
        else:
            # It registers, and is told, before its events can be listened to.
            words, modules = ";mwi=yes", ("mwi",)
            async with baresip(
                tmp_path, line=line_of(account), media=words, modules=modules, shows_sip=True
            ) as other:
                await other.read("Voice-Message: 2/8")
        result = await mailbox.result()
        assert (result.successful, result.failed) == (1, 0), result.errors
    await mesh.is_idle()


@contextlib.asynccontextmanager
async def registered_port(account: Account) -> AsyncIterator[int]:
    """A port at which a device of the account is registered, for a program that will use it."""
    server = Endpoint(account["server"], 5060)
    port = free_port(server.host)
    for expires in (300, 0):
        async with sip_client(server, port=port) as device:
            answer = await device.register(account["login"], account["password"], expires=expires)
            assert answer.status == 200
        if expires:
            yield port
