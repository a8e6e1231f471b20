"""What names a dialog: the Call-ID and the tags, as strict as all that keeps them asks for."""

from federation.messages import MAX_TEXT_BYTES
from node.sip.errors import SipParseError
from node.sip.message import Request, Response

MAX_IDENTIFIER = MAX_TEXT_BYTES
"Characters of a Call-ID or a tag: a `bye` frame carries no longer ones."


def check(message: Request | Response) -> None:
    """Everything that must hold before a message is passed on (RFC 3261 16.3 step 1).

    Beyond the message's own check, Call-ID and tags are ASCII, which their grammar asks for
    (RFC 3261 25.1), and not longer than `MAX_IDENTIFIER`.

    Raises:
        SipParseError: with the status the sender should get.
    """
    message.check()
    for text in (message.call_id, message.from_.tag or "", message.to.tag or ""):
        if len(text) > MAX_IDENTIFIER or not text.isascii():
            raise SipParseError(400, "Call-ID or tag that cannot be kept")
