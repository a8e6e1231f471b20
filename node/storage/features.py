"""Call forwarding and do-not-disturb of accounts: in memory for calls, written behind."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass

from sqlalchemy import Connection, select

from node.storage import schema
from node.storage.writer import Writer

RING_SECONDS = 20
"Seconds that devices ring before a call goes on, where nothing else was said."
LONGEST_RING = 300
"More than any person lets it ring; below the 180 s of Timer C only what rings again counts."


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """What happens to calls for one account. Targets are as a person dials them."""

    login: str
    dnd: bool = False
    "No device rings: callers hear that the account is busy."
    always: str | None = None
    "Where every call goes at once."
    busy: str | None = None
    "Where a call goes that devices answer with busy, or that do-not-disturb keeps out."
    no_answer: str | None = None
    "Where a call goes that nobody takes in `after` seconds, or that no device can be told of."
    after: int = RING_SECONDS

    @property
    def is_plain(self) -> bool:
        """Whether none of them is set."""
        return not (self.dnd or self.always or self.busy or self.no_answer)


class FeatureBook:
    """The features of every account that has any."""

    def __init__(self, features: Iterable[Features], writer: Writer) -> None:
        self._writer = writer
        self._by_login = {each.login: each for each in features}

    def get(self, login: str) -> Features | None:
        """Those of an account; `None` if it has none."""
        return self._by_login.get(login)

    def of(self, login: str) -> Features:
        """Those of an account, all unset if it has none."""
        return self._by_login.get(login) or Features(login=login)

    def set(self, features: Features) -> None:
        """Have these from now on."""
        if features.is_plain:
            self.remove(features.login)
            return
        self._by_login[features.login] = features
        row = asdict(features) | {"dnd": int(features.dnd)}
        self._writer.put("features", (features.login,), row)

    def remove(self, login: str) -> None:
        """The account has none any more."""
        if self._by_login.pop(login, None) is not None:
            self._writer.remove("features", (login,))


def load_features(connection: Connection) -> list[Features]:
    """All that is stored."""
    rows = connection.execute(select(schema.features)).mappings()
    return [Features(**{**row, "dnd": bool(row["dnd"])}) for row in rows]
