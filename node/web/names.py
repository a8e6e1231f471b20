"""How callers and devices are written where there is little room."""

from federation.model.identity import KEY_NAME_SUFFIX
from federation.model.number import Number

_KEY_SHOWN = 8


def caller(text: str) -> str:
    """A URI without scheme: a number in groups, a key name by its beginning."""
    user, at, host = text.partition("@")
    if Number.fits(user):
        return Number(user).spoken.replace(" ", "\N{NO-BREAK SPACE}")
    if at and host.endswith(KEY_NAME_SUFFIX):
        return f"{user}@{host[:_KEY_SHOWN]}…{KEY_NAME_SUFFIX}"
    return text
