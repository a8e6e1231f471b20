"""The `[sip]` table of the settings: where phones find the node, and what others may do."""

import ipaddress
import re

from node.setting import PORT, Section, require

MAX_KEEP_DAYS = 365
_ORIGIN = re.compile(r"https?://[^/\s@?#]{1,255}", re.IGNORECASE)
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


def _network(text: str) -> IPNetwork | None:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        return None


class SipConfig(Section, frozen=True, kw_only=True):
    """Where phones find this node."""

    port: int = 5060
    "Port, UDP and TCP, before `port_offset`. Phones assume 5060 where nothing else is said."
    tls_port: int | None = None
    "Port of SIP over TLS, before `port_offset`; unset: the one above `port`, as phones assume."

    open: bool = True
    "Whether anybody may call the accounts here by plain SIP; they are shown as unverified."
    strangers_subscribe: bool = False
    "Whether they may also subscribe, to presence for instance."
    outbound: bool = False
    "Whether accounts here may call other SIP networks: domains and addresses of no node."
    outbound_accounts: tuple[str, ...] = ()
    "The logins that may; none named: all of them."
    outbound_networks: tuple[str, ...] = ()
    "Networks (`10.0.0.0/8`) that DNS may lead such calls to although they are not global."

    web_origins: tuple[str, ...] = ()
    "Origins (`https://phone.example`) of web pages that may register phones here, beside its own."

    keep_messages_days: int = 14
    "Days a message waits for a user who is not there; 0: none is kept."

    def __post_init__(self) -> None:
        days = self.keep_messages_days
        wanted = f"0 to {MAX_KEEP_DAYS} days"
        require(0 <= days <= MAX_KEEP_DAYS, "sip.keep_messages_days", days, wanted)
        require(0 < self.port < 65536, "sip.port", self.port, PORT)
        for text in self.outbound_networks:
            wanted = "networks like 10.0.0.0/8 or fd00::/8"
            require(_network(text) is not None, "sip.outbound_networks", text, wanted)
        for origin in self.web_origins:
            wanted = "origins as browsers name them, like https://phone.example or with a port"
            require(_ORIGIN.fullmatch(origin) is not None, "sip.web_origins", origin, wanted)
        require(
            self.tls_port is None or 0 < self.tls_port < 65536, "sip.tls_port", self.tls_port, PORT
        )

    @property
    def outbound_allowed(self) -> tuple[IPNetwork, ...]:
        """`outbound_networks` as values."""
        found = (_network(text) for text in self.outbound_networks)
        return tuple(network for network in found if network is not None)
