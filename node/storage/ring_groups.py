"""Ring groups: which accounts ring for which, in memory for calls, written behind.

A group is an account of kind `group`, so that it has a login, a number and a key like any other;
here is only what is particular to it.
"""

import enum
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, select

from node.storage import schema
from node.storage.features import RING_SECONDS
from node.storage.writer import Writer

MAX_MEMBERS = 64
"Accounts of one group; a call is forked to at most 32 devices at a time anyway."


class RingMode(enum.StrEnum):
    """How the members of a group are rung."""

    ALL = "all"
    "All at the same time."
    IN_TURN = "in-turn"
    "One after another, in the order of the list."


@dataclass(frozen=True, slots=True, kw_only=True)
class RingGroup:
    """One group."""

    login: str
    members: tuple[str, ...]
    "Logins, in the order in which they are rung."
    mode: RingMode = RingMode.ALL
    ring: int = RING_SECONDS
    "Seconds: of each member in turn."


class RingGroups:
    """Every group of the node."""

    def __init__(self, groups: Iterable[RingGroup], writer: Writer) -> None:
        self._writer = writer
        self._by_login = {group.login: group for group in groups}

    def __iter__(self) -> Iterator[RingGroup]:
        return iter(sorted(self._by_login.values(), key=lambda group: group.login))

    def get(self, login: str) -> RingGroup | None:
        """The group of that login."""
        return self._by_login.get(login)

    def set(self, group: RingGroup) -> None:
        """Have this group from now on."""
        self._by_login[group.login] = group
        row = {
            "login": group.login,
            "members": "\n".join(group.members),
            "mode": group.mode.value,
            "ring": group.ring,
        }
        self._writer.put("ring_groups", (group.login,), row)

    def remove(self, login: str) -> None:
        """The group is gone."""
        if self._by_login.pop(login, None) is not None:
            self._writer.remove("ring_groups", (login,))


def load_ring_groups(connection: Connection) -> list[RingGroup]:
    """All that are stored."""
    return [
        RingGroup(
            login=row.login,
            members=tuple(row.members.split("\n")) if row.members else (),
            mode=RingMode(row.mode),
            ring=row.ring,
        )
        for row in connection.execute(select(schema.ring_groups))
    ]
