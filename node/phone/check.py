"""Judges a call between two phones by what each of them hears.

Each end plays a tone of its own, so that a verdict tells apart silence, an echo of one's own voice,
and the other end. A call that fails is a report that says so, never an exception.
"""

import asyncio
from dataclasses import dataclass
from typing import Any

from node.phone.call import Call, Party, RtpStats
from node.phone.choices import Answer, Tone
from node.phone.errors import CallFailed, PhoneTimeout
from node.phone.phone import Phone
from node.phone.tones import Limits, Verdict, judge

CALLER_TONE, CALLEE_TONE = 440, 880
"Hz."
LEVEL = -12.0
"dBFS of what is played."
LEVEL_TOLERANCE = 3.0
"dB by which a level may differ; codecs change it by less than one."


@dataclass(frozen=True, slots=True, kw_only=True)
class CallReport:
    """What became of one call."""

    target: str
    "What was dialled."
    status: int
    "The SIP status: 200 for an answered call."
    reason: str
    post_dial_delay: float | None
    "Seconds from INVITE to 180 at the caller."
    set_up_time: float | None
    "Seconds from INVITE to the confirmed call, ringing included."
    by_caller: Verdict | None
    "What the caller heard; `None` if there was no call to hear."
    by_callee: Verdict | None
    "What the callee heard; `None` without a call, or where the callee is no phone of ours."
    caller_rtp: RtpStats | None = None
    callee_rtp: RtpStats | None = None
    shown: Party | None = None
    "Who the callee's phone shows as the caller (From)."
    asserted: Party | None = None
    "Who the callee's server vouches for (P-Asserted-Identity)."
    problems: tuple[str, ...] = ()
    "What is wrong, in words; empty when all is well."

    @property
    def ok(self) -> bool:
        """Whether everything was heard as it should be."""
        return not self.problems

    def lines(self) -> list[str]:
        """The report for a person."""
        out = [f"called {self.target}: {self.status} {self.reason}"]
        if self.post_dial_delay is not None:
            out.append(f"rang after {self.post_dial_delay * 1000:.0f} ms")
        if self.set_up_time is not None:
            out.append(f"stood after {self.set_up_time * 1000:.0f} ms, ringing included")
        if self.by_caller is not None:
            out.append(f"caller heard {self.by_caller}")
        if self.by_callee is not None:
            out.append(f"callee heard {self.by_callee}")
        if self.shown is not None:
            vouched = " (vouched for)" if self.asserted else ""
            out.append(f"callee saw {self.shown.name} <{self.shown.uri}>{vouched}")
        return [*out, *(f"problem: {problem}" for problem in self.problems)]

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def as_json(self) -> dict[str, Any]:
        """The report for a machine: numbers in Hz, dBFS, seconds and parts of one."""
        return {
            "target": self.target,
            "ok": self.ok,
            "status": self.status,
            "reason": self.reason,
            "post_dial_delay": self.post_dial_delay,
            "set_up_time": self.set_up_time,
            "caller_heard": _verdict_json(self.by_caller),
            "callee_heard": _verdict_json(self.by_callee),
            "shown": self.shown.uri if self.shown else None,
            "asserted": self.asserted.uri if self.asserted else None,
            "problems": list(self.problems),
        }


def _verdict_json(verdict: Verdict | None) -> dict[str, Any] | None:
    if verdict is None:
        return None
    return {
        "ok": verdict.ok,
        "expected": verdict.expected,
        "frequency": verdict.frequency,
        "level": verdict.level if verdict.frequency is not None else None,
        "onset": verdict.onset,
        "loss": verdict.loss,
        "longest_gap": verdict.longest_gap,
        "problems": list(verdict.problems),
    }


async def hear(
    call: Call, expected: float, *, seconds: float = 2.0, limits: Limits | None = None
) -> Verdict:
    """Listen for `seconds` and compare with the tone that should be heard."""
    sound = await call.listen(seconds)
    return await asyncio.to_thread(judge, sound, expected, seconds=seconds, limits=limits)


async def hear_both(
    caller: Call,
    callee: Call,
    *,
    seconds: float = 2.0,
    caller_tone: int = CALLER_TONE,
    callee_tone: int = CALLEE_TONE,
    limits: Limits | None = None,
) -> tuple[Verdict, Verdict]:
    """What each end hears of the other at the same time: caller's verdict, callee's verdict."""
    by_caller, by_callee = await asyncio.gather(
        hear(caller, callee_tone, seconds=seconds, limits=limits),
        hear(callee, caller_tone, seconds=seconds, limits=limits),
    )
    return by_caller, by_callee


async def measure_call(
    caller: Phone,
    callee: Phone,
    target: str,
    *,
    seconds: float = 2.0,
    ring: float = 0.2,
    caller_tone: int = CALLER_TONE,
    callee_tone: int = CALLEE_TONE,
    within: float = 10.0,
    limits: Limits | None = None,
) -> CallReport:
    """Have `caller` dial `target`, where `callee` answers after `ring` seconds, and measure.

    Both phones play their tone and listen for `seconds`; then the caller hangs up and both ends
    must see the end.

    Raises:
        PhoneRefused: `target` cannot be dialled.
        PhoneDied: a phone is gone.
    """
    await callee.set_policy(Answer(after=ring), Tone(callee_tone, LEVEL))
    call = await caller.call(target, playing=Tone(caller_tone, LEVEL))
    answered: Call | None = None
    try:
        await call.wait_confirmed(within)
        answered = await _counterpart(call, callee, within)
        await answered.wait_confirmed(within)
        heard = await hear_both(
            call,
            answered,
            seconds=seconds,
            caller_tone=caller_tone,
            callee_tone=callee_tone,
            limits=limits,
        )
        rtp = (await call.stats(), await answered.stats())
        await call.hang_up()
        await answered.wait_ended(within)
    except (CallFailed, PhoneTimeout) as error:
        await _leave(call)
        return _failure(target, call, answered, str(error))
    return CallReport(
        target=target,
        status=200,
        reason="OK",
        post_dial_delay=call.post_dial_delay,
        set_up_time=call.set_up_time,
        by_caller=heard[0],
        by_callee=heard[1],
        caller_rtp=rtp[0],
        callee_rtp=rtp[1],
        shown=answered.remote,
        asserted=answered.asserted,
        problems=(*_complaints("caller", heard[0]), *_complaints("callee", heard[1])),
    )


async def measure_echo(
    phone: Phone,
    target: str,
    *,
    seconds: float = 2.0,
    frequency: int = CALLER_TONE,
    within: float = 10.0,
    limits: Limits | None = None,
) -> CallReport:
    """Dial an echo service and check that this phone hears its own tone.

    Raises:
        PhoneRefused: `target` cannot be dialled.
        PhoneDied: the phone is gone.
    """
    call = await phone.call(target, playing=Tone(frequency, LEVEL))
    try:
        await call.wait_confirmed(within)
        heard = await hear(call, frequency, seconds=seconds, limits=limits)
        rtp = await call.stats()
        await call.hang_up()
    except (CallFailed, PhoneTimeout) as error:
        await _leave(call)
        return _failure(target, call, None, str(error))
    return CallReport(
        target=target,
        status=200,
        reason="OK",
        post_dial_delay=call.post_dial_delay,
        set_up_time=call.set_up_time,
        by_caller=heard,
        by_callee=None,
        caller_rtp=rtp,
        problems=tuple(_complaints("caller", heard)),
    )


def _complaints(who: str, verdict: Verdict) -> list[str]:
    found = [f"{who}: {problem}" for problem in verdict.problems]
    if verdict.ok and abs(verdict.level - LEVEL) > LEVEL_TOLERANCE:
        found.append(f"{who}: level {verdict.level:.1f} dBFS where {LEVEL:.1f} was played")
    return found


async def _counterpart(call: Call, callee: Phone, within: float) -> Call:
    """The callee's side of `call`; earlier calls that nobody took are passed over."""
    while True:
        answered = await callee.next_call(within)
        # Not by time: the callee may note the INVITE before its sender notes having sent it.
        if answered.invite is not None and answered.invite.value("Call-ID") == call.call_id:
            return answered


async def _leave(call: Call) -> None:
    """End what may be left of a call that went wrong."""
    try:
        await call.hang_up()
    except PhoneTimeout:
        return  # the other end is gone; the phone gives up by itself


def _failure(target: str, call: Call, answered: Call | None, problem: str) -> CallReport:
    return CallReport(
        target=target,
        status=call.status,
        reason=call.reason,
        post_dial_delay=call.post_dial_delay,
        set_up_time=call.set_up_time,
        by_caller=None,
        by_callee=None,
        shown=answered.remote if answered else None,
        asserted=answered.asserted if answered else None,
        problems=(problem,),
    )
