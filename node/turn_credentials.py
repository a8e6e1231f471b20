"""Time-limited names for TURN: `expiry:login`, with a password that proves itself.

Whoever is given one can use the relay as that account until it expires, and learns nothing that
works longer. Nothing is stored for it; removing the account ends it, and so does a new secret.
"""

import math

from federation.model.clocks import UnixTime
from media_relay.turn.credentials import time_limited_password
from node.config import Config
from node.control import JsonObject, RefusedError
from node.sheet import ServedAt

SECRET_NAME = "turn-secret"  # noqa: S105  (where it is kept, not what it is)
"Name of the node's own secret among the single values of its database."
SECRET_BYTES = 32
DEFAULT_TTL = 86_400
"Seconds: a day, as web clients get a new one with each page."
LEAST_TTL = 10
MAX_TTL = 30 * 86_400


def turn_secret(config: Config, kept: bytes) -> bytes:
    """The secret that passwords are made with: `relay.secret`, else the one the node keeps."""
    return kept if config.relay.secret is None else config.relay.secret.encode()


def turn_credentials(
    login: str, ttl: int | None, *, secret: bytes, served: ServedAt, now: UnixTime
) -> JsonObject:
    """Credentials of an account for the next `ttl` seconds, in the usual form of TURN REST APIs.

    Raises:
        RefusedError: the time is too short or too long.
    """
    seconds = DEFAULT_TTL if ttl is None else ttl
    if not LEAST_TTL <= seconds <= MAX_TTL:
        raise RefusedError(
            f"--ttl is {seconds} s; credentials can last from {LEAST_TTL} to {MAX_TTL} seconds", 400
        )
    expires = math.floor(now) + seconds
    username = f"{expires}:{login}"
    return served.turn(login) | {
        "username": username,
        "password": time_limited_password(secret, username),
        "ttl": seconds,
        "expires": expires,
    }
