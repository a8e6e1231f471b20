"""One WebSocket that carries SIP: frames in and out, and its bounds."""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import WSMsgType, web

from federation.model.clocks import Monotonic
from node.sip.flow import Flow
from node.sip.web_socket import Ended, FrameReader, KeepAlive, Message

GOING_AWAY = 1001
"Close code: the server goes down (RFC 6455 7.4.1)."


@dataclass(frozen=True, slots=True)
class WebLimits:
    """What WebSockets may cost."""

    connections: int = 8_192
    "Open at once; a further one is refused."
    connections_per_ip: int = 256
    "From one address, enough for an office behind one NAT."
    opening_burst: int = 64
    "New connections from one address at once; IPv6 by /64."
    openings_per_second: float = 5.0
    "And from then on."
    unread_bytes: int = 512 * 1024
    "Written but not yet taken by the other end; with more the connection is aborted."
    unread_seconds: float = 30.0
    "How long the other end may take nothing while something waits for it."
    first_message_seconds: float = 30.0
    "From the handshake to the first whole message."
    heartbeat_seconds: float = 25.0
    "Between our pings: proxies keep the way open, and a browser that is gone is missed."
    close_seconds: float = 1.0
    "How long the other end's word on a close is waited for."


class WebConnection:
    """One connection; `serve` runs while it is there."""

    def __init__(
        self,
        socket: web.WebSocketResponse,
        abort: Callable[[], None],
        flow: Flow,
        limits: WebLimits,
        now: Callable[[], Monotonic],
    ) -> None:
        self._socket = socket
        self._abort = abort
        self._limits = limits
        self._now = now
        self._reader = FrameReader(now=now())
        self._waiting: asyncio.Queue[bytes] = asyncio.Queue()
        self._unread = 0
        self._has_spoken = False
        self.flow = flow
        self.complaint = ""
        "Why this end closed it; empty: it did not."

    async def serve(self, on_data: Callable[[bytes, Flow], None]) -> None:
        """Take what comes until the end; each SIP message goes to `on_data`."""
        writer = asyncio.create_task(self._write())
        silence = asyncio.get_running_loop().call_later(
            self._limits.first_message_seconds, self._miss
        )
        try:
            async for frame in self._socket:
                if frame.type is WSMsgType.TEXT:
                    payload = frame.data.encode()
                elif frame.type is WSMsgType.BINARY:
                    payload = frame.data
                else:
                    continue
                match self._reader.receive(payload, now=self._now()):
                    case Message(data):
                        self._has_spoken = True
                        on_data(data, self.flow)
                    case KeepAlive(answer):
                        if answer:
                            self.send(answer)
                    case Ended(code, reason):
                        self.complaint = reason
                        await self._socket.close(code=code, message=reason.encode())
        finally:
            silence.cancel()
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)

    def send(self, data: bytes) -> None:
        """Send a message, or abort a connection that does not read."""
        self._unread += len(data)
        if self._unread > self._limits.unread_bytes:
            self._give_up("does not read what it is sent")
        else:
            self._waiting.put_nowait(data)

    async def close(self) -> None:
        """Close, as the node goes down; what waits to be written is lost."""
        with contextlib.suppress(ConnectionError):
            await self._socket.close(code=GOING_AWAY)

    async def _write(self) -> None:
        """Send what waits, one message a frame: text where it is UTF-8 (RFC 7118 4.2)."""
        while True:
            data = await self._waiting.get()
            try:
                async with asyncio.timeout(self._limits.unread_seconds):
                    await self._put(data)
            except TimeoutError:
                self._give_up("does not read what it is sent")
                return
            except ConnectionError:
                return
            self._unread -= len(data)

    async def _put(self, data: bytes) -> None:
        try:
            text = data.decode()
        except UnicodeDecodeError:
            await self._socket.send_bytes(data)
        else:
            await self._socket.send_str(text)

    def _miss(self) -> None:
        if not self._has_spoken:
            self._give_up("no message in time")

    def _give_up(self, reason: str) -> None:
        self.complaint = self.complaint or reason
        self._abort()
