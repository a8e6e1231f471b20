"""The state folder: modes, lock, key, puzzle; damaged files are named."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from federation.model.clocks import SystemEntropy
from federation.model.identity import NodeKey
from federation.model.network import Network
from node.state import StateError, StateFolder, StateInUseError, state_path

NETWORK = Network.named("test")


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_folder_is_its_owners_alone(tmp_path: Path) -> None:
    folder = StateFolder.open(tmp_path / "a" / "b")
    assert mode_of(folder.path) == 0o700


def test_an_empty_open_folder_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "state"
    path.mkdir(mode=0o755)
    StateFolder.open(path)
    assert mode_of(path) == 0o700


def test_a_folder_with_other_peoples_files_is_left_alone(tmp_path: Path) -> None:
    """`--state /etc` by a slip must not lock everybody out of /etc."""
    path = tmp_path / "other"
    path.mkdir()
    path.chmod(0o755)
    (path / "passwd").touch()
    with pytest.raises(StateError, match="holds other files"):
        StateFolder.open(path)
    assert mode_of(path) == 0o755


def test_a_state_folder_that_was_opened_up_is_closed_again(tmp_path: Path) -> None:
    folder = StateFolder.open(tmp_path / "state")
    folder.node_key(SystemEntropy())
    folder.path.chmod(0o755)
    StateFolder.open(folder.path)
    assert mode_of(folder.path) == 0o700


def test_a_file_in_the_folders_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    with pytest.raises(StateError, match="state is a file: give a folder with --state"):
        StateFolder.open(tmp_path / "state")


def test_a_folder_below_a_file_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StateError, match="cannot be written: Not a directory"):
        StateFolder.open(tmp_path / "file" / "state")


def test_the_node_key_is_made_once(tmp_path: Path) -> None:
    folder = StateFolder.open(tmp_path)
    assert not folder.has_node_key
    key = folder.node_key(SystemEntropy())
    assert folder.has_node_key
    assert folder.node_key(SystemEntropy()).id == key.id
    assert mode_of(tmp_path / "node.key") == 0o600


def test_a_key_file_that_others_can_read_is_closed(tmp_path: Path) -> None:
    folder = StateFolder.open(tmp_path)
    folder.node_key(SystemEntropy())
    (tmp_path / "node.key").chmod(0o644)
    folder.node_key(SystemEntropy())
    assert mode_of(tmp_path / "node.key") == 0o600


@pytest.mark.parametrize("damage", ["", "x", "ringmesh-node-key-1 aa bb", "é", "swap", "header"])
def test_a_damaged_key_is_named_and_kept(tmp_path: Path, damage: str) -> None:
    """No new identity in silence: the file stays as it is for the person to restore."""
    folder = StateFolder.open(tmp_path)
    folder.node_key(SystemEntropy())
    file = tmp_path / "node.key"
    text = file.read_text()
    if damage == "swap":
        damage = text.replace(text.split()[2], NodeKey(bytes(32)).id.text)
    if damage == "header":
        damage = text.replace("key-1", "key-9")
    file.write_text(damage, encoding="utf-8")
    with pytest.raises(StateError, match=r"node\.key is damaged: restore it"):
        folder.node_key(SystemEntropy())
    assert file.read_text(encoding="utf-8") == damage


def test_a_solved_puzzle_is_kept_for_its_key_and_network(tmp_path: Path) -> None:
    folder, key = StateFolder.open(tmp_path), NodeKey(bytes(32))
    assert folder.overlay_nonce(key, NETWORK) is None
    folder.keep_overlay_nonce(key, NETWORK, b"8 bytes.")
    assert folder.overlay_nonce(key, NETWORK) == b"8 bytes."
    assert folder.overlay_nonce(NodeKey(bytes(31) + b"\1"), NETWORK) is None
    assert folder.overlay_nonce(key, Network.named("other")) is None
    assert folder.overlay_nonce(key, Network.named("test", 5)) is None


def test_a_damaged_puzzle_file_is_named(tmp_path: Path) -> None:
    folder = StateFolder.open(tmp_path)
    (tmp_path / "overlay").write_bytes(b"{")
    with pytest.raises(StateError, match="overlay is damaged: delete it"):
        folder.overlay_nonce(NodeKey(bytes(32)), NETWORK)


def test_the_last_run_is_kept(tmp_path: Path) -> None:
    folder = StateFolder.open(tmp_path)
    assert folder.last_run() == {}
    folder.keep_last_run({"server": "x"})
    assert folder.last_run() == {"server": "x"}
    (tmp_path / "last-run").write_bytes(b"[]")
    with pytest.raises(StateError, match="last-run is damaged: delete it"):
        folder.last_run()


def test_writing_leaves_no_other_files(tmp_path: Path) -> None:
    folder = StateFolder.open(tmp_path)
    for count in range(3):
        folder.keep_last_run({"count": count})
    assert [path.name for path in tmp_path.iterdir()] == ["last-run"]


def test_a_second_holder_is_told_who_is_there(tmp_path: Path) -> None:
    folder = StateFolder.open(tmp_path)
    with folder.lock(), pytest.raises(StateInUseError) as caught:
        folder.lock()
    assert caught.value.pid == os.getpid()
    assert str(caught.value) == (
        f"the state folder {tmp_path} is in use by process {os.getpid()}: stop it "
        f"(kill {os.getpid()}), or give this node a folder of its own with --state"
    )


def test_the_lock_ends_with_its_block_or_its_process(tmp_path: Path) -> None:
    folder = StateFolder.open(tmp_path)
    with folder.lock():
        pass
    script = (
        "import os, sys; from pathlib import Path; from node.state import StateFolder;"
        "lock = StateFolder.open(Path(sys.argv[1])).lock(); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True)
    with folder.lock():
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


def test_where_the_folder_is() -> None:
    everything = {"RINGMESH_STATE": "/s", "XDG_STATE_HOME": "/x", "HOME": "/h"}
    assert state_path(Path("/o"), everything) == Path("/o")
    assert state_path(None, everything) == Path("/s")
    assert state_path(None, {"XDG_STATE_HOME": "/x"}) == Path("/x/ringmesh")
    home = Path("~/.local/state/ringmesh").expanduser()
    assert state_path(None, {}) == home
    assert state_path(None, {"XDG_STATE_HOME": "relative"}) == home
