"""What the check asks nodes, through the admin API in their state folders."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from federation.model.errors import RingmeshError
from node.api_client import ApiClient, NodeNotRunningError
from node.control import RefusedError

CONFLICT = 409
"The API's answer where an account is there already."
_POLL = 0.2


class NodeDeskError(RingmeshError):
    """A node does not do in time what was waited for."""


class NodeDesk:
    """One node, wherever it runs; only its state folder has to be within reach."""

    def __init__(self, name: str, state: Path) -> None:
        self.name = name
        self._api = ApiClient(state / "api.sock")

    async def get(self, *segments: str, **query: str) -> Any:
        """A resource of the API. Raises: NodeNotRunningError, RefusedError."""
        return await asyncio.to_thread(self._api.get, *segments, **query)

    async def post(self, *segments: str, **body: object) -> Any:
        """Post to a resource. Raises: NodeNotRunningError, RefusedError."""
        return await asyncio.to_thread(self._api.post, *segments, body=body)

    async def delete(self, *segments: str) -> Any:
        """Remove a resource. Raises: NodeNotRunningError, RefusedError."""
        return await asyncio.to_thread(self._api.delete, *segments)

    async def until(
        self, holds: Callable[[Any], bool], *segments: str, within: float, what: str, **query: str
    ) -> Any:
        """Ask for a resource until `holds` of it; returns it.

        Raises:
            NodeDeskError: it never held in time.
        """
        deadline, last = time.monotonic() + within, "it did not answer"
        while True:
            try:
                answer = await self.get(*segments, **query)
            except (NodeNotRunningError, RefusedError) as error:
                last = str(error)
            else:
                if holds(answer):
                    return answer
                last = _shortened(answer)
            if time.monotonic() > deadline:
                raise NodeDeskError(f"{self.name} is not {what} within {within:g} s: {last}")
            await asyncio.sleep(_POLL)

    async def account(self, login: str, *, within: float) -> dict[str, Any]:
        """A user with a fresh password and a number; one that is there already is taken.

        Raises:
            NodeDeskError: there is no number in time.
            NodeNotRunningError, RefusedError: the node cannot, or will not.
        """
        try:
            account: dict[str, Any] = await self.post("users", login=login)
        except RefusedError as error:
            if error.status != CONFLICT:
                raise
            account = await self.post("users", login, "password")
        shown = await self.until(
            lambda user: bool(user["number"]), "users", login, within=within, what="done numbering"
        )
        return account | {"number": shown["number"]}

    async def finds(self, target: str, *, within: float) -> None:
        """Wait until a call to `target` would be placed.

        Raises:
            NodeDeskError: its records have not arrived in time.
        """
        await self.until(
            lambda found: bool(found["status"] == 200),
            "resolve",
            within=within,
            what=f"finding {target}",
            uri=target,
        )


def _shortened(answer: Any) -> str:
    text = str(answer)
    return text if len(text) < 400 else f"{text[:400]}…"
