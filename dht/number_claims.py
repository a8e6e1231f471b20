"""Whether a number follows from an account key; each answer costs an Argon2id in a thread.

Who looks a number up waits for its verdict; claims that strangers ask us to store wait in a bounded
queue that is worked off with at most a quarter of a core. What was derived is remembered.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress

from federation.model.clocks import Clock
from federation.model.identity import AccountId
from federation.model.number import Number

MAX_QUEUED = 1_000
"Claims that wait to be verified for storing; beyond, the storer answers that it is full."
MAX_WAITERS = 8
"Storers' callbacks for one pair."
BACKGROUND_SHARE = 0.25
"Of one core, for claims that strangers ask us to store."
REMEMBERED = 65_536
"Derived numbers kept, about 200 bytes each."

Derive = Callable[[AccountId], Awaitable[Number]]
"Derives a number without blocking the event loop."
Pair = tuple[Number, AccountId]


class ClaimVerifier:
    """Verdicts on (number, account key) pairs: remembered, computed now, or queued."""

    def __init__(self, derive: Derive, *, clock: Clock) -> None:
        self._derive = derive
        self._clock = clock
        self._numbers: OrderedDict[AccountId, Number] = OrderedDict()
        self._running: dict[AccountId, asyncio.Future[Number]] = {}
        self._queue: OrderedDict[Pair, list[Callable[[bool], None]]] = OrderedDict()
        self._wake = asyncio.Event()

    def known(self, number: Number, account: AccountId) -> bool | None:
        """The verdict, if there is one."""
        derived = self._numbers.get(account)
        return None if derived is None else derived == number

    def trust(self, number: Number, account: AccountId) -> None:
        """Remember a pair that was derived or verified before (an own account, a stored pin)."""
        self._remember(account, number)

    async def verify(self, number: Number, account: AccountId) -> bool:
        """Derive the account's number, unless the verdict is known, and compare."""
        derived = self._numbers.get(account)
        if derived is None:
            derived = await self._derived(account)
            self._remember(account, derived)
        return derived == number

    def enqueue(self, number: Number, account: AccountId, done: Callable[[bool], None]) -> bool:
        """Verify when there is time and call `done` with the verdict; False if too many wait."""
        pair = (number, account)
        if pair not in self._queue and len(self._queue) >= MAX_QUEUED:
            return False
        waiting = self._queue.setdefault(pair, [])
        if len(waiting) < MAX_WAITERS:
            waiting.append(done)
        self._wake.set()
        return True

    @property
    def queued(self) -> int:
        """How many claims wait."""
        return len(self._queue)

    async def run(self) -> None:
        """Work the queue off, resting three times as long as was worked; ends when cancelled."""
        while True:
            while self._queue:
                (number, account), waiting = next(iter(self._queue.items()))
                was_known = self.known(number, account) is not None
                started = self._clock.monotonic()
                verdict = await self.verify(number, account)
                self._queue.pop((number, account), None)
                for done in waiting:
                    done(verdict)
                if not was_known:
                    worked = self._clock.monotonic() - started
                    await asyncio.sleep(worked * (1 / BACKGROUND_SHARE - 1))
            self._wake.clear()
            await self._wake.wait()

    async def _derived(self, account: AccountId) -> Number:
        """One derivation for however many wait for it."""
        running = self._running.get(account)
        if running is None:
            running = asyncio.ensure_future(self._derive(account))
            self._running[account] = running
            running.add_done_callback(lambda _: self._running.pop(account, None))
        return await asyncio.shield(running)

    async def close(self) -> None:
        """Wait for derivations that were begun."""
        for running in list(self._running.values()):
            with suppress(asyncio.CancelledError):
                await running

    def _remember(self, account: AccountId, number: Number) -> None:
        self._numbers[account] = number
        self._numbers.move_to_end(account)
        while len(self._numbers) > REMEMBERED:
            self._numbers.popitem(last=False)
