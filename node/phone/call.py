"""One call as a phone has it: its course, what is said and heard, and what can be done with it."""

import asyncio
import re
import tempfile
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from node.phone.choices import Playing, playing_to_wire
from node.phone.errors import CallFailed, PhoneRefused, PhoneTimeout
from node.phone.process import Changes, PhoneProcess
from node.phone.tones import Sound, read_wav
from node.phone.wire import Line

WAIT = 10.0
"Seconds that waits last unless told otherwise."
_FILE_CLOSES = 2.0
_DATA_LENGTH_AT = slice(40, 44)
"Where a wav says how long it is; zero until the recorder has closed it."
_DTMF = frozenset("0123456789*#ABCD")
_COMPACT = {"f": "from", "t": "to", "i": "call-id", "m": "contact", "v": "via", "c": "content-type"}
_NAME_ADDR = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"|([^<"]*?))\s*<([^>]*)>')

DtmfMethod = Literal["rfc4733", "info"]


@dataclass(frozen=True, slots=True)
class SipText:
    """A SIP message as it arrived."""

    raw: str

    @property
    def first_line(self) -> str:
        """The request or status line."""
        return self.raw.partition("\r\n")[0]

    def values(self, name: str) -> list[str]:
        """The values of all headers of that name, one for each header line, unfolded."""
        head = re.sub(r"\r\n[ \t]+", " ", self.raw.partition("\r\n\r\n")[0])
        found = []
        for line in head.split("\r\n")[1:]:
            key, _, value = line.partition(":")
            key = key.strip().lower()
            if _COMPACT.get(key, key) == name.lower():
                found.append(value.strip())
        return found

    def value(self, name: str) -> str | None:
        """The first header of that name."""
        return next(iter(self.values(name)), None)


@dataclass(frozen=True, slots=True)
class Party:
    """A name and URI as a header gives them."""

    name: str
    uri: str

    @classmethod
    def parse(cls, value: str) -> "Party":
        """Read the value of From, To or P-Asserted-Identity."""
        found = _NAME_ADDR.match(value)
        if found is None:
            return cls("", value.partition(";")[0].strip())
        quoted, plain, uri = found.groups()
        return cls(re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain, uri)


@dataclass(frozen=True, slots=True)
class Digit:
    """One DTMF digit that was received."""

    at: float
    digit: str
    method: str
    "`rfc4733` or `info`."


@dataclass(frozen=True, slots=True, kw_only=True)
class RtpStats:
    """What the stream's own RTP and RTCP accounting says, since its last re-negotiation."""

    codec: str
    remote: str
    sent: int
    received: int
    lost: int
    discarded: int
    "Packets that came too late to be played."
    jitter: float
    "Seconds."


def _is_closed(recording: Path) -> bool:
    with recording.open("rb") as file:
        return any(file.read(_DATA_LENGTH_AT.stop)[_DATA_LENGTH_AT])


@dataclass(slots=True)
class CallTimes:
    """When things happened, in seconds of the machine's monotonic clock; `None`: not yet."""

    invited: float | None = None
    "The INVITE was sent, or received."
    progress: float | None = None
    "The first 18x."
    ringing: float | None = None
    "180 was received, or sent."
    confirmed: float | None = None
    ended: float | None = None


@dataclass(eq=False)
class Call:
    """One call. Obtained from `Phone.call` and `Phone.next_call`."""

    serial: int
    process: PhoneProcess = field(repr=False)
    changes: Changes = field(repr=False)
    outgoing: bool = True
    state: str = "new"
    "new, calling, incoming, early, connecting, confirmed or disconnected."
    status: int = 0
    "The last SIP status; the final one once disconnected."
    reason: str = ""
    media: str = "none"
    "none, active, local_hold, remote_hold or error."
    call_id: str = ""
    times: CallTimes = field(default_factory=CallTimes)
    invite: SipText | None = field(default=None, repr=False)
    "The INVITE of an incoming call."
    responses: list[SipText] = field(default_factory=list, repr=False)
    "Every response to this end's requests in the call, provisional ones too."
    requests: list[SipText] = field(default_factory=list, repr=False)
    "Every request of the other end within the call."
    successor: "Call | None" = field(default=None, repr=False)
    "The call that took this one's place by transfer (REFER or Replaces)."
    transfer_status: int | None = None
    "What the other end last reported of a transfer that this end asked for."
    _digits: deque[Digit] = field(default_factory=deque, repr=False)

    # what is known
    @property
    def remote(self) -> Party:
        """Who the caller says it is (From); only incoming calls know."""
        return Party.parse((self._invite().value("from")) or "")

    @property
    def asserted(self) -> Party | None:
        """Who the server says the caller is (P-Asserted-Identity, RFC 3325)."""
        value = self._invite().value("p-asserted-identity")
        return Party.parse(value) if value else None

    @property
    def post_dial_delay(self) -> float | None:
        """Seconds from INVITE to 180."""
        return self._since_invite(self.times.ringing)

    @property
    def set_up_time(self) -> float | None:
        """Seconds from INVITE to the confirmed call, ringing included."""
        return self._since_invite(self.times.confirmed)

    @property
    def has_ended(self) -> bool:
        """Whether the call is over."""
        return self.state == "disconnected"

    # what can be waited for
    async def wait_ringing(self, within: float = WAIT) -> None:
        """Wait for 180. Raises: CallFailed, PhoneTimeout, PhoneDied."""
        await self._until(lambda: self.times.ringing is not None, within, "ringing")

    async def wait_confirmed(self, within: float = WAIT) -> None:
        """Wait for the answer and its media. Raises: CallFailed, PhoneTimeout, PhoneDied."""
        await self._until(
            lambda: self.times.confirmed is not None and self.media != "none", within, "an answer"
        )

    async def wait_media(self, status: str, within: float = WAIT) -> None:
        """Wait until `media` is `status`. Raises: CallFailed, PhoneTimeout, PhoneDied."""
        await self._until(lambda: self.media == status, within, f"media {status}")

    async def wait_ended(self, within: float = WAIT) -> int:
        """Wait for the end; returns the final SIP status. Raises: PhoneTimeout, PhoneDied."""
        return await self.changes.until(
            lambda: self.status if self.has_ended else None, within, "the end of the call"
        )

    async def wait_successor(self, within: float = WAIT) -> "Call":
        """Wait until a transfer put another call in this one's place."""
        return await self.changes.until(lambda: self.successor, within, "a transfer")

    async def wait_transferred(self, within: float = WAIT) -> None:
        """Wait until the other end reports that a transfer asked for by this end was answered."""
        await self._until(lambda: self.transfer_status == 200, within, "a transfer")

    async def wait_digits(self, count: int, within: float = WAIT) -> list[Digit]:
        """Wait for `count` DTMF digits and take them. Raises: PhoneTimeout, PhoneDied."""

        def look() -> list[Digit] | None:
            if len(self._digits) < count:
                return None
            return [self._digits.popleft() for _ in range(count)]

        return await self.changes.until(look, within, f"{count} digits")

    # what can be done
    async def ring(self) -> None:
        """Send 180."""
        await self._ask("answer", code=180)

    async def answer(self) -> None:
        """Send 200 and wait until the call stands."""
        await self._ask("answer", code=200)
        await self.wait_confirmed()

    async def hang_up(self, status: int = 0) -> None:
        """End the call whatever its state: BYE, CANCEL, or a refusal with `status` (603 for 0).

        Waits for the end. Harmless when it has ended already.
        """
        if not self.has_ended:
            try:
                await self._ask("hangup", code=status)
            except PhoneRefused:
                if not self.has_ended:
                    raise
        await self.wait_ended()

    async def hold(self) -> None:
        """Put the other end on hold (re-INVITE, sendonly) and wait until it agreed."""
        await self._ask("hold")
        await self.wait_media("local_hold")

    async def resume(self) -> None:
        """Take the other end off hold and wait until it agreed."""
        await self._ask("resume")
        await self.wait_media("active")

    async def renegotiate(self, *, offer: bool = True, at: float = 0.0) -> None:
        """Send a re-INVITE for the media as it is; without `offer` the other end offers.

        It leaves at the moment `at` of the machine's monotonic clock, so that two ends can do so
        at once.
        """
        await self._ask("renegotiate", offer=offer, at=at)

    async def dtmf(
        self, digits: str, method: DtmfMethod = "rfc4733", duration: float = 0.16
    ) -> None:
        """Send digits as telephone events or as INFO requests; `duration` in seconds each.

        Raises:
            PhoneRefused: a character is no DTMF digit, or the call has no media.
        """
        if not digits or not set(digits) <= _DTMF:
            raise PhoneRefused(f"{digits!r} are not DTMF digits (0-9 * # A-D)")
        await self._ask("dtmf", digits=digits, method=method, milliseconds=round(duration * 1000))

    async def transfer(self, target: "str | Call") -> None:
        """REFER the other end to a URI, or to the other party of another call (Replaces)."""
        if isinstance(target, Call):
            await self._ask("transfer", to_call=target.serial)
        else:
            await self._ask("transfer", uri=target)

    async def play(self, playing: Playing) -> None:
        """Say this from now on, re-negotiations included."""
        await self._ask("play", play=playing_to_wire(playing))

    async def stats(self) -> RtpStats:
        """The stream's own counters."""
        return RtpStats(**await self._ask("stats"))

    async def record(self, path: Path) -> None:
        """Write what is heard to a wav (16 kHz, 16 bits), until `stop_recording` or the end."""
        await self._ask("record", path=str(path))

    async def stop_recording(self, path: Path) -> None:
        """Close the recording and wait until the file is whole; the call's end closes it too."""
        if not self.has_ended:
            try:
                await self._ask("stop_recording")
            except PhoneRefused:
                if not self.has_ended:
                    raise
        deadline = time.monotonic() + _FILE_CLOSES
        while not _is_closed(path):
            if time.monotonic() > deadline:
                raise PhoneTimeout(f"{path} was not closed within {_FILE_CLOSES:g} s")
            await asyncio.sleep(0.02)

    async def listen(self, seconds: float) -> Sound:
        """What is heard during the next `seconds`; stretches without media are silence."""
        with tempfile.TemporaryDirectory(prefix="ringmesh-phone-") as folder:
            path = Path(folder, "heard.wav")
            await self.record(path)
            await asyncio.sleep(seconds)
            await self.stop_recording(path)
            return read_wav(path)

    # how it learns
    def take(self, line: Line) -> None:
        """Follow one event of the child."""
        match line["event"]:
            case "incoming":
                self.outgoing = False
                self.times.invited = line["at"]
                self.invite = SipText(line["raw"])
            case "state":
                self._take_state(line)
            case "response":
                self.responses.append(SipText(line["raw"]))
                if line["method"] == "INVITE" and line["code"] == 180 and not self.times.ringing:
                    self.times.ringing = line["at"]
            case "request":
                self.requests.append(SipText(line["raw"]))
            case "media":
                self.media = line["status"]
            case "dtmf":
                self._digits.append(Digit(line["at"], line["digit"], line["method"]))
            case "transfer_status":
                self.transfer_status = line["code"]

    def _take_state(self, line: Line) -> None:
        self.state, self.status, self.reason = line["state"], line["code"], line["reason"]
        self.call_id = line["call_id"]
        times, at = self.times, line["at"]
        match self.state:
            case "calling":
                times.invited = times.invited or at
            case "early":
                times.progress = times.progress or at
                if self.status == 180:
                    times.ringing = times.ringing or at
            case "confirmed":
                times.confirmed = times.confirmed or at
            case "disconnected":
                times.ended = at

    # inside
    def _invite(self) -> SipText:
        if self.invite is None:
            raise PhoneRefused("only an incoming call has an INVITE to read")
        return self.invite

    def _since_invite(self, at: float | None) -> float | None:
        return None if at is None or self.times.invited is None else at - self.times.invited

    async def _ask(self, do: str, **fields: object) -> Line:
        return await self.process.ask(do, call=self.serial, **fields)

    async def _until(self, holds: Callable[[], bool], within: float, what: str) -> None:
        def look() -> bool | None:
            if holds():
                return True
            if self.has_ended:
                raise CallFailed(self.status, self.reason)
            return None

        await self.changes.until(look, within, what)
