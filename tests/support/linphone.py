"""Drives linphonec, a telephone by others: its configuration, its commands, what it recorded.

It takes commands on its standard input and says what happens on its output. Without a sound card
it plays and records files. `HOME` has to be a folder of
its own, where it finds the place of its data.
"""

import asyncio
import contextlib
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

from node.phone.tones import Sound, read_wav, tone, write_wav
from tests.support.baresip import Line
from tests.support.ports import free_port, free_udp_block
from tests.support.programs import Program, running

_IP = "127.0.0.1"
"What its sockets send from, bound to every address as they are."
_RTP_PORTS = 8
_REGISTERED = "registered, identity"
WAIT = 15.0
"Seconds that waits last; it looks at its sockets five times a second."


class Linphone:
    """One running linphonec; obtained from `linphone`."""

    def __init__(self, program: Program, folder: Path) -> None:
        self.program = program
        self._folder = folder
        self._read = 0

    async def tell(self, command: str) -> None:
        """Give a command."""
        self.program.write(f"{command}\n")

    async def says(self, pattern: str, within: float = WAIT) -> re.Match[str]:
        """Wait for output that was not waited for before."""
        found = await self.program.matches(pattern, since=self._read, within=within)
        self._read = found.end()
        return found

    async def registers(self) -> None:
        """Wait until it is registered, which it tells only when asked."""
        async with asyncio.timeout(WAIT):
            while re.search(_REGISTERED, self.program.output) is None:
                await self.tell("status register")
                await asyncio.sleep(0.3)

    async def dial(self, uri: str) -> None:
        """Call somebody and wait for the answer."""
        await self.tell(f"call {uri}")
        await self._speaks()

    async def answer(self) -> None:
        """Take the call that rings."""
        await self.says(r"incoming call from")
        await self.tell("answer")
        await self._speaks()

    async def _speaks(self) -> None:
        """Wait until there is sound, and begin to say the tone; earlier it would not be heard."""
        await self.says("Media streams established")
        await self.tell(f"play {self._folder / 'say.wav'}")

    async def hold(self) -> None:
        """Put the call on hold."""
        await self.tell("pause")
        await self.says("is now paused")

    async def resume(self) -> None:
        """Take it off hold."""
        await self.tell("resume")
        await self.says("Media streams established")

    async def hang_up(self) -> None:
        """End the current call."""
        await self.tell("terminate")
        await self.says(r"Call \d+ (?:with|to) .* ended")

    def heard(self) -> Sound:
        """What it recorded; complete once it was told to quit."""
        return read_wav(self._folder / "heard.wav")

    async def quit(self) -> None:
        """End it, so that what it recorded is complete."""
        await self.tell("quit")
        await self.program.ends(WAIT)


def _configuration(line: Line, media: str, rtp: int) -> str:
    identity = f"sip:{line.login}@{line.server}"
    proxy = f"<sip:{line.server};transport={line.transport}>"
    return f"""\
[sip]
sip_port={free_port(_IP)}
sip_tcp_port={free_port(_IP)}
sip_tls_port=0
use_ipv6=0
media_encryption={media}
use_info=0
use_rfc2833=1
default_proxy=0
verify_server_certs=0
verify_server_cn=0
[rtp]
audio_rtp_port={rtp}
[net]
mtu=1300
[proxy_0]
reg_proxy={proxy}
reg_route={proxy.replace(">", ";lr>")}
reg_identity={identity}
reg_expires=300
reg_sendregister=1
[auth_info_0]
username={line.login}
passwd={line.password}
"""


@contextlib.asynccontextmanager
async def linphone(
    folder: Path, line: Line, *, frequency: int, media: str = "none"
) -> AsyncIterator[Linphone]:
    """Run linphonec with a tone to say, registered, until the block ends.

    `media` is its media encryption: `none`, `srtp` or `dtls`.
    """
    (folder / ".local/share/linphone").mkdir(parents=True)
    write_wav(folder / "say.wav", tone(frequency, 60, rate=8000))
    rc = folder / "rc"
    rc.write_text(_configuration(line, media, free_udp_block(_IP, _RTP_PORTS)))
    environment = {**os.environ, "HOME": str(folder)}
    async with running(
        "linphonec", "-c", str(rc), "-d", "0", cwd=folder, env=environment, talks=True
    ) as program:
        phone = Linphone(program, folder)
        await phone.tell("soundcard use files")
        await phone.tell(f"record {folder / 'heard.wav'}")
        await phone.registers()
        yield phone
