"""Account keys whose number was derived here once; deriving costs a quarter of a second."""

from collections.abc import Iterable

from sqlalchemy import Connection, select

from federation.model.clocks import UnixTime
from federation.model.identity import AccountId
from federation.model.number import Number
from node.storage import schema
from node.storage.writer import Writer

MAX_VERIFIED = 100_000
"Pairs kept; beyond it the oldest is dropped and would be derived again."


def load_verified_numbers(connection: Connection) -> list[tuple[AccountId, Number]]:
    """Every stored pair, oldest first."""
    table = schema.verified_numbers
    rows = connection.execute(select(table).order_by(table.c.verified_at))
    return [(AccountId(row.key), Number(row.number)) for row in rows]


class VerifiedNumbers:
    """The pairs in memory; new ones go to the writer."""

    def __init__(
        self,
        pairs: Iterable[tuple[AccountId, Number]],
        writer: Writer,
        *,
        limit: int = MAX_VERIFIED,
    ) -> None:
        self._numbers = dict(pairs)
        self._writer = writer
        self._limit = limit

    def __len__(self) -> int:
        return len(self._numbers)

    def get(self, account: AccountId) -> Number | None:
        """The number of an account key, if it was derived before."""
        return self._numbers.get(account)

    def add(self, account: AccountId, number: Number, *, now: UnixTime) -> None:
        """Keep a number that was derived from `account`."""
        if account in self._numbers:
            return
        self._numbers[account] = number
        row = {"key": bytes(account), "number": str(number), "verified_at": now}
        self._writer.put("verified_numbers", (bytes(account),), row)
        if len(self._numbers) > self._limit:
            oldest = next(iter(self._numbers))
            del self._numbers[oldest]
            self._writer.remove("verified_numbers", (bytes(oldest),))
