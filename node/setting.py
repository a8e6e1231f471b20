"""What every part of the configuration is made of, and how it complains."""

import msgspec

from federation.model.errors import ConfigError

PORT = "a port from 1 to 65535"


class SettingError(ConfigError):
    """One field holds what it may not: `key` (dotted), `found`, and `wanted`, a noun phrase."""

    def __init__(self, key: str, found: object, wanted: str) -> None:
        super().__init__(f"{key} is {found!r}, but must be {wanted}")
        self.key = key
        self.found = found
        self.wanted = wanted


def require(condition: bool, key: str, found: object, wanted: str) -> None:
    """Complain about a field unless `condition` holds.

    Raises:
        SettingError: it does not.
    """
    if not condition:
        raise SettingError(key, found, wanted)


def one_of(words: tuple[str, ...]) -> str:
    """The words as people list them."""
    return f"{', '.join(words[:-1])} or {words[-1]}"


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A branch of the tree."""
