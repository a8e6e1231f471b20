"""A binding: one device of an account and the path to it (RFC 3261 10, RFC 5626, RFC 3327)."""

from dataclasses import dataclass
from functools import lru_cache

from federation.model.address import AddressError, Endpoint, parse_ip
from federation.model.clocks import UnixTime
from node.sip.flow import DEFAULT_PORT, DEFAULT_TLS_PORT, Flow
from node.sip.uri import Uri


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """One device of an account: its Contact and the path to it."""

    aor: str
    "The account's login."
    key: str
    "What tells it from the account's other bindings: instance and reg-id, else the URI."
    uri: str
    "The Contact's URI."
    flow: Flow
    "The path its REGISTER came over; the remote end is the source address as seen here."
    is_connected: bool
    "Whether `flow` can be sent on; always for UDP, while the connection stands for a stream."
    server: str
    "Host, and port if given, that the phone registered to: the name it knows this node by."
    instance: str | None
    "`+sip.instance` with its angle brackets (RFC 5626)."
    reg_id: int | None
    q: float
    path: tuple[str, ...]
    "Path values, to become the Route of requests to it (RFC 3327)."
    user_agent: str
    call_id: str
    cseq: int
    registered_at: UnixTime
    expires_at: UnixTime

    @property
    def target(self) -> Uri:
        """The Contact's URI as a value: the Request-URI of what is sent to the device."""
        return _parsed(self.uri)

    @property
    def direct(self) -> Endpoint | None:
        """Where a new connection could be opened, see `direct_to`."""
        return direct_to(self.target, self.flow)

    def is_current(self, *, now: UnixTime) -> bool:
        """Whether it has not expired."""
        return now < self.expires_at


@dataclass(frozen=True, slots=True)
class BindingStored:
    """A binding is new or has changed."""

    binding: Binding


@dataclass(frozen=True, slots=True)
class BindingRemoved:
    """A binding is gone: unregistered, expired, or its account was removed."""

    binding: Binding


BindingChange = BindingStored | BindingRemoved


def direct_to(target: Uri, flow: Flow) -> Endpoint | None:
    """Where a new connection could be opened, if the Contact names the source's own address.

    A device behind a NAT names an address that it was not seen from; it can only connect.
    """
    try:
        host = str(parse_ip(target.host))
    except AddressError:
        return None
    if host != flow.remote.host:
        return None
    is_tls = target.scheme == "sips" or (target.param("transport") or "").lower() == "tls"
    return Endpoint(host, target.port or (DEFAULT_TLS_PORT if is_tls else DEFAULT_PORT))


@lru_cache(maxsize=8192)
def _parsed(uri: str) -> Uri:
    return Uri.parse(uri)
