"""Where user commands are carried out: by the running node, or on its storage while stopped."""

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from node.api_client import ApiClient
from node.cli.reach import reached
from node.cli.user_file import NewUser
from node.control import RefusedError

if TYPE_CHECKING:
    from node.accounts.moved import Arrival

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

    def take_in(self, moved: bytes, arrival: "Arrival") -> dict[str, Any]:
        """Add a user of another node, as `node.accounts.moved` encodes it."""

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

    def take_in(self, moved: bytes, arrival: "Arrival") -> dict[str, Any]:
        """Add a user of another node."""
        body = {"account": json.loads(moved), "arrival": msgspec.to_builtins(arrival)}
        sheet: dict[str, Any] = self._client.post("users", "import", body=body)
        return sheet

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
    """The desk of the node whose state folder is `path`; raises as `reached`."""
    with reached(path, create=create) as node:
        if isinstance(node, ApiClient):
            yield RunningNodeDesk(node)
            return
        from node.cli.stopped_desk import stopped_desk

        with stopped_desk(node) as desk:
            yield desk
