"""Messages that an operator sends for an account, as a phone of that account would."""

import asyncio
from dataclasses import dataclass, field

from federation.messages import Legs
from node.accounts.account import Account
from node.edge.calls import Calls
from node.edge.dialog import ServiceSide
from node.edge.forward import MAX_FORWARDS
from node.edge.hub import Hub
from node.sip.message import Request, Response
from node.sip.uri import Uri

ANSWER_WITHIN = 20.0
"Seconds after which an answer is no longer waited for; a message may arrive nevertheless."


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


async def send_message(hub: Hub, calls: Calls, account: Account, to: Uri, text: str) -> Response:
    """Send a text from an account to wherever it may send to; the final response.

    Raises:
        TimeoutError: there was none in `ANSWER_WITHIN`.
    """
    own = hub.node.key_name
    side = ServiceSide("command")
    request = Request.create(
        "MESSAGE",
        to,
        [
            ("Via", str(hub.forwarder.via(side, hub.forwarder.new_branch()))),
            ("Max-Forwards", str(MAX_FORWARDS)),
            ("From", f"<sip:{account.login}@{own}>;tag={hub.tag()}"),
            ("To", f"<{to}>"),
            ("Call-ID", f"{hub.tag()}@{own}"),
            ("CSeq", "1 MESSAGE"),
            ("Content-Type", "text/plain;charset=UTF-8"),
        ],
        text.encode(),
    )
    command = _Command(request)
    calls.from_account(command, side, account)
    async with asyncio.timeout(ANSWER_WITHIN):
        return await command.answer
