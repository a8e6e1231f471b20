"""Who may use the console, as the operator sees and changes it."""

import asyncio
from collections.abc import Callable

from federation.model.clocks import Entropy
from node.accounts.password import generate_password
from node.control import JsonObject, RefusedError
from node.pin_desk import moment
from node.storage.grants import Grant
from node.storage.storage import Storage
from node.web.access import (
    LEAST_PASSWORD,
    LINK_SECONDS,
    LONGEST_PASSWORD,
    MAX_NAME,
    Access,
)

OFF = "the console is off: set web.enabled to true and start again"
LONGEST_TOKEN = 3660 * 86_400


class WebDesk:
    """Links, tokens, sessions and the password. Methods may raise `RefusedError`."""

    def __init__(
        self,
        access: Access,
        storage: Storage,
        *,
        enabled: bool,
        url: Callable[[], str],
        entropy: Entropy,
    ) -> None:
        """`url` is where this node's operator reaches the console."""
        self._access = access
        self._storage = storage
        self._enabled = enabled
        self._url = url
        self._entropy = entropy

    def link(self) -> JsonObject:
        """A link that opens the console once: `url`, `seconds`."""
        self._must_be_on()
        return {"url": f"{self._url()}/enter/{self._access.link()}", "seconds": LINK_SECONDS}

    def grants(self) -> list[JsonObject]:
        """Every session and token that holds: `id`, `kind`, `name`, `since`, `until` or null."""
        return [grant_as_json(grant) for grant in self._access.book]

    async def token(self, name: str, seconds: int | None) -> JsonObject:
        """A token for a program: as of `grants`, and `token`, which is shown only now."""
        self._must_be_on()
        if not (0 < len(name.strip()) <= MAX_NAME and name.isprintable()):
            raise RefusedError(f"a token's name is one line of up to {MAX_NAME} characters", 400)
        if seconds is not None and not 1 <= seconds <= LONGEST_TOKEN:
            raise RefusedError(f"{seconds} s cannot be the time: 1 to {LONGEST_TOKEN} can", 400)
        grant, token = self._access.grant_token(name.strip(), seconds)
        await self._storage.flush()
        return grant_as_json(grant) | {"token": token}

    async def revoke(self, name: str) -> JsonObject:
        """End a session or token by its id, or by its name: `revoked`, how many."""
        if name == "sessions":
            found = [each for each in self._access.book if each.kind.value == "session"]
        else:
            found = [each for each in self._access.book if name in (each.id, each.name)]
            if not found:
                raise RefusedError(
                    f"nothing is called {name[:MAX_NAME]!r}; `ringmesh console list` shows "
                    "what there is",
                    404,
                )
        for grant in found:
            self._access.book.remove(grant)
        await self._storage.flush()
        return {"revoked": len(found)}

    async def password(self, password: str | None, *, off: bool = False) -> JsonObject:
        """Set the password of the login page, a generated one by default; `off` takes it away."""
        self._must_be_on()
        if off:
            self._access.set_password(None)
            await self._storage.flush()
            return {"password": None}
        chosen = generate_password(self._entropy) if password is None else password
        fits = LEAST_PASSWORD <= len(chosen) <= LONGEST_PASSWORD
        if not fits or not chosen.isprintable() or chosen.strip() != chosen:
            raise RefusedError(
                f"the console's password has {LEAST_PASSWORD} to {LONGEST_PASSWORD} characters, "
                "without control characters, and no blanks at its ends",
                400,
            )
        await asyncio.to_thread(self._access.set_password, chosen)
        await self._storage.flush()
        return {"password": chosen}

    def _must_be_on(self) -> None:
        if not self._enabled:
            raise RefusedError(OFF)


def grant_as_json(grant: Grant) -> JsonObject:
    """A grant as the API gives it; instants in UTC."""
    return {
        "id": grant.id,
        "kind": grant.kind.value,
        "name": grant.name,
        "since": moment(grant.since),
        "until": None if grant.until is None else moment(grant.until),
    }
