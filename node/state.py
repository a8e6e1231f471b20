"""The state folder: everything one node keeps, readable by its owner alone.

node.key      the node key, made at first start (losing it means being another node)
overlay       the solution of the overlay id's puzzle, for one key and network
ringmesh.db   accounts, registrations, dialogs, pins
peers         nodes met before
storage       where the database is, if not in this folder
tls.pem       the certificate the node made for itself, with its key
last-run      what was last told to people (server, domains), for commands while stopped
api.sock      where the command line reaches the running node
lock          held while a node, or a command that writes, uses the folder; holds a pid
"""

import base64
import fcntl
import os
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import msgspec

from federation.model.clocks import Entropy
from federation.model.errors import ConfigError, PeerError
from federation.model.identity import KEY_BYTES, NodeKey
from federation.model.network import Network
from node.backup.staging import finish as finish_restore

_KEY_HEADER = "ringmesh-node-key-1"
_MAX_SMALL_FILE = 65536
_FOLDER_MODE = 0o700
_FILE_MODE = 0o600
_OURS = ("node.key", "lock")
"A folder that holds one of these was made by us."


class StateError(ConfigError):
    """The state folder, or a file in it, cannot be used as it is."""


class StateInUseError(StateError):
    """Another process holds the folder's lock. `pid` is that process, where known."""

    def __init__(self, path: Path, pid: int | None) -> None:
        who = "another process" if pid is None else f"process {pid}"
        stop = "stop it" if pid is None else f"stop it (kill {pid})"
        super().__init__(
            f"the state folder {path} is in use by {who}: {stop}, "
            "or give this node a folder of its own with --state"
        )
        self.pid = pid


class OverlaySolution(msgspec.Struct, frozen=True, kw_only=True):
    """A solved puzzle, and what it was solved for."""

    key: str
    "Text of the node key."
    network: str
    bits: int
    nonce: str
    "Base32 of the nonce."


@dataclass(frozen=True, slots=True)
class StateFolder:
    """One node's folder. Obtain it from `open`, which makes and checks it."""

    path: Path

    @classmethod
    def open(cls, path: Path) -> Self:
        """Make the folder if it is missing, and check that it is ours alone.

        A wider mode is narrowed to 0700 if the folder is empty or was made by us; any other
        folder with files in it is refused, so that a slip of the keyboard never locks one away.

        Raises:
            StateError: it cannot be made or written, or is some other folder.
        """
        path = Path(os.path.abspath(path))  # resolve() would follow links
        try:
            path.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
            status = path.stat()
            if stat.S_IMODE(status.st_mode) & 0o077:
                names = os.listdir(path)
                if names and not any(name in _OURS for name in names):
                    raise StateError(
                        f"{path} holds other files and is open to others: give an empty or new "
                        "folder with --state"
                    )
                path.chmod(_FOLDER_MODE)
        except FileExistsError as error:
            raise StateError(f"{path} is a file: give a folder with --state") from error
        except OSError as error:
            raise _unusable(path, error) from error
        if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
            raise StateError(
                f"the state folder {path} is not writable for you: "
                "change its owner or give another one with --state"
            )
        return cls(path)

    @classmethod
    def check(cls, path: Path) -> Self | None:
        """The folder as it is, without a change to it; `None` where `open` would make it.

        Raises:
            StateError: `open` would not do.
        """
        if not path.exists():
            return None
        if not path.is_dir():
            raise StateError(f"{path} is a file: give a folder with --state")
        if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
            raise StateError(
                f"the state folder {path} is not writable for you: "
                "change its owner or give another one with --state"
            )
        names = os.listdir(path)
        if path.stat().st_mode & 0o077 and names and not any(name in _OURS for name in names):
            raise StateError(
                f"{path} holds other files and is open to others: give an empty or new "
                "folder with --state"
            )
        return cls(path)

    @property
    def database(self) -> Path:
        """Where accounts and registrations are stored."""
        return self.path / "ringmesh.db"

    @property
    def peer_cache(self) -> Path:
        """Where nodes met before are remembered."""
        return self.path / "peers"

    @property
    def certificate(self) -> Path:
        """The certificate the node made for itself, and its key, as PEM."""
        return self.path / "tls.pem"

    @property
    def socket(self) -> Path:
        """Where the running node listens for its command line."""
        return self.path / "api.sock"

    @property
    def has_node_key(self) -> bool:
        """Whether a node was ever started here."""
        return (self.path / "node.key").exists()

    def lock(self) -> "StateLock":
        """Take the folder for this process, and finish a restore that was interrupted.

        Raises:
            StateInUseError: another process has it.
            StateError: the lock file cannot be written.
        """
        lock = StateLock(self.path)
        try:
            finish_restore(self.path)
        except OSError as error:
            lock.release()
            raise _unusable(self.path, error) from error
        return lock

    def node_key(self, entropy: Entropy) -> NodeKey:
        """The node key, made now if there is none.

        Raises:
            StateError: the file cannot be read or written, or is damaged.
        """
        file = self.path / "node.key"
        text = self._read(file)
        if text is not None:
            return _read_key(file, text)
        key = NodeKey(entropy.token(KEY_BYTES))
        self._write(file, f"{_KEY_HEADER} {_b32(key.seed)} {key.id.text}\n".encode("ascii"))
        return key

    def existing_node_key(self) -> NodeKey:
        """The node key of a node that was started before.

        Raises:
            StateError: there is none, or it is damaged.
        """
        file = self.path / "node.key"
        text = self._read(file)
        if text is None:
            raise StateError(f"there is no node in {self.path} yet: start one with ringmesh up")
        return _read_key(file, text)

    def overlay_nonce(self, key: NodeKey, network: Network) -> bytes | None:
        """The kept puzzle solution, if it is for this key, network and price.

        Raises:
            StateError: the file is damaged.
        """
        file = self.path / "overlay"
        text = self._read(file)
        if text is None:
            return None
        try:
            kept = msgspec.json.decode(text, type=OverlaySolution)
            nonce = _unb32(kept.nonce)
        except (msgspec.DecodeError, ValueError) as error:
            raise StateError(
                f"{file} is damaged: delete it, and the puzzle is solved again"
            ) from error
        wanted = (key.id.text, network.name, network.puzzle_bits)
        return nonce if (kept.key, kept.network, kept.bits) == wanted else None

    def keep_overlay_nonce(self, key: NodeKey, network: Network, nonce: bytes) -> None:
        """Remember a solved puzzle.

        Raises:
            StateError: the file cannot be written.
        """
        solution = OverlaySolution(
            key=key.id.text, network=network.name, bits=network.puzzle_bits, nonce=_b32(nonce)
        )
        self._write(self.path / "overlay", msgspec.json.encode(solution))

    def storage_url(self) -> str | None:
        """The URL of the node's database; `None` where it is `database`.

        Raises:
            StateError: the file cannot be read.
        """
        text = self._read(self.path / "storage")
        return None if text is None else text.decode("utf-8", "replace").strip()

    def keep_storage_url(self, url: str | None) -> None:
        """Remember where the database is, for commands while the node is stopped.

        Raises:
            StateError: the file cannot be written.
        """
        file = self.path / "storage"
        if url is not None:
            self._write(file, f"{url}\n".encode())
            return
        try:
            file.unlink(missing_ok=True)
        except OSError as error:
            raise _unusable(file, error) from error

    def own_certificate(self) -> bytes | None:
        """What `keep_own_certificate` was given; `None` if never.

        Raises:
            StateError: the file cannot be read.
        """
        return self._read(self.certificate)

    def keep_own_certificate(self, pem: bytes) -> None:
        """Keep the node's own certificate and key.

        Raises:
            StateError: the file cannot be written.
        """
        self._write(self.certificate, pem)

    def last_run(self) -> dict[str, Any]:
        """What `keep_last_run` was given; empty if never.

        Raises:
            StateError: the file is damaged.
        """
        file = self.path / "last-run"
        text = self._read(file)
        if text is None:
            return {}
        try:
            return msgspec.json.decode(text, type=dict[str, Any])
        except msgspec.DecodeError as error:
            raise StateError(
                f"{file} is damaged: delete it, it is written at each start"
            ) from error

    def keep_last_run(self, facts: Mapping[str, Any]) -> None:
        """Keep what commands need to know while the node is stopped.

        Raises:
            StateError: the file cannot be written.
        """
        self._write(self.path / "last-run", msgspec.json.encode(dict(facts)))

    def _read(self, file: Path) -> bytes | None:
        try:
            with file.open("rb") as stream:
                return stream.read(_MAX_SMALL_FILE)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StateError(f"{file} cannot be read: {error.strerror}") from error

    def _write(self, file: Path, content: bytes) -> None:
        """Replace a file whole: a crash leaves the old one or the new one."""
        try:
            descriptor, name = tempfile.mkstemp(dir=self.path, prefix=f".{file.name}.")
            with os.fdopen(descriptor, "wb") as stream:
                os.fchmod(descriptor, _FILE_MODE)
                stream.write(content)
                stream.flush()
                os.fsync(descriptor)
            os.replace(name, file)
        except OSError as error:
            raise _unusable(file, error) from error


class StateLock:
    """Holds the state folder for this process until `release` or the process ends."""

    def __init__(self, folder: Path) -> None:
        file = folder / "lock"
        try:
            self._descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _FILE_MODE)
        except OSError as error:
            raise _unusable(file, error) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            text = os.read(self._descriptor, 32)
            os.close(self._descriptor)
            raise StateInUseError(folder, _pid(text)) from error
        os.ftruncate(self._descriptor, 0)
        os.write(self._descriptor, f"{os.getpid()}\n".encode("ascii"))

    def release(self) -> None:
        """Give the folder back; calling again is harmless."""
        if self._descriptor >= 0:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def state_path(option: Path | None, environment: Mapping[str, str]) -> Path:
    """Where the state folder is: `--state`, `$RINGMESH_STATE`, or the XDG state folder."""
    if option is not None:
        return option
    if named := environment.get("RINGMESH_STATE"):
        return Path(named)
    xdg = environment.get("XDG_STATE_HOME", "")
    base = Path(xdg) if xdg.startswith("/") else Path("~/.local/state").expanduser()
    return base / "ringmesh"


def _read_key(file: Path, content: bytes) -> NodeKey:
    damaged = (
        f"{file} is damaged: restore it from a backup, or delete it to become a new node "
        "with another name"
    )
    try:
        header, seed, public = content.decode("ascii").split()
        key = NodeKey(_unb32(seed))
    except (ValueError, PeerError) as error:
        raise StateError(damaged) from error
    if header != _KEY_HEADER or public != key.id.text:
        raise StateError(damaged)
    if stat.S_IMODE(file.stat().st_mode) & 0o077:
        file.chmod(_FILE_MODE)
    return key


def _unusable(path: Path, error: OSError) -> StateError:
    return StateError(
        f"{path} cannot be written: {error.strerror}; give another state folder with --state"
    )


def _b32(raw: bytes) -> str:
    return base64.b32encode(raw).decode("ascii").rstrip("=").lower()


def _unb32(text: str) -> bytes:
    return base64.b32decode(text.upper() + "=" * (-len(text) % 8))


def _pid(text: bytes) -> int | None:
    digits = text.strip()
    return int(digits) if digits.isdigit() else None
