"""The simulated network: one virtual clock, lognormal round trips, loss, partitions, a log."""

import hashlib
import math
import random
from collections.abc import Callable
from statistics import NormalDist

from dht.frame import FrameType
from federation.model.address import Endpoint
from tests.support.virtual_loop import VirtualLoop

MEDIAN_RTT_S = 0.080
P99_RTT_S = 0.320
SIGMA = math.log(P99_RTT_S / MEDIAN_RTT_S) / NormalDist().inv_cdf(0.99)
JITTER = 0.05
"A datagram's delay differs from half its pair's round trip by at most this share."
HEADERS = 28
"Bytes of IPv4 and UDP headers, not counted in the figures; named here for whoever wants them."
_QUANTILES = 4_096

Receiver = Callable[[bytes, Endpoint], None]


class Wire:
    """Carries datagrams between endpoints. Every delivery enters the log, whose hash is the run's.

    A pair of endpoints has one round trip time, drawn from the lognormal distribution.
    """

    def __init__(self, loop: VirtualLoop, *, seed: int, loss: float = 0.0) -> None:
        self.loss = loss
        self.island: Callable[[Endpoint], object] | None = None
        self.sent: dict[Endpoint, list[int]] = {}
        "Questions out, bytes out, bytes in, of endpoints that are watched."
        self.datagrams = 0
        self.bytes = 0
        self._loop = loop
        self._random = random.Random(seed)
        self._salt = self._random.getrandbits(32) | 1
        self._receivers: dict[Endpoint, Receiver] = {}
        self._numbers: dict[Endpoint, int] = {}
        self._log = hashlib.sha256()
        normal = NormalDist(math.log(MEDIAN_RTT_S), SIGMA)
        self._rtts = [math.exp(normal.inv_cdf((n + 0.5) / _QUANTILES)) for n in range(_QUANTILES)]

    @property
    def log_hash(self) -> str:
        """SHA-256 over every delivery so far: time, source, destination, bytes."""
        return self._log.hexdigest()

    def attach(self, endpoint: Endpoint, receiver: Receiver) -> None:
        self._receivers[endpoint] = receiver

    def detach(self, endpoint: Endpoint) -> None:
        self._receivers.pop(endpoint, None)

    def watch(self, endpoint: Endpoint) -> list[int]:
        """Count what this endpoint sends and receives: [questions out, bytes out, bytes in].

        What it answers to others meanwhile is no cost of its own lookups; its bytes are counted.
        """
        return self.sent.setdefault(endpoint, [0, 0, 0])

    def rtt(self, one: Endpoint, other: Endpoint) -> float:
        """The round trip time of a pair, seconds, before jitter."""
        a, b = sorted((self._number(one), self._number(other)))
        mixed = (a * 0x9E3779B1 ^ b * 0x85EBCA6B ^ self._salt) * 0xC2B2AE35 & 0xFFFFFFFF
        mixed = (mixed ^ mixed >> 15) * 0x27D4EB2F & 0xFFFFFFFF
        return self._rtts[(mixed ^ mixed >> 13) % _QUANTILES]

    def _number(self, endpoint: Endpoint) -> int:
        return self._numbers.setdefault(endpoint, len(self._numbers) + 1)

    def carry(self, data: bytes, source: Endpoint, to: Endpoint, *, after: float = 0.0) -> None:
        """Send a datagram, which may arrive, once."""
        self.datagrams += 1
        self.bytes += len(data)
        watched = self.sent.get(source)
        if watched is not None:
            watched[0] += _is_question(data)
            watched[1] += len(data)
        draw = self._random.random
        if self.loss and draw() < self.loss:
            return
        if self.island is not None and self.island(source) != self.island(to):
            return
        delay = self.rtt(source, to) / 2 * (1 + JITTER * (2 * draw() - 1))
        self._loop.call_later(after + delay, self._deliver, data, source, to)

    def _deliver(self, data: bytes, source: Endpoint, to: Endpoint) -> None:
        receiver = self._receivers.get(to)
        if receiver is None:
            return
        now = self._loop.time()
        self._log.update(f"{now:.9f} {source.host} {to.host} {len(data)}\n".encode())
        watched = self.sent.get(to)
        if watched is not None:
            watched[2] += len(data)
        receiver(data, source)


def _is_question(data: bytes) -> bool:
    """Whether a datagram asks something: a request of ours, sealed or not, or one of rpcudp."""
    return data[:1] == b"\x00" or (data[:1] == b"\x08" and data[1] & 0x7F == FrameType.REQUEST)
