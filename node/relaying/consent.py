"""What a node's owner agreed to: whether strangers may use the relay, and how much of it."""

import re
import time

import msgspec

from federation.model.clocks import UnixTime
from node.setting import Section, SettingError, require

LEAST_KBIT, MAX_KBIT = 64, 10_000_000
MAX_SESSIONS = 4000
MAX_GB = 1_000_000
GB = 1_000_000_000
_HOURS = re.compile(r"([01]?[0-9]|2[0-4])-([01]?[0-9]|2[0-4])")


class Consent(Section, frozen=True, kw_only=True):
    """Off by default. The limits are for all strangers together; own accounts are not counted."""

    strangers: bool = False
    "Whether clients of other nodes may use this node's relay."
    kbit: int = 2000
    "kbit/s of what is relayed for them, both directions added."
    sessions: int = 20
    "Relay ports that they may hold at one time; a call needs one or two."
    gb_month: float = 50.0
    "GB (10^9 bytes) relayed for them in a calendar month, UTC."
    hours: str | None = None
    "Hours of the day, like 08-22 or 22-06, in the machine's time zone; unset: all day."

    def __post_init__(self) -> None:
        require(
            LEAST_KBIT <= self.kbit <= MAX_KBIT,
            "relay.kbit",
            self.kbit,
            f"a number from {LEAST_KBIT} to {MAX_KBIT}",
        )
        require(
            1 <= self.sessions <= MAX_SESSIONS,
            "relay.sessions",
            self.sessions,
            f"a number from 1 to {MAX_SESSIONS}",
        )
        require(
            0 < self.gb_month <= MAX_GB,
            "relay.gb_month",
            self.gb_month,
            f"a number above 0, up to {MAX_GB}",
        )
        if self.hours is not None:
            read_hours(self.hours)

    def covers(self, now: UnixTime) -> bool:
        """Whether the hour is one of those agreed to."""
        if self.hours is None:
            return True
        begin, end = read_hours(self.hours)
        hour = time.localtime(now).tm_hour
        return begin <= hour < end if begin < end else hour >= begin or hour < end

    @property
    def bytes_month(self) -> int:
        """The month's limit in bytes."""
        return round(self.gb_month * GB)


class ConsentChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a command changes; `None` leaves a limit as it is."""

    kbit: int | None = None
    sessions: int | None = None
    gb_month: float | None = None
    hours: str | None = None
    "`all` for the whole day."

    def applied(self, before: Consent, *, strangers: bool) -> Consent:
        """The consent after the change.

        Raises:
            SettingError: a limit that cannot be.
        """
        hours = before.hours if self.hours is None else self.hours
        return Consent(
            strangers=strangers,
            kbit=before.kbit if self.kbit is None else self.kbit,
            sessions=before.sessions if self.sessions is None else self.sessions,
            gb_month=before.gb_month if self.gb_month is None else self.gb_month,
            hours=None if hours == "all" else hours,
        )


def read_hours(text: str) -> tuple[int, int]:
    """First hour and the one at which it ends.

    Raises:
        SettingError: the text is something else.
    """
    match = _HOURS.fullmatch(text)
    if match is None or int(match[1]) % 24 == int(match[2]) % 24:
        raise SettingError("relay.hours", text, "two hours of the day, like 08-22 or 22-06")
    return int(match[1]) % 24, int(match[2])


def month_of(now: UnixTime) -> str:
    """The calendar month in UTC, as `2026-03`."""
    return time.strftime("%Y-%m", time.gmtime(now))
