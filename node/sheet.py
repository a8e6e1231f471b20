"""What a person is told about an account: login, password, server, number and addresses."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, Self

from federation.model.address import parse_ip
from federation.model.errors import ConfigError
from federation.model.identity import NodeId
from federation.model.number import Number
from node.addresses import own_addresses
from node.config import Config
from node.outer import OuterAddresses
from node.relay_config import TURN_PORT, TURN_TLS_PORT

SIP_PORT = 5060
"The port that phones assume; it is left out where it applies."


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedAt:
    """Where a node's accounts are reached."""

    key_name: str
    "The node's domain that proves itself."
    addresses: tuple[str, ...]
    "The node's own IP addresses, best first; at least one."
    sip_port: int
    outer: tuple[str, ...] = ()
    "Those that lead here from outside a static NAT, IPv4 first."
    domains: tuple[str, ...] = ()
    "Own domains, proven ones first."
    proven: int = 0
    "How many of `domains` are proven: DNS leads phones to this node."
    turn_port: int = TURN_PORT
    turn_tls_port: int = TURN_TLS_PORT

    @classmethod
    def of(cls, config: Config, node: NodeId, *, proven: Collection[str] = ()) -> Self:
        """Where a node with this configuration is reached, on this machine as it is now.

        `proven` are those of its domains whose DNS leads here.
        """
        domains = sorted(config.domains, key=lambda domain: domain not in proven)
        return cls(
            key_name=node.key_name,
            addresses=own_addresses(config.listen),
            sip_port=config.sip_port,
            outer=OuterAddresses(config.relay.external_address).addresses,
            domains=tuple(domains),
            proven=len([domain for domain in domains if domain in proven]),
            turn_port=config.turn_port,
            turn_tls_port=config.turn_tls_port,
        )

    @property
    def server(self) -> str:
        """What a phone's `server` field takes: the first proven domain, else the best address.

        From outside a static NAT that is the outer address; phones inside may use an inner one.
        """
        return self._with_port(self._server_host)

    def uris(self, login: str) -> list[str]:
        """Every SIP URI of an account, the most readable first."""
        addresses = (*self.outer, self.addresses[0])
        by_address = [self._with_port(_host(address)) for address in addresses]
        hosts = [*self.domains, self.key_name, *by_address]
        return [f"sip:{login}@{host}" for host in hosts]

    def turn(self, login: str) -> dict[str, Any]:
        """What an ICE client needs beside the account's password (RFC 7065 URIs)."""
        host, port = self._server_host, self.turn_port
        return {
            "uris": [
                f"turn:{host}:{port}?transport=udp",
                f"turn:{host}:{port}?transport=tcp",
                f"turns:{host}:{self.turn_tls_port}?transport=tcp",
            ],
            "username": login,
        }

    @property
    def login_domains(self) -> tuple[str, ...]:
        """What devices may put after a login when they prove a password."""
        return (*self.domains, self.key_name, *map(_host, self.reached_at))

    @property
    def reached_at(self) -> tuple[str, ...]:
        """Every address that leads here, from outside or from inside a NAT; best first."""
        return tuple(dict.fromkeys((*self.outer, *self.addresses)))

    def by_address(self, outer: tuple[str, ...]) -> "ServedAt":
        """The same for nodes that are lent a relay: from outside a NAT, and without asking DNS."""
        return replace(self, proven=0, outer=outer)

    def as_json(self) -> dict[str, Any]:
        """Plain values, to be kept for commands that run while the node is stopped."""
        return {
            "key_name": self.key_name,
            "addresses": list(self.addresses),
            "sip_port": self.sip_port,
            "outer": list(self.outer),
            "domains": list(self.domains),
            "proven": self.proven,
            "turn_port": self.turn_port,
            "turn_tls_port": self.turn_tls_port,
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Read what `as_json` gave.

        Raises:
            ConfigError: these are other values.
        """
        try:
            served = cls(
                key_name=str(values["key_name"]),
                addresses=tuple(map(str, values["addresses"])),
                sip_port=int(values["sip_port"]),
                outer=tuple(map(str, values.get("outer", ()))),
                domains=tuple(map(str, values["domains"])),
                proven=int(values["proven"]),
                turn_port=int(values.get("turn_port", TURN_PORT)),
                turn_tls_port=int(values.get("turn_tls_port", TURN_TLS_PORT)),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(
                "the file last-run in the state folder is damaged: delete it"
            ) from error
        if not served.addresses:
            raise ConfigError("the file last-run in the state folder is damaged: delete it")
        return served

    @property
    def web_host(self) -> str:
        """The host of this node's web pages: the first proven domain, else the best address."""
        return self._server_host

    @property
    def _server_host(self) -> str:
        return self.domains[0] if self.proven else _host(self.reached_at[0])

    def _with_port(self, host: str) -> str:
        return host if self.sip_port == SIP_PORT else f"{host}:{self.sip_port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountSheet:
    """One account's parameters. The password is there only when it was just made."""

    login: str
    served: ServedAt
    number: Number | None
    "`None` while it is still being computed."
    extension: str | None = None
    name: str = ""
    password: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The answer of `user add`, `user passwd` and `user show`."""
        sheet: dict[str, Any] = {"login": self.login}
        if self.password is not None:
            sheet["password"] = self.password
        return sheet | {
            "server": self.served.server,
            "uri": self.served.uris(self.login),
            "number": None if self.number is None else str(self.number),
            "extension": self.extension,
            "name": self.name,
            "turn": self.served.turn(self.login),
        }


def _host(address: str) -> str:
    return f"[{address}]" if parse_ip(address).version == 6 else address
