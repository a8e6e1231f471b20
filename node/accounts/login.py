"""What an account may be called, and the sentences that say what would be right."""

import re
from dataclasses import dataclass

from federation.model.errors import ConfigError

MAX_LOGIN = 64
MAX_DIGIT_LOGIN = 6
"Digits of a login made of digits only; longer ones could be mistaken for telephone numbers."
MIN_EXTENSION = 2
MAX_EXTENSION = 6
MAX_NAME = 64
MIN_PASSWORD = 8
MAX_PASSWORD = 128

SERVICES = frozenset({"echo", "anonymous", "sos"})
"Names that mean something else: the echo test, callers without a name, emergency calls."
EMERGENCY_NUMBERS = frozenset(
    {"000", "110", "111", "112", "113", "115", "117", "118", "119", "911", "933", "999"}
)
"The usual ones; `112` and `911` above all. The operator's own list replaces it."

_LOGIN = re.compile(r"[a-z0-9][a-z0-9._-]*")


class AccountError(ConfigError):
    """An account cannot be made or changed this way; the text says what would do."""


@dataclass(frozen=True, slots=True)
class Reserved:
    """Names that no account may have."""

    services: frozenset[str] = SERVICES
    emergency: frozenset[str] = EMERGENCY_NUMBERS


def check_login(login: str, reserved: Reserved) -> None:
    """Refuse what cannot be a login.

    Raises:
        AccountError: says which rule, and what would do.
    """
    if not login:
        raise AccountError("a login is missing; choose one such as alice")
    if len(login) > MAX_LOGIN:
        raise AccountError(
            f"login {login[:16]!r}…: it has {len(login)} characters; use at most {MAX_LOGIN}"
        )
    if _LOGIN.fullmatch(login) is None:
        raise AccountError(f"login {login!r}: {_advice(login)}")
    if login in reserved.emergency:
        raise AccountError(
            f"login {login!r}: this is an emergency number; choose another, such as a name"
        )
    if login in reserved.services:
        raise AccountError(
            f"login {login!r}: this name belongs to a service of the node; choose another"
        )
    if login.isdigit() and len(login) > MAX_DIGIT_LOGIN:
        raise AccountError(
            f"login {login!r}: it looks like a telephone number; use at most {MAX_DIGIT_LOGIN} "
            f"digits, or put a letter in it, such as u{login[: MAX_LOGIN - 1]}"
        )


def _advice(login: str) -> str:
    rule = (
        "use lower-case letters a-z, digits, '.', '_' and '-', beginning with a letter or a digit"
    )
    local = login.partition("@")[0].strip()
    proposal = re.sub(r"[^a-z0-9._-]", "", local.lower()).lstrip("._-")
    if "@" in login and proposal == local:
        return f"leave out the '@' and what follows; {local} alone is the login"
    return f"{rule}; {proposal} would do" if proposal else rule


def check_extension(extension: str, reserved: Reserved) -> None:
    """Refuse what cannot be an extension.

    Raises:
        AccountError: says which rule, and what would do.
    """
    if not (extension.isascii() and extension.isdigit()):
        raise AccountError(f"extension {extension!r}: use digits only, such as 101")
    if not MIN_EXTENSION <= len(extension) <= MAX_EXTENSION:
        raise AccountError(
            f"extension {extension!r}: use {MIN_EXTENSION} to {MAX_EXTENSION} digits, such as 101"
        )
    if extension in reserved.emergency:
        raise AccountError(
            f"extension {extension!r}: this is an emergency number; choose another, such as 101"
        )
    if extension in reserved.services:
        raise AccountError(
            f"extension {extension!r}: it belongs to a service of the node; choose another"
        )


def check_name(name: str) -> None:
    """Refuse a display name that a SIP header could not carry.

    Raises:
        AccountError: says which rule, and what would do.
    """
    if len(name) > MAX_NAME:
        raise AccountError(f"name {name[:16]!r}…: use at most {MAX_NAME} characters")
    if not name.isprintable():
        raise AccountError(f"name {name!r}: leave out control characters and line ends")


def check_password(password: str, login: str) -> None:
    """Refuse a password that a scanner finds at once or a phone cannot hold. It is never quoted.

    Raises:
        AccountError: says which rule, and what would do.
    """
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise AccountError(
            f"the password of {login} has {len(password)} characters; use {MIN_PASSWORD} to "
            f"{MAX_PASSWORD}, or leave it out to have a good one generated"
        )
    if not password.isprintable() or password.strip() != password:
        raise AccountError(
            f"the password of {login} holds control characters or blanks at an end; leave them out"
        )
    if password.lower() == login:
        raise AccountError(
            f"the password of {login} is its login, which scanners try first; choose another, "
            "or leave it out to have a good one generated"
        )
