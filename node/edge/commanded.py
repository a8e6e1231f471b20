"""An edge's messages for the rest of the node: sent by command, listed, restored, swept."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field

from federation.messages import Legs
from node.accounts.account import Account
from node.edge.calls import Calls
from node.edge.dialog import ServiceSide
from node.edge.forward import MAX_FORWARDS
from node.edge.hub import Hub
from node.sip.message import Request, Response
from node.sip.uri import Uri
from node.storage.messages import KeptMessage

ANSWER_WITHIN = 20.0
"Seconds after which an answer is no longer waited for; a message may arrive nevertheless."


_SIDE = ServiceSide("command")


@dataclass(slots=True)
class _Command:
    """A request that came from no network; its answer goes to whoever waits for it."""

    request: Request
    answer: "asyncio.Future[Response]" = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    @property
    def legs(self) -> Legs:
        """A command brings no media."""
        return ()

    def respond(self, response: Response, legs: Legs = ()) -> None:
        """Take the first final response."""
        if response.status >= 200 and not self.answer.done():
            self.answer.set_result(response)


@dataclass(slots=True)
class Mail:
    """The messages of an edge, as the rest of the node meets them."""

    hub: Hub
    calls: Calls

    async def send(self, account: Account, to: Uri, text: str) -> Response:
        """Send a text from an account to wherever it may send to; the final response.

        Raises:
            TimeoutError: there was none in `ANSWER_WITHIN`.
        """
        command = _Command(self._compose(account, to, text))
        self.calls.from_account(command, _SIDE, account)
        async with asyncio.timeout(ANSWER_WITHIN):
            return await command.answer

    def _compose(self, account: Account, to: Uri, text: str) -> Request:
        forwarder, own = self.hub.forwarder, self.hub.node.key_name
        return Request.create(
            "MESSAGE",
            to,
            [
                ("Via", str(forwarder.via(_SIDE, forwarder.new_branch()))),
                ("Max-Forwards", str(MAX_FORWARDS)),
                ("From", f"<sip:{account.login}@{own}>;tag={self.hub.tag()}"),
                ("To", f"<{to}>"),
                ("Call-ID", f"{self.hub.tag()}@{own}"),
                ("CSeq", "1 MESSAGE"),
                ("Content-Type", "text/plain;charset=UTF-8"),
            ],
            text.encode(),
        )

    @property
    def count(self) -> int:
        """How many wait, for all accounts together."""
        room = self.calls.mailroom
        return 0 if room is None else len(room.boxes)

    def waiting(self, login: str) -> tuple[KeptMessage, ...]:
        """What waits for an account, the oldest first."""
        room = self.calls.mailroom
        return () if room is None else room.boxes.of(login)

    def restore(self, messages: Iterable[KeptMessage]) -> None:
        """Take what was kept before a restart."""
        if self.calls.mailroom is not None:
            self.calls.mailroom.boxes.restore(messages)

    def sweep(self) -> None:
        """Forget what is too old."""
        if self.calls.mailroom is not None:
            self.calls.mailroom.sweep()

    def forget(self, login: str) -> None:
        """An account was removed."""
        if self.calls.mailroom is not None:
            self.calls.mailroom.forget(login)
