"""What an operator can set about the relay."""

import os
from dataclasses import dataclass, field

from federation.model.address import AddressError, parse_ip
from federation.model.errors import ConfigError

MAX_WORKERS = 256
LOWEST_PORT = 1024
HIGHEST_PORT = 65535


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0))


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayConfig:
    """Workers, ports and addresses of the relay.

    Raises:
        ConfigError: a value that cannot work; the text names it and what would do.
    """

    workers: int = field(default_factory=_usable_cores)
    "Relay processes; one a usable core by default."
    lowest_port: int = 10000
    "First UDP port of the media range, even."
    highest_port: int = 19999
    "Last UDP port of the media range, odd; two ports are needed for each anchor."
    leg_hosts: tuple[str, ...] = ("0.0.0.0", "::")  # noqa: S104  (other nodes come from anywhere)
    "Local addresses sealed legs are bound to, at most one of each family."

    def __post_init__(self) -> None:
        if not 1 <= self.workers <= MAX_WORKERS:
            raise ConfigError(f"workers: {self.workers} is not between 1 and {MAX_WORKERS}")
        low, high = self.lowest_port, self.highest_port
        if not LOWEST_PORT <= low < high <= HIGHEST_PORT or low % 2 or not high % 2:
            raise ConfigError(
                f"media ports: {low}-{high} will not do; give an even first and an odd last port "
                f"between {LOWEST_PORT} and {HIGHEST_PORT}, such as 10000-19999"
            )
        families = []
        for host in self.leg_hosts:
            try:
                families.append(parse_ip(host).version)
            except AddressError as error:
                raise ConfigError(f"leg_hosts: {host!r} is not an IP address") from error
        if not families or len(set(families)) != len(families):
            raise ConfigError("leg_hosts: give one IPv4 address, one IPv6 address, or one of each")
