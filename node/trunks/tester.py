"""`trunk test`: each step that a call over a trunk depends on, tried now."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from federation.model.clocks import Entropy
from node.sip.errors import SipParseError
from node.sip.locate import Hop, LocateError
from node.sip.message import Response
from node.sip.registration import RegistrationState, own_request
from node.trunks.book import TrunkBook
from node.trunks.lines import Answer, Line, TrunkLines
from node.trunks.trunk import PbxSettings, ProviderSettings, Trunk

OPTIONS_PATIENCE = 4.0
"Seconds a server may take to answer OPTIONS here."
REGISTRATION_PATIENCE = 12.0
MAX_ASKED = 4
"Servers that are asked."
SILENT = "check its address and port, and that no firewall is between"
Step = dict[str, Any]


def step(name: str, ok: bool | None, says: str) -> Step:
    """One line of the answer; `ok` is `None` where nothing is wrong, but something may be meant."""
    return {"step": name, "ok": ok, "says": says}


@dataclass(slots=True)
class TrunkTester:
    """Tries trunks that have servers of their own."""

    lines: TrunkLines
    book: TrunkBook
    entropy: Entropy
    elapsed: Callable[[], float] = time.monotonic

    async def test(self, trunk: Trunk) -> list[Step]:
        """DNS, reachability, registration, credentials, numbers: in this order."""
        line, settings = self.lines.get(trunk.name), trunk.settings
        if line is None:
            return [step("registration", False, "this trunk is not in use")]
        steps, hops = await self._dns(trunk)
        answered, more = await self._reach(line, hops)
        steps += more
        if isinstance(settings, ProviderSettings):
            steps += await self._registration(line, settings, can_answer=answered)
            steps += self._numbers(trunk, settings)
        return steps

    async def _dns(self, trunk: Trunk) -> tuple[list[Step], list[Hop]]:
        settings, steps, found = trunk.settings, list[Step](), dict[Hop, None]()
        names: Sequence[str] = (
            (settings.static or "",) if isinstance(settings, PbxSettings) else settings.servers
        )
        for name in names:
            try:
                hops = await self.lines.find(name, settings.transport)
            except (LocateError, SipParseError) as error:
                option = "static" if isinstance(settings, PbxSettings) else "server"
                other = f"name another with: ringmesh trunk set {trunk.name} --{option} HOST"
                steps.append(step("dns", False, f"{name}: {error}; {other}"))
                continue
            found |= dict.fromkeys(hops)
            where = ", ".join(f"{hop.transport} {hop.remote}" for hop in hops[:MAX_ASKED])
            steps.append(step("dns", True, f"{name} leads to {where}"))
        return steps, list(found)

    async def _reach(self, line: Line, hops: Sequence[Hop]) -> tuple[bool, list[Step]]:
        chosen = hops[:MAX_ASKED]
        answers = await asyncio.gather(*(self._options(line, hop) for hop in chosen))
        return any(one["ok"] for one in answers), list(answers)

    async def _options(self, line: Line, hop: Hop) -> Step:
        heard: asyncio.Future[tuple[bool, str]] = asyncio.get_running_loop().create_future()
        began = self.elapsed()

        def answered(response: Response) -> None:
            if not heard.done():
                took = (self.elapsed() - began) * 1000
                said = f"answers {response.status} {response.reason} in {took:.0f} ms"
                heard.set_result((True, said))

        def silent(reason: str) -> None:
            if not heard.done():
                heard.set_result((False, reason))

        call_id = f"{self.entropy.token(8).hex()}@ringmesh"
        target = f"sip:{hop.remote}"
        request = own_request("OPTIONS", target, line.core.aor, call_id, 1, self.entropy)
        self.lines.ask(request, hop, Answer(answered, silent))
        try:
            async with asyncio.timeout(OPTIONS_PATIENCE):
                ok, said = await heard
        except TimeoutError:
            ok, said = False, f"does not answer OPTIONS in {OPTIONS_PATIENCE:g} s: {SILENT}"
        return step("reachable", ok, f"{hop.transport} {hop.remote} {said}")

    async def _registration(
        self, line: Line, settings: ProviderSettings, *, can_answer: bool
    ) -> list[Step]:
        if settings.login is None:
            text = "none: the provider must know this node by its address"
            return [step("registration", None, text)]
        self.lines.begin_again(line)
        await self._settled(line)
        core = line.core
        if core.state is RegistrationState.REGISTERED and not core.reason:
            return [
                step("registration", True, f"{core.aor} is registered at {core.current_text}"),
                step("credentials", True, f"the provider takes the password of {settings.login}"),
            ]
        said = core.reason or f"no registrar answered in {REGISTRATION_PATIENCE:g} s"
        wrong = core.state is RegistrationState.REFUSED and "login or password" in said
        steps = [step("registration", False, said)]
        if wrong:
            text = f"give others with: ringmesh trunk set {line.trunk.name} --login … --password …"
            steps.append(step("credentials", False, text))
        elif not can_answer:
            steps.append(step("credentials", None, "not tried: no server answers"))
        return steps

    async def _settled(self, line: Line) -> None:
        """Wait for what the registrar says."""
        try:
            async with asyncio.timeout(REGISTRATION_PATIENCE):
                await line.settled.wait()
        except TimeoutError:
            return

    def _numbers(self, trunk: Trunk, settings: ProviderSettings) -> list[Step]:
        steps = []
        if settings.rules:
            rules = ", ".join(str(rule) or "any number" for rule in settings.rules)
            steps.append(step("calls out", True, f"numbers that begin with: {rules}"))
        else:
            text = "no number goes out here: name some with --prefix"
            steps.append(step("calls out", None, text))
        count = len(self.book.dids)
        if count:
            steps.append(step("calls in", True, f"{count} numbers are mapped to accounts here"))
        else:
            text = "no number is mapped: ringmesh did map NUMBER LOGIN"
            steps.append(step("calls in", None, text))
        return steps
