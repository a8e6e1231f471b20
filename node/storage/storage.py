"""The storage thread of a running node (shell): every write goes through it.

Two ways lead in. `put` and `remove` change a row behind the caller's back: the newest state of each
row is written with the next batch, 100 ms after the first change, in one transaction. `run` is for
what a person waits for: it is carried out after everything put before it, and has been committed
when it returns. Nothing here is ever read on the way of a call.

While the database cannot be written (a full disk), the node goes on with what it has in memory:
the rows wait, bounded, and are tried again.
"""

import threading
from asyncio import wrap_future
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, TypeVar

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from node.storage.batches import write_batch
from node.storage.database import Database
from node.storage.dirty_rows import MAX_WAITING_ROWS, DirtyRows, Row, RowKey
from node.storage.errors import RefusedError, StorageError

log = structlog.get_logger("storage")

T = TypeVar("T")

FLUSH_INTERVAL = 0.1
"Seconds between a row's change and its batch."
MAX_WAITING_WORK = 10_000
"What people and phones may wait for at one time; more is refused at once."
RETRY_FIRST = 1.0
RETRY_LONGEST = 30.0
"Seconds between two tries while the database cannot be written; doubled each time."

_REFUSALS = (RefusedError, SQLAlchemyError, ValueError, OverflowError, TypeError)
"What a value that the database cannot hold raises, in the driver or on the way to it."


class Storage:
    """Owns a database and the thread that writes to it."""

    def __init__(
        self,
        database: Database,
        *,
        interval: float = FLUSH_INTERVAL,
        limit: int = MAX_WAITING_ROWS,
        work_limit: int = MAX_WAITING_WORK,
        retry_first: float = RETRY_FIRST,
    ) -> None:
        self.database = database
        self._interval = interval
        self._retry_first = retry_first
        self._retry = retry_first
        self._changed = threading.Condition()
        self._rows = DirtyRows(limit)
        self._work_limit = work_limit
        self._work: deque[tuple[Callable[[Connection], Any], Future[Any]]] = deque()
        self._closing = False
        self._failing = False
        self._thread = threading.Thread(target=self._serve, name="storage", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def is_healthy(self) -> bool:
        """Whether the last write succeeded."""
        return not self._failing

    @property
    def waiting(self) -> int:
        """Rows that are not yet in the database."""
        return len(self._rows)

    def put(self, table: str, key: tuple[Any, ...], row: Row, *, is_new: bool = False) -> None:
        """Have `row` written with the next batch; `key` holds its primary key's values.

        `is_new`: there was never a row of that key, so nothing is written if it goes before.
        """
        self._change((table, key), row, is_new=is_new)

    def remove(self, table: str, key: tuple[Any, ...]) -> None:
        """Have the row deleted with the next batch."""
        self._change((table, key), None)

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Carry out `work` in a transaction of its own and commit it before returning.

        Raises:
            StorageError: it could not be committed; nothing of it was kept.
        """
        return await wrap_future(self._hand_over(work))

    async def flush(self) -> None:
        """Wait until everything put so far was committed.

        Raises:
            StorageError: it could not be; it will be tried again.
        """
        await self.run(_nothing)

    async def close(self) -> None:
        """Write what waits, end the thread, close the database. Closing twice is harmless."""
        with self._changed:
            started = self._thread.is_alive()
            first, self._closing = not self._closing, True
            self._changed.notify()
        if started and first:
            ended: Future[None] = Future()
            threading.Thread(target=self._await_end, args=(ended,), daemon=True).start()
            await wrap_future(ended)
        if first:
            self.database.close()

    def _await_end(self, ended: "Future[None]") -> None:
        self._thread.join()
        ended.set_result(None)

    def _change(self, key: RowKey, row: Row | None, *, is_new: bool = False) -> None:
        with self._changed:
            first = not self._rows
            self._rows.put(key, row, is_new=is_new)
            if first:
                self._changed.notify()

    def _hand_over(self, work: Callable[[Connection], T]) -> "Future[T]":
        future: Future[T] = Future()
        with self._changed:
            if self._closing or not self._thread.is_alive():
                raise StorageError("the database is closed")
            if len(self._work) >= self._work_limit:
                raise StorageError("too much waits for the database; try again in a moment")
            self._work.append((work, future))
            self._changed.notify()
        return future

    def _serve(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._rows or self._work or self._closing)
                pause = self._retry if self._failing else self._interval
                self._changed.wait_for(lambda: self._work or self._closing, timeout=pause)
                closing = self._closing
                batch = self._rows.take()
                work = list(self._work)
                self._work.clear()
            unwritten = failure = self._write(batch)
            for item, future in work:
                failure = self._carry_out(item, future, failure)
            if closing:
                if unwritten is not None:
                    log.error("storage_rows_lost", rows=len(batch), reason=str(unwritten))
                return

    def _write(self, batch: Mapping[RowKey, Row | None]) -> StorageError | None:
        if not batch:
            return None
        try:
            self._write_all(batch)
        except StorageError as error:
            with self._changed:
                self._rows.give_back(batch.items())
            self._retry = (
                min(self._retry * 2, RETRY_LONGEST) if self._failing else self._retry_first
            )
            if not self._failing:
                log.error("storage_write_failed", rows=len(batch), reason=str(error))
            self._failing = True
            return error
        if self._failing:
            log.info("storage_recovered", rows=len(batch), given_up=self._rows.given_up)
        self._failing = False
        return None

    def _write_all(self, batch: Mapping[RowKey, Row | None]) -> None:
        try:
            with self.database.write(durable=False) as connection:
                write_batch(connection, batch)
            return
        except _REFUSALS as error:
            # One value that the database cannot hold must not keep the others out for ever.
            log.warning("storage_batch_refused", rows=len(batch), reason=type(error).__name__)
        for key, row in batch.items():
            try:
                with self.database.write(durable=False) as connection:
                    write_batch(connection, {key: row})
            except _REFUSALS as error:
                log.error("storage_row_refused", table=key[0], reason=type(error).__name__)

    def _carry_out(
        self, work: Callable[[Connection], T], future: "Future[T]", failure: StorageError | None
    ) -> StorageError | None:
        """Do it, or say why not; returns why what waits behind it would fail as well."""
        if not future.set_running_or_notify_cancel():
            return failure
        if failure is not None:
            future.set_exception(failure)
            return failure
        try:
            with self.database.write() as connection:
                result = work(connection)
        except Exception as error:  # noqa: BLE001 - it belongs to whoever awaits the future
            future.set_exception(error)
            if isinstance(error, StorageError) and not isinstance(error, RefusedError):
                return error  # each would wait in turn for a server that is not there
        else:
            future.set_result(result)
        return None


def _nothing(_connection: Connection) -> None:
    """Only wait for what was put before."""
