"""No change of a backup goes unnoticed, and none changes the folder it is restored to."""

import contextlib
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.backup.restoring import restore
from node.backup.sealed import (
    NODE,
    CutShortError,
    DamagedFileError,
    ForeignFileError,
    NewerFileError,
    SealedFile,
    SealedFileError,
)
from node.state import StateFolder
from tests.support.nodes_at_rest import a_backup, everything_in, some_node
from tests.support.sealed_files import PASSPHRASE, sealed, unsealed


@pytest.fixture(scope="module")
def backup(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("node")
    return a_backup(some_node(folder / "state"), folder / "backup").read_bytes()


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another node, that a damaged backup must not harm."""
    return some_node(tmp_path_factory.mktemp("there") / "state")


@given(content=st.binary(max_size=200_000))
@settings(max_examples=40, deadline=None)
def test_any_content_survives(content: bytes) -> None:
    assert unsealed(sealed(content)) == content


@given(data=st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_bytes_earn_a_sentence(data: bytes) -> None:
    for beginning in (b"", b"ringmesh sealed\n", b"ringmesh sealed\n\x01\x01"):
        with pytest.raises(SealedFileError):
            unsealed(beginning + data)


@given(
    how=st.sampled_from(["flip", "cut", "grow", "swap"]),
    where=st.floats(0, 1, exclude_max=True),
    mask=st.integers(1, 255),
)
@settings(max_examples=100, deadline=None)
def test_a_damaged_backup_changes_nothing(
    backup: bytes, there: Path, how: str, where: float, mask: int
) -> None:
    damaged = damage(backup, how, where, mask)
    if damaged == backup:
        return
    before = everything_in(there)
    with pytest.raises((DamagedFileError, CutShortError, ForeignFileError, NewerFileError)):
        put_back(damaged, there)
    assert everything_in(there) == before


def damage(backup: bytes, how: str, where: float, mask: int) -> bytes:
    at = int(where * len(backup))
    match how:
        case "flip":
            return backup[:at] + bytes([backup[at] ^ mask]) + backup[at + 1 :]
        case "cut":
            return backup[:at]
        case "grow":
            return backup + bytes([mask]) * (1 + at % 100)
        case _:
            one, two = backup[at : at + mask], backup[at + mask : at + 2 * mask]
            return backup[:at] + two + one + backup[at + 2 * mask :]


def put_back(backup: bytes, state: Path, *, replace: bool = True) -> Path:
    with StateFolder.open(state).lock():
        file = SealedFile.look(io.BytesIO(backup), "it", NODE)
        restore(file.open(PASSPHRASE), file, StateFolder(state), replace=replace)
    return state


@given(at=st.integers(0, 5))
@settings(max_examples=6, deadline=None)
def test_a_restore_that_was_interrupted_is_finished(
    tmp_path_factory: pytest.TempPathFactory, backup: bytes, at: int
) -> None:
    """The power fails before the first to the last move into place; the next lock goes on."""
    state = some_node(tmp_path_factory.mktemp("there") / "state")
    moves = 0
    whole = Path.replace

    def fails(self: Path, target: Path) -> Path:
        nonlocal moves
        if moves == at:
            raise InterruptedError
        moves += 1
        return whole(self, target)

    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(SealedFileError):
        patch.setattr(Path, "replace", fails)
        put_back(backup, state)
    StateFolder.open(state).lock().release()
    expected = put_back(backup, tmp_path_factory.mktemp("plain") / "state", replace=False)
    assert everything_in(state) == everything_in(expected)
