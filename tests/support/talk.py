"""A call that stands while a test does something to the nodes beneath it."""

from dataclasses import dataclass

from node.phone.call import Call
from node.phone.check import CALLEE_TONE, CALLER_TONE, hear_both
from node.phone.choices import Answer, Tone
from node.phone.phone import Phone
from node.phone.tones import Limits, Verdict

FAIR = Limits(loss=0.05)
"What counts as undisturbed on a busy machine."
BROKEN = Limits(loss=0.9, onset=3.0)
"For stretches whose gap is what is measured."


@dataclass(frozen=True, slots=True)
class Talk:
    """Two phones in a call, each playing its tone."""

    caller: Call
    callee: Call

    async def heard(self, seconds: float = 1.0, limits: Limits = FAIR) -> tuple[Verdict, Verdict]:
        """What caller and callee hear of each other from now on."""
        return await hear_both(self.caller, self.callee, seconds=seconds, limits=limits)

    async def is_heard(self, seconds: float = 1.0) -> None:
        """Both hear the other as they should."""
        for who, verdict in zip(("caller", "callee"), await self.heard(seconds), strict=True):
            assert verdict.ok, f"{who}: {verdict}"

    async def hang_up(self) -> None:
        """The caller hangs up, and the callee hears of it."""
        await self.caller.hang_up()
        await self.callee.wait_ended()


async def talk(caller: Phone, callee: Phone, target: str) -> Talk:
    """Have `caller` dial `target`, where `callee` answers at once."""
    await callee.set_policy(Answer(), Tone(CALLEE_TONE))
    call = await caller.call(target, playing=Tone(CALLER_TONE))
    await call.wait_confirmed()
    answered = await callee.next_call()
    while (answered.times.invited or 0.0) < (call.times.invited or 0.0):
        answered = await callee.next_call()  # an earlier one that nobody took
    await answered.wait_confirmed()
    return Talk(call, answered)
