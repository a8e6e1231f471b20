"""The parent's end of a phone process: starts it, asks it, hears it, never waits for ever."""

import asyncio
import contextlib
import importlib.util
import os
import sys
from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeVar

from node.phone.errors import PhoneDied, PhoneMissing, PhoneRefused, PhoneTimeout
from node.phone.wire import LONGEST_LINE, Line, LineReader, encode

COMMAND_DEADLINE = 10.0
"Seconds for the answer to a command; they take milliseconds on a machine that is not overloaded."
_STOP_DEADLINE = 4.0
_LAST_WORDS = 12
"Lines of the child's error output that are kept for a complaint."
_Found = TypeVar("_Found")


def require_wheel() -> None:
    """Complain, before anything is started, if phones cannot be had here.

    Raises:
        PhoneMissing: the pjsua2 wheel is not installed.
    """
    if importlib.util.find_spec("pjsua2") is None:
        raise PhoneMissing(
            "phones need the pjsua2 wheel: pip install 'ringmesh[phone]' (or pjsua2-python)"
        )


class Changes:
    """Lets coroutines wait until something they look at has changed, or has become impossible."""

    def __init__(self) -> None:
        self._waiters: set[asyncio.Future[None]] = set()
        self._end: PhoneDied | None = None

    def notify(self) -> None:
        """Something changed: everybody who waits looks again."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    def end(self, error: PhoneDied) -> None:
        """Nothing will change any more; whoever waits, now or later, gets `error`."""
        self._end = error
        self.notify()

    async def until(self, look: Callable[[], _Found | None], within: float, what: str) -> _Found:
        """Wait until `look` finds something, and return that.

        Raises:
            PhoneTimeout: it found nothing in `within` seconds.
            PhoneDied: it never will.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within
        while (found := look()) is None:
            if self._end is not None:
                raise self._end
            waiter: asyncio.Future[None] = loop.create_future()
            self._waiters.add(waiter)
            try:
                async with asyncio.timeout_at(deadline):
                    await waiter
            except TimeoutError as error:
                raise PhoneTimeout(f"{what} did not happen within {within:g} s") from error
            finally:
                self._waiters.discard(waiter)
        return found


class PhoneProcess:
    """One child process and the conversation with it."""

    def __init__(
        self,
        on_event: Callable[[Line], None],
        changes: Changes,
        command: Sequence[str] | None = None,
    ) -> None:
        self._command = command
        self._on_event = on_event
        self._changes = changes
        self._process: asyncio.subprocess.Process | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._answers: dict[int, asyncio.Future[Line]] = {}
        self._last_words: deque[str] = deque(maxlen=_LAST_WORDS)
        self._next = 0
        self._stopping = False

    @property
    def pid(self) -> int | None:
        """The process id, once started."""
        return self._process.pid if self._process else None

    async def start(self) -> None:
        """Start the child.

        Raises:
            PhoneMissing: the wheel is not installed.
        """
        command = self._command
        if command is None:
            require_wheel()
            command = (sys.executable, "-m", "node.phone.child", str(os.getpid()))
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            *command,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            limit=LONGEST_LINE,
            start_new_session=True,  # Ctrl-C is handled by the owner of the phone
        )
        self._tasks = [
            asyncio.create_task(self._read(self._process)),
            asyncio.create_task(self._read_last_words(self._process)),
        ]

    async def ask(self, do: str, **fields: object) -> Line:
        """Give one command and return its result.

        Raises:
            PhoneRefused: the child says it cannot.
            PhoneDied: there is no child (any more).
            PhoneTimeout: the child does not answer.
        """
        if self._process is None or self._process.stdin is None or self._stopping:
            raise PhoneDied("the phone is not running")
        self._next += 1
        number = self._next
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(COMMAND_DEADLINE):
                self._process.stdin.write(encode({"id": number, "do": do, **fields}))
                await self._process.stdin.drain()
                line = await answer
        except TimeoutError as error:
            raise PhoneTimeout(f"the phone did not {do} in {COMMAND_DEADLINE:g} s") from error
        except (BrokenPipeError, ConnectionResetError) as error:
            raise self._died() from error
        finally:
            del self._answers[number]
        if "error" in line:
            raise PhoneRefused(f"{do}: {line['error']}")
        result: Line = line["result"]
        return result

    async def stop(self) -> None:
        """Have the phone hang up and un-register; see its process end. Harmless when repeated."""
        process, self._process = self._process, None
        if process is None:
            return
        self._stopping = True
        try:
            if process.stdin is not None and process.returncode is None:
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    process.stdin.write(encode({"id": 0, "do": "stop"}))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_STOP_DEADLINE):
                        await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
            await asyncio.wait(self._tasks)
            if process.stdin is not None:
                process.stdin.close()
            self._changes.end(PhoneDied("the phone was stopped"))

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        reader = LineReader()
        assert process.stdout is not None
        while data := await process.stdout.read(LONGEST_LINE):
            for line in reader.feed(data):
                self._take(line)
        await process.wait()
        error = self._died()
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(error)
        self._changes.end(error)

    def _take(self, line: Line) -> None:
        if "event" in line:
            self._on_event(line)
            self._changes.notify()
        elif (answer := self._answers.get(line["id"])) is not None and not answer.done():
            answer.set_result(line)

    async def _read_last_words(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        async for line in process.stderr:
            self._last_words.append(line.decode(errors="replace").rstrip())

    def _died(self) -> PhoneDied:
        said = [words for words in self._last_words if words]
        return PhoneDied("\n".join(["the phone's process ended unexpectedly", *said]))
