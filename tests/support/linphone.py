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
from dataclasses import dataclass
from pathlib import Path

from node.phone.tones import Sound, tone, write_wav
from tests.support.baresip import Line
from tests.support.ports import free_port, free_udp_block
from tests.support.programs import Program, running
from tests.support.recording import growing

_IP = "127.0.0.1"
"What its sockets send from, bound to every address as they are."
_RTP_PORTS = 8
_REGISTERED = "registered, identity"
WAIT = 15.0
"Seconds that waits last; it looks at its sockets five times a second."


@dataclass(frozen=True, slots=True)
class Habits:
    """What one linphone does and another does not."""

    encryption: str = "none"
    "Of sound: `none`, `srtp` or `dtls`."
    ice: bool = False
    offers_late: bool = False
    "Its INVITEs have no description, and the answer is in the ACK."
    digits_by_info: bool = False
    "In place of telephone events."
    watches: str = ""
    "The URI of somebody whose presence it subscribes to."


class Linphone:
    """One running linphonec; obtained from `linphone`. It plays its tone to whom it holds."""

    make = "linphone"
    gives_back = False

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
        """Call somebody; what comes before the answer is heard, too."""
        await self.tell(f"call {uri} --early-media")

    async def rings(self) -> None:
        """Wait until the other end's phone rings."""
        await self.says(r"Call \d+ to .* ringing")

    async def answer(self) -> None:
        """Take the call that comes."""
        await self.says(r"incoming call from")
        await self.tell("answer")
        await self.talks()

    async def talks(self) -> None:
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

    async def transfer(self, uri: str) -> None:
        """Have the other end call somebody else (REFER), and leave once that call stands."""
        await self.tell(f"transfer {uri}")
        await self.ended()

    async def transferred(self) -> None:
        """Wait until the call stands that the other end wished for."""
        await self.talks()

    async def press(self, digit: str) -> None:
        """Send a DTMF digit, by INFO if that is its habit."""
        await self.tell(digit)

    async def pressed(self) -> str:
        """Wait for the next digit from the other end, by whatever way it comes."""
        return (await self.says(r"Receiving tone (.)"))[1]

    async def listen(self, seconds: float) -> Sound:
        """What is heard during the next `seconds`."""
        return await growing(self._folder / "heard.wav", seconds)

    async def hang_up(self) -> None:
        """End the current call."""
        await self.tell("terminate")
        await self.ended()

    async def ended(self) -> None:
        """Wait for the end of the call."""
        await self.says(r"Call \d+ (?:with|to) .* ended")

    async def read(self, text: str) -> None:
        """Wait for a message."""
        await self.says(text)


def _configuration(line: Line, habits: Habits, rtp: int) -> str:
    identity = f"sip:{line.login}@{line.server}"
    proxy = f"<sip:{line.server};transport={line.transport}>"
    return f"""\
[sip]
sip_port={free_port(_IP)}
sip_tcp_port={free_port(_IP)}
sip_tls_port={-1 if line.transport == "tls" else 0}
use_ipv6=0
media_encryption={habits.encryption}
use_info={int(habits.digits_by_info)}
use_rfc2833={int(not habits.digits_by_info)}
sdp_200_ack={int(habits.offers_late)}
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
nat_policy_ref=own
[nat_policy_0]
ref=own
protocols={"ice" if habits.ice else ""}
[auth_info_0]
username={line.login}
passwd={line.password}
{_friend(habits.watches)}"""


def _friend(uri: str) -> str:
    return f"[friend_0]\nurl=<{uri}>\npol=accept\nsubscribe=1\n" if uri else ""


@contextlib.asynccontextmanager
async def linphone(
    folder: Path, line: Line, *, frequency: int, habits: Habits | None = None
) -> AsyncIterator[Linphone]:
    """Run linphonec with a tone to say, registered, until the block ends."""
    (folder / ".local/share/linphone").mkdir(parents=True)
    write_wav(folder / "say.wav", tone(frequency, 60, rate=8000))
    rc = folder / "rc"
    rc.write_text(_configuration(line, habits or Habits(), free_udp_block(_IP, _RTP_PORTS)))
    environment = {**os.environ, "HOME": str(folder)}
    async with running(
        "linphonec", "-c", str(rc), "-d", "0", cwd=folder, env=environment, talks=True
    ) as program:
        phone = Linphone(program, folder)
        await phone.tell("soundcard use files")
        await phone.tell(f"record {folder / 'heard.wav'}")
        await phone.registers()
        yield phone
