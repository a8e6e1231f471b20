"""Our phone and those of others call each other without a server, and are measured."""

import asyncio
from pathlib import Path

import pytest

from node.phone.check import hear, measure_echo
from node.phone.choices import Answer, Tone
from node.phone.errors import RegistrationFailed
from node.phone.phone import Phone
from node.phone.tones import judge
from tests.support.baresip import baresip
from tests.support.programs import needs, needs_pjsua2
from tests.support.sipp import Account, sipp, ulaw

pytestmark = [pytest.mark.interop, needs_pjsua2]


@needs("baresip")
async def test_calling_baresip(tmp_path: Path) -> None:
    async with Phone() as phone, baresip(tmp_path, frequency=880) as other:
        call = await phone.call(other.uri, playing=Tone(440))
        await call.wait_confirmed()
        await other.event("CALL_ESTABLISHED")
        verdict = await hear(call, 880, seconds=1)
        assert verdict.ok, verdict
        await call.hang_up()
        await other.event("CALL_CLOSED")
        heard = judge(other.heard(), 440)
        assert heard.ok, heard


@needs("baresip")
async def test_baresip_calls(tmp_path: Path) -> None:
    async with (
        Phone(policy=Answer(after=0.2), playing=Tone(880)) as phone,
        baresip(tmp_path, frequency=440) as other,
    ):
        await other.dial(phone.uri)
        call = await phone.next_call()
        await other.event("CALL_RINGING")
        await call.wait_confirmed()
        verdict = await hear(call, 440, seconds=1)
        assert verdict.ok, verdict
        await other.hang_up()
        assert await call.wait_ended() == 200
        assert judge(other.heard(), 880).ok


@needs("baresip")
async def test_control_baresip_notices_a_wrong_tone(tmp_path: Path) -> None:
    async with Phone() as phone, baresip(tmp_path, frequency=880) as other:
        call = await phone.call(other.uri, playing=Tone(620))
        await call.wait_confirmed()
        await asyncio.sleep(0.7)
        await call.hang_up()
        await other.event("CALL_CLOSED")
        assert not judge(other.heard(), 440).ok


@needs("sipp")
@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_sipp_calls(tmp_path: Path, transport: str) -> None:
    async with (
        Phone(policy=Answer(after=0.1)) as phone,
        sipp(
            tmp_path,
            "call",
            target=f"127.0.0.1:{phone.sip_port}",
            accounts=[Account("sipp", aim="phone")],
            transport=transport,
            talk=1.5,
            say=440,
        ) as other,
    ):
        call = await phone.next_call()
        await call.wait_confirmed()
        verdict = await hear(call, 440, seconds=1)
        assert verdict.ok, verdict
        assert await call.wait_ended() == 200
        result = await other.result()
        assert (result.exit_code, result.successful, result.failed) == (0, 1, 0), result


@needs("sipp")
async def test_sipp_sends_back_what_it_hears(tmp_path: Path) -> None:
    async with Phone(codecs=("PCMU",)) as phone, sipp(tmp_path, "answer", echo=True) as other:
        report = await measure_echo(phone, f"sip:echo@{other.contact}", seconds=1)
        assert report.problems == ()
        assert (await other.result()).successful == 1


@needs("sipp")
async def test_sipp_counts_calls_that_fail(tmp_path: Path) -> None:
    async with (
        Phone(policy=None) as phone,
        sipp(
            tmp_path,
            "call",
            target=f"127.0.0.1:{phone.sip_port}",
            accounts=[Account("sipp", aim="phone")],
        ) as other,
    ):
        await (await phone.next_call()).hang_up(486)
        result = await other.result()
        assert (result.exit_code, result.successful, result.failed) == (1, 0, 1)
        assert "486" in result.errors


@needs("sipp")
async def test_registering_with_digest(tmp_path: Path) -> None:
    account = [Account("alice", "secret")]
    async with Phone() as phone, sipp(tmp_path, "registrar", accounts=account) as registrar:
        assert await phone.register("alice", "secret", server=registrar.contact) > 60


@needs("sipp")
async def test_control_a_wrong_password_is_refused(tmp_path: Path) -> None:
    account = [Account("alice", "secret")]
    async with Phone() as phone, sipp(tmp_path, "registrar", accounts=account) as registrar:
        with pytest.raises(RegistrationFailed) as failure:
            await phone.register("alice", "wrong", server=registrar.contact)
        assert failure.value.status == 403


@needs("sipp")
async def test_sipp_registers(tmp_path: Path) -> None:
    account = [Account("alice", "secret", "127.0.0.1:5060")]
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    theirs.mkdir()
    ours.mkdir()
    async with sipp(theirs, "registrar", accounts=account) as registrar:
        target = registrar.contact
        async with sipp(ours, "register", target=target, accounts=account) as client:
            assert (await client.result()).successful == 1


def test_mulaw() -> None:
    """Values of ITU-T G.711 table 2: silence, both ends, and one in the middle."""
    assert ulaw([0, 32767, -32768, 1000, -1000]).hex() == "ff8000ce4e"
