"""`urn:service:sos` (RFC 5031)."""

import pytest

from node.emergency import is_emergency_service, sos_number
from node.sip.uri import Uri


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("urn:service:sos", True),
        ("URN:Service:SOS.fire", True),
        ("urn:service:sosx", False),
        ("urn:service:counseling", False),
        ("sip:sos@service", False),
    ],
)
def test_which_urns_it_is(text: str, is_one: bool) -> None:
    assert is_emergency_service(Uri.parse(text)) is is_one


def test_it_stands_for_the_number_that_has_a_way_out() -> None:
    numbers = {"911", "112", "110"}
    assert sos_number(numbers, lambda number: True) == "112"
    assert sos_number(numbers, lambda number: number == "911") == "911"
    assert sos_number(numbers, lambda number: False) == "112"
    assert sos_number((), lambda number: True) == "112"
