"""Drives baresip, a telephone by others: its configuration, commands over ctrl_tcp, its wav.

baresip's own traps: it takes the SIP port + 1 for TLS; a wav source must be mono like the codec; it
registers before ctrl_tcp can be connected to, so a registration is read from its log.
"""

import asyncio
import contextlib
import json
import re
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from federation.model.address import Endpoint
from node.phone.process import Changes
from node.phone.tones import Sound, read_wav, tone, write_wav
from tests.support.ports import free_port, free_udp_block
from tests.support.programs import Program, running
from tests.support.recording import growing

_MODULES = Path("/usr/lib/baresip/modules")
_RTP_PORTS = 40
_VIDEO = """\
video_source fakevideo,nil
video_display fakevideo,nil
video_size 320x240
video_bitrate 250000
video_fps 15
"""
_READY = 5.0
WAIT = 10.0
"Seconds that waits last unless told otherwise."


@dataclass(frozen=True, slots=True)
class Line:
    """What baresip registers as."""

    login: str
    password: str
    server: str
    "`host:port`"
    transport: str = "udp"


@dataclass(frozen=True, slots=True)
class Video:
    """What baresip counts of a call's picture: frames, and RTP packets that were lost."""

    sent: int
    decoded: int
    key_frames: int
    lost: int


class Baresip:
    """One running baresip; obtained from `baresip`."""

    make = "baresip"

    def __init__(self, program: Program, folder: Path, uri: str) -> None:
        self.program = program
        self.uri = uri
        "Where it can be called directly."
        self.gives_back = False
        self.events: list[dict[str, Any]] = []
        self._folder = folder
        self._changes = Changes()
        self._answers: deque[dict[str, Any]] = deque()
        self._untaken: deque[dict[str, Any]] = deque()

    async def command(self, name: str, params: str = "") -> str:
        """Run one of baresip's commands and return what it printed."""
        body = json.dumps({"command": name, "params": params}).encode()
        self._writer.write(b"%d:%b," % (len(body), body))
        await self._writer.drain()
        answer = await self._changes.until(
            lambda: self._answers.popleft() if self._answers else None, WAIT, name
        )
        if not answer["ok"]:
            pytest.fail(f"baresip refused {name} {params}: {answer.get('data')}")
        return str(answer.get("data", ""))

    async def dial(self, uri: str) -> None:
        """Call somebody."""
        await self.command("dial", uri)

    async def rings(self) -> None:
        """Wait until the other end's phone rings."""
        await self.event("CALL_RINGING")

    async def answer(self) -> None:
        """Answer the call that comes."""
        await self.event("CALL_INCOMING")
        await self.command("accept")
        await self.talks()

    async def talks(self) -> None:
        """Wait until a call stands."""
        await self.event("CALL_ESTABLISHED")

    async def ended(self) -> None:
        """Wait for the end of the call."""
        await self.event("CALL_CLOSED")

    async def hang_up(self) -> None:
        """End the current call."""
        await self.command("hangup")

    async def hold(self) -> None:
        """Put the other end on hold. From then on nothing of the call is recorded any more."""
        await self.command("hold")

    async def resume(self) -> None:
        """Take it off hold."""
        await self.command("resume")

    async def transfer(self, uri: str) -> None:
        """Have the other end call somebody else (REFER), and leave once that call stands."""
        await self.command("transfer", uri)
        await self.ended()

    async def transferred(self) -> None:
        """Wait until the call stands that the other end wished for."""
        await self.talks()

    async def read(self, text: str) -> None:
        """Wait for a message, if it shows its SIP: else it only makes a sound of it."""
        await self.program.says(text)

    async def write(self, text: str) -> None:
        """Send a message to its only contact, with the module contact."""
        await self.command("message", text)

    async def sees(self, state: str) -> None:
        """Wait until its only contact is shown as Online, Busy or Offline (module presence)."""
        async with asyncio.timeout(WAIT):
            while state not in await self.command("contacts"):
                await asyncio.sleep(0.1)

    async def press(self, digit: str) -> None:
        """Send a DTMF digit as telephone events."""
        await self.command("sndcode", digit)

    async def pressed(self) -> str:
        """Wait for the next digit from the other end, by whatever way it comes."""
        return str((await self.event("CALL_DTMF_START"))["param"])

    async def give_back(self) -> None:
        """Say what is heard, from now to the next re-negotiation.

        A bridge is made anew when the source that feeds it comes after its player, and only then.
        """
        self.gives_back = True
        tone = self._folder / "say.wav"
        for name, device in (
            ("ausrc", f"aufile,{tone}"),
            ("auplay", "aubridge,back"),
            ("ausrc", "aubridge,back"),
        ):
            await self.command(name, device)

    async def video(self) -> Video:
        """How the picture of the current call fares."""
        text = await self.command("video_debug")
        found = [
            re.search(pattern, text, re.S)
            for pattern in (
                r"source:[^\n]* frames=(\d+)",
                r"vidisp:[^\n]* frames=(\d+)",
                r"n_keyframes=(\d+)",
                r"member [^\n]*: lost=(-?\d+)",
            )
        ]
        if not all(found):
            pytest.fail(f"baresip shows no picture:\n{text}")
        return Video(*(int(match[1]) for match in found if match))

    async def event(self, kind: str, within: float = WAIT) -> dict[str, Any]:
        """Wait for the next event of that kind: CALL_INCOMING, CALL_ESTABLISHED, CALL_CLOSED…"""

        def look() -> dict[str, Any] | None:
            while self._untaken:
                event = self._untaken.popleft()
                if event["type"] == kind:
                    return event
            return None

        return await self._changes.until(look, within, f"baresip's {kind}")

    def heard(self) -> Sound:
        """What the last ended call heard."""
        files = self._recordings()
        if not files:
            pytest.fail(f"baresip recorded nothing:\n{self.program.output}")
        return read_wav(files[-1])

    async def listen(self, seconds: float) -> Sound:
        """What the last call that began hears during the next `seconds`."""
        none_yet = self._folder / "none.wav"
        return await growing([none_yet, *self._recordings()][-1], seconds)

    def _recordings(self) -> list[Path]:
        return sorted(self._folder.glob("dump-*-dec.wav"), key=lambda path: path.stat().st_mtime)

    async def attach(self, port: int) -> None:
        """Connect to ctrl_tcp."""
        async with asyncio.timeout(_READY):
            while True:
                with contextlib.suppress(OSError):
                    reader, self._writer = await asyncio.open_connection("127.0.0.1", port)
                    break
                await asyncio.sleep(0.05)
        self._reading = asyncio.create_task(self._read(reader))

    async def detach(self) -> None:
        """Quit politely and let go of ctrl_tcp."""
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()
        await self._reading

    async def _read(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                size = int((await reader.readuntil(b":"))[:-1])
                message = json.loads((await reader.readexactly(size + 1))[:-1])
                if "event" in message:
                    self.events.append(message)
                    self._untaken.append(message)
                else:
                    self._answers.append(message)
                self._changes.notify()


def _configuration(
    folder: Path, sip: Endpoint, control: int, rtp: int, say: Path, modules: Sequence[str]
) -> str:
    further = "".join(f"module {name}.so\n" for name in modules)
    if "fakevideo" in modules:
        further += _VIDEO
    return f"""\
poll_method epoll
sip_listen {sip}
call_local_timeout 120
call_max_calls 4
audio_player aubridge,nowhere
audio_source aufile,{say}
audio_alert aubridge,nowhere
audio_srate 8000
audio_channels 1
rtp_ports {rtp}-{rtp + _RTP_PORTS}
module_path {_MODULES}
module g711.so
module aufile.so
module aubridge.so
module sndfile.so
{further}module_app account.so
module_app menu.so
module_app ctrl_tcp.so
ctrl_tcp_listen 127.0.0.1:{control}
snd_path {folder}
"""


def _account(line: Line | None, name: str, ip: str, port: int, *, answers: bool, media: str) -> str:
    options = (
        f"{media};audio_codecs=PCMU/8000/1,PCMA/8000/1;answermode={'auto' if answers else 'manual'}"
    )
    if line is None:
        return f"<sip:{name}@{Endpoint(ip, port)}>;regint=0{options}\n"
    return (
        f"<sip:{line.login}@{line.server};transport={line.transport}>;auth_user={line.login}"
        f";auth_pass={line.password};regint=300"
        f';outbound="sip:{line.server};transport={line.transport}"{options}\n'
    )


@contextlib.asynccontextmanager
async def baresip(
    folder: Path,
    *,
    line: Line | None = None,
    ip: str = "127.0.0.1",
    name: str = "baresip",
    frequency: int = 880,
    answers: bool = True,
    media: str = "",
    modules: Sequence[str] = (),
    contact: str = "",
    shows_sip: bool = False,
    jitter_buffer: bool = True,
) -> AsyncIterator[Baresip]:
    """Run baresip with a tone to say, until the block ends; registered if `line` is given.

    `media` are further account parameters, `;mediaenc=dtls_srtp` for instance, and `modules` what
    they need, without `.so`; `contact` is the URI of the one whom the module contact knows.
    Without a `jitter_buffer` sound is played as it comes.
    """
    port, control = free_port(ip, step=2), free_port(ip)
    say = folder / "say.wav"
    write_wav(say, tone(frequency, 60, rate=8000))
    (folder / "config").write_text(
        _configuration(
            folder, Endpoint(ip, port), control, free_udp_block(ip, _RTP_PORTS), say, modules
        )
        + f"jitter_buffer_delay {'1-10' if jitter_buffer else '0-0'}\n"
    )
    (folder / "accounts").write_text(_account(line, name, ip, port, answers=answers, media=media))
    (folder / "contacts").write_text(f"<{contact}>;presence=p2p\n" if contact else "")
    family = "-6" if ":" in ip else "-4"
    own = Endpoint(ip, port)
    options = (family, "-s") if shows_sip else (family,)
    async with running("baresip", *options, "-f", str(folder), cwd=folder) as program:
        phone = Baresip(program, folder, f"sip:{name}@{own}")
        await phone.attach(control)
        try:
            if line is not None:
                await program.says("200 OK", _READY)
            yield phone
        finally:
            await phone.detach()
