"""SIPp as the source of load: registrations and calls at a steady rate against one server."""

import contextlib
import csv
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from node.sip.message import Request
from node.spawned import Place
from tests.benchmarks.figures import cpu_seconds
from tests.benchmarks.udp_phone import UdpPhone
from tests.support.ports import free_port
from tests.support.programs import Program, running

SCENARIOS = Path(__file__).parent / "scenarios"
PATIENCE = 12.0
"Seconds that a call which may fail waits for an answer."
GRACE = 8.0
"Seconds that the last calls of a run may take."


@dataclass(frozen=True, slots=True)
class User:
    """An account of the server under load."""

    login: str
    password: str


@dataclass(frozen=True, slots=True)
class Load:
    """What one run cost the server."""

    count: int
    cpu: float
    "Seconds, from the first message to the last."


@dataclass(frozen=True, slots=True)
class Offered:
    """What became of calls that may fail."""

    successful: int
    counted: int
    "Calls that went the way the scenario counts, a refusal; none of them successful."
    response_times: list[float]
    "Seconds, as the scenario takes them."


class OverloadError(Exception):
    """The server, or a machine that had other things to do, did not carry the load."""


class Sipp:
    """Runs scenarios against one server; each run has a folder of its own in `folder`."""

    def __init__(
        self, folder: Path, server: Place, pids: Sequence[int], *, core: int | None = None
    ) -> None:
        """`pids` are the processes whose CPU time counts; SIPp runs on `core` alone if given."""
        self._core = core
        self.server = server
        self._folder = folder
        self._pids = pids
        self._runs = 0

    async def run(
        self, scenario: str, rows: Iterable[Iterable[str]], *, rate: int, count: int
    ) -> Load:
        """Begin `count` calls, `rate` a second.

        Raises:
            OverloadError: not all of them went as the scenario says, in time.
        """
        before = cpu_seconds(*self._pids)
        folder = self._fresh_folder()
        table = folder / "rows.csv"
        table.write_text("\n".join(["SEQUENTIAL", *(";".join(row) for row in rows), ""]))
        statistics = folder / "statistics.csv"
        aim = f"{self.server.ip}:{self.server.sip_port}"
        options = ["-inf", str(table), "-r", str(rate), "-m", str(count), "-l", str(8 * rate)]
        options += ["-trace_stat", "-stf", str(statistics), "-fd", "1"]
        options += ["-timeout", str(round(count / rate + GRACE)), "-timeout_error", aim]
        async with self._program(scenario, folder, free_port(self.server.ip), *options) as program:
            code = await program.ends(count / rate + 2 * GRACE)
        with statistics.open(newline="") as file:
            last = list(csv.DictReader(file, delimiter=";"))[-1]
        if code != 0 or int(last["SuccessfulCall(C)"]) != count:
            errors = " ".join(path.read_text()[-200:] for path in folder.glob("errors*"))
            raise OverloadError(
                f"{last['SuccessfulCall(C)']} of {count} went well {errors}".rstrip()
            )
        return Load(count, cpu_seconds(*self._pids) - before)

    async def offer(
        self, scenario: str, rows: Iterable[Iterable[str]], *, rate: int, count: int
    ) -> Offered:
        """Begin `count` calls, `rate` a second, and say what became of them."""
        folder = self._fresh_folder()
        table = folder / "rows.csv"
        table.write_text("\n".join(["SEQUENTIAL", *(";".join(row) for row in rows), ""]))
        statistics = folder / "statistics.csv"
        options = ["-inf", str(table), "-r", str(rate), "-m", str(count), "-l", str(count)]
        options += ["-trace_stat", "-stf", str(statistics), "-fd", "1"]
        options += ["-trace_rtt", "-rtt_freq", "1", "-recv_timeout", str(round(1000 * PATIENCE))]
        options += ["-timeout", str(round(count / rate + PATIENCE + GRACE))]
        aim = f"{self.server.ip}:{self.server.sip_port}"
        port = free_port(self.server.ip)
        async with self._program(scenario, folder, port, *options, aim) as program:
            await program.ends(count / rate + PATIENCE + 2 * GRACE)
        with statistics.open(newline="") as file:
            last = list(csv.DictReader(file, delimiter=";"))[-1]
        seconds: list[float] = []
        for times in folder.glob("*_rtt.csv"):
            with times.open(newline="") as file:
                rows_read = list(csv.reader(file, delimiter=";"))[1:]
            seconds += [float(row[1]) / 1e3 for row in rows_read]
        counted = int(last["GenericCounter1(C)"])
        return Offered(int(last["SuccessfulCall(C)"]) - counted, counted, seconds)

    @contextlib.asynccontextmanager
    async def answering(self, scenario: str, phones: Iterable[UdpPhone]) -> AsyncIterator[None]:
        """Take the calls of `phones`, registered and closed, while the block lasts."""
        async with contextlib.AsyncExitStack() as stack:
            for phone in phones:
                program = self._program(scenario, self._fresh_folder(), phone.port)
                await stack.enter_async_context(program)
            yield

    def _program(
        self, scenario: str, folder: Path, port: int, *options: str
    ) -> contextlib.AbstractAsyncContextManager[Program]:
        ip = self.server.ip
        pinned = () if self._core is None else ("taskset", "-c", str(self._core))
        return running(
            *pinned,
            *("sipp", "-sf", str(SCENARIOS / f"{scenario}.xml"), "-i", ip, "-p", str(port)),
            *("-mi", ip, "-t", "u1", "-nostdin", "-trace_err"),
            *("-error_file", str(folder / "errors.log"), *options),
            cwd=folder,
        )

    def _fresh_folder(self) -> Path:
        self._runs += 1
        folder = self._folder / f"run{self._runs}"
        folder.mkdir(parents=True)
        return folder


@contextlib.asynccontextmanager
async def called(server: Place, users: Sequence[User]) -> AsyncIterator[UdpPhone]:
    """One device of all `users`, closed, for a program that answers at its port; gone afterwards.

    Were it left behind, each later call would ring it, too, and wait for it in vain.
    """
    phone = UdpPhone(users[0].login, users[0].password, server)

    async def register(expires: int) -> None:
        async with phone:
            for user in users:
                await phone.become(user.login, user.password).register(expires)

    await register(600)
    yield phone
    await register(0)


async def prepared_rows(
    server: Place, users: Sequence[User], aims: Sequence[str], method: str, count: int
) -> list[list[str]]:
    """Rows of login, aim and a line of credentials that are good once.

    Every user gets one challenge and answers it again and again with a rising count, as phones do.
    """
    ready = []
    for number, user in enumerate(users):
        aim = aims[number % len(aims)]
        host = f"{server.ip}:{server.sip_port}"
        uri = f"sip:{host}" if method == "REGISTER" else f"sip:{aim}@{host}"
        async with UdpPhone(user.login, user.password, server) as phone:
            digest, challenge = await phone.credentials(method, uri)
        ready.append((user, aim, uri, digest, challenge))
    field = "Authorization" if method == "REGISTER" else "Proxy-Authorization"
    rows = []
    for number in range(count):
        user, aim, uri, digest, challenge = ready[number % len(ready)]
        line = digest.answer(challenge, Request.create(method, uri, ()))
        rows.append([user.login, aim, f"{field}: {line}"])
    return rows
