"""Messages as the operator meets them: sent for an account, and those that wait for one."""

from collections.abc import Callable

from node.accounts.account import Account
from node.control import JsonObject, RefusedError
from node.dialled import MAX_DIALLED, dialled_uri
from node.edge.edge import Edge
from node.edge.mailboxes import MAX_BODY
from node.pin_desk import moment
from node.sip.errors import SipParseError

ACCEPTED = 202


class MessageDesk:
    """Sends and lists messages of a running node. Every method may raise `RefusedError`."""

    def __init__(
        self, account: Callable[[str], Account], edge: Callable[[], Edge | None], key_name: str
    ) -> None:
        """`account` finds an account by its login, or refuses."""
        self._account = account
        self._edge = edge
        self._key_name = key_name

    async def send(self, sender: str, to: str, text: str) -> JsonObject:
        """Send `text` from an account to a target, as its phone would."""
        account, edge = self._account(sender), self._running()
        if not text or len(text.encode("utf-8", "replace")) > MAX_BODY:
            raise RefusedError(f"a message has 1 to {MAX_BODY} bytes", 400)
        try:
            text.encode()
            if not to.strip() or len(to) > MAX_DIALLED:
                raise SipParseError(400, "nobody is named")
            uri = dialled_uri(to, self._key_name)
        except (SipParseError, UnicodeEncodeError) as error:
            raise RefusedError(
                f"{to!r} or the text cannot be sent: give a number, a login or user@domain", 400
            ) from error
        try:
            response = await edge.mail.send(account, uri, text)
        except TimeoutError as error:
            raise RefusedError(f"{to} gave no answer; the message may have arrived", 503) from error
        reason = _text_of(response.get("Reason")) or response.reason
        if response.status >= 300:
            raise RefusedError(f"{to} did not take it: {response.status} {reason}")
        return {"from": account.login, "to": str(uri), "kept": response.status == ACCEPTED}

    def waiting(self, login: str) -> list[JsonObject]:
        """What waits for an account, the oldest first; without what was written."""
        account = self._account(login)
        return [
            {
                "from": message.number or message.uri or "anonymous",
                "name": message.display,
                "verified": message.verified,
                "sent": message.sent_at,
                "bytes": message.size,
                "expires": moment(message.expires_at),
            }
            for message in self._running().mail.waiting(account.login)
        ]

    def _running(self) -> Edge:
        edge = self._edge()
        if edge is None:
            raise RefusedError("the node is still starting; try again", 503)
        return edge


def _text_of(reason: str | None) -> str:
    """The text of a Reason value (RFC 3326)."""
    return (reason or "").partition('text="')[2].partition('"')[0]
