"""Where commands about ringing are carried out: by the running node, or on its storage."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from node.accounts.store import AccountStore
    from node.api_client import ApiClient
    from node.feature_desk import FeatureDesk

Answer = dict[str, Any]


class FeatureCommands(Protocol):
    """Carries out commands. Each method may raise a `RingmeshError` with a sentence."""

    def set(self, login: str, changes: Answer) -> Answer:
        """Set forwarding and do-not-disturb of an account."""

    def groups(self) -> list[Answer]:
        """Every group."""

    def group(self, login: str) -> Answer:
        """One group."""

    def group_add(self, login: str, settings: Answer) -> Answer:
        """Make a group of `members`, `mode`, `ring`, `extension`, `name`."""

    def group_set(self, login: str, changes: Answer) -> Answer:
        """Change a group."""

    def group_remove(self, login: str) -> Answer:
        """Remove a group."""


class RunningFeatures:
    """Asks the running node."""

    def __init__(self, client: "ApiClient") -> None:
        self._client = client

    def set(self, login: str, changes: Answer) -> Answer:
        """Set forwarding and do-not-disturb of an account."""
        return dict(self._client.post("users", login, "features", body=changes))

    def groups(self) -> list[Answer]:
        """Every group."""
        return list(self._client.get("groups"))

    def group(self, login: str) -> Answer:
        """One group."""
        return dict(self._client.get("groups", login))

    def group_add(self, login: str, settings: Answer) -> Answer:
        """Make a group."""
        return dict(self._client.post("groups", body={"login": login} | settings))

    def group_set(self, login: str, changes: Answer) -> Answer:
        """Change a group."""
        return dict(self._client.post("groups", login, body=changes))

    def group_remove(self, login: str) -> Answer:
        """Remove a group."""
        return dict(self._client.delete("groups", login))


class StoppedFeatures:
    """Changes what is stored."""

    def __init__(self, desk: "FeatureDesk", store: "AccountStore") -> None:
        self._desk = desk
        self._store = store

    def set(self, login: str, changes: Answer) -> Answer:
        """Set forwarding and do-not-disturb of an account."""
        dnd = changes.pop("dnd", None)
        answer = self._desk.forward(login, **changes)
        return answer if dnd is None else self._desk.dnd(login, on=dnd)

    def groups(self) -> list[Answer]:
        """Every group."""
        return self._desk.groups()

    def group(self, login: str) -> Answer:
        """One group."""
        return self._desk.group(login)

    def group_add(self, login: str, settings: Answer) -> Answer:
        """Make a group and its number."""
        from node.accounts.account import AccountKind
        from node.accounts.wanted import WantedAccount

        extension, name = settings.pop("extension", None), settings.pop("name", "")
        members: Sequence[str] = settings["members"]
        group = self._desk.checked(login, members, settings["mode"], settings["ring"])
        self._store.add(
            [WantedAccount(login=login, kind=AccountKind.GROUP, extension=extension, name=name)]
        )
        self._desk.keep(group)
        self._store.derive_numbers()
        return self._desk.group(login)

    def group_set(self, login: str, changes: Answer) -> Answer:
        """Change a group."""
        return self._desk.group_set(login, **changes)

    def group_remove(self, login: str) -> Answer:
        """Remove a group."""
        known = self._desk.check_group(login)
        self._store.remove(known)
        self._desk.forget(known)
        return {"removed": known}


@contextlib.contextmanager
def open_features(path: Path) -> Iterator[FeatureCommands]:
    """The desk of the node whose state folder is `path`; raises as `node.cli.reach.reached`."""
    from node.cli.reach import reached
    from node.state import StateFolder

    with reached(path) as node:
        if not isinstance(node, StateFolder):
            yield RunningFeatures(node)
            return
        from node.cli.stopped_desk import stopped_accounts

        with stopped_accounts(node) as (store, _, desk):
            yield StoppedFeatures(desk, store)
