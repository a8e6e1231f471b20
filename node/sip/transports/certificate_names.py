"""Whose certificate it is (RFC 5922 section 7): the SIP domains that a certificate names.

The trust in its issuer is OpenSSL's business and comes before. Names are compared whole: no
wildcards, no suffixes (7.2), and the subject's common name counts for nothing.
"""

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any

from federation.model.address import AddressError, parse_ip

MAX_NAMES = 100
"Names of one certificate that are looked at."


def proves(certificate: Mapping[str, Any], name: str) -> bool:
    """Whether a certificate, as `getpeercert` shows it, is that of `name`, a domain or IP address.

    `name` is what the user or operator wrote, before DNS was asked: who controls DNS alone proves
    nothing (7.3).
    """
    wanted = _address(name)
    return (wanted or _domain(name)) in _names(certificate.get("subjectAltName", ()))


def _names(alternatives: Iterable[tuple[str, str]]) -> set[str]:
    found: set[str] = set()
    for kind, value in list(alternatives)[:MAX_NAMES]:
        match kind:
            case "DNS":
                found.add(_domain(value))
            case "IP Address":
                found.add(_address(value.strip()))
            case "URI":
                found.add(_domain_of_uri(value))
    return found - {""}


def _domain_of_uri(uri: str) -> str:
    """The domain of `sip:domain`; nothing where there is a user, or another scheme (7.1)."""
    scheme, _, rest = uri.partition(":")
    if scheme.lower() != "sip" or "@" in rest:
        return ""
    host = rest.partition(";")[0].partition("?")[0]
    return _address(host) or _domain(host)


def _domain(text: str) -> str:
    return text.lower().removesuffix(".")


def _address(text: str) -> str:
    """An IP address in its one spelling; empty: it is none."""
    try:
        return str(parse_ip(text.strip("[]")))
    except (AddressError, ipaddress.AddressValueError):
        return ""
