"""Whose certificate it is: RFC 5922 section 7, on what `getpeercert` gives."""

import pytest

from node.sip.transports.certificate_names import MAX_NAMES, proves


def certificate(*names: tuple[str, str], common_name: str = "") -> dict[str, object]:
    return {"subject": ((("commonName", common_name),),), "subjectAltName": names}


@pytest.mark.parametrize(
    ("kind", "value", "name"),
    [
        ("DNS", "example.org", "example.org"),
        ("DNS", "Example.ORG", "example.org."),
        ("URI", "sip:example.org", "EXAMPLE.org"),
        ("URI", "SIP:example.org;x=y", "example.org"),
        ("IP Address", "192.0.2.7", "192.0.2.7"),
        ("IP Address", "2001:DB8:0:0:0:0:0:1", "[2001:db8::1]"),
        ("URI", "sip:[2001:db8::1]", "2001:db8::1"),
    ],
)
def test_a_name_is_proven_by_an_entry_of_its_own(kind: str, value: str, name: str) -> None:
    assert proves(certificate(("DNS", "other.example"), (kind, value)), name)


@pytest.mark.parametrize(
    ("kind", "value", "name"),
    [
        ("DNS", "*.example.org", "sip.example.org"),
        ("DNS", "example.org", "sip.example.org"),
        ("DNS", "sip.example.org", "example.org"),
        ("URI", "sip:alice@example.org", "example.org"),
        ("URI", "sips:example.org", "example.org"),
        ("URI", "https://example.org", "example.org"),
        ("DNS", "192.0.2.7", "192.0.2.7 "),
        ("email", "example.org", "example.org"),
        ("DNS", "", ""),
    ],
)
def test_anything_less_proves_nothing(kind: str, value: str, name: str) -> None:
    """No wildcards and no suffixes (7.2), no URIs of users or of other schemes (7.1)."""
    assert not proves(certificate((kind, value)), name)


def test_the_common_name_counts_for_nothing() -> None:
    assert not proves(certificate(common_name="example.org"), "example.org")
    assert not proves({}, "example.org")


def test_only_so_many_names_are_looked_at() -> None:
    many = [("DNS", f"h{number}.example") for number in range(MAX_NAMES + 1)]
    assert proves(certificate(*many), f"h{MAX_NAMES - 1}.example")
    assert not proves(certificate(*many), f"h{MAX_NAMES}.example")
