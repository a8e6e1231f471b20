"""What has changed in memory and is not yet in the database (core).

Only the newest wish for a row is kept, so a phone that registers ten times between two flushes
costs one write.
"""

from collections.abc import Iterable, Mapping
from typing import Any

Row = Mapping[str, Any]
RowKey = tuple[str, tuple[Any, ...]]
"A table's name and the values of its primary key, in the table's order."

MAX_WAITING_ROWS = 200_000
"Rows kept while the database cannot be written; beyond it the oldest wish is given up."


class DirtyRows:
    """The rows to write or delete with the next batch, oldest first."""

    def __init__(self, limit: int = MAX_WAITING_ROWS) -> None:
        self._limit = limit
        self._rows: dict[RowKey, Row | None] = {}
        self._new: set[RowKey] = set()
        "Keys that the database has not seen yet: a row that goes before it was written is no work."
        self.given_up = 0
        "Rows that will not be written, because `limit` others waited."

    def __len__(self) -> int:
        return len(self._rows)

    def put(self, key: RowKey, row: Row | None, *, is_new: bool = False) -> None:
        """Want `row` to stand at `key`, or nothing if it is `None`.

        `is_new`: the caller knows that there is no row of that key in the database.
        """
        if row is None and key in self._new:
            self._new.discard(key)
            del self._rows[key]
            return
        if is_new:
            self._new.add(key)
        self._rows[key] = row
        if len(self._rows) > self._limit:
            oldest = next(iter(self._rows))
            del self._rows[oldest]
            self._new.discard(oldest)
            self.given_up += 1

    def take(self) -> dict[RowKey, Row | None]:
        """Hand over everything that waits."""
        batch, self._rows = self._rows, {}
        self._new.clear()
        return batch

    def give_back(self, batch: Iterable[tuple[RowKey, Row | None]]) -> None:
        """Return a batch that could not be written; newer wishes for the same rows win."""
        newer, self._rows = self._rows, dict(batch)
        for key, row in newer.items():
            self._rows.pop(key, None)
            self.put(key, row)
        while len(self._rows) > self._limit:
            oldest = next(iter(self._rows))
            del self._rows[oldest]
            self._new.discard(oldest)
            self.given_up += 1
