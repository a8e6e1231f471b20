"""Where the node keeps accounts, registrations and all else that a database holds."""

import re

from node.setting import Section, require

_SCHEME = "postgresql://"
_PASSWORD = re.compile(r"(?P<user>//[^:@/]*:).*@|(?<=password=)[^&]*")
"Up to the last `@`, as a password that was not encoded may hold one; also `sslpassword`."


class StorageConfig(Section, frozen=True, kw_only=True):
    """Where the database is."""

    url: str | None = None
    "`postgresql://user:password@host/name`; unset: SQLite, `ringmesh.db` in the state folder."

    def __post_init__(self) -> None:
        require(
            self.url is None or self.url.startswith(_SCHEME),
            "storage.url",
            (self.url or "").partition(":")[0],  # more of it may be a password
            f"a URL of PostgreSQL, like {_SCHEME}user:password@host/name",
        )

    @property
    def shown(self) -> str | None:
        """The URL without its password."""
        return None if self.url is None else without_password(self.url)


def without_password(url: str) -> str:
    """The URL of a database as it may be shown."""
    return _PASSWORD.sub(lambda found: f"{found['user']}***@" if found["user"] else "***", url)
