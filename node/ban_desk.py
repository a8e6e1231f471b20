"""What the operator sees and does about banned sources, with the node running or stopped."""

import re
from collections.abc import Callable, Collection, Sequence

from federation.model.clocks import Clock, UnixTime
from node.control import JsonObject, RefusedError
from node.edge.guard import Network, is_allowed
from node.pin_desk import moment
from node.storage.bans import MAX_REASON, Ban, BanBook, source_of

LONGEST = 366 * 86_400
_TIME = re.compile(r"([0-9]{1,8})([smhd]?)")
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}


class BanDesk:
    """Bans, lifts and lists. Every method may raise `RefusedError` with a sentence."""

    def __init__(
        self,
        book: BanBook,
        clock: Clock,
        *,
        allowed: Sequence[Network] = (),
        own: Callable[[], Collection[str]] = tuple,
        forgive: Callable[[str], None] = lambda source: None,
    ) -> None:
        """`own`: addresses of this node; `forgive` is told of lifted sources."""
        self._book = book
        self._clock = clock
        self._allowed = tuple(allowed)
        self._own = own
        self._forgive = forgive

    def all(self) -> list[JsonObject]:
        """Every ban that holds, the oldest first."""
        self._book.sweep(self._clock.unix())
        return [ban_as_json(ban) for ban in self._book]

    def ban(
        self, address: str, *, seconds: int | None = None, reason: str | None = None
    ) -> JsonObject:
        """Hear nothing of an address any more, for some seconds or until it is lifted."""
        source = _read(address)
        host = address.strip().strip("[]").removesuffix("/64")
        if is_allowed(host, self._allowed) or source in map(source_of, self._own()):
            raise RefusedError(
                f"{host} is never banned: it is loopback, this node's own, or in "
                "limits.never_banned"
            )
        if seconds is not None and not 1 <= seconds <= LONGEST:
            raise RefusedError(f"{seconds} s cannot be the time: 1 to {LONGEST} can", 400)
        text = "" if reason is None else reason.strip()
        if len(text) > MAX_REASON or not text.isprintable():
            raise RefusedError(f"a reason is one line of up to {MAX_REASON} characters", 400)
        now = self._clock.unix()
        ban = Ban(
            address=source,
            reason=text or "by the operator",
            by_operator=True,
            since=now,
            until=None if seconds is None else UnixTime(now + seconds),
        )
        self._book.put(ban)
        return ban_as_json(ban)

    def unban(self, address: str) -> JsonObject:
        """Hear an address again, all its ports; what it did is forgotten."""
        source = _read(address)
        self._book.sweep(self._clock.unix())
        lifted = self._book.lift(source)
        self._forgive(source)
        if not lifted:
            raise RefusedError(f"{source} is not banned; `ringmesh bans` shows what is", 404)
        return {"address": source, "lifted": len(lifted)}


def ban_as_json(ban: Ban) -> JsonObject:
    """A ban as the API gives it; instants in UTC."""
    return {
        "address": ban.address,
        "port": ban.port or None,
        "reason": ban.reason,
        "by": "operator" if ban.by_operator else "node",
        "since": moment(ban.since),
        "until": None if ban.until is None else moment(ban.until),
        "times": ban.times,
    }


def read_seconds(text: str) -> int:
    """A time such as `600`, `10m`, `12h` or `7d`, in seconds.

    Raises:
        RefusedError: it is something else.
    """
    match = _TIME.fullmatch(text.strip())
    if match is None or not match[1].isascii():
        raise RefusedError(f"{text[:40]!r} is no time: give for example 10m, 12h or 7d", 400)
    return int(match[1]) * _UNITS[match[2]]


def _read(address: str) -> str:
    text = address.strip().strip("[]")
    try:
        return source_of(text.removesuffix("/64") if ":" in text else text)
    except ValueError as error:
        raise RefusedError(
            f"{address[:60]!r} is no IP address: give one such as 192.0.2.7, or 2001:db8::7, "
            "which stands for its /64",
            400,
        ) from error
