"""How often a source may try a secret: logins, one-time links, invitations, files for devices."""

from collections import OrderedDict

from dht.cookie import TokenBucket
from federation.model.clocks import Clock
from node.storage.bans import source_of

TRIES_AT_ONCE = 10
"Wrong secrets from one source (IPv6: one /64) before it has to wait."
SECONDS_A_TRY = 6.0
"How long it then waits for each further one."
MAX_SOURCES = 10_000
SAID_AT_ONCE = 10
"Lines of the log about those who are refused without delay."
SAID_A_SECOND = 1.0
"And from then on: whoever tries on must not fill the disk."


class Tries:
    """Counts tries by source; one that was right is forgiven, and what went before it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sources: OrderedDict[str, TokenBucket] = OrderedDict()
        self.refusals = Seldom(clock)
        "Whether a refusal may be logged."

    def may_try(self, host: str | None) -> bool:
        """Whether one more try of this source is looked at."""
        now, source = self._clock.monotonic(), source_at(host)
        bucket = self._sources.get(source)
        if bucket is None:
            bucket = self._sources[source] = TokenBucket(1 / SECONDS_A_TRY, TRIES_AT_ONCE, now=now)
            if len(self._sources) > MAX_SOURCES:
                self._sources.popitem(last=False)
        self._sources.move_to_end(source)
        return bucket.take(now=now)

    def was_right(self, host: str | None) -> None:
        """The try was a right one: the source's earlier slips are forgiven."""
        self._sources.pop(source_at(host), None)


class Seldom:
    """Bounds the lines that a stranger can have written into the log."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._bucket = TokenBucket(SAID_A_SECOND, SAID_AT_ONCE, now=clock.monotonic())

    def may_say(self) -> bool:
        """Whether one more line is written."""
        return self._bucket.take(now=self._clock.monotonic())


def source_at(host: str | None) -> str:
    """What counts as one source: an IPv4 address, an IPv6 /64; empty where none is known."""
    try:
        return source_of((host or "").partition("%")[0])
    except ValueError:
        return ""
