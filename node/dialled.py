"""What a person typed, as a phone of this node would send it."""

from node.sip.uri import Uri

MAX_DIALLED = 300
"Characters."


def dialled_uri(text: str, key_name: str) -> Uri:
    """The Request-URI of a number, a login, `user@domain` or a SIP or tel URI.

    Raises:
        SipParseError: it cannot be dialled.
    """
    plain = text.strip().replace(" ", "")
    if not plain.startswith(("sip:", "sips:", "tel:")):
        plain = f"sip:{plain}" if "@" in plain else f"sip:{plain}@{key_name}"
    return Uri.parse(plain)
