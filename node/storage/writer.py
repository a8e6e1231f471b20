"""Where a change of a row can be handed to."""

from typing import Any, Protocol

from node.storage.batches import write_batch
from node.storage.database import Database
from node.storage.dirty_rows import Row


class Writer(Protocol):
    """Takes the newest state of rows. `Storage` writes them soon, `WriteThrough` at once."""

    def put(self, table: str, key: tuple[Any, ...], row: Row, *, is_new: bool = False) -> None:
        """Have `row` stand in `table`; `key` holds its primary key's values.

        `is_new`: there was never a row of that key, so nothing is to be done if it goes at once.
        """

    def remove(self, table: str, key: tuple[Any, ...]) -> None:
        """Have no such row in `table`."""


class WriteThrough:
    """A writer for programs without a storage thread, such as the command line.

    `put` and `remove` raise `StorageError` where the row cannot be committed.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, table: str, key: tuple[Any, ...], row: Row, *, is_new: bool = False) -> None:
        """Commit `row`."""
        with self._database.write() as connection:
            write_batch(connection, {(table, key): row})

    def remove(self, table: str, key: tuple[Any, ...]) -> None:
        """Commit that there is no such row."""
        with self._database.write() as connection:
            write_batch(connection, {(table, key): None})
