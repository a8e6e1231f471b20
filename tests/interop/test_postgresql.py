"""The storage suite on PostgreSQL, and what a server does that a file does not."""

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, select

from federation.model.clocks import SystemEntropy
from federation.model.errors import ConfigError
from node.accounts.rows import load_accounts
from node.accounts.store import AccountStore
from node.accounts.wanted import WantedAccount
from node.cli.commands import run
from node.state import StateFolder
from node.storage import migrate
from node.storage.database import Database
from node.storage.dialogs import DialogStore, load_dialogs
from node.storage.errors import StorageError
from node.storage.meta import read_meta, write_meta
from node.storage.schema import SCHEMA_VERSION, metadata
from node.storage.storage import Storage
from tests.support.account_tools import StandingClock
from tests.support.nodes import add_user, phone_of, running_nodes
from tests.support.postgres import PASSWORD, PostgresServer, needs_postgresql, postgres_server
from tests.support.programs import needs_pjsua2
from tests.support.sealed_files import PASSPHRASE
from tests.support.talk import talk
from tests.unit.accounts.test_store import (  # noqa: F401 - run here on PostgreSQL
    test_a_bad_new_password_changes_nothing,
    test_a_new_password_keeps_the_identity,
    test_a_removed_account_is_gone_with_all_that_is_its_own,
    test_an_account_is_there_for_the_next_process,
    test_many_accounts_in_one_batch,
    test_numbers_are_derived_for_all_and_stored,
)
from tests.unit.storage.test_kept import *  # noqa: F403
from tests.unit.storage.test_storage import (  # noqa: F401
    test_a_change_is_written_soon,
    test_a_dialog_that_ends_before_it_was_written_costs_nothing,
    test_a_row_that_cannot_be_stored_keeps_no_other_out,
    test_an_error_belongs_to_whoever_awaits_it,
    test_closing_writes_what_waits,
    test_what_is_awaited_comes_after_all_that_was_put_before,
    test_what_is_awaited_was_committed,
)

pytestmark = [needs_postgresql, pytest.mark.interop]


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as running:
        yield running


@pytest.fixture(autouse=True)
def _everything_is_there(server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whoever opens the database of a state folder is led to one of the server."""
    really_open, really_look = Database.open, Database.look

    def open_there(state: Path, url: str | None = None, **more: Any) -> Database:
        return really_open(state, url or server.url_for(state), **more)

    def look_there(state: Path, url: str | None = None) -> Database:
        return really_look(state, url or server.url_for(state))

    monkeypatch.setattr(Database, "open", staticmethod(open_there))
    monkeypatch.setattr(Database, "look", staticmethod(look_there))
    yield
    server.drop_all()


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch, _everything_is_there: None) -> None:
    """State folders have their own database again."""
    monkeypatch.undo()
    for name in ("RINGMESH_STATE", "RINGMESH_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RINGMESH_PASSPHRASE", PASSPHRASE)


def refused(kind: type[Exception], url: str) -> str:
    with pytest.raises(kind) as error:
        Database.open(Path("/nowhere"), url).close()
    assert PASSWORD not in str(error.value)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_the_migrations_build_what_the_schema_says_there_too(
    server: PostgresServer, tmp_path: Path
) -> None:
    engine = create_engine(server.url_for(tmp_path).replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        migrate.upgrade(connection, "0001")
    with engine.begin() as connection:
        migrate.upgrade(connection, SCHEMA_VERSION)
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()
    database = Database.open(tmp_path)
    assert database.dialect == "postgresql"
    database.close()


def test_a_newer_schema_is_refused(server: PostgresServer, tmp_path: Path) -> None:
    Database.open(tmp_path).close()
    name = server.url_for(tmp_path).partition("@/")[2].partition("?")[0]
    server.sql("UPDATE alembic_version SET version_num = '9999'", database=name)
    with pytest.raises(ConfigError, match="written by a newer version"):
        Database.open(tmp_path)


def test_a_database_belongs_to_one_node(tmp_path: Path) -> None:
    """The second is told; readers beside it are not in the way."""
    first = Database.open(tmp_path)
    with pytest.raises(StorageError, match="in use by another node"):
        Database.open(tmp_path)
    reader = Database.look(tmp_path)
    with reader.read() as connection:
        assert read_meta(connection, "colour") is None
    reader.close()
    first.close()
    Database.open(tmp_path).close()


def test_readers_see_one_state(tmp_path: Path) -> None:
    writer, reader = Database.open(tmp_path), Database.look(tmp_path)
    with reader.read() as connection:
        assert read_meta(connection, "colour") is None
        with writer.write() as other:
            write_meta(other, "colour", b"blue")
        assert read_meta(connection, "colour") is None
    with reader.read() as connection:
        assert read_meta(connection, "colour") == b"blue"
    reader.close()
    writer.close()


def test_what_a_wrong_url_leads_to(server: PostgresServer, tmp_path: Path) -> None:
    there = server.url_for(tmp_path)
    assert "PostgreSQL refused (password authentication failed" in refused(
        StorageError, there.replace("geheim", "falsch")
    )
    name = there.partition("@/")[2].partition("?")[0]
    assert 'database "nobodys" does not exist' in refused(
        StorageError, there.replace(name, "nobodys")
    )
    for nowhere in (f"postgresql://u@/db?host={tmp_path}", "postgresql://u@127.0.0.1:9/db"):
        assert "PostgreSQL cannot be reached" in refused(StorageError, nowhere)
    assert "use for example postgresql://" in refused(ConfigError, "nonsense")


def test_a_user_without_rights_is_told(server: PostgresServer, tmp_path: Path) -> None:
    Database.open(tmp_path).close()
    name = server.url_for(tmp_path).partition("@/")[2].partition("?")[0]
    database = Database.open(tmp_path)
    server.sql("REVOKE INSERT ON meta FROM ringmesh", database=name)
    with (
        pytest.raises(StorageError, match="has to own its tables"),
        database.write() as connection,
    ):
        write_meta(connection, "colour", b"blue")
    database.close()


async def test_nothing_that_was_acknowledged_is_lost_when_the_server_goes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rows wait while it is gone, bounded; whoever awaits a commit is told; then all is written."""
    with postgres_server() as server:
        database = Database.open(tmp_path, server.url_for(tmp_path))
        storage = Storage(database, interval=0.001, retry_first=0.01, limit=50, work_limit=2)
        storage.start()
        store = DialogStore(storage)
        store.put("before", b"1")
        await storage.run(lambda connection: write_meta(connection, "colour", b"blue"))

        server.stop()
        with pytest.raises(StorageError, match=r"was lost|cannot be reached"):
            await storage.run(lambda connection: write_meta(connection, "colour", b"red"))
        for number in range(60):
            store.put(f"meanwhile{number:02}", b"2")
        with pytest.raises(StorageError):
            await storage.flush()
        assert (storage.waiting, storage.is_healthy) == (50, False)
        awaited = [asyncio.ensure_future(storage.flush()) for _ in range(20)]
        answers = await asyncio.gather(*awaited, return_exceptions=True)
        assert all(isinstance(answer, StorageError) for answer in answers)
        assert any("too much waits" in str(answer) for answer in answers)

        server.start()
        async with asyncio.timeout(30):
            while storage.waiting or not storage.is_healthy:
                await asyncio.sleep(0.02)
        assert await storage.run(lambda connection: read_meta(connection, "colour")) == b"blue"
        there = await storage.run(load_dialogs)
        assert set(there) == {"before", *(f"meanwhile{number:02}" for number in range(10, 60))}
        await storage.close()
    logged = capsys.readouterr().out
    assert logged.count("storage_write_failed") == 1
    assert logged.count("storage_recovered") == 1
    assert PASSWORD not in logged


def a_json(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    assert run([*map(str, arguments), "--json"]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


@pytest.mark.usefixtures("plain")
def test_a_backup_leads_from_a_file_to_a_server_and_back(
    server: PostgresServer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """This is how a node that outgrows its file moves."""
    here, file = tmp_path / "here", tmp_path / "backup"
    alice = a_json(capsys, "user", "add", "alice", "--state", here)
    a_json(capsys, "backup", file, "--state", here)
    url = server.url_for(tmp_path)
    monkeypatch.setenv("RINGMESH_STORAGE_URL", url)
    a_json(capsys, "restore", file, "--force", "--state", here)
    assert a_json(capsys, "user", "show", "alice", "--state", here)["number"] == alice["number"]
    database = Database.look(here, url)
    with database.read() as connection:
        assert [account.login for account in load_accounts(connection)] == ["alice"]
    database.close()
    # From now on the folder knows; another one is refused, since the database is a node's already.
    monkeypatch.delenv("RINGMESH_STORAGE_URL")
    assert StateFolder(here).storage_url() == url
    a_json(capsys, "user", "add", "bob", "--state", here)
    monkeypatch.setenv("RINGMESH_STORAGE_URL", url)
    assert run(["restore", str(file), "--state", str(tmp_path / "other")]) == 1
    said = capsys.readouterr().err
    assert "has accounts already" in said
    assert PASSWORD not in said
    monkeypatch.delenv("RINGMESH_STORAGE_URL")
    again = a_json(capsys, "backup", tmp_path / "again", "--state", here)
    assert again["accounts"] == 2
    a_json(capsys, "restore", tmp_path / "again", "--state", tmp_path / "there")
    users = a_json(capsys, "user", "list", "--state", tmp_path / "there")
    assert [user["login"] for user in users] == ["alice", "bob"]
    assert StateFolder(tmp_path / "there").storage_url() is None


@pytest.mark.usefixtures("plain")
def test_a_restore_that_fails_leaves_the_server_as_it_was(
    server: PostgresServer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = server.url_for(tmp_path)
    monkeypatch.setenv("RINGMESH_STORAGE_URL", url)
    here, file = tmp_path / "here", tmp_path / "backup"
    a_json(capsys, "user", "add", "alice", "--state", here)
    a_json(capsys, "backup", file, "--state", here)
    a_json(capsys, "user", "add", "bob", "--state", here)
    damaged = bytearray(file.read_bytes())
    damaged[-1] ^= 1
    file.write_bytes(damaged)
    assert run(["restore", str(file), "--force", "--state", str(here)]) == 1
    assert "is damaged" in capsys.readouterr().err
    assert len(a_json(capsys, "user", "list", "--state", here)) == 2


@pytest.mark.usefixtures("plain")
@needs_pjsua2
@pytest.mark.slow
async def test_a_node_on_postgresql_goes_on_while_the_server_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Phones register and call; what has to be kept at once is refused with a sentence."""
    with postgres_server() as server:
        monkeypatch.setenv("RINGMESH_STORAGE_URL", server.url_for(tmp_path))
        async with running_nodes(tmp_path, 1) as (node,):
            alice, bob = await add_user(node, "alice"), await add_user(node, "bob")
            server.stop()
            code, _, complaint = await node.command("user", "add", "carol")
            assert code == 1
            assert "PostgreSQL" in complaint
            async with phone_of(alice) as phone_a, phone_of(bob) as phone_b:
                await node.has(registrations=2)
                call = await talk(phone_a, phone_b, f"sip:bob@{alice['server']}")
                await call.is_heard()
                await call.hang_up()
            server.start()
            await add_user(node, "carol")
            records = await _records(node, 1)
            assert [record["account"] for record in records] == ["alice"]
        assert PASSWORD not in node.log.read_text()
        assert not node.state.joinpath("ringmesh.db").exists()
        assert os.stat(node.state / "storage").st_mode & 0o777 == 0o600


async def _records(node: Any, count: int) -> list[dict[str, Any]]:
    async with asyncio.timeout(40):
        while len(records := await node.ask("call", "log")) < count:
            await asyncio.sleep(0.5)
    return records


def test_accounts_come_in_by_thousands(tmp_path: Path) -> None:
    """One statement for many rows, there too."""
    database = Database.open(tmp_path)
    store = AccountStore(database, clock=StandingClock(), entropy=SystemEntropy())
    store.add([WantedAccount(login=f"user{number}") for number in range(1000)])
    with database.read() as connection:
        assert len(connection.execute(select(metadata.tables["accounts"].c.login)).all()) == 1000
    database.close()
