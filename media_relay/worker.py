"""A relay worker: `python -m media_relay.worker CONTROL MARKS`, two inherited descriptors.

A plain epoll loop around a `RouteTable`. A wake-up reads the clock once; each datagram is one
look-up, one call into the table and one send. Sockets come over the control socket, already bound,
and are shared with the process that bound them: if this one dies, datagrams wait in them for the
next. When the control socket closes, the worker ends, however its parent ended.

Nothing imported here may import asyncio: a worker is small and starts fast.
"""

import gc
import math
import mmap
import select
import signal
import socket
import sys
import time
from collections.abc import Callable

from federation.model.address import AddressError
from media_relay.control import (
    MAX_MESSAGE_BYTES,
    MAX_REPORTED,
    VERSION,
    AttachLegPort,
    Counters,
    FreeAnchor,
    FreeLeg,
    Latched,
    Notice,
    OpenAnchor,
    Order,
    Ping,
    Pong,
    Ready,
    Report,
    Totals,
    decode_order,
    encode,
)
from media_relay.control_turn import (
    AttachTurn,
    ConfigureTurn,
    EndGuests,
    LendGuests,
    LimitAccount,
    PutAccounts,
    RelayOpened,
    RelayRefused,
    RemoveAccounts,
    TurnOrder,
)
from media_relay.counters import MAX_DATAGRAM_BYTES, Hop, Tally
from media_relay.descriptors import raise_descriptor_limit
from media_relay.errors import ControlError
from media_relay.latch import SocketAddress
from media_relay.legs import MAX_SEALED_BYTES, LegRoute
from media_relay.orders import apply_order, full_address
from media_relay.ports import MARKS, Marks
from media_relay.routes import REPORT_SLICES, RouteTable
from media_relay.turn_routes import Drain
from media_relay.turn_shell import TurnShell

LEG_BURST = 64
"Datagrams read from a leg port in one turn; many calls share it."
ANCHOR_BURST = 1
"""Datagrams read from an anchor's port in one turn. A port rarely holds more than one, and asking
for the next costs a system call; epoll reports what is left again, after the others' turn."""
ORDER_BURST = 64
"Orders carried out in one turn."
MAX_DESCRIPTORS_A_MESSAGE = 4
SLICE_SECONDS = 1 / REPORT_SLICES

Receive = Callable[[bytes, SocketAddress, float], Hop | None]
Watcher = Callable[[int, float], None]


class Worker:
    """Lends a `RouteTable` its sockets and its clock, and carries out what it is told."""

    def __init__(self, control: socket.socket, in_media: Marks) -> None:
        self._control = control
        self._table = RouteTable()
        self._poll = select.epoll()
        self._readers: dict[int, tuple[socket.socket, Receive, int, int]] = {}
        "By descriptor: the socket, what takes its datagrams, bytes a read, reads a turn."
        self._drains: dict[int, Drain] = {}
        "By descriptor: what reads it and passes on what it reads, in one."
        self._watchers: dict[int, Watcher] = {}
        "By descriptor: who is told of readiness, or of errors where there is a reader as well."
        self._in_media = in_media
        self._turn: TurnShell | None = None
        self._anchor_sockets: dict[int, tuple[socket.socket, socket.socket]] = {}
        self._pongs: list[Pong] = []
        self._last_words: list[Counters] = []
        self._next_slice: float | None = None
        self._due = math.inf
        "When something is due by the clock, as far as known before this turn."
        self._slices = 0
        self._packets = 0
        self._bytes = 0

    def run(self, descriptors: int) -> None:
        """Serve until the control socket closes."""
        control = self._control.fileno()
        self._poll.register(control, select.EPOLLIN)
        readable, drains = select.EPOLLIN, self._drains
        ordered = (control, readable)
        self.notify(Ready(VERSION, descriptors))
        now = time.monotonic()
        while True:
            events = self._poll.poll(self._patience(now))
            now = time.monotonic()
            # Orders first, wherever epoll puts them: a packet sent after an order meets its effect.
            if ordered in events and not self._take_orders(now):
                return
            for descriptor, mask in events:
                drain = drains.get(descriptor)
                if drain is not None and mask == readable:
                    drain(now)
                elif descriptor != control:
                    if mask != readable and descriptor in self._watchers:
                        self._watchers[descriptor](mask, now)
                    else:
                        self._drain(descriptor, now)
                elif mask != readable and not self._take_orders(now):
                    return
            self._keep_time(now)

    def close(self) -> None:
        """Close every socket."""
        for reader in self._readers.values():
            reader[0].close()
        self._readers.clear()
        if self._turn is not None:
            self._turn.close()
        self._poll.close()
        self._control.close()

    def _drain(self, descriptor: int, now: float) -> None:
        reader = self._readers.get(descriptor)
        if reader is None:
            watcher = self._watchers.get(descriptor)
            if watcher is not None:
                watcher(select.EPOLLIN, now)
            return
        sock, receive, size, burst = reader
        read = sock.recvfrom
        for _ in range(burst):
            try:
                data, source = read(size)
            except OSError:
                return
            hop = receive(data, source, now)
            if hop is not None:
                outlet, data, peer = hop
                try:
                    self._bytes += outlet(data, peer)
                except OSError:
                    # Full buffer, no route, refused by a filter: lost like any datagram.
                    continue
                self._packets += 1

    # Time

    def _patience(self, now: float) -> float:
        due, report = self._table.next_timer(), self._next_slice
        if due is None or (report is not None and report < due):
            due = report
        if self._turn is not None:
            expiry = self._turn.next_timer()
            if due is None or (expiry is not None and expiry < due):
                due = expiry
        self._due = math.inf if due is None else due
        return -1 if due is None else max(0.0, due - now)

    def _keep_time(self, now: float) -> None:
        # What orders of this turn made due earlier is seen by the next look at the clock, at once.
        if now >= self._due:
            for outlet, data, peer in self._table.handle_timer(now):
                try:
                    outlet(data, peer)
                except OSError:
                    continue
            if self._turn is not None:
                self._turn.handle_timer(now)
        if self._table.latched:
            self._tell_latched()
        if self._pongs or self._last_words:
            self._tell_waiting(now)
        if self._next_slice is not None and self._next_slice <= now:
            self._report(now)

    # Orders

    def _take_orders(self, now: float) -> bool:
        """Carry out what waits; whether the control socket is still open."""
        for _ in range(ORDER_BURST):
            try:
                data, descriptors, _, _ = socket.recv_fds(
                    self._control, MAX_MESSAGE_BYTES, MAX_DESCRIPTORS_A_MESSAGE
                )
            except BlockingIOError:
                return True
            except OSError:
                return False
            if not data:
                return False
            sockets = [socket.socket(fileno=descriptor) for descriptor in descriptors]
            try:
                self._carry_out(decode_order(data), sockets, now)
            except (ControlError, AddressError):
                self._table.ignored_orders += 1
            for sock in sockets:
                sock.close()
        return True

    def _carry_out(self, order: Order, sockets: list[socket.socket], now: float) -> None:
        """Do what one order says; sockets that it makes use of leave the list."""
        table = self._table
        match order:
            case AttachLegPort(ipv6) if len(sockets) == 1:
                sock = sockets.pop()
                port = table.add_leg_port(sock.sendto, ipv6=ipv6)
                self.read(sock, port.receive, MAX_SEALED_BYTES + 1, LEG_BURST)
            case OpenAnchor(anchor) if len(sockets) == 2:
                self._open_anchor(anchor, sockets.pop(0), sockets.pop(0))
            case FreeAnchor(anchor):
                self._free_anchor(anchor)
            case FreeLeg(leg):
                freed = table.free_leg(leg)
                if freed is not None:
                    self._last_words.append(_counters(freed, is_last=True))
            case Ping(serial):
                self._pongs.append(Pong(serial))
            case ConfigureTurn():
                if self._turn is None:
                    self._turn = TurnShell(self, order, self._in_media)
                else:
                    self._turn.configure(order)
            case _ if isinstance(order, TurnOrder):
                self._carry_out_turn(order, sockets, now)
            case _:
                apply_order(table, order, now)
        if self._next_slice is None and not table.is_empty:
            self._next_slice = now + SLICE_SECONDS

    def _carry_out_turn(self, order: TurnOrder, sockets: list[socket.socket], now: float) -> None:
        match self._turn, order:
            case TurnShell() as turn, AttachTurn() if len(sockets) == 1:
                turn.attach(order, sockets.pop())
            case TurnShell() as turn, RelayOpened() if len(sockets) == 1:
                turn.relay_opened(order, sockets.pop(), now)
            case TurnShell() as turn, RelayOpened():
                turn.relay_lost(order, now)
            case TurnShell() as turn, PutAccounts():
                turn.put_accounts(order)
            case TurnShell() as turn, RemoveAccounts():
                turn.remove_accounts(order, now)
            case TurnShell() as turn, LendGuests():
                turn.lend_guests(order)
            case TurnShell() as turn, LimitAccount():
                turn.limit_account(order, now)
            case TurnShell() as turn, EndGuests():
                turn.end_guests(order, now)
            case TurnShell() as turn, RelayRefused():
                turn.relay_refused(order, now)
            case _:
                self._table.ignored_orders += 1

    def _open_anchor(self, anchor_id: int, rtp: socket.socket, rtcp: socket.socket) -> None:
        self._free_anchor(anchor_id)
        anchor = self._table.open_anchor(anchor_id, rtp.sendto, rtcp.sendto)
        self._anchor_sockets[anchor_id] = rtp, rtcp
        self.read(rtp, anchor.rtp.receive, MAX_DATAGRAM_BYTES + 1, ANCHOR_BURST)
        self.read(rtcp, anchor.rtcp.receive, MAX_DATAGRAM_BYTES + 1, ANCHOR_BURST)

    def _free_anchor(self, anchor_id: int) -> None:
        freed = self._table.free_anchor(anchor_id)
        if freed is None:
            return
        self._last_words.append(_counters(freed, is_last=True))
        for sock in self._anchor_sockets.pop(anchor_id):
            # The process that bound it holds a copy, so closing alone would not end the watch.
            self._poll.unregister(sock)
            del self._readers[sock.fileno()]
            sock.close()

    # For TURN, and for anchors

    def read(self, sock: socket.socket, receive: Receive, size: int, burst: int) -> None:
        """Pass the datagrams of a socket to `receive`: `burst` a turn, of up to `size` bytes."""
        sock.setblocking(False)
        self._readers[sock.fileno()] = sock, receive, size, burst
        self._poll.register(sock, select.EPOLLIN)

    def drain(self, sock: socket.socket, drain: Drain) -> None:
        """Call `drain` with the time whenever something waits in a socket."""
        sock.setblocking(False)
        self._drains[sock.fileno()] = drain
        self._poll.register(sock, select.EPOLLIN)

    def watch(self, sock: socket.socket, ready: Watcher, mask: int) -> None:
        """Call `ready` for a socket that is not read here, or for the errors of one that is."""
        descriptor = sock.fileno()
        if descriptor in self._watchers:
            self._poll.modify(descriptor, mask)
        elif descriptor not in self._readers and descriptor not in self._drains:
            self._poll.register(descriptor, mask)
        self._watchers[descriptor] = ready

    def forget(self, sock: socket.socket) -> None:
        """Neither read nor watch a socket any more."""
        self._poll.unregister(sock)
        self._readers.pop(sock.fileno(), None)
        self._drains.pop(sock.fileno(), None)
        self._watchers.pop(sock.fileno(), None)

    # Notices

    def notify(self, notice: Notice) -> bool:
        """Send a notice unless the other side is too far behind; whether it went."""
        try:
            self._control.send(encode(notice))
        except OSError:
            return False
        return True

    def _tell_latched(self) -> None:
        for port in list(self._table.latched):
            latch = port.latch
            if latch.peer is not None and not self.notify(
                Latched(
                    port.anchor.id,
                    port.component,
                    full_address(latch.peer),
                    latch.accepted is not None,
                )
            ):
                return
            self._table.latched.discard(port)

    def _tell_waiting(self, now: float) -> None:
        while self._last_words:
            part = tuple(self._last_words[:MAX_REPORTED])
            if not self.notify(Report(now, part)):
                break
            del self._last_words[:MAX_REPORTED]
        while self._pongs and self.notify(self._pongs[0]):
            del self._pongs[0]

    def _report(self, now: float) -> None:
        moved = []
        for tally in self._table.next_slice():
            state = (tally.packets_in, tally.packets_out, sum(tally.drops), _last_heard(tally))
            if state != tally.reported:
                tally.reported = state
                moved.append(_counters(tally))
        for start in range(0, len(moved), MAX_REPORTED):
            self.notify(Report(now, tuple(moved[start : start + MAX_REPORTED])))
        self._slices = (self._slices + 1) % REPORT_SLICES
        if not self._slices:
            table = self._table
            self.notify(Totals(self._packets, self._bytes, table.strays, table.ignored_orders))
        idle = self._table.is_empty and not self._slices
        self._next_slice = None if idle else now + SLICE_SECONDS


def _last_heard(tally: Tally) -> float:
    return -1.0 if tally.last_heard is None else tally.last_heard


def _counters(tally: Tally, *, is_last: bool = False) -> Counters:
    leg = tally if isinstance(tally, LegRoute) else None
    return Counters(
        id=tally.id,
        is_leg=leg is not None,
        packets_in=tally.packets_in,
        packets_out=tally.packets_out,
        bytes_in=tally.bytes_in,
        bytes_out=tally.bytes_out,
        drops=tuple(tally.drops),
        lost=tally.meter.lost,
        jitter=tally.meter.jitter,
        longest_gap=tally.meter.longest_gap,
        last_heard=tally.last_heard,
        peer=full_address(leg.proven_peer) if leg and leg.proven_peer else None,
        highest=leg.window.highest if leg else -1,
        told_lost=tally.meter.hearing.lost,
        round_trip=tally.meter.hearing.round_trip,
        is_last=is_last,
    )


def main(arguments: list[str]) -> int:
    """Run a worker; the arguments are descriptors: its control socket, and the marks of ports."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Sound goes on while the node drains; the closing control socket ends the worker.
        signal.signal(number, signal.SIG_IGN)
    control = socket.socket(fileno=int(arguments[0]))
    control.setblocking(False)
    in_media = mmap.mmap(int(arguments[1]), MARKS, prot=mmap.PROT_READ)
    worker = Worker(control, in_media)
    gc.collect()
    gc.freeze()
    try:
        worker.run(raise_descriptor_limit())
    finally:
        worker.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
