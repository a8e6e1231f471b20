"""Where user commands are carried out: by the running node, or on its storage while stopped."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

from node.api_client import ApiClient, NodeNotRunningError
from node.cli.user_file import NewUser
from node.control import RefusedError
from node.state import StateError, StateFolder, StateInUseError

STARTING_SECONDS = 5.0
"How long a folder in use by a node that does not answer yet is waited for."
_POLL_SECONDS = 0.1
BULK_THREADS = 8
"Users that are added at one time; their numbers cost a quarter of a second of a core each."


Outcome = dict[str, Any] | str
"A user's sheet, or the sentence with which it was refused."
Progress = Callable[[int], None]
"Called with how many of the users are done."


class UserDesk(Protocol):
    """Carries out user commands. Each method may raise a `RingmeshError` with a sentence."""

    def all(self) -> list[dict[str, Any]]:
        """Every user, as `NodeControl.users_list`."""

    def show(self, login: str) -> dict[str, Any]:
        """One user's sheet."""

    def add(self, user: NewUser) -> dict[str, Any]:
        """Make a user."""

    def add_many(self, users: Sequence[NewUser], on_progress: Progress) -> list[Outcome]:
        """Make each user that can be made; the outcomes stand in the order of `users`."""

    def passwd(self, login: str, password: str | None) -> dict[str, Any]:
        """Set a password, a generated one by default."""

    def remove(self, login: str) -> None:
        """Remove a user."""


class RunningNodeDesk:
    """Asks the running node."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    def all(self) -> list[dict[str, Any]]:
        """Every user."""
        users: list[dict[str, Any]] = self._client.get("users")
        return users

    def show(self, login: str) -> dict[str, Any]:
        """One user's sheet."""
        sheet: dict[str, Any] = self._client.get("users", login)
        return sheet

    def add(self, user: NewUser) -> dict[str, Any]:
        """Make a user."""
        body = {
            "login": user.login,
            "password": user.password,
            "extension": user.extension,
            "name": user.name,
        }
        sheet: dict[str, Any] = self._client.post("users", body=body)
        return sheet

    def add_many(self, users: Sequence[NewUser], on_progress: Progress) -> list[Outcome]:
        """Make each user that can be made."""

        def one(user: NewUser) -> Outcome:
            try:
                return self.add(user)
            except RefusedError as error:
                return str(error)

        outcomes = []
        with ThreadPoolExecutor(BULK_THREADS) as pool:
            for outcome in pool.map(one, users):
                outcomes.append(outcome)
                on_progress(len(outcomes))
        return outcomes

    def passwd(self, login: str, password: str | None) -> dict[str, Any]:
        """Set a password."""
        sheet: dict[str, Any] = self._client.post(
            "users", login, "password", body={"password": password}
        )
        return sheet

    def remove(self, login: str) -> None:
        """Remove a user."""
        self._client.delete("users", login)


@contextlib.contextmanager
def open_desk(path: Path, *, create: bool = False) -> Iterator[UserDesk]:
    """The desk of the node whose state folder is `path`.

    `create` makes a missing folder, so that accounts can be there before the first start.

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
        yield RunningNodeDesk(client)
        return
    folder = StateFolder.open(path)
    try:
        lock = folder.lock()
    except StateInUseError:
        _await_start(client)
        yield RunningNodeDesk(client)
        return
    with lock:
        from node.cli.stopped_desk import stopped_desk

        with stopped_desk(folder) as desk:
            yield desk


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
