"""Everything between this node and one other: transactions, the link they run on, dialling."""

import asyncio
from collections.abc import Iterable
from typing import assert_never

from federation import client, server
from federation.client import ClientEffect, ClientTransactions
from federation.codec import encode
from federation.dialler import Dialler
from federation.host import PeerHost
from federation.incoming import IncomingRequest
from federation.link import Link
from federation.messages import (
    NO_TXN,
    Bye,
    Cancel,
    Frame,
    Legs,
    LinkError,
    Request,
    Response,
    StreamError,
)
from federation.model.address import Endpoint
from federation.model.clocks import Monotonic
from federation.model.errors import UsageError
from federation.model.identity import NodeId
from federation.pairing import prefers
from federation.ports import ClientOwner, Failure
from federation.posts import POST_TIMEOUT, Post, Posts
from federation.server import ServerEffect, ServerTransactions, StreamKey

BYE_OK = b"SIP/2.0 200 OK\r\n\r\n"
BYE_UNKNOWN = b"SIP/2.0 481 Call/Transaction Does Not Exist\r\n\r\n"


class Peer:
    """Joins the two transaction cores with whatever link there is."""

    def __init__(self, node: NodeId, host: PeerHost) -> None:
        self.node = node
        self.link: Link | None = None
        self._host = host
        self._clock = host.clock
        self._loop = asyncio.get_running_loop()
        self._client = ClientTransactions(entropy=host.entropy)
        self._server = ServerTransactions()
        self._owners: dict[bytes, ClientOwner] = {}
        self._incoming: dict[bytes, IncomingRequest] = {}
        self._client_streams: dict[int, bytes] = {}
        self._streams_of: dict[bytes, int] = {}
        self._posts = Posts()
        self._hints: dict[Endpoint, None] = {}
        self._dialler: Dialler | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at: Monotonic | None = None

    @property
    def is_idle(self) -> bool:
        """Whether nothing would be lost by forgetting this peer."""
        return (
            self.link is None
            and self._dialler is None
            and not self._posts
            and not len(self._client)
            and not len(self._server)
        )

    @property
    def open_count(self) -> int:
        """Transactions without a final response, both directions."""
        return len(self._client) + self._server.open_count

    @property
    def has_pending(self) -> bool:
        """Whether something of ours waits for this peer's answer."""
        return bool(len(self._client) or self._posts)

    @property
    def remote_ip(self) -> str | None:
        """Where the peer's packets come from."""
        endpoint = self.link.endpoint if self.link is not None else None
        endpoint = endpoint or self._host.last_endpoint(self.node)
        return None if endpoint is None else endpoint.host

    # -- requests -------------------------------------------------------------------------

    def request(self, hints: Iterable[Endpoint], request: Request, owner: ClientOwner) -> None:
        """Send a request; the owner hears the rest, never before this has returned.

        Raises:
            CodecError: the request is too long or malformed.
            UsageError: its txn is in use.
        """
        encode(request)
        self._add_hints(hints)
        if self.link is not None and self.link.is_leaving:
            self._loop.call_soon(owner.on_unreachable, request.txn, Failure.UNREACHABLE)
            return
        effects = self._client.start(request, now=self._clock.monotonic())
        if effects and isinstance(effects[0], client.Failed):
            self._loop.call_soon(owner.on_unreachable, request.txn, effects[0].reason)
            return
        self._owners[request.txn] = owner
        self._run_client(effects)

    def cancel(self, txn: bytes, reason: str) -> None:
        """Cancel an INVITE."""
        self._run_client(self._client.cancel(txn, reason, now=self._clock.monotonic()))

    def respond(self, txn: bytes, sip: bytes, legs: Legs, *, final: bool) -> None:
        """Answer a request of the peer."""
        response = Response(txn=txn, seq=1, sip=sip, legs=legs)
        encode(response)
        if response.is_final != final:
            raise UsageError(f"a response {response.status} is not final={final}")
        if final:
            self._incoming.pop(txn, None)
        self._run_server(self._server.respond(txn, sip, legs, now=self._clock.monotonic()))

    def further_2xx(self, txn: bytes, sip: bytes, legs: Legs) -> None:
        """Send a 2xx after the final response."""
        response = self._server.further(txn, sip, legs)
        encode(response)
        self._post(Post(response, Monotonic(self._clock.monotonic() + POST_TIMEOUT)))

    def ack(self, hints: Iterable[Endpoint], request: Request) -> None:
        """Send the ACK to a 2xx.

        Raises:
            CodecError: the request is too long or malformed.
            UsageError: it is no ACK.
        """
        encode(request)
        if request.method != "ACK":
            raise UsageError("only an ACK goes without a transaction")
        self._add_hints(hints)
        self._post(Post(request, Monotonic(self._clock.monotonic() + POST_TIMEOUT)))

    async def bye(self, bye: Bye, patience: float) -> bool | None:
        """Send a bye; whether the peer knew the dialog and has ended it, `None`: no answer."""
        encode(bye)
        answer: asyncio.Future[bool | None] = self._loop.create_future()
        post = Post(bye, Monotonic(self._clock.monotonic() + patience), answer)
        self._post(post)
        try:
            async with asyncio.timeout(patience):
                return await answer
        except TimeoutError:
            return None
        finally:
            self._posts.withdraw(post, self.link)
            self._host.peer_changed(self)

    # -- links ----------------------------------------------------------------------------

    def adopt(self, link: Link) -> None:
        """This link is the one from now on; a former one is closed."""
        former, self.link = self.link, link
        link.events = self
        if link.endpoint is not None:
            self._host.note_endpoint(self.node, link.endpoint)
        if former is not None:
            self._leave(former)
            former.close(LinkError.REPLACED, "a newer link took over")
        if self._dialler is not None and not self._dialler.has_begun:
            self._dialler.abort()
            self._dialler = None
        if former is None and link.hello is not None:
            self._host.receiver.on_link_up(self.node, link.hello)
        self._run_client(self._client.link_up(now=self._clock.monotonic()))
        self._posts.send(link, now=self._clock.monotonic())

    def link_established(self, link: Link) -> None:
        """Long known."""

    def link_up(self, link: Link) -> None:
        """Long known."""

    def link_leaving(self, link: Link, reason: str) -> None:
        """The peer is going away; nothing new will be sent to it on this link."""

    def link_closed(self, link: Link, reason: str) -> None:
        """The link is gone."""
        if link is not self.link:
            return
        self.link = None
        if link.endpoint is not None:
            self._host.note_endpoint(self.node, link.endpoint)
        self._leave(link)
        self._host.receiver.on_link_down(self.node)
        self._run_client(self._client.link_down(now=self._clock.monotonic()))
        if self._posts.is_waiting:
            self._dial()
        self._host.peer_changed(self)

    def link_stream_ended(self, link: Link, stream: int, error: StreamError) -> None:
        """The peer ended a stream of ours without what should have come before."""
        if link is not self.link:
            return
        if self._posts.answered(stream, None):
            return
        txn = self._client_streams.get(stream)
        if txn is not None:
            effects = self._client.stream_ended(txn, error, now=self._clock.monotonic())
            self._run_client(effects)
        else:
            key = StreamKey(link.serial, stream)
            self._run_server(self._server.abandoned(key, now=self._clock.monotonic()))

    def link_received(
        self, link: Link, stream: int, frame: Request | Response | Cancel | Bye
    ) -> None:
        """A frame arrived."""
        now = self._clock.monotonic()
        match frame:
            case Request():
                self._request_arrived(link, stream, frame, now)
            case Response() if self._posts.answered(stream, frame.status == 200):
                pass
            case Response() if stream in self._client_streams:
                if frame.txn == self._client_streams[stream]:
                    self._run_client(self._client.received(frame, now=now))
            case Response():
                link.send(stream, end=True)
                if 200 <= frame.status < 300:
                    self._host.receiver.on_further_2xx(self.node, frame)
            case Cancel():
                self._run_server(self._server.cancel(frame.txn, frame.reason, now=now))
            case Bye():
                was_known = self._host.receiver.on_bye(self.node, frame)
                sip = BYE_OK if was_known else BYE_UNKNOWN
                link.send(stream, Response(txn=NO_TXN, seq=1, sip=sip), end=True)
            case _:
                assert_never(frame)

    def close(self, error: LinkError, reason: str) -> None:
        """End everything: requests, posts, dialling, and the link."""
        self._run_client(self._client.shut_down())
        self._posts.fail()
        if self._dialler is not None:
            self._dialler.abort()
            self._dialler = None
        if self.link is not None:
            self.link.close(error, reason)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # -- what arrives ---------------------------------------------------------------------

    def _request_arrived(self, link: Link, stream: int, request: Request, now: Monotonic) -> None:
        if request.method == "ACK":
            link.send(stream, end=True)
            self._host.receiver.on_ack(self.node, self.remote_ip or "", request)
        elif self._host.is_draining:
            link.reset(stream, StreamError.REFUSED)
        else:
            key = StreamKey(link.serial, stream)
            self._run_server(self._server.request(key, request, now=now))

    def _deliver(self, request: Request) -> None:
        incoming = IncomingRequest(self, request)
        self._incoming[request.txn] = incoming
        self._host.receiver.on_request(incoming)
        self._run_server(self._server.taken(request.txn))

    # -- effects --------------------------------------------------------------------------

    def _run_client(self, effects: Iterable[ClientEffect]) -> None:
        for effect in effects:
            match effect:
                case client.Dial():
                    self._dial()
                case client.OpenStream(txn, frames):
                    self._open_stream(txn, frames)
                case client.SendOnStream(txn, frame):
                    if self.link is not None and txn in self._streams_of:
                        self.link.send(self._streams_of[txn], frame)
                case client.EndStream(txn):
                    stream = self._unmap(txn)
                    if self.link is not None and stream is not None:
                        self.link.send(stream, end=True)
                case client.AbandonStream(txn):
                    stream = self._unmap(txn)
                    if self.link is not None and stream is not None:
                        self.link.reset(stream, StreamError.NONE)
                case client.Accepted(txn):
                    self._owners[txn].on_accepted(txn, self.remote_ip or "")
                case client.Answered(txn, response):
                    owner = self._owners[txn]
                    if response.is_final:
                        del self._owners[txn]
                    owner.on_response(txn, response, self.remote_ip or "")
                case client.Failed(txn, reason):
                    self._unmap(txn)
                    self._owners.pop(txn).on_unreachable(txn, reason)
                case _:
                    assert_never(effect)
        self._rearm()

    def _run_server(self, effects: Iterable[ServerEffect]) -> None:
        for effect in effects:
            match effect:
                case server.Deliver(request):
                    self._deliver(request)
                case server.DeliverCancel(txn, reason):
                    incoming = self._incoming.get(txn)
                    if incoming is not None and incoming.on_cancel is not None:
                        incoming.on_cancel(reason)
                case server.SendResponse(key, response, end):
                    if self.link is not None and key.link == self.link.serial:
                        self.link.send(key.stream, response, end=end)
                case server.RefuseStream(key, error):
                    if self.link is not None and key.link == self.link.serial:
                        self.link.reset(key.stream, error)
                case server.Dropped(txn):
                    self._incoming.pop(txn, None)
                case _:
                    assert_never(effect)
        self._rearm()

    def _open_stream(self, txn: bytes, frames: tuple[Frame, ...]) -> None:
        self._unmap(txn)
        if self.link is not None:
            stream = self.link.open_stream(frames, end=False)
            self._client_streams[stream] = txn
            self._streams_of[txn] = stream

    def _unmap(self, txn: bytes) -> int | None:
        stream = self._streams_of.pop(txn, None)
        if stream is not None:
            self._client_streams.pop(stream, None)
        return stream

    def _leave(self, link: Link) -> None:
        """Nothing more comes of this link's streams."""
        self._client_streams.clear()
        self._streams_of.clear()
        self._posts.link_gone()
        self._server.link_gone(link.serial, now=self._clock.monotonic())

    # -- frames without a transaction -----------------------------------------------------

    def _post(self, post: Post) -> None:
        self._posts.add(post)
        if self.link is not None and self.link.is_up:
            self._posts.send(self.link, now=self._clock.monotonic())
        else:
            self._dial()

    # -- dialling -------------------------------------------------------------------------

    def _add_hints(self, hints: Iterable[Endpoint]) -> None:
        fresh = dict.fromkeys(hints)
        if fresh:
            self._hints = fresh
            if self._dialler is not None:
                self._dialler.try_also(fresh)

    def _dial(self) -> None:
        if self.link is not None:
            self.link.probe()
        if self._dialler is not None or self._host.is_draining:
            return
        last = self._host.last_endpoint(self.node)
        hints = self._hints if last is None else {last: None, **self._hints}
        self._dialler = Dialler(
            self.node,
            make_link=self._host.make_link,
            on_up=self._dialled,
            on_failed=self._dial_failed,
        )
        self._dialler.start(hints, self._host.addresses)

    def _dialled(self, link: Link) -> None:
        self._dialler = None
        link.events = self
        if prefers(self.link, link, own=self._host.own_id(), now=self._clock.monotonic()):
            link.close(LinkError.DUPLICATE, "the other link is kept")
        else:
            self.adopt(link)

    def _dial_failed(self) -> None:
        self._dialler = None
        if self.link is None:
            self._posts.fail()
        self._run_client(self._client.dial_failed(now=self._clock.monotonic()))
        self._host.peer_changed(self)

    # -- time -----------------------------------------------------------------------------

    def _rearm(self) -> None:
        times = [
            at for at in (self._client.next_timer(), self._server.next_timer()) if at is not None
        ]
        if not times:
            return
        at = min(times)
        if self._timer is not None:
            if self._timer_at is not None and self._timer_at <= at:
                return
            self._timer.cancel()
        self._timer_at = at
        delay = max(0.0, at - self._clock.monotonic())
        self._timer = self._loop.call_later(delay, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = self._timer_at = None
        now = self._clock.monotonic()
        self._run_client(self._client.handle_timer(now=now))
        self._run_server(self._server.handle_timer(now=now))
        self._host.peer_changed(self)
