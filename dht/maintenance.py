"""The slow heartbeat of a directory: who is still there, what has expired, what is remembered."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

import structlog

from dht.clock_check import ClockVerdict, clock_skew, judged_clock
from dht.confirming import Confirming
from dht.finder import Finder
from dht.frame import NO_COOKIE
from dht.memory import Memory
from dht.overlay import Overlay
from dht.overlay_id import OverlayId
from dht.publisher import Issuer, Publisher
from dht.publishing import Publishing
from dht.store import RecordStore
from dht.table import BUCKET_SIZE, Contact, SecureTable
from dht.tasks import Tasks
from federation.model.address import Endpoint
from federation.model.clocks import Clock, Entropy, Monotonic

log = structlog.get_logger("dht")

TICK_S = 1.0
CHECK_AFTER_S = 60.0
"A contact that was not heard for this long is asked whether it lives."
CHECK_EVERY_S = 10.0
"At most one such question in this time, however many contacts there are."
CHECK_SOONER_S = 2.0
"The same while somebody who is known is silent: more may be gone."
SUSPECT_EVERY_S = 5.0
"A contact that did not answer is asked again after this."
SETTLE_AFTER_S = (2.0, 5.0, 15.0)
"After the first contact, own place is looked up again: others may have joined in the same moment."
REFRESH_EVERY_S = 3_600.0
"Own place looked up again, and one bucket that was not looked up for an hour."
LOST_EVERY_S = 60.0
"One lost or never reached address is tried again; every 5 s while nobody is known."
ALONE_EVERY_S = 5.0
EXPIRE_EVERY_S = 60.0
GROWTH_EVERY_S = 60.0
SAVE_EVERY_S = 300.0
TOLD_OF_SERVICE = 2 * BUCKET_SIZE
"Contacts that are pinged when this node begins to serve, so that they take it into their tables."
CLOCK_EVERY_S = 10.0
SKEW_WARN_EVERY_S = 3_600.0
JITTER = 0.2


class Maintenance:
    """Runs each chore when its time has come."""

    def __init__(
        self,
        *,
        overlay: Overlay,
        confirming: Confirming,
        finder: Finder,
        table: SecureTable,
        store: RecordStore,
        publisher: Publisher,
        publishing: Publishing,
        issuer: Issuer,
        own_endpoints: Callable[[], Sequence[Endpoint]],
        lost: deque[Endpoint],
        memory: Memory,
        clock: Clock,
        entropy: Entropy,
        tasks: Tasks,
    ) -> None:
        self._tasks = tasks
        self._overlay, self._finder, self._confirming = overlay, finder, confirming
        self._table, self._store = table, store
        self._publisher, self._publishing, self._issuer = publisher, publishing, issuer
        self._own_endpoints, self._lost = own_endpoints, lost
        self._memory = memory
        self._clock, self._entropy = clock, entropy
        self._asked: dict[bytes, Monotonic] = {}
        self._due: dict[str, Monotonic] = {}
        self._clock_was = ClockVerdict.UNKNOWN
        self._settling: deque[Monotonic] | None = None

    async def run(self) -> None:
        """Tick until cancelled."""
        endpoints = tuple(self._own_endpoints())
        for chore, every in (("refresh", REFRESH_EVERY_S), ("save", SAVE_EVERY_S)):
            self._is_due(chore, every)
        while True:
            await asyncio.sleep(TICK_S)
            current = tuple(self._own_endpoints())
            if current != endpoints:
                endpoints = current
                log.info("addresses_changed", addresses=[str(e) for e in current])
                self._publishing.addresses_changed()
                self._confirming.moved()
            self._check_contacts()
            self._seek_confirmation()
            self._try_lost()
            self._settle()
            if self._is_due("expire", EXPIRE_EVERY_S):
                self._store.expire(now=self._clock.unix())
                self._publisher.forget_expired(now=self._clock.unix())
            if self._is_due("save", SAVE_EVERY_S):
                self.save()
            if self._table and self._is_due("refresh", REFRESH_EVERY_S):
                await self._refresh()
            if self._is_due("growth", GROWTH_EVERY_S):
                self._publishing.watch_growth()
            if self._is_due("clock", CLOCK_EVERY_S):
                self._watch_clock()

    def save(self) -> None:
        """Write the peer cache, if it changed."""
        self._memory.save(self._table, newest_issued=self._issuer.newest, lost=self._lost)

    def _settle(self) -> None:
        """Look our own place up a few times more after the first contact was made."""
        now = self._clock.monotonic()
        if self._settling is None:
            if not self._table:
                return
            self._settling = deque(Monotonic(now + after) for after in SETTLE_AFTER_S)
        if self._settling and now >= self._settling[0]:
            self._settling.popleft()
            self._tasks.spawn(self._look_around())

    async def _look_around(self) -> None:
        await self._finder.nearest(self._overlay.own_id)

    def _is_due(self, chore: str, every: float) -> bool:
        """Whether a chore's time has come; if so, its next time is set, with jitter."""
        now = self._clock.monotonic()
        due = self._due.get(chore)
        if due is not None and now < due:
            return False
        share = int.from_bytes(self._entropy.token(2), "big") / 65_535
        self._due[chore] = Monotonic(now + every * (1 + JITTER * (share - 0.5)))
        return True

    def _check_contacts(self) -> None:
        now = self._clock.monotonic()
        self._asked = {id_: at for id_, at in self._asked.items() if id_ in self._table}
        quiet = [c for c in self._table if not c.misses and now - c.last_heard >= CHECK_AFTER_S]
        suspects = [
            contact
            for contact in self._table
            if contact.misses and now - self._asked.get(contact.id, 0.0) >= SUSPECT_EVERY_S
        ]
        is_uneasy = any(contact.misses for contact in self._table)
        if quiet and self._is_due("check", CHECK_SOONER_S if is_uneasy else CHECK_EVERY_S):
            suspects.append(min(quiet, key=lambda contact: contact.last_heard))
        for contact in suspects[:4]:
            self._asked[contact.id] = now
            self._overlay.check(contact)

    def _seek_confirmation(self) -> None:
        """Ask peers to ping us from another port; tell those nearest when we begin to serve."""
        by_endpoint = {contact.endpoint: contact for contact in self._table if not contact.misses}
        for endpoint, token in self._confirming.due(by_endpoint):
            self._tasks.spawn(self._ask_with_cookie(by_endpoint[endpoint], token))
        if self._confirming.began_to_serve():
            self._tasks.spawn(self._announce())

    async def _ask_with_cookie(self, contact: Contact, token: bytes = b"") -> None:
        """Ping a contact so that our address is proven to it."""
        if contact.cookie(now=self._clock.monotonic()) == NO_COOKIE:
            await self._overlay.check(contact)
        await self._overlay.check(contact, token=token)

    async def _announce(self) -> None:
        """Let our neighbours know that we serve; those we did not know are met first."""
        await self._finder.nearest(self._overlay.own_id)
        for contact in self._table.nearest(self._overlay.own_id, TOLD_OF_SERVICE):
            await self._ask_with_cookie(contact)

    def _try_lost(self) -> None:
        if not self._lost:
            return
        if not self._is_due("lost", LOST_EVERY_S if self._table else ALONE_EVERY_S):
            return
        known = {contact.endpoint for contact in self._table}
        for _ in range(len(self._lost)):
            endpoint = self._lost.popleft()
            if endpoint not in known:
                self._lost.append(endpoint)
                self._overlay.ping(endpoint, sends=1)
                return

    async def _refresh(self) -> None:
        await self._finder.nearest(self._overlay.own_id)
        lonely = self._table.lonely_buckets(now=self._clock.monotonic())
        if lonely and len(self._table) > 1:
            low, high = lonely[0].range
            number = low + int.from_bytes(self._entropy.token(32), "big") % (high - low + 1)
            await self._finder.nearest(OverlayId(number.to_bytes(32, "big")))

    def _watch_clock(self) -> None:
        skew = clock_skew(self._table)
        verdict = judged_clock(skew)
        if skew is None or verdict is ClockVerdict.GOOD:
            self._due.pop("skew", None)
            self._clock_was = verdict
            return
        worsened = verdict is ClockVerdict.WRONG and self._clock_was is not verdict
        self._clock_was = verdict
        if self._is_due("skew", SKEW_WARN_EVERY_S) or worsened:
            tell = log.error if verdict is ClockVerdict.WRONG else log.warning
            tell("clock_differs_from_peers", seconds=round(skew, 1), meaning=verdict.text)
