"""Sealed legs in the forwarding table: one port of a worker carries them all, told apart by id."""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from media_relay.anchors import Echo
from media_relay.counters import (
    MAX_DATAGRAM_BYTES,
    MAX_ECHOES_PER_SECOND,
    MAX_PACKETS_PER_SECOND,
    Drop,
    Hop,
    Outlet,
    Partner,
    Tally,
)
from media_relay.latch import SocketAddress
from media_relay.rtp import FIRST_RTP_BYTE, RTP_HEADER_BYTES
from media_relay.sealed import (
    GENERATION_SHIFT,
    HEADER,
    HEADER_BYTES,
    KEEPALIVE,
    OVERHEAD_BYTES,
    RTCP,
    RTP,
    SEALED_TYPE,
    ReplayWindow,
)

KEEPALIVE_SECONDS = 5.0
OPENING_KEEPALIVES = 3
"Sent at once when a leg is installed, so that addresses are proven and NATs opened early."
OPENING_KEEPALIVE_SECONDS = 0.02
MAX_SEALED_BYTES = MAX_DATAGRAM_BYTES + OVERHEAD_BYTES


class LegRoute(Tally):
    """One sealed leg: reserved first, then installed.

    A leg whose peer address was only told sends nothing but keepalives until an authentic datagram
    came. Every leg follows the source of the newest authentic datagram.
    """

    __slots__ = (
        "_answered",
        "_counter",
        "_open",
        "_peer_leg",
        "_seal",
        "confirmed",
        "keepalives",
        "outlet",
        "partner",
        "peer",
        "window",
    )

    def __init__(self, leg_id: int) -> None:
        super().__init__(leg_id)
        self.partner: Partner | None = None
        self.peer: SocketAddress | None = None
        self.outlet: Outlet = None
        self.confirmed = False
        "Whether media may be sent to `peer`."
        self.keepalives = 0
        "Sent by the clock since the installation."
        self.window = ReplayWindow()
        self._peer_leg = 0
        self._counter = 0
        self._answered = False
        self._seal: AESGCM | None = None
        self._open: AESGCM | None = None

    @property
    def is_installed(self) -> bool:
        """Whether the leg has keys."""
        return self._open is not None

    @property
    def proven_peer(self) -> SocketAddress | None:
        """Where authentic datagrams come from, `None` before the first."""
        return self.peer if self.window.highest >= 0 else None

    @property
    def pace(self) -> int:
        """How many packets a second are taken."""
        return MAX_ECHOES_PER_SECOND if isinstance(self.partner, Echo) else MAX_PACKETS_PER_SECOND

    def install(
        self,
        *,
        peer_leg: int,
        peer: SocketAddress,
        outlet: Outlet,
        send_key: bytes,
        receive_key: bytes,
        confirmed: bool,
        generation: int,
        highest: int,
    ) -> None:
        """Give the leg its keys and its peer.

        `generation` must be higher than at any installation before under the same keys; `highest`
        is the last counter received then, -1 for none.
        """
        self._peer_leg = peer_leg
        self.peer = peer
        self.outlet = outlet
        self._seal = AESGCM(send_key)
        self._open = AESGCM(receive_key)
        self.confirmed = confirmed
        self._counter = generation << GENERATION_SHIFT
        self.window = ReplayWindow(highest)
        self.keepalives = 0
        self._answered = False

    def send(self, component: int, data: bytes, size: int) -> Hop | None:
        """Seal what came from the partner."""
        seal, peer = self._seal, self.peer
        if seal is None or peer is None or not self.confirmed:
            self.drops[Drop.UNSENT] += 1
            return None
        counter = self._counter
        self._counter = counter + 1
        self.packets_out += 1
        self.bytes_out += size
        header = HEADER.pack(SEALED_TYPE, component, 0, self._peer_leg, counter)
        return self.outlet, header + seal.encrypt(header[4:], data, header), peer

    def keepalive(self) -> Hop | None:
        """An empty authentic datagram, to told addresses too."""
        if self._seal is None or self.peer is None:
            return None
        header = HEADER.pack(SEALED_TYPE, KEEPALIVE, 0, self._peer_leg, self._counter)
        self._counter += 1
        return self.outlet, header + self._seal.encrypt(header[4:], b"", header), self.peer

    def receive(self, data: bytes, source: SocketAddress, now: float, outlet: Outlet) -> Hop | None:
        """Take one datagram of at least `OVERHEAD_BYTES` that bears this leg's id."""
        opener = self._open
        if opener is None:
            self.drops[Drop.EARLY] += 1
            return None
        if self.packets_in >= self.allowance:
            self.drops[Drop.EXCESS] += 1
            return None
        header = data[:HEADER_BYTES]
        counter = int.from_bytes(header[8:], "big")
        window = self.window
        if not window.admits(counter):
            self.drops[Drop.REPLAYED] += 1
            return None
        try:
            plain = opener.decrypt(header[4:], data[HEADER_BYTES:], header)
        except InvalidTag:
            self.drops[Drop.FORGED] += 1
            return None
        if window.record(counter):
            if source != self.peer:
                self.peer = source
                self.outlet = outlet
            self.confirmed = True
        self.last_heard = now
        component = header[1]
        size = len(plain)
        if not size and component == KEEPALIVE:
            return self._answer()
        partner = self.partner
        if component not in (RTP, RTCP) or not size or size > MAX_DATAGRAM_BYTES:
            self.drops[Drop.KIND] += 1
            return None
        self.packets_in += 1
        self.bytes_in += size
        if plain[0] >= FIRST_RTP_BYTE and size >= RTP_HEADER_BYTES and component == RTP:
            self.meter.take(plain, now)
        elif component == RTCP:
            self.meter.take_rtcp(plain, now)
        if partner is None:
            self.drops[Drop.UNJOINED] += 1
            return None
        return partner.send(component, plain, size)

    def _answer(self) -> Hop | None:
        """Answer the first keepalive, once: the peer may only have been told where we are."""
        if self._answered:
            return None
        self._answered = True
        return self.keepalive()


class LegPort:
    """A socket of sealed legs: finds the leg a datagram is for."""

    __slots__ = ("_legs", "outlet", "strays")

    def __init__(self, legs: dict[bytes, LegRoute], outlet: Outlet) -> None:
        self._legs = legs
        "By the four bytes of the id as they stand in the header."
        self.outlet = outlet
        self.strays = 0
        "Datagrams that are not sealed ones, or for no leg that exists."

    def receive(self, data: bytes, source: SocketAddress, now: float) -> Hop | None:
        """Take one datagram; what is to be sent because of it, if anything."""
        if OVERHEAD_BYTES <= len(data) <= MAX_SEALED_BYTES and data[0] == SEALED_TYPE:
            leg = self._legs.get(data[4:8])
            if leg is not None:
                return leg.receive(data, source, now, self.outlet)
        self.strays += 1
        return None
