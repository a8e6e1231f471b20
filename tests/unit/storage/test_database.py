"""Opening a database, and what is said where that cannot be."""

import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, create_engine, insert, inspect, select, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from federation.model.clocks import UnixTime
from federation.model.errors import ConfigError
from federation.model.identity import NodeKey
from node.storage import migrate
from node.storage.batches import _upsert
from node.storage.call_records import newest_call_records
from node.storage.database import DATABASE_FILE, Database
from node.storage.errors import DamagedError, RefusedError, StorageError
from node.storage.meta import read_meta, write_meta
from node.storage.pins import Offer, Pin, PinKind, load_pins
from node.storage.schema import SCHEMA_VERSION, dialogs, meta, metadata
from node.storage_config import StorageConfig


def refused(kind: type[Exception], open_it: Callable[[], Database]) -> str:
    with pytest.raises(kind) as error:
        open_it().close()
    return str(error.value)


def with_version(state: Path, version: str) -> None:
    Database.open(state).close()
    raw = sqlite3.connect(state / DATABASE_FILE)
    raw.execute("UPDATE alembic_version SET version_num = ?", (version,))
    raw.commit()
    raw.close()


def test_the_first_start_makes_a_private_file(tmp_path: Path) -> None:
    database = Database.open(tmp_path / "deep" / "state")
    assert database.dialect == "sqlite"
    with database.read() as connection:
        assert set(inspect(connection).get_table_names()) == {*metadata.tables, "alembic_version"}
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
    file = tmp_path / "deep" / "state" / DATABASE_FILE
    modes = {stat.S_IMODE(path.stat().st_mode) for path in file.parent.iterdir()}
    assert modes == {0o600}
    database.close()


def test_a_second_start_finds_what_the_first_left(tmp_path: Path) -> None:
    first = Database.open(tmp_path)
    with first.write() as connection:
        write_meta(connection, "colour", b"blue")
    first.close()
    second = Database.open(tmp_path)
    with second.read() as connection:
        assert read_meta(connection, "colour") == b"blue"
        assert read_meta(connection, "sound") is None
    with second.write() as connection:
        write_meta(connection, "colour", None)
    with second.read() as connection:
        assert read_meta(connection, "colour") is None
    second.close()


def test_a_failed_transaction_leaves_nothing(tmp_path: Path) -> None:
    database = Database.open(tmp_path)

    def write_and_fail() -> None:
        with database.write() as connection:
            write_meta(connection, "colour", b"blue")
            raise KeyError

    with pytest.raises(KeyError):
        write_and_fail()
    with database.read() as connection:
        assert connection.execute(select(meta)).all() == []
    database.close()


def test_alembic_is_not_imported_where_nothing_is_to_migrate(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib; from node.storage.database import Database; "
        "[Database.open(pathlib.Path(sys.argv[1])).close() for _ in range(2)]; "
        "sys.exit('alembic' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False, timeout=60)
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("state", "reason"),
    [("/dev/null/state", "Not a directory"), ("/proc/self/state", "No such file or directory")],
)
def test_a_folder_that_cannot_be_written_is_named(state: str, reason: str) -> None:
    said = refused(ConfigError, lambda: Database.open(Path(state)))
    assert said == (
        f"state: {state}/{DATABASE_FILE} cannot be written ({reason}); "
        "choose a folder of your own with --state or change its owner and mode"
    )


@pytest.mark.parametrize("content", [b"this is no database at all" * 100, b"\x00" * 4096])
def test_a_file_that_is_no_database_is_called_damaged(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / DATABASE_FILE
    file.write_bytes(content)
    said = refused(DamagedError, lambda: Database.open(tmp_path))
    assert said.startswith(f"{file} is damaged (")
    assert said.endswith("move it and its -wal and -shm files away, or restore a backup")
    assert file.read_bytes() == content


def test_damage_inside_is_found_when_it_is_read(tmp_path: Path) -> None:
    database = Database.open(tmp_path)
    with database.write() as connection:
        rows = [{"id": f"d{n}", "data": b"x" * 500} for n in range(200)]
        connection.execute(insert(dialogs), rows)
    database.close()
    file = tmp_path / DATABASE_FILE
    content = bytearray(file.read_bytes())
    content[-40_000:] = b"\xff" * 40_000
    file.write_bytes(content)
    reopened = Database.open(tmp_path)
    with pytest.raises(DamagedError, match="is damaged"), reopened.read() as connection:
        connection.execute(select(dialogs)).all()
    reopened.close()


def test_a_newer_version_is_not_touched(tmp_path: Path) -> None:
    with_version(tmp_path, "9999")
    said = refused(ConfigError, lambda: Database.open(tmp_path))
    assert (
        f"was written by a newer version (schema 9999, this program knows {SCHEMA_VERSION})" in said
    )
    assert "install that version or restore a backup" in said


def test_somebody_elses_database_is_not_touched(tmp_path: Path) -> None:
    raw = sqlite3.connect(tmp_path / DATABASE_FILE)
    raw.execute("CREATE TABLE customers (id INTEGER)")
    raw.close()
    said = refused(ConfigError, lambda: Database.open(tmp_path))
    assert "it holds foreign tables (customers); give the node a database of its own" in said


def test_a_database_in_use_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.storage.engines.BUSY_TIMEOUT_MS", 1)
    database = Database.open(tmp_path)
    other = sqlite3.connect(tmp_path / DATABASE_FILE)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageError, match="in use by another process"), database.write():
        pass
    other.close()
    database.close()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nonsense", "that is not a URL"),
        ("mysql://u:secret@host/db", "mysql://u:***@host/db is neither SQLite nor PostgreSQL"),
        ("mysql://u@host/db?password=secret", "mysql://u@host/db?password=*** is neither"),
        ("mysql://u:a/secret@1@host/db?sslpassword=secret", "mysql://u:***@host/db?sslpassword=**"),
        ("sqlite+nodriver:///x", "the driver for sqlite+nodriver:///x is not installed"),
    ],
)
def test_a_url_that_cannot_be_used_is_named_without_its_password(
    tmp_path: Path, url: str, said: str
) -> None:
    sentence = refused(ConfigError, lambda: Database.open(tmp_path, url))
    assert said in sentence
    assert "secret" not in sentence


def test_another_sqlite_file_by_url(tmp_path: Path) -> None:
    database = Database.open(tmp_path, f"sqlite:///{tmp_path}/other.db")
    assert database.name == f"sqlite:///{tmp_path}/other.db"
    database.close()
    assert not (tmp_path / DATABASE_FILE).exists()


def test_a_value_that_breaks_a_rule_is_told_from_a_broken_database(tmp_path: Path) -> None:
    database = Database.open(tmp_path)
    with pytest.raises(RefusedError), database.write() as connection:
        connection.execute(insert(dialogs), [{"id": "a", "data": b""}] * 2)
    database.close()


def test_the_migrations_build_what_the_schema_says(tmp_path: Path) -> None:
    """A database migrated from nothing is like one that was made at once."""
    made = Database.open(tmp_path / "made")
    (tmp_path / "migrated").mkdir()
    engine = create_engine(f"sqlite:///{tmp_path}/migrated/{DATABASE_FILE}")
    with engine.begin() as connection:
        migrate.upgrade(connection, SCHEMA_VERSION)
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()
    migrated = Database.open(tmp_path / "migrated", migrate=_not_again)
    with made.read() as ours, migrated.read() as theirs:
        assert _shape(ours) == _shape(theirs)
    made.close()
    migrated.close()


def test_records_of_the_first_version_are_kept_and_have_no_counters(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/{DATABASE_FILE}")
    with engine.begin() as connection:
        migrate.upgrade(connection, "0001")
        connection.execute(
            text(
                "INSERT INTO call_records (id, call_id, caller, target, started_at, ended_at,"
                " status, reason) VALUES ('1', 'c', 'alice', 'bob', 1.0, 2.0, 486, 'Busy')"
            )
        )
    engine.dispose()
    database = Database.open(tmp_path)
    with database.read() as connection:
        (record,) = newest_call_records(connection, 9)
    database.close()
    assert (record.call_id, record.status) == ("c", 486)
    assert (record.from_caller, record.from_callee) == (None, None)


def test_a_key_refused_by_the_second_version_still_waits(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/{DATABASE_FILE}")
    pinned, offered = (NodeKey(bytes([n]) * 32).id for n in (1, 2))
    with engine.begin() as connection:
        migrate.upgrade(connection, "0002")
        connection.execute(
            text(
                "INSERT INTO pins (kind, name, key, pinned_at, offered) VALUES"
                " ('domain', 'example.org', :pinned, 5.0, :offered),"
                " ('domain', 'quiet.example', :pinned, 6.0, NULL)"
            ),
            {"pinned": bytes(pinned), "offered": bytes(offered)},
        )
    engine.dispose()
    database = Database.open(tmp_path)
    with database.read() as connection:
        pins = load_pins(connection)
    database.close()
    at = UnixTime(5.0)
    assert pins == [
        Pin(PinKind.DOMAIN, "example.org", pinned, at, at, (Offer(offered, at, at),)),
        Pin(PinKind.DOMAIN, "quiet.example", pinned, UnixTime(6.0), UnixTime(6.0)),
    ]


def _not_again(_connection: Connection, _target: str) -> None:
    pytest.fail("it is at the newest version already")


NEXT = """
import sqlalchemy as sa
from alembic import op

revision = "9998"
down_revision = "{before}"


def upgrade():
    op.add_column("meta", sa.Column("note", sa.String(10), nullable=True))
    {more}
"""


def scripts_with(tmp_path: Path, more: str) -> Path:
    """The project's migrations and one after them."""
    scripts = tmp_path / "scripts"
    shutil.copytree(migrate.SCRIPTS, scripts, ignore=shutil.ignore_patterns("__pycache__"))
    text = NEXT.format(before=SCHEMA_VERSION, more=more)
    (scripts / "versions" / "9998_note.py").write_text(text)
    return scripts


def test_an_older_database_is_migrated_when_it_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_version(tmp_path, SCHEMA_VERSION)
    scripts = scripts_with(tmp_path, "")
    monkeypatch.setattr("node.storage.database.SCHEMA_VERSION", "9998")
    database = Database.open(
        tmp_path, migrate=lambda conn, to: migrate.upgrade(conn, to, scripts=scripts)
    )
    with database.read() as connection:
        assert "note" in {column["name"] for column in inspect(connection).get_columns("meta")}
        assert (
            connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == "9998"
        )
    database.close()


def test_a_migration_that_fails_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_version(tmp_path, SCHEMA_VERSION)
    scripts = scripts_with(tmp_path, 'op.execute("INSERT INTO nowhere VALUES (1)")')
    with monkeypatch.context() as patched:
        patched.setattr("node.storage.database.SCHEMA_VERSION", "9998")
        refused(
            StorageError,
            lambda: Database.open(
                tmp_path, migrate=lambda conn, to: migrate.upgrade(conn, to, scripts=scripts)
            ),
        )
    database = Database.open(tmp_path)
    with database.read() as connection:
        assert "note" not in {column["name"] for column in inspect(connection).get_columns("meta")}
    database.close()


def test_a_version_without_a_way_from_it_is_refused(tmp_path: Path) -> None:
    with_version(tmp_path, "0000")
    said = refused(StorageError, lambda: Database.open(tmp_path))
    assert "could not be upgraded" in said


def test_the_schema_suits_postgresql() -> None:
    """Every statement the node uses can be written in PostgreSQL's dialect."""
    dialect = postgresql.dialect()
    tables = {t.name: str(CreateTable(t).compile(dialect=dialect)) for t in metadata.sorted_tables}
    assert len(tables) == 22
    assert "seed BYTEA NOT NULL" in tables["accounts"]
    for table in metadata.tables:
        upsert = str(_upsert(table, "postgresql").compile(dialect=dialect))
        assert "ON CONFLICT" in upsert
        assert "DO UPDATE SET" in upsert


def _shape(connection: Connection) -> dict[str, object]:
    """Tables with their columns, keys and indices, in a form that can be compared."""
    found = inspect(connection)
    return {
        table: (
            [(c["name"], str(c["type"]), c["nullable"]) for c in found.get_columns(table)],
            found.get_pk_constraint(table)["constrained_columns"],
            sorted(str(c["column_names"]) for c in found.get_unique_constraints(table)),
            [(k["constrained_columns"], k["options"]) for k in found.get_foreign_keys(table)],
            [(i["name"], i["column_names"]) for i in found.get_indexes(table)],
        )
        for table in found.get_table_names()
        if table != "alembic_version"
    }


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:secret@h:5432/db", "postgresql://u:***@h:5432/db"),
        ("postgresql://u:a/secret@1@h/db", "postgresql://u:***@h/db"),
        ("postgresql://h:5432/db?user=u&password=secret&sslpassword=secret&x=1",
         "postgresql://h:5432/db?user=u&password=***&sslpassword=***&x=1"),
        ("postgresql://u@h:5432/db", "postgresql://u@h:5432/db"),
        ("postgresql://h:5432/db", "postgresql://h:5432/db"),
    ],
)  # fmt: skip
def test_the_database_s_url_is_shown_without_its_passwords(url: str, shown: str) -> None:
    assert StorageConfig(url=url).shown == shown
