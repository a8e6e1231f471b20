"""State folders of nodes that are not running, and what is in them."""

import secrets
from pathlib import Path

from federation.model.clocks import SystemEntropy
from federation.model.network import Network
from node.accounts.store import AccountStore
from node.accounts.wanted import WantedAccount
from node.backup.making import make_backup
from node.state import StateFolder
from node.storage.database import Database
from node.storage.meta import write_meta
from tests.support.account_tools import StandingClock
from tests.support.sealed_files import CHEAP, PASSPHRASE


def some_node(state: Path, *logins: str) -> Path:
    """A folder with every file a node keeps, and accounts without numbers."""
    folder = StateFolder.open(state)
    key = folder.node_key(SystemEntropy())
    folder.keep_overlay_nonce(key, Network.named("test"), b"12345678")
    folder.keep_own_certificate(b"a certificate, and its key")
    folder.keep_last_run({"server": "192.0.2.1"})
    folder.peer_cache.write_bytes(secrets.token_bytes(50))
    folder.peer_cache.chmod(0o600)
    database = Database.open(state)
    store = AccountStore(database, clock=StandingClock(), entropy=SystemEntropy())
    store.add([WantedAccount(login=login) for login in logins or ("alice", "bob")])
    with database.write() as connection:
        write_meta(connection, "colour", b"blue")
    database.close()
    return state


def a_backup(state: Path, file: Path, **settings: object) -> Path:
    make_backup(StateFolder(state), None, file, PASSPHRASE, cost=CHEAP, **settings)  # type: ignore[arg-type]
    return file


def everything_in(folder: Path) -> dict[str, bytes]:
    """Every file but the lock, by its path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "lock"
    }
