"""Telephones of three makes that are told the same things: pjsua2, baresip and linphonec.

Each says a tone of its own and is asked what it hears. What a make cannot do stands with its class.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, Protocol

import pytest

from node.phone.call import Call
from node.phone.choices import Media, Ring, Tone
from node.phone.phone import Phone, Transport
from node.phone.tones import Limits, Sound, dominant_frequency, judge
from tests.support.baresip import Baresip, Line, baresip
from tests.support.linphone import Habits, linphone
from tests.support.nodes import Account, phone_of

Make = Literal["pjsua2", "baresip", "linphone"]
Way = Literal["plain", "sdes", "dtls", "ice"]
"How sound goes; this wheel of pjsua2 has no DTLS."
TONES: dict[str, int] = {"pjsua2": 440, "baresip": 880, "linphone": 660}
"Hz: what each make says."
_LISTEN = 0.4
_HEARD_WITHIN = 4.0
"Seconds within which a tone must be there, or gone."
_FAIR = Limits(loss=0.05, onset=0.1)


class Handset(Protocol):
    """One telephone, in one call."""

    @property
    def make(self) -> str: ...

    @property
    def gives_back(self) -> bool:
        """Whether it says what it hears, and so is not asked itself what that is."""

    async def dial(self, uri: str) -> None:
        """Call somebody."""

    async def rings(self) -> None:
        """Wait until the other end's phone rings."""

    async def answer(self) -> None:
        """Take the call that comes, and talk."""

    async def talks(self) -> None:
        """Wait for the other end to answer, and talk."""

    async def listen(self, seconds: float) -> Sound:
        """What is heard from now on."""

    async def hold(self) -> None:
        """Put the other end on hold."""

    async def resume(self) -> None:
        """Take it off hold."""

    async def press(self, digit: str) -> None:
        """Send a digit."""

    async def pressed(self) -> str:
        """Wait for a digit."""

    async def transfer(self, uri: str) -> None:
        """Have the other end call somebody else, and be out of it once that call stands."""

    async def transferred(self) -> None:
        """Wait until the other end's wish is fulfilled, and talk."""

    async def hang_up(self) -> None:
        """End the call."""

    async def ended(self) -> None:
        """Wait for the end of the call."""

    async def read(self, text: str) -> None:
        """Wait for a message."""


@dataclass
class Pjsua2:
    """Our own measuring phone."""

    make: ClassVar[str] = "pjsua2"
    gives_back: ClassVar[bool] = False
    phone: Phone
    digits_by_info: bool = False
    offers_late: bool = False
    _call: Call | None = None

    @property
    def call(self) -> Call:
        """The call it is in."""
        assert self._call is not None, "there is no call yet"
        return self._call

    async def dial(self, uri: str) -> None:
        self._call = await self.phone.call(
            uri, playing=Tone(TONES[self.make]), offer=not self.offers_late
        )

    async def rings(self) -> None:
        await self.call.wait_ringing()

    async def answer(self) -> None:
        self._call = await self.phone.next_call()
        await self.call.answer()

    async def talks(self) -> None:
        await self.call.wait_confirmed()

    async def listen(self, seconds: float) -> Sound:
        return await self.call.listen(seconds)

    async def hold(self) -> None:
        await self.call.hold()

    async def resume(self) -> None:
        await self.call.resume()

    async def press(self, digit: str) -> None:
        await self.call.dtmf(digit, "info" if self.digits_by_info else "rfc4733")

    async def pressed(self) -> str:
        (digit,) = await self.call.wait_digits(1)
        return digit.digit

    async def transfer(self, uri: str) -> None:
        await self.call.transfer(uri)
        await self.call.wait_transferred()
        await self.call.hang_up()

    async def transferred(self) -> None:
        self._call = await self.call.wait_successor()
        await self._call.play(Tone(TONES[self.make]))
        await self._call.wait_confirmed()

    async def hang_up(self) -> None:
        await self.call.hang_up()

    async def ended(self) -> None:
        await self.call.wait_ended()

    async def read(self, text: str) -> None:
        assert (await self.phone.next_message()).text == text


# What is heard


async def hear_each_other(one: Handset, other: Handset) -> None:
    """Both hear the other's tone, or their own from one that gives back what it hears."""
    checks = []
    for listener, speaker in ((one, other), (other, one)):
        if not listener.gives_back:
            checks.append(
                hears(listener, TONES[(listener if speaker.gives_back else speaker).make])
            )
    await asyncio.gather(*checks)


async def hear_each_other_again(one: Handset, other: Handset) -> None:
    """The same after a hold, when baresip does not record any more."""
    for phone in (one, other):
        if isinstance(phone, Baresip):
            await phone.give_back()
    await hear_each_other(one, other)


async def hears(listener: Handset, *frequencies: int) -> int:
    """One of these tones is there soon, and then for a while; says which."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _HEARD_WITHIN
    while True:
        sound = await listener.listen(_LISTEN)
        verdicts = [judge(sound, hz, seconds=_LISTEN, limits=_FAIR) for hz in frequencies]
        for hz, verdict in zip(frequencies, verdicts, strict=True):
            if verdict.ok:
                return hz
        assert loop.time() < deadline, f"{listener.make} heard {verdicts}"


async def hears_nothing(listener: Handset) -> None:
    """It is quiet soon, and then for a while."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _HEARD_WITHIN
    while (found := dominant_frequency(await listener.listen(_LISTEN))) is not None:
        assert loop.time() < deadline, f"{listener.make} still hears {found:.0f} Hz"


# Where they come from


def line_of(account: Account, transport: Transport = "udp") -> Line:
    """An account as baresip and linphone are told of it."""
    return Line(account["login"], account["password"], account["server"], transport)


@contextlib.asynccontextmanager
async def handset(
    make: Make,
    account: Account,
    folder: Path,
    *,
    transport: Transport = "udp",
    way: Way = "plain",
    by_info: bool = False,
    offers_late: bool = False,
) -> AsyncIterator[Handset]:
    """A phone of that make, registered.

    `by_info`: its digits go by INFO; `offers_late`: its INVITEs have no description. baresip can
    do neither.
    """
    (own := folder / make).mkdir()
    line = line_of(account, transport)
    async with contextlib.AsyncExitStack() as stack:
        enter = stack.enter_async_context
        match make:
            case "pjsua2":
                ip = own_ip() if way == "ice" else "127.0.0.1"
                media = Media(ice=way == "ice", srtp=way == "sdes")
                phone = phone_of(
                    account, local_ip=ip, transport=transport, policy=Ring(),
                    playing=Tone(TONES[make]), media=media,
                )  # fmt: skip
                yield Pjsua2(await enter(phone), by_info, offers_late)
            case "baresip":
                modules, words = _BARESIP_WAYS[way]
                # Its buffer takes a second device's early sound for old packets of the first one's.
                yield await enter(
                    baresip(
                        own,
                        line=line,
                        frequency=TONES[make],
                        answers=False,
                        media=words,
                        modules=modules,
                        jitter_buffer=False,
                    )
                )
            case "linphone":
                habits = Habits(
                    encryption={"sdes": "srtp", "dtls": "dtls"}.get(way, "none"),
                    ice=way == "ice",
                    digits_by_info=by_info,
                    offers_late=offers_late,
                )
                yield await enter(linphone(own, line, frequency=TONES[make], habits=habits))


_BARESIP_WAYS: dict[Way, tuple[tuple[str, ...], str]] = {
    "plain": ((), ""),
    "sdes": (("srtp",), ";mediaenc=srtp-mand"),
    "dtls": (("srtp", "dtls_srtp"), ";mediaenc=dtls_srtp"),
    "ice": (("ice",), ";medianat=ice"),
}


@contextlib.asynccontextmanager
async def together(
    *phones: contextlib.AbstractAsyncContextManager[Handset],
) -> AsyncIterator[list[Handset]]:
    """All of them, started at the same time."""
    async with contextlib.AsyncExitStack() as stack:
        yield await asyncio.gather(*(stack.enter_async_context(phone) for phone in phones))


def own_ip() -> str:
    """An address of this machine that is not one of loopback: ICE passes those over."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no address but loopback's: ICE has no candidates")
        return str(probe.getsockname()[0])
