"""Phones that speak SIP over TLS with real nodes: sound measured, certificates looked at."""

import asyncio
import contextlib
import os
import signal
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from cryptography import x509

from federation.model.address import Endpoint
from node.phone.check import hear, measure_call, measure_echo
from node.phone.choices import Answer, Tone
from node.phone.errors import RegistrationFailed
from node.phone.phone import Phone
from node.phone.tones import judge
from tests.support.baresip import Line, baresip
from tests.support.nodes import (
    Account,
    NodeProcess,
    add_user,
    offset_places,
    phone_of,
    running_nodes,
)
from tests.support.programs import needs, needs_pjsua2
from tests.support.sip_exchange import request
from tests.support.tls_material import Authority

pytestmark = [pytest.mark.interop, needs_pjsua2, pytest.mark.asyncio(loop_scope="module")]
Mesh = tuple[list[NodeProcess], Account, Account]
WITHIN = 15.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mesh]:
    """Two nodes; alice on the first, bob on the second, each findable from the other."""
    folder = tmp_path_factory.mktemp("nodes")
    async with running_nodes(folder, 2) as nodes:
        alice, bob = await asyncio.gather(add_user(nodes[0], "alice"), add_user(nodes[1], "bob"))
        await nodes[0].finds(bob["number"])
        await nodes[1].finds(alice["number"])
        yield nodes, alice, bob


async def transports_of(node: NodeProcess, login: str) -> list[str]:
    """How the user's devices are connected."""
    shown = await node.get("users", login)
    return [device["transport"] for device in shown["devices"]]


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(WITHIN):
        while not await holds():
            await asyncio.sleep(0.1)


# Calls


async def test_a_call_across_the_mesh_with_tls_at_both_ends(mesh: Mesh) -> None:
    nodes, alice, bob = mesh
    async with (
        phone_of(alice, transport="tls") as caller,
        phone_of(bob, transport="tls", policy=Answer(), playing=Tone(880)) as callee,
    ):
        assert await transports_of(nodes[0], "alice") == ["TLS"]
        assert await transports_of(nodes[1], "bob") == ["TLS"]
        report = await measure_call(caller, callee, bob["number"])
        assert report.problems == ()
    for node in nodes:
        await node.has(calls=0)


@pytest.mark.parametrize("other", ["udp", "tcp"])
async def test_tls_and_other_transports_meet(mesh: Mesh, other: str) -> None:
    """The two sides of a call differ, so the node stands twice in its routes (RFC 5658)."""
    nodes, alice, bob = mesh
    async with (
        phone_of(alice, transport=other) as caller,
        phone_of(bob, transport="tls", policy=Answer(), playing=Tone(880)) as callee,
    ):
        report = await measure_call(caller, callee, bob["number"])
        assert report.problems == ()
        await caller.set_policy(Answer(), Tone(880))
        report = await measure_call(callee, caller, alice["number"])
        assert report.problems == ()
    await nodes[0].has(calls=0)


async def test_requests_inside_a_call_and_its_end_from_either_side(mesh: Mesh) -> None:
    """Hold and resume are re-INVITEs over the route with `transport=tls`; the callee hangs up."""
    nodes, alice, bob = mesh
    async with (
        phone_of(alice, transport="tls") as caller,
        phone_of(bob, transport="tls", policy=Answer(), playing=Tone(880)) as callee,
    ):
        call = await caller.call(bob["number"], playing=Tone(440))
        taken = await callee.next_call()
        await call.wait_confirmed()
        await call.hold()
        await call.resume()
        heard = await hear(call, 880, seconds=1)
        assert heard.ok, heard
        heard = await hear(taken, 440, seconds=1)
        assert heard.ok, heard
        await taken.hang_up()
        assert await call.wait_ended() == 200
    for node in nodes:
        await node.has(calls=0)


async def test_a_message_longer_than_a_datagram_may_be(mesh: Mesh) -> None:
    _, alice, bob = mesh
    text = "ringmesh " * 200
    async with (
        phone_of(alice, transport="tls") as sender,
        phone_of(bob, transport="tls") as receiver,
    ):
        await sender.send_message(f"sip:{bob['number']}@{alice['server']}", text)
        message = await receiver.next_message()
        assert message.text == text


async def test_a_wrong_password_is_refused_over_tls_as_well(mesh: Mesh) -> None:
    _, alice, _ = mesh
    async with Phone() as phone:
        with pytest.raises(RegistrationFailed) as failure:
            await phone.register("alice", "wrong", server=alice["server"], transport="tls")
        assert failure.value.status in (401, 403)


@needs("baresip")
async def test_baresip_is_called_over_tls(mesh: Mesh, tmp_path: Path) -> None:
    nodes, alice, bob = mesh
    line = Line(bob["login"], bob["password"], bob["server"], "tls")
    async with (
        phone_of(alice, transport="tls") as phone,
        baresip(tmp_path, line=line, frequency=880) as other,
    ):
        assert await transports_of(nodes[1], "bob") == ["TLS"]
        call = await phone.call(bob["number"], playing=Tone(440))
        await call.wait_confirmed()
        verdict = await hear(call, 880, seconds=1)
        assert verdict.ok, verdict
        await call.hang_up()
        await other.event("CALL_CLOSED")
        heard = judge(other.heard(), 440)
        assert heard.ok, heard


async def test_the_port_moves_with_the_offset(tmp_path: Path) -> None:
    (place,) = offset_places("127.0.0.1", 1)
    async with running_nodes(tmp_path, 1, places=[place]) as (node,):
        assert ["sip-tls", "tcp", place.sip_port + 1, place.sip_port + 1] in node.status["ports"]
        alice = await add_user(node, "alice")
        server = str(Endpoint(place.ip, place.sip_port + 1))
        async with Phone(name="alice") as phone:
            await phone.register("alice", alice["password"], server=server, transport="tls")
            assert await transports_of(node, "alice") == ["TLS"]
            report = await measure_echo(phone, "*43", seconds=1)
            assert report.problems == ()


# Certificates


async def shown_by(node: NodeProcess, context: ssl.SSLContext, name: str) -> dict[str, Any]:
    """The certificate that a node shows, checked by Python for `name`; SIP is spoken over it."""
    reader, writer = await asyncio.open_connection(
        node.place.ip, node.place.sip_port + 1, ssl=context, server_hostname=name
    )
    options = request("OPTIONS", uri=f"sip:{node.place.ip}")
    options.ensure_content_length()
    writer.write(options.encode())
    answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    assert answer.startswith(b"SIP/2.0 200 ")
    found: dict[str, Any] = writer.get_extra_info("peercert")
    writer.close()
    async with asyncio.timeout(5):
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            await writer.wait_closed()
    return found


async def test_the_nodes_own_certificate_holds_for_its_address_and_key_name(mesh: Mesh) -> None:
    nodes, _, _ = mesh
    node = nodes[0]
    file = node.state / "tls.pem"
    assert file.stat().st_mode & 0o777 == 0o600
    context = ssl.create_default_context(cafile=str(file))
    for name in (node.place.ip, node.status["key_name"]):
        await shown_by(node, context, name)
    with pytest.raises(ssl.SSLCertVerificationError):
        await shown_by(node, context, "127.9.9.9")
    with pytest.raises(ssl.SSLCertVerificationError):
        await shown_by(nodes[1], context, nodes[1].place.ip)


async def test_a_phone_that_checks_certificates(mesh: Mesh) -> None:
    """It registers at the node whose certificate it was given, and at no other."""
    nodes, alice, bob = mesh
    async with Phone(name="alice", trust=nodes[0].state / "tls.pem") as phone:
        await phone.register("alice", alice["password"], server=alice["server"], transport="tls")
        report = await measure_echo(phone, "*43", seconds=1)
        assert report.problems == ()
    async with Phone(name="bob", trust=nodes[0].state / "tls.pem") as phone:
        with pytest.raises(RegistrationFailed) as failure:
            await phone.register("bob", bob["password"], server=bob["server"], transport="tls")
        assert failure.value.status == 503


async def test_new_files_are_shown_while_a_call_goes_on(tmp_path: Path) -> None:
    """SIGHUP loads them at once; broken ones change nothing and cost one line of the log."""
    authority = Authority.make()
    context = ssl.create_default_context(cadata=authority.pem.decode())
    file = tmp_path / "operator.pem"

    def write(content: bytes) -> None:
        fresh = tmp_path / "fresh.pem"
        fresh.write_bytes(content)
        os.replace(fresh, file)

    def names(certificate: dict[str, Any]) -> set[str]:
        return {value for kind, value in certificate["subjectAltName"] if kind == "DNS"}

    write(authority.issue(x509.DNSName("one.example")))
    settings = tmp_path / "node.toml"
    settings.write_text(f'[tls]\ncertificate = "{file}"\n')
    each = [["--config", str(settings)]]
    async with running_nodes(tmp_path, 1, each=each) as (node,):
        alice, bob = await add_user(node, "alice"), await add_user(node, "bob")
        assert not (node.state / "tls.pem").exists()
        assert names(await shown_by(node, context, "one.example")) == {"one.example"}
        async with (
            phone_of(alice, transport="tls") as caller,
            phone_of(bob, transport="tls", policy=Answer(), playing=Tone(880)),
        ):
            call = await caller.call("bob", playing=Tone(440))
            await call.wait_confirmed()
            write(b"broken")
            os.kill(node.pid, signal.SIGHUP)
            await until(lambda: logged(node, "certificate_kept", 1))
            await shown_by(node, context, "one.example")
            write(authority.issue(x509.DNSName("two.example")))
            os.kill(node.pid, signal.SIGHUP)
            await until(lambda: logged(node, "certificate_loaded", 1))
            assert names(await shown_by(node, context, "two.example")) == {"two.example"}
            heard = await hear(call, 880, seconds=1)
            assert heard.ok, heard
            await call.hang_up()
        await node.has(calls=0)
        assert await logged(node, "certificate_kept", 1)


async def logged(node: NodeProcess, event: str, times: int) -> bool:
    return node.log.read_text().count(f'"event": "{event}"') == times


async def test_a_certificate_that_will_not_do_is_one_line_and_no_node(tmp_path: Path) -> None:
    settings = tmp_path / "node.toml"
    settings.write_text(f'[tls]\ncertificate = "{tmp_path}/absent.pem"\n')
    async with running_nodes(tmp_path, 1) as (node,):
        await node.stop_cleanly()
        await node.start("--config", str(settings))
        assert await node.ended() == 1
        assert f"tls.certificate: {tmp_path}/absent.pem cannot be read" in node.log_end(3)
