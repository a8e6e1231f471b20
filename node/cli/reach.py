"""Reaching a node by its state folder: through its API while it runs, else its files."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from node.api_client import ApiClient, NodeNotRunningError
from node.state import StateError, StateFolder, StateInUseError

STARTING_SECONDS = 5.0
"How long a folder in use by a node that does not answer yet is waited for."
_POLL_SECONDS = 0.1


@contextlib.contextmanager
def reached(path: Path, *, create: bool = False) -> Iterator[ApiClient | StateFolder]:
    """A client of the node that runs on `path`, or the folder, held, of one that is stopped.

    `create` makes a missing folder, so that things can be there before the first start.

    Raises:
        StateError: there is no such folder, or another process holds it without answering.
    """
    if not create and not path.is_dir():
        raise StateError(
            f"there is no state folder {path}: start a node with ringmesh up, "
            "or name its folder with --state"
        )
    client = ApiClient(path / "api.sock")
    if _is_running(client):
        yield client
        return
    folder = StateFolder.open(path)
    try:
        lock = folder.lock()
    except StateInUseError:
        _await_start(client)
        yield client
        return
    with lock:
        yield folder


def _is_running(client: ApiClient) -> bool:
    try:
        client.get("status")
    except NodeNotRunningError:
        return False
    return True


def _await_start(client: ApiClient) -> None:
    """Wait for a node that is just starting.

    Raises:
        NodeNotRunningError: it did not answer in time.
    """
    until = time.monotonic() + STARTING_SECONDS
    while time.monotonic() < until:
        if _is_running(client):
            return
        time.sleep(_POLL_SECONDS)
    raise NodeNotRunningError(
        "the state folder is in use, but no node answers on it yet: try again in a moment"
    )
