"""Runs SIPp scenarios: one call to prove a thing, or thousands for load.

Scenarios stand in `scenarios/`; their accounts come as rows of a CSV, so that digest works for each
call apart. SIPp answers MD5 challenges only, and fills in `[authentication …]` for each call only
where the whole of it stands in the CSV: so it is column 3, after login, password and what the
scenario makes of it. It would digest a URI of its own making; with one aim for all calls of a run
it digests the Request-URI, as it should.
"""

import asyncio
import contextlib
import csv
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from node.phone.tones import tone
from tests.support.ports import free_port, free_udp_block
from tests.support.programs import Program, running
from tests.support.sipp_script import scenario as scenario_of

SCENARIOS = Path(__file__).parent / "scenarios"
_RTP_PORTS = 64
_CALLERS = ("call",)
"Scenarios that send a request to their aim."
_SAY = '<nop><action><exec rtp_stream="{sound},-1,0,PCMU/8000"/></action></nop>'
_SOUND_MARK = "<!-- SOUND -->"
_BIAS, _CLIP = 0x84, 32635


@dataclass(frozen=True, slots=True)
class Account:
    """What one call of a scenario needs to know."""

    login: str
    password: str = ""
    aim: str = ""
    "What is dialled, a user or a whole address; the contact (host:port) that `register` names."

    @property
    def row(self) -> str:
        """The line of SIPp's CSV: field0 to field3."""
        digest = f"[authentication username={self.login} password={self.password}]"
        aim = "" if "@" in self.aim else self.aim  # a semicolon would end the field
        return ";".join((self.login, self.password, aim, digest))


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How a run ended."""

    exit_code: int
    "0: every call went as the scenario says; 1: some did not."
    successful: int
    failed: int
    errors: str
    "What SIPp complained about."


class Sipp:
    """One running SIPp; obtained from `sipp`."""

    def __init__(self, program: Program, folder: Path, ip: str, port: int) -> None:
        self.program = program
        self.ip = ip
        self.port = port
        self._folder = folder

    @property
    def contact(self) -> str:
        """Where it listens, `host:port`."""
        return f"{self.ip}:{self.port}"

    async def result(self, within: float = 30.0) -> Result:
        """Wait for all calls of the run and count them."""
        code = await self.program.ends(within)
        errors = self._folder / "errors.log"
        counted = _last_row(self._folder / "statistics.csv")
        if counted is None:
            pytest.fail(f"SIPp ended with {code} before it began:\n{self.program.output}")
        return Result(
            exit_code=code,
            successful=int(counted["SuccessfulCall(C)"]),
            failed=int(counted["FailedCall(C)"]),
            errors=errors.read_text(errors="replace") if errors.exists() else "",
        )


def _last_row(statistics: Path) -> dict[str, str] | None:
    if not statistics.exists():
        return None
    with statistics.open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter=";"))
    return rows[-1] if rows else None


@contextlib.asynccontextmanager
async def sipp(
    folder: Path,
    scenario: str,
    *,
    target: str | None = None,
    accounts: Sequence[Account] = (),
    transport: str = "udp",
    ip: str = "127.0.0.1",
    port: int = 0,
    calls: int = 1,
    rate: float = 10,
    at_once: int = 1000,
    talk: float = 2.0,
    say: int | None = None,
    echo: bool = False,
    limit: float = 30.0,
) -> AsyncIterator[Sipp]:
    """Run `scenario` until the block ends.

    Args:
        folder: an empty folder of its own.
        scenario: name of a file in `scenarios/`, without `.xml`; or a script of several lines.
        target: `host:port` to talk to; `None` for scenarios that wait.
        accounts: one for each call in turn; from the first again when they are used up.
        transport: udp or tcp.
        ip: what SIP and RTP are bound to.
        port: for SIP; 0: any. A registrar may call back the port that a REGISTER came from, so the
            scenario that registers and the one that answers then share it, one after the other.
        calls: after how many calls the run ends.
        rate: new calls a second.
        at_once: most calls at the same time.
        talk: seconds of each `<pause/>`.
        say: Hz of a tone to send as PCMU, where the scenario says something.
        echo: send RTP back to where it comes from.
        limit: seconds after which the run fails.
    """
    port, media = port or free_port(ip), free_udp_block(ip, _RTP_PORTS)
    aims = {account.aim for account in accounts}
    aim = aims.pop() if len(aims) == 1 else ""
    if "\n" in scenario:
        whole = (aim,) if "@" in aim else ()
        name, text = "script", scenario_of("script", scenario, *whole)
        calls_out = scenario.lstrip().startswith(">")
    else:
        name, text = scenario, (SCENARIOS / f"{scenario}.xml").read_text()
        calls_out = scenario in _CALLERS
    path = _prepare(folder, name, text, say)
    options = ["-sf", str(path), "-i", ip, "-p", str(port), "-mi", ip]
    options += [
        "-mp",
        str(media),
        "-t",
        "t1" if transport == "tcp" else "u1",
        "-nostdin",
        "-m",
        str(calls),
    ]
    options += ["-r", str(rate), "-l", str(at_once), "-d", str(round(talk * 1000))]
    options += ["-trace_stat", "-stf", str(folder / "statistics.csv"), "-fd", "1"]
    options += ["-trace_err", "-error_file", str(folder / "errors.log")]
    options += ["-timeout", str(round(limit)), "-timeout_error"]
    if accounts:
        rows = folder / "accounts.csv"
        rows.write_text("\n".join(["SEQUENTIAL", *(account.row for account in accounts), ""]))
        options += ["-inf", str(rows)]
        if target is not None and aim and calls_out:
            options += ["-auth_uri", aim if "@" in aim else f"{aim}@{target}"]
    if target is not None and scenario == "register":
        options += ["-auth_uri", target]  # of itself it forgets the brackets of IPv6
    if echo:
        options += ["-rtp_echo"]
    if target is not None:
        options += [target]
    async with running("sipp", *options, cwd=folder) as program:
        if target is None:
            await _listening(program, ip, port, folder / "errors.log")
        yield Sipp(program, folder, ip, port)


def _prepare(folder: Path, name: str, text: str, say: int | None) -> Path:
    if say is not None:
        sound = folder / "say.ul"
        sound.write_bytes(ulaw(tone(say, 2, rate=8000).samples))
        text = text.replace(_SOUND_MARK, _SAY.format(sound=sound))
    path = folder / f"{name}.xml"
    path.write_text(text)
    return path


async def _listening(program: Program, ip: str, port: int, errors: Path) -> None:
    """Wait until the kernel shows the port: SIPp prints nothing useful when it is ready."""
    number = int.from_bytes(bytes(map(int, ip.split("."))), "little")
    entry = f"{number:08X}:{port:04X}"
    async with asyncio.timeout(5):
        while program.process.returncode is None:
            tables = [Path(f"/proc/net/{kind}").read_text() for kind in ("udp", "tcp")]
            if any(entry in table for table in tables):
                return
            await asyncio.sleep(0.02)
    said = errors.read_text(errors="replace") if errors.exists() else program.output
    pytest.fail(f"SIPp did not start:\n{said}")


def ulaw(samples: Sequence[int]) -> bytes:
    """Encode samples of 16 bits as ITU-T G.711 mu-law."""
    return bytes(_ulaw_octet(sample) for sample in samples)


def _ulaw_octet(sample: int) -> int:
    sign = 0x80 if sample < 0 else 0
    size = min(abs(sample), _CLIP) + _BIAS
    exponent = size.bit_length() - 8
    return ~(sign | exponent << 4 | (size >> (exponent + 3)) & 0x0F) & 0xFF
