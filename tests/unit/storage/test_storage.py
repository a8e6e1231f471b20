"""The storage thread: what is written behind, what is waited for, and what a full disk does."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, event, select, text

from node.storage.database import Database
from node.storage.dialogs import DialogStore, load_dialogs
from node.storage.dirty_rows import DirtyRows
from node.storage.errors import StorageError
from node.storage.meta import read_meta, write_meta
from node.storage.schema import meta
from node.storage.storage import FLUSH_INTERVAL, RETRY_LONGEST, Storage

NEVER = 3600.0


@asynccontextmanager
async def a_storage(
    state: Path, *, interval: float = 0.001, retry_first: float = 0.001
) -> AsyncIterator[Storage]:
    storage = Storage(Database.open(state), interval=interval, retry_first=retry_first)
    storage.start()
    try:
        yield storage
    finally:
        await storage.close()


def kept(state: Path) -> dict[str, bytes]:
    database = Database.look(state)
    with database.read() as connection:
        found = load_dialogs(connection)
    database.close()
    return found


async def until(condition: Callable[[], bool]) -> None:
    """Wait for another thread, at most a generous while."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.002)


async def test_a_change_is_written_soon(tmp_path: Path) -> None:
    async with a_storage(tmp_path) as storage:
        DialogStore(storage).put("d1", b"one")
        await until(lambda: storage.waiting == 0 and kept(tmp_path) == {"d1": b"one"})


async def test_changes_of_one_row_cost_one_write(tmp_path: Path) -> None:
    """And everything in between two batches shares one transaction."""
    statements: list[tuple[str, int]] = []
    async with a_storage(tmp_path, interval=NEVER) as storage:

        @event.listens_for(storage.database._engine, "before_cursor_execute")
        def note(
            _c: object, _cursor: object, sql: str, rows: object, _x: object, many: bool
        ) -> None:
            if "dialogs" in sql or sql == "BEGIN IMMEDIATE":
                statements.append((sql.split(" ", 1)[0], len(rows) if many else 1))  # type: ignore[arg-type]

        dialogs = DialogStore(storage)
        for n in range(1000):
            dialogs.put(f"d{n % 50}", f"{n}".encode())
        assert storage.waiting == 50
        await storage.flush()
    assert statements == [("BEGIN", 1), ("INSERT", 50), ("BEGIN", 1)]
    assert kept(tmp_path) == {f"d{n}": f"{950 + n}".encode() for n in range(50)}


async def test_a_dialog_that_ends_before_it_was_written_costs_nothing(tmp_path: Path) -> None:
    async with a_storage(tmp_path, interval=NEVER) as storage:
        dialogs = DialogStore(storage)
        dialogs.put("short", b"1")
        dialogs.remove("short")
        assert storage.waiting == 0
        dialogs.put("long", b"2")
        await storage.flush()
        dialogs.remove("long")
        assert storage.waiting == 1
    assert kept(tmp_path) == {}


async def test_what_is_awaited_comes_after_all_that_was_put_before(tmp_path: Path) -> None:
    async with a_storage(tmp_path, interval=NEVER) as storage:
        DialogStore(storage).put("d1", b"one")
        assert await storage.run(load_dialogs) == {"d1": b"one"}


async def test_what_is_awaited_was_committed(tmp_path: Path) -> None:
    async with a_storage(tmp_path) as storage:
        await storage.run(lambda connection: write_meta(connection, "colour", b"blue"))
        other = Database.look(tmp_path)
        with other.read() as connection:
            assert read_meta(connection, "colour") == b"blue"
        other.close()


async def test_an_error_belongs_to_whoever_awaits_it(tmp_path: Path) -> None:
    def fail(connection: Connection) -> None:
        write_meta(connection, "colour", b"blue")
        raise KeyError("mine")

    async with a_storage(tmp_path) as storage:
        with pytest.raises(KeyError, match="mine"):
            await storage.run(fail)
        assert await storage.run(lambda c: c.execute(select(meta)).all()) == []


async def test_closing_writes_what_waits(tmp_path: Path) -> None:
    async with a_storage(tmp_path, interval=NEVER) as storage:
        DialogStore(storage).put("d1", b"one")
        await storage.close()
        await storage.close()
        with pytest.raises(StorageError, match="closed"):
            await storage.flush()
    assert kept(tmp_path) == {"d1": b"one"}


async def test_a_storage_that_never_started_can_be_closed(tmp_path: Path) -> None:
    await Storage(Database.open(tmp_path)).close()


def limit_pages(connection: Connection, more: int) -> None:
    """Let the file grow by that many pages only, which SQLite reports as a full disk."""
    used = connection.execute(text("PRAGMA page_count")).scalar_one()
    connection.execute(text(f"PRAGMA max_page_count={used + more}"))


async def test_a_full_disk_stops_nothing_and_is_made_up_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with a_storage(tmp_path) as storage:
        dialogs = DialogStore(storage)
        dialogs.put("before", b"small")
        await storage.flush()
        await storage.run(lambda connection: limit_pages(connection, 2))
        dialogs.put("big", b"x" * 100_000)
        await until(lambda: not storage.is_healthy)
        with pytest.raises(StorageError, match="the disk is full; free some space"):
            await storage.run(lambda connection: write_meta(connection, "colour", b"blue"))
        dialogs.put("big", b"y" * 100_000)
        dialogs.put("small", b"s")
        assert storage.waiting >= 1
        storage.database.close()  # a new connection has no such limit: space was freed
        await until(lambda: storage.is_healthy and storage.waiting == 0)
    assert kept(tmp_path) == {"before": b"small", "big": b"y" * 100_000, "small": b"s"}
    logged = capsys.readouterr().out
    assert logged.count("storage_write_failed") == 1
    assert logged.count("storage_recovered") == 1


async def test_rows_that_could_not_be_written_at_the_end_are_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with a_storage(tmp_path) as storage:
        await storage.run(lambda connection: limit_pages(connection, 0))
        DialogStore(storage).put("big", b"x" * 100_000)
    assert "storage_rows_lost" in capsys.readouterr().out
    assert kept(tmp_path) == {}


@pytest.mark.parametrize(
    "bad",
    [
        {"id": "bad", "data": None},
        {"id": "bad \udcff", "data": b""},
        {"id": "bad", "data": 2**70},
        {"id": "bad", "data": object()},
        {"id": "bad"},
    ],
)
async def test_a_row_that_cannot_be_stored_keeps_no_other_out(
    tmp_path: Path, bad: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    async with a_storage(tmp_path, interval=NEVER) as storage:
        dialogs = DialogStore(storage)
        dialogs.put("first", b"1")
        storage.put("dialogs", ("bad",), bad)
        dialogs.put("last", b"2")
        await storage.flush()
        assert (storage.waiting, storage.is_healthy) == (0, True)
    assert kept(tmp_path) == {"first": b"1", "last": b"2"}
    assert capsys.readouterr().out.count("storage_row_refused") == 1


def test_the_figures_are_the_documented_ones() -> None:
    assert (FLUSH_INTERVAL, RETRY_LONGEST) == (0.1, 30.0)


def test_of_too_many_waiting_rows_the_oldest_is_given_up() -> None:
    rows = DirtyRows(limit=3)
    for n in range(5):
        rows.put(("dialogs", (n,)), {"id": n})
    assert rows.given_up == 2
    assert list(rows.take()) == [("dialogs", (n,)) for n in (2, 3, 4)]
    assert len(rows) == 0


def test_a_batch_given_back_does_not_undo_what_came_since() -> None:
    rows = DirtyRows(limit=3)
    for n in range(3):
        rows.put(("dialogs", (n,)), {"old": n})
    batch = rows.take()
    rows.put(("dialogs", (1,)), None)
    rows.put(("dialogs", (9,)), {"new": 9})
    rows.give_back(batch.items())
    assert rows.take() == {
        ("dialogs", (2,)): {"old": 2},
        ("dialogs", (1,)): None,
        ("dialogs", (9,)): {"new": 9},
    }
    assert rows.given_up == 1


def test_only_what_was_never_written_goes_without_a_trace() -> None:
    rows = DirtyRows(limit=3)
    key = ("t", (1,))
    rows.put(key, {"a": 1}, is_new=True)
    batch = rows.take()
    rows.put(key, None)
    assert rows.take() == {key: None}
    rows.give_back(batch.items())  # the batch failed: whether the row stands is not known
    rows.put(key, None)
    assert rows.take() == {key: None}
