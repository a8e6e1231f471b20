"""Who may use the web server: sessions of people, tokens of programs. Written behind."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum

from sqlalchemy import Connection, select

from federation.model.clocks import UnixTime
from node.storage import schema
from node.storage.writer import Writer

MAX_GRANTS = 500
"Beyond, the oldest session ends."


class GrantKind(StrEnum):
    """What holds a token."""

    SESSION = "session"
    "A browser, by its cookie."
    TOKEN = "token"  # noqa: S105  (the kind, not a secret)
    "A program, by `Authorization: Bearer`."


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """One token that opens the web server. Kept is its SHA-256, which opens nothing."""

    digest: bytes
    kind: GrantKind
    name: str
    "What the operator calls it; of a session, where it began."
    since: UnixTime
    until: UnixTime | None
    "`None`: until it is revoked."

    @property
    def id(self) -> str:
        """What it is called by in commands."""
        return self.digest[:5].hex()

    def is_current(self, now: UnixTime) -> bool:
        """Whether it holds."""
        return self.until is None or now < self.until


class GrantBook:
    """Every grant that holds."""

    def __init__(self, grants: Iterable[Grant], writer: Writer) -> None:
        self._writer = writer
        self._grants = {grant.digest: grant for grant in grants}

    def __iter__(self) -> Iterator[Grant]:
        return iter(sorted(self._grants.values(), key=lambda grant: grant.since))

    def get(self, digest: bytes, *, now: UnixTime) -> Grant | None:
        """The grant of a token's digest, if it holds."""
        grant = self._grants.get(digest)
        return grant if grant is not None and grant.is_current(now) else None

    def put(self, grant: Grant, *, now: UnixTime) -> None:
        """Have one more; what is over goes, and the oldest session where there are too many."""
        for other in [each for each in self._grants.values() if not each.is_current(now)]:
            self.remove(other)
        sessions = [each for each in self if each.kind is GrantKind.SESSION]
        if len(self._grants) >= MAX_GRANTS and sessions:
            self.remove(sessions[0])
        self._grants[grant.digest] = grant
        self._writer.put("web_grants", (grant.digest,), asdict(grant) | {"kind": grant.kind.value})

    def remove(self, grant: Grant) -> None:
        """End one; harmless if it has ended."""
        if self._grants.pop(grant.digest, None) is not None:
            self._writer.remove("web_grants", (grant.digest,))


def load_grants(connection: Connection) -> list[Grant]:
    """All that are stored."""
    rows = connection.execute(select(schema.web_grants)).mappings()
    return [Grant(**{**row, "kind": GrantKind(row["kind"])}) for row in rows]
