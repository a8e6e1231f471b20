"""`urn:service:sos`: whoever helps, whatever the number is here (RFC 5031)."""

from collections.abc import Callable, Collection

from node.sip.uri import Uri

SOS_NUMBER = "112"
"The number that it stands for first."


def is_emergency_service(uri: Uri) -> bool:
    """Whether this is `urn:service:sos` or one of its kinds."""
    if uri.scheme != "urn":
        return False
    name = uri.opaque.lower()
    return name == "service:sos" or name.startswith("service:sos.")


def sos_number(numbers: Collection[str], ways: Callable[[str], object]) -> str:
    """Which emergency number is dialled for it: one that has a way out, if any has."""
    ordered = sorted(numbers, key=lambda number: (number != SOS_NUMBER, number))
    with_way = [number for number in ordered if ways(number)]
    return (with_way or ordered or [SOS_NUMBER])[0]
