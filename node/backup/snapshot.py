"""One state of a database that may be in use, as an SQLite file; and such a file put back.

SQLite's own backup copies within one read transaction, so what others write meanwhile is not in it
and does not disturb it. From PostgreSQL, and to it, the rows are copied table by table.
"""

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Connection, delete, func, insert, select

from node.storage.database import DATABASE_FILE, Database
from node.storage.errors import DamagedError, StorageError
from node.storage.schema import accounts, dialogs, metadata

PAGES_A_STEP = 2048
ROWS_A_STEP = 1000
BUSY_SECONDS = 10.0
Progress = Callable[[float], None]
"Called with the part that is done, 0 to 1."
_LEFT_OUT = dialogs.name
"Calls under way are over when a backup is put back."


def take_snapshot(state: Path, url: str | None, folder: Path, on_progress: Progress) -> Path:
    """Write the state of the node's database to a new file in `folder`; returns it.

    Raises:
        StorageError: the database cannot be read, is damaged, or the copy cannot be written.
        ConfigError: it is of another version than this program.
    """
    target = folder / DATABASE_FILE
    if url is None:
        _copy_file(state / DATABASE_FILE, target, on_progress)
    else:
        with (
            contextlib.closing(Database.look(state, url)) as source,
            contextlib.closing(Database.open(folder)) as copy,
            source.read() as reading,
            copy.write() as writing,
        ):
            copy_rows(reading, writing, on_progress)
    _tidy(target)
    return target


def put_back(file: Path, target: Database, on_progress: Progress) -> None:
    """Replace all rows of `target` by those of an SQLite file, which is brought up to date for it.

    Raises:
        StorageError: it cannot be; nothing was changed then.
    """
    with (
        contextlib.closing(Database.open(file.parent)) as source,
        source.read() as reading,
        target.write() as writing,
    ):
        for table in reversed(metadata.sorted_tables):
            writing.execute(delete(table))
        copy_rows(reading, writing, on_progress)


def is_empty(database: Database) -> bool:
    """Whether nobody ever had an account there."""
    with database.read() as connection:
        return not connection.execute(select(func.count()).select_from(accounts)).scalar()


def copy_rows(source: Connection, target: Connection, on_progress: Progress) -> None:
    """Copy every row between two databases of the current schema, in their transactions."""
    tables = [table for table in metadata.sorted_tables if table.name != _LEFT_OUT]
    for done, table in enumerate(tables):
        on_progress(done / len(tables))
        rows = source.execution_options(yield_per=ROWS_A_STEP).execute(select(table))
        for part in rows.mappings().partitions():
            target.execute(insert(table), [dict(row) for row in part])
    on_progress(1.0)


def count_rows(file: Path) -> tuple[str, dict[str, int]]:
    """The schema version of an SQLite file, and how many rows some of its tables have."""
    with contextlib.closing(_connect(file)) as connection:
        (version,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        there = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        counts = {
            table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608
            for table in ("accounts", "messages", "call_records")
            if table in there
        }
    return str(version), counts


def _copy_file(source: Path, target: Path, on_progress: Progress) -> None:
    def tell(_status: int, remaining: int, total: int) -> None:
        on_progress((total - remaining) / total if total else 1.0)

    with (
        _translated(source),
        contextlib.closing(_connect(source)) as reading,
        contextlib.closing(sqlite3.connect(target, isolation_level=None)) as writing,
    ):
        target.chmod(0o600)
        reading.execute("BEGIN")
        reading.execute("SELECT count(*) FROM sqlite_master").fetchone()  # holds this very state
        reading.backup(writing, pages=PAGES_A_STEP, progress=tell)
        faults = writing.execute("PRAGMA quick_check(1)").fetchone()[0]
    if faults != "ok":
        raise DamagedError(
            f"{source} is damaged ({faults}): no backup was made; keep the older ones"
        )


def _tidy(file: Path) -> None:
    with _translated(file), contextlib.closing(_connect(file)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")  # one file, without a log beside it
        connection.execute(f"DELETE FROM {_LEFT_OUT}")  # noqa: S608 - a constant


def _connect(file: Path) -> sqlite3.Connection:
    """A connection that never makes a file."""
    return sqlite3.connect(
        f"file:{quote(str(file))}?mode=rw", uri=True, isolation_level=None, timeout=BUSY_SECONDS
    )


@contextlib.contextmanager
def _translated(file: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorname", "") or ""
        if code == "SQLITE_FULL" or code.startswith("SQLITE_IOERR"):
            raise StorageError(
                f"there is no room beside {file} for a copy of the database; free some space"
            ) from error
        if code in ("SQLITE_CORRUPT", "SQLITE_NOTADB"):
            raise DamagedError(
                f"{file} is damaged ({error}): no backup was made; keep the older ones"
            ) from error
        raise StorageError(f"{file} cannot be read ({error})") from error
