"""Which of our addresses a given peer can reach us at, when we listen on all of them."""

import socket

from federation.model.clocks import Clock, Monotonic

WILDCARDS = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared with, not bound to
MAX_REMEMBERED = 4096
"Peers whose answer is kept."
REMEMBERED_FOR = 30.0
"Seconds an answer is kept; after that a changed route is noticed."
_ANY_PORT = 9
_LOOPBACK = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}


class RouteProbe:
    """Asks the operating system's routing table, by connecting a UDP socket that sends nothing."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: dict[str, tuple[str, Monotonic]] = {}

    @property
    def remembered(self) -> int:
        """How many peers' answers are kept."""
        return len(self._known)

    def local_ip_facing(self, host: str) -> str:
        """The source address packets to `host` leave with; loopback where there is no route."""
        now = self._clock.monotonic()
        known = self._known.get(host)
        if known is not None and now < known[1]:
            return known[0]
        if len(self._known) >= MAX_REMEMBERED:
            self._known.clear()
        local = _ask_routing_table(host)
        self._known[host] = local, Monotonic(now + REMEMBERED_FOR)
        return local


def _ask_routing_table(host: str) -> str:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    numeric = socket.AI_NUMERICHOST  # never a question to DNS; a zone is understood
    try:
        found = socket.getaddrinfo(host, _ANY_PORT, family, socket.SOCK_DGRAM, flags=numeric)
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(found[0][4])
            local: str = probe.getsockname()[0]
            return local.partition("%")[0]
    except OSError:
        return _LOOPBACK[family]
