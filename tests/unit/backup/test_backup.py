"""A backup made and put back; nothing half done whatever goes wrong."""

import io
import json
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import create_engine, insert, text

from federation.model.clocks import SystemEntropy
from node.accounts.rows import load_accounts
from node.backup.contents import Contents
from node.backup.restoring import check_unused, restore
from node.backup.sealed import NODE, NewerFileError, SealedFile, SealedFileError
from node.cli.commands import run
from node.state import StateError, StateFolder, StateInUseError
from node.storage.database import Database
from node.storage.domains import load_domains
from node.storage.errors import DamagedError
from node.storage.meta import read_meta, write_meta
from node.storage.migrate import upgrade
from node.storage.schema import SCHEMA_VERSION, dialogs
from tests.support.nodes_at_rest import a_backup, everything_in, some_node
from tests.support.sealed_files import PASSPHRASE

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RINGMESH_STATE", "RINGMESH_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RINGMESH_PASSPHRASE", PASSPHRASE)


def put_back(file: Path, state: Path, *, replace: bool = False) -> Contents:
    with file.open("rb") as stream, StateFolder.open(state).lock():
        sealed = SealedFile.look(stream, file.name, NODE)
        return restore(sealed.open(PASSPHRASE), sealed, StateFolder(state), replace=replace)


def test_a_node_is_the_same_elsewhere(tmp_path: Path) -> None:
    here = some_node(tmp_path / "here")
    file = a_backup(here, tmp_path / "backup")
    contents = put_back(file, tmp_path / "there")
    assert contents.accounts == 2
    there = StateFolder(tmp_path / "there")
    assert there.node_key(SystemEntropy()).id.text == contents.node
    for name in ("node.key", "overlay", "tls.pem", "peers"):
        assert (there.path / name).read_bytes() == (here / name).read_bytes()
    old, new = Database.open(here), Database.open(there.path)
    with old.read() as before, new.read() as after:
        assert load_accounts(after) == load_accounts(before)
        assert read_meta(after, "colour") == b"blue"
    old.close()
    new.close()
    modes = {stat.S_IMODE(path.stat().st_mode) for path in there.path.iterdir()}
    assert modes == {0o600}
    assert not (there.path / "last-run").exists(), "it tells of the place where the node was"


def test_the_file_is_its_owners_alone_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    here = some_node(tmp_path / "here")
    before = set(os.listdir(here))
    file = a_backup(here, tmp_path / "backup")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert set(os.listdir(tmp_path)) == {"here", "backup"}
    assert set(os.listdir(here)) == before


def test_what_a_killed_backup_left_is_deleted_by_the_next(tmp_path: Path) -> None:
    """But not what one under way has."""
    here = some_node(tmp_path / "here")
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left, used = here / f".backup-{ended.pid}-x", here / f".backup-{os.getppid()}-x"
    for folder in left, used:
        folder.mkdir()
        (folder / "ringmesh.db").touch()
    a_backup(here, tmp_path / "backup")
    assert not left.exists()
    assert used.exists()


def test_a_backup_is_one_moment_of_a_database_in_use(tmp_path: Path) -> None:
    """A transaction that is open meanwhile is neither waited for nor in it."""
    here = some_node(tmp_path / "here")
    database = Database.open(here)
    with database.write() as connection:
        write_meta(connection, "colour", b"red")
        file = a_backup(here, tmp_path / "backup")
    with database.write() as connection:
        write_meta(connection, "sound", b"loud")
    database.close()
    put_back(file, tmp_path / "there")
    restored = Database.open(tmp_path / "there")
    with restored.read() as connection:
        assert read_meta(connection, "colour") == b"blue"
        assert read_meta(connection, "sound") is None
    restored.close()


def test_calls_under_way_are_not_in_it(tmp_path: Path) -> None:
    """A node that starts with dialogs ends them, and those of a backup are long over."""
    here = some_node(tmp_path / "here")
    database = Database.open(here)
    with database.write() as connection:
        connection.execute(insert(dialogs), [{"id": "x", "data": b"y"}])
    database.close()
    put_back(a_backup(here, tmp_path / "backup"), tmp_path / "there")
    raw = sqlite3.connect(tmp_path / "there" / "ringmesh.db")
    assert raw.execute("SELECT count(*) FROM dialogs").fetchone() == (0,)
    raw.close()


def test_a_used_folder_is_replaced_by_force_only_and_whole(tmp_path: Path) -> None:
    file = a_backup(some_node(tmp_path / "here"), tmp_path / "backup")
    there = some_node(tmp_path / "there", "carol")
    (there / "ringmesh.db-wal").write_bytes(b"of the old database")
    with pytest.raises(StateError, match="not empty: name another folder with --state, or"):
        put_back(file, there)
    assert (there / "ringmesh.db-wal").exists()
    put_back(file, there, replace=True)
    plain = tmp_path / "plain"
    put_back(file, plain)
    assert everything_in(there) == everything_in(plain)


def test_an_unused_folder_may_have_a_lock(tmp_path: Path) -> None:
    check_unused(tmp_path / "missing")
    StateFolder.open(tmp_path / "state").lock().release()
    check_unused(tmp_path / "state")


def test_an_older_database_is_migrated_at_the_next_start(tmp_path: Path) -> None:
    here = some_node(tmp_path / "here")
    (here / "ringmesh.db").unlink()
    engine = create_engine(f"sqlite:///{here / 'ringmesh.db'}")
    with engine.begin() as connection:
        upgrade(connection, "0006")
        connection.execute(text("INSERT INTO domains VALUES ('example.org', 1.0)"))
    engine.dispose()
    contents = put_back(a_backup(here, tmp_path / "backup"), tmp_path / "there")
    assert contents.schema == "0006"
    database = Database.open(tmp_path / "there")
    with database.read() as connection:
        assert load_domains(connection) == ["example.org"]
    database.close()


def test_a_newer_database_is_refused_before_anything_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = a_backup(some_node(tmp_path / "here"), tmp_path / "backup")
    there = some_node(tmp_path / "there")
    before = everything_in(there)
    monkeypatch.setattr("node.backup.restoring.SCHEMA_VERSION", "0001")
    with pytest.raises(NewerFileError, match=f"tables {SCHEMA_VERSION}, this program knows 0001"):
        put_back(file, there, replace=True)
    assert everything_in(there) == before


def test_a_damaged_database_is_not_backed_up(tmp_path: Path) -> None:
    here = some_node(tmp_path / "here")
    data = bytearray((here / "ringmesh.db").read_bytes())
    data[4096 : 4096 * 6] = b"\xff" * (4096 * 5)
    (here / "ringmesh.db").write_bytes(data)
    with pytest.raises(DamagedError, match="is damaged"):
        a_backup(here, tmp_path / "backup")
    assert not (tmp_path / "backup").exists()


def test_there_must_be_a_node(tmp_path: Path) -> None:
    StateFolder.open(tmp_path / "state")
    with pytest.raises(StateError, match=r"no node in .* yet: start one with ringmesh up"):
        a_backup(tmp_path / "state", tmp_path / "backup")


def test_a_file_that_is_there_is_replaced_by_force_only(tmp_path: Path) -> None:
    here = some_node(tmp_path / "here")
    target = tmp_path / "backup"
    target.write_text("precious")
    with pytest.raises(SealedFileError, match="is there already: give another name, or --force"):
        a_backup(here, target)
    assert target.read_text() == "precious"
    a_backup(here, target, replace=True)
    put_back(target, tmp_path / "there")
    for place, sentence in (
        (tmp_path, "is a folder"),
        (tmp_path / "missing" / "backup", "there is no folder .*missing: make it first"),
    ):
        with pytest.raises(SealedFileError, match=sentence):
            a_backup(here, place)


def test_progress_goes_from_nothing_to_all(tmp_path: Path) -> None:
    told: list[float] = []
    file = a_backup(some_node(tmp_path / "here"), tmp_path / "backup", on_progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 1.0
    assert put_back(file, tmp_path / "there").files


SMALL_DISK = (
    "unshare", "-m", "sh", "-c", """
set -e
mount -t tmpfs -o size=300k tmpfs "$1"
test "$2" != restore || "$3" -m node.cli.main user add carol --state "$1/state" >/dev/null
cp -r "$1" "$1.before"
"$3" -m node.cli.main "$2" "$4" --state "$5" $6 || code=$?
diff -r "$1" "$1.before" || exit 99
exit "${code:-0}"
""", "sh",
)  # fmt: skip
"Arguments: where the disk goes, command, Python, backup, state folder, option."


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None,
    reason="a small disk is a file system of its own, which takes root and unshare",
)
@pytest.mark.parametrize("command", ["backup", "restore"])
def test_a_full_disk_leaves_nothing_half_done(tmp_path: Path, command: str) -> None:
    """A real one: 300 KB, onto which the backup does not fit."""
    disk = tmp_path / "disk"
    disk.mkdir()
    here = some_node(tmp_path / "here", *(f"user{n}" for n in range(400)))
    file = disk / "backup"
    state, more = here, ""
    if command == "restore":
        file = a_backup(here, tmp_path / "backup")
        state, more = disk / "state", "--force"
    done = subprocess.run(
        [*SMALL_DISK, str(disk), command, sys.executable, str(file), str(state), more],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "mount" in done.stderr:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "disk" in done.stderr
    assert "is full" in done.stderr
    assert len(done.stderr.splitlines()) == 1


# The commands


def test_the_commands_move_a_node(capsys: Capture, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    some_node(here)
    assert run(["backup", str(tmp_path / "b"), "--state", str(here), "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["accounts"] == 2
    assert made["bytes"] == (tmp_path / "b").stat().st_size
    assert run(["restore", str(tmp_path / "b"), "--state", str(there), "--json"]) == 0
    restored = json.loads(capsys.readouterr().out)
    assert restored["node_id"] == made["node_id"]
    assert run(["user", "list", "--state", str(there), "--json"]) == 0
    assert [user["login"] for user in json.loads(capsys.readouterr().out)] == ["alice", "bob"]


@pytest.mark.parametrize(
    ("passphrase", "content", "sentence"),
    [
        ("wrong and long", None, "the passphrase does not open"),
        (PASSPHRASE, b"something else\n", "no file that ringmesh made"),
        (PASSPHRASE, b"ringmesh sealed\n", "is cut short"),
    ],
)
def test_a_failed_restore_leaves_no_folder(
    capsys: Capture,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    passphrase: str,
    content: bytes | None,
    sentence: str,
) -> None:
    file = a_backup(some_node(tmp_path / "here"), tmp_path / "backup")
    if content is not None:
        file.write_bytes(content)
    monkeypatch.setenv("RINGMESH_PASSPHRASE", passphrase)
    assert run(["restore", str(file), "--state", str(tmp_path / "there")]) == 1
    said = capsys.readouterr().err
    assert sentence in said
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "there").exists()


def test_a_running_nodes_folder_is_not_restored_to(capsys: Capture, tmp_path: Path) -> None:
    here = some_node(tmp_path / "here")
    file = a_backup(here, tmp_path / "backup")
    before = everything_in(here)
    with StateFolder.open(here).lock():
        with pytest.raises(StateInUseError):
            StateFolder.open(here).lock()
        assert run(["restore", str(file), "--force", "--state", str(here)]) == 1
    assert "is in use by process" in capsys.readouterr().err
    assert everything_in(here) == before


def test_the_passphrase_comes_from_a_file_or_standard_input(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RINGMESH_PASSPHRASE")
    here = str(some_node(tmp_path / "here"))
    kept = tmp_path / "passphrase"
    kept.write_text(f"{PASSPHRASE}\nand a line that does not count\n")
    file = str(tmp_path / "b")
    assert run(["backup", file, "--passphrase-file", str(kept), "--state", here]) == 0
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{PASSPHRASE}\n"))
    there = str(tmp_path / "there")
    assert run(["restore", file, "--passphrase-file", "-", "--state", there]) == 0
    capsys.readouterr()
    other = str(tmp_path / "other")
    for options, code, sentence in (
        ([], 2, "no passphrase, and nobody to ask for it"),
        (["--passphrase-file", str(tmp_path / "none")], 2, "cannot be read: No such file"),
    ):
        assert run(["restore", file, *options, "--state", other]) == code
        assert sentence in capsys.readouterr().err
    kept.write_text("short\n")
    more = ["--force", "--passphrase-file", str(kept), "--state", here]
    assert run(["backup", file, *more]) == 1
    assert "8 to 1024 characters" in capsys.readouterr().err
