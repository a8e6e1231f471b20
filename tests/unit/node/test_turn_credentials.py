"""Time-limited names for TURN: made by a node, and believed by its relay."""

import hashlib

import pytest

from federation.model.clocks import SystemEntropy, UnixTime
from media_relay.stun.attributes import PasswordAlgorithm
from media_relay.turn.credentials import Credentials, account_of
from node.config import Config
from node.control import RefusedError
from node.loaded import Loaded
from node.relay_config import RelayConfig
from node.state import StateFolder
from node.storage.database import Database
from node.turn_credentials import (
    DEFAULT_TTL,
    LEAST_TTL,
    MAX_TTL,
    turn_credentials,
    turn_secret,
)
from tests.support.memory_node import SERVED

SECRET = bytes(range(32))
NOW = UnixTime(1_800_000_000.9)


def test_the_relay_believes_them_until_they_expire() -> None:
    made = turn_credentials("alice", 60, secret=SECRET, served=SERVED, now=NOW)
    assert made["username"] == "1800000060:alice"
    assert made["ttl"] == 60
    assert made["uris"] == SERVED.turn("alice")["uris"]
    relay = Credentials("ringmesh", SECRET)
    relay.put(account_of("alice", "ringmesh", "another password"))
    account = relay.by_username(made["username"], unix=UnixTime(NOW + 59))
    assert account is not None
    text = f"{made['username']}:ringmesh:{made['password']}".encode()
    assert account.key(PasswordAlgorithm.SHA256) == hashlib.sha256(text).digest()
    assert relay.by_username(made["username"], unix=UnixTime(NOW + 60)) is None


@pytest.mark.parametrize("ttl", [LEAST_TTL - 1, MAX_TTL + 1, 0, -5])
def test_how_long_they_last_is_bounded(ttl: int) -> None:
    with pytest.raises(RefusedError, match="can last from 10 to 2592000 seconds"):
        turn_credentials("alice", ttl, secret=SECRET, served=SERVED, now=NOW)


def test_a_day_is_usual() -> None:
    made = turn_credentials("alice", None, secret=SECRET, served=SERVED, now=NOW)
    assert made["ttl"] == DEFAULT_TTL
    assert made["expires"] == 1_800_000_000 + DEFAULT_TTL


def test_a_node_has_a_secret_of_its_own_that_stays_the_same(state: StateFolder) -> None:
    def loaded() -> Loaded:
        database = Database.open(state.path)
        try:
            return Loaded.from_database(database, entropy=SystemEntropy(), now=NOW)
        finally:
            database.close()

    first = loaded()
    assert len(first.turn_secret) == 32
    assert first.turn_secret != first.route_secret
    assert loaded().turn_secret == first.turn_secret
    assert turn_secret(Config(), first.turn_secret) == first.turn_secret
    configured = Config(relay=RelayConfig(secret="shared with a web server"))
    assert turn_secret(configured, first.turn_secret) == b"shared with a web server"


@pytest.fixture
def state(tmp_path_factory: pytest.TempPathFactory) -> StateFolder:
    return StateFolder.open(tmp_path_factory.mktemp("node"))
