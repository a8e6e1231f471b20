"""The owner's consent at work: strangers let in and sent away, usage kept, the offer published."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import structlog

from dht.record import RelayOffer
from federation.model.clocks import Clock, Monotonic
from media_relay.guest_desk import GuestLimits
from media_relay.pool import RelayPool
from node.control import JsonObject, RefusedError
from node.relaying import words
from node.relaying.consent import Consent, ConsentChange, month_of
from node.setting import SettingError
from node.storage.relay_usage import keep_consent
from node.storage.storage import Storage

TICK_SECONDS = 1.0
"Between two looks at usage and clock; what was relayed is kept as often, if there was any."
GRACE_SECONDS = 60
"How long strangers may stay when the hours end, or the month's bytes are used up."
OFFER_SECONDS = 60.0
"The published offer follows the load not more often than this."

log = structlog.get_logger("relay")
Publish = Callable[[RelayOffer | None], None]


class RelayOwner:
    """Decides whether strangers may use the relay now. Nothing here concerns own accounts."""

    def __init__(
        self,
        consent: Consent,
        usage: dict[str, int],
        *,
        pool: RelayPool,
        storage: Storage,
        families: int,
        clock: Clock,
    ) -> None:
        self.consent = consent
        self.state = "off"
        "`open`, `off`, `hours` (not at this time of day) or `month` (used up)."
        self.on_off: Callable[[], None] = lambda: None
        "Called when strangers have to go at once."
        self.on_tick: Callable[[], None] = lambda: None
        self.publish: Publish = lambda offer: None
        "Tells the network what is offered."
        self._usage, self._pool, self._storage = usage, pool, storage
        self._families, self._clock = families, clock
        self._seen = 0
        self._month = month_of(clock.unix())
        self._offer: RelayOffer | None = None
        self._offered_at: Monotonic | None = None

    # What people ask

    async def on(self, change: ConsentChange) -> JsonObject:
        """Let strangers in, within these limits; kept over restarts."""
        return await self._choose(change, strangers=True)

    async def off(self) -> JsonObject:
        """Send strangers away at once; kept over restarts."""
        return await self._choose(ConsentChange(), strangers=False)

    def usage(self) -> JsonObject:
        """Limits, and what is used of them."""
        self._count()
        report, consent = self._pool.guest_report(), self.consent
        return {
            "strangers": consent.strangers,
            "state": self.state,
            "limits": {
                "kbit": consent.kbit,
                "sessions": consent.sessions,
                "gb_month": consent.gb_month,
                "hours": consent.hours,
            },
            "now": {"kbit": report.kbits, "sessions": report.ports},
            "month": self._month,
            "bytes": self.used,
            "bytes_left": max(0, consent.bytes_month - self.used),
            "dropped": report.dropped,
            "months": dict(sorted(self._usage.items())),
        }

    @property
    def used(self) -> int:
        """Bytes relayed for strangers this month."""
        return self._usage.get(self._month, 0)

    def refusal(self) -> int | None:
        """Why nobody can be lent anything now, as a status of `words`."""
        if self.state != "open":
            return words.UNWILLING
        report = self._pool.guest_report()
        full = not report.kbits_free or report.ports >= self.consent.sessions
        return words.FULL if full else None

    # Time

    async def run(self) -> None:
        """Keep limits and offer true; until cancelled."""
        while True:
            self.tick()
            await asyncio.sleep(TICK_SECONDS)

    def tick(self) -> None:
        """Look at usage and clock."""
        self._count()
        month = month_of(self._clock.unix())
        if month != self._month:
            log.info("relay_month_ended", month=self._month, bytes=self.used)
            self._month = month
            if self.state == "open":
                self._let_in()
        self._follow()
        self.on_tick()
        self._tell()

    def _follow(self) -> None:
        """Move to the state that consent, clock and usage ask for."""
        before, self.state = self.state, self._wanted()
        if before == self.state:
            return
        log.info("relay_for_strangers", state=self.state, month=self._month, bytes=self.used)
        if self.state == "open":
            self._let_in()
        elif self.state == "off":
            self._pool.guests_close()
            self.on_off()
        elif before == "open":
            self._pool.guests_close(GRACE_SECONDS)

    def _wanted(self) -> str:
        if not self.consent.strangers:
            return "off"
        if self.used >= self.consent.bytes_month:
            return "month"
        return "open" if self.consent.covers(self._clock.unix()) else "hours"

    def _let_in(self) -> None:
        left = max(0, self.consent.bytes_month - self.used)
        self._pool.guests_open(GuestLimits(self.consent.kbit, self.consent.sessions, left))

    def _count(self) -> None:
        passed = self._pool.guest_report().passed
        new, self._seen = passed - self._seen, passed
        if new:
            self._usage[self._month] = self.used + new
            row = {"month": self._month, "bytes": self.used}
            self._storage.put("relay_usage", (self._month,), row)

    def _tell(self) -> None:
        """Publish what is offered: at once if willing changes, the load now and then."""
        offer = None
        if self.state == "open":
            report = self._pool.guest_report()
            free = max(0, self.consent.sessions - report.ports)
            offer = RelayOffer(self._families, report.kbits_free, free)
        now, told = self._clock.monotonic(), self._offer
        if offer == told or (
            offer is not None
            and told is not None
            and self._offered_at is not None
            and now - self._offered_at < OFFER_SECONDS
        ):
            return
        self._offer, self._offered_at = offer, now
        self.publish(offer)

    async def _choose(self, change: ConsentChange, *, strangers: bool) -> JsonObject:
        self._count()
        try:
            chosen = change.applied(self.consent, strangers=strangers)
        except SettingError as error:
            raise RefusedError(str(error), 400) from error
        values: dict[str, Any] = msgspec.to_builtins(chosen)
        await self._storage.run(lambda connection: keep_consent(connection, values))
        self.consent = chosen
        if self.state == "open" and self._wanted() == "open":
            self._let_in()
        self.tick()
        return self.usage()
