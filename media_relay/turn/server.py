"""A TURN server (RFC 8656) that decides and does nothing else.

Told what happened, a `TurnServer` answers with effects, to be carried out in order: a datagram or
message came from a client (`receive`), a datagram from a peer (`receive_from_peer`), a relay port
was opened or refused (`relay_opened`, `relay_refused`), a stream closed (`client_gone`), time
passed (`handle_timer`, at the instant `next_timer` names). Nothing that arrives makes it raise.

An Allocate request is answered in two steps, for a port must be bound in between. However an
allocation ends, there is one `CloseRelay` for each port that was opened. About clients without an
allocation nothing is remembered.

Most datagrams never come here: `InstallRoute` lets the shell pass a channel's datagrams both ways
while channel and permission hold, and `RemoveRoute` ends that.
"""

import heapq
from collections import Counter
from collections.abc import Collection

from federation.model.address import Endpoint
from federation.model.clocks import Monotonic, UnixTime
from media_relay.stun.attributes import Attribute, Code, Family, MessageClass, Method
from media_relay.stun.message import Message, StunError
from media_relay.stun.values import address_error_code, icmp, read_family, xor_address
from media_relay.turn.allocation import Allocation, Draft
from media_relay.turn.answers import Answers
from media_relay.turn.authentication import Authenticated, Authenticator, Challenge
from media_relay.turn.config import TurnConfig
from media_relay.turn.effects import (
    Client,
    CloseRelay,
    DataToClient,
    Effect,
    OpenRelay,
    Reply,
    SendToPeer,
)
from media_relay.turn.guests import GuestTime
from media_relay.turn.peers import PeerPolicy
from media_relay.turn.permissions import Permissions
from media_relay.turn.quotas import Quotas
from media_relay.turn.requests import (
    AllocateRequest,
    RequestRefused,
    granted,
    read_lifetime,
    read_peers,
)

MAX_RELAY = 0xFFFFFFFF


class TurnServer:
    """All allocations of one worker, and the rules they live by."""

    def __init__(
        self, config: TurnConfig, *, authenticator: Authenticator, policy: PeerPolicy
    ) -> None:
        self.config = config
        self.authenticator = authenticator
        self.quotas = Quotas(config.limits)
        self.refused: Counter[int] = Counter()
        "By error code, 0 for what was no STUN message; whoever reports it clears it."
        self._answers = Answers(authenticator, config, self.refused)
        self._permissions = Permissions(policy)
        self._allocations: dict[Client, Allocation] = {}
        self._relays: dict[int, Allocation] = {}
        self._timers: list[tuple[Monotonic, int, Allocation]] = []
        self._serial = 0
        self._next_relay = 1
        self._guest_time = GuestTime()

    @property
    def policy(self) -> PeerPolicy:
        """Who may be a peer; to be replaced as a whole."""
        return self._permissions.policy

    @policy.setter
    def policy(self, policy: PeerPolicy) -> None:
        self._permissions.policy = policy

    def __len__(self) -> int:
        """Allocations that exist or are being made."""
        return len(self._allocations)

    def configure(self, config: TurnConfig) -> None:
        """Take over another configuration; what exists stays."""
        self.config = config
        self.quotas.limits = config.limits
        self._answers = Answers(self.authenticator, config, self.refused)

    # What arrives

    def receive(
        self, data: bytes, client: Client, *, now: Monotonic, unix: UnixTime
    ) -> list[Effect]:
        """Take a datagram or one message of a stream from a client."""
        if data and data[0] & 0xC0 == 0x40:
            return self._channel_data(data, client, now)
        try:
            message = Message.decode(data)
        except StunError:
            self.refused[0] += 1
            return []
        if message.kind is MessageClass.INDICATION and message.method == Method.SEND:
            return self._send_indication(message, client, now)
        if message.kind is not MessageClass.REQUEST:
            return []
        if message.method == Method.BINDING:
            return self._answers.binding(message, client)
        if message.method not in _AUTHENTICATED:
            return []
        caller = self.authenticator.check(message, client.host, now=now, unix=unix)
        if isinstance(caller, Challenge):
            return self._answers.challenge(message, client, caller.code, now)
        unknown = message.unknown()
        if unknown:
            return [self._answers.unknown_attributes(message, client, caller, unknown)]
        try:
            return self._request(message, client, caller, now)
        except RequestRefused as refused:
            return [self._answers.error(message, client, caller, refused.code)]
        except StunError:
            return [self._answers.error(message, client, caller, Code.BAD_REQUEST)]

    def receive_from_peer(
        self, relay: int, data: bytes, peer: Endpoint, *, now: Monotonic
    ) -> list[Effect]:
        """Take a datagram that came to a relay port and matched no route."""
        allocation = self._relays.get(relay)
        named = None if allocation is None else allocation.peer_at(peer, now)
        if allocation is None or named is None:
            return []
        channel = allocation.channel_of.get(peer)
        if channel is not None:
            head = channel.number.to_bytes(2, "big") + len(data).to_bytes(2, "big")
            return [DataToClient(head + data, allocation.client, relay, len(data))]
        return [self._indication(allocation, relay, named, (Attribute.DATA, data), len(data))]

    def receive_icmp(
        self, relay: int, peer: Endpoint, kind: int, code: int, info: int, *, now: Monotonic
    ) -> list[Effect]:
        """Tell the client of an ICMP error about a datagram to `peer` (RFC 8656 section 11.5)."""
        allocation = self._relays.get(relay)
        named = None if allocation is None else allocation.peer_at(peer, now)
        if allocation is None or named is None:
            return []
        is_mtu = kind == 2 if ":" in peer.host else (kind, code) == (3, 4)
        value = icmp(kind, code, info if is_mtu else 0)
        return [self._indication(allocation, relay, named, (Attribute.ICMP, value), 0)]

    def relay_opened(
        self, relay: int, local: Endpoint, token: bytes | None, *, now: Monotonic
    ) -> list[Effect]:
        """A port asked for by `OpenRelay` is bound to `local`; `token` if one more is kept."""
        allocation = self._relays.get(relay)
        if allocation is None:
            return [CloseRelay(relay)]
        if allocation.is_ended:
            self._forget_relay(relay, allocation)
            return [CloseRelay(relay)]
        family = Family.IPV6 if local.is_ipv6 else Family.IPV4
        if relay not in allocation.relays.values():
            # Opened under a token: only now its family is known.
            allocation.relays[family] = relay
        told = self.config.external.get(family, local.host)
        allocation.relayed[family] = Endpoint(told, local.port)
        allocation.local[family] = local.host
        return self._one_less(allocation, token, now)

    def relay_refused(self, relay: int, code: Code, *, now: Monotonic) -> list[Effect]:
        """A port asked for by `OpenRelay` could not be had."""
        allocation = self._relays.get(relay)
        if allocation is None:
            return []
        self._forget_relay(relay, allocation)
        if allocation.is_ended:
            return []
        for family, number in list(allocation.relays.items()):
            if number == relay:
                del allocation.relays[family]
                if allocation.draft is not None:
                    error = address_error_code(family, code)
                    allocation.draft.extras.append((Attribute.ADDRESS_ERROR_CODE, error))
        if allocation.draft is not None:
            allocation.draft.refusal = code
        return self._one_less(allocation, None, now)

    def client_gone(self, client: Client) -> list[Effect]:
        """A stream closed, and with it ends what its client had (RFC 8656 section 7.2)."""
        allocation = self._allocations.get(client)
        return [] if allocation is None else self._end(allocation)

    # Time

    def next_timer(self) -> Monotonic | None:
        """When `handle_timer` is next needed; `None` while nothing can expire."""
        return self._timers[0][0] if self._timers else None

    def handle_timer(self, *, now: Monotonic) -> list[Effect]:
        """Drop what has expired by `now`. Calling early is harmless."""
        effects: list[Effect] = []
        while self._timers and self._timers[0][0] <= now:
            when, _, allocation = heapq.heappop(self._timers)
            if allocation.is_ended or allocation.scheduled != when:
                continue
            allocation.scheduled = None
            expired = [family for family, end in allocation.expires.items() if end <= now]
            effects += self._drop(allocation, expired)
            if not allocation.is_ended:
                effects += self._permissions.expire(allocation, now)
                self._schedule(allocation)
        return effects

    def end_guests(self, seconds: int, *, now: Monotonic) -> list[Effect]:
        """Guests' allocations end within so many seconds, at once for 0; -1 lets them stay.

        Until then Refresh is answered with what is left, which tells their clients to look
        elsewhere.
        """
        self._guest_time.until = None if seconds < 0 else Monotonic(now + seconds)
        effects: list[Effect] = []
        for allocation in self._guest_time.shorten(list(self._allocations.values())):
            if not seconds:
                effects += self._end(allocation)
            elif allocation.expires:
                self._schedule(allocation)
        return effects

    def end_login(self, login: str) -> list[Effect]:
        """End at once what a login has."""
        ending = [one for one in self._allocations.values() if one.login == login]
        return [effect for allocation in ending for effect in self._end(allocation)]

    # Data

    def _channel_data(self, data: bytes, client: Client, now: Monotonic) -> list[Effect]:
        """ChannelData without a route: RFC 8656 section 12.6, silence where it does not fit."""
        allocation = self._allocations.get(client)
        size = int.from_bytes(data[2:4], "big")
        if allocation is None or len(data) < 4 + size:
            return []
        channel = allocation.channels.get(int.from_bytes(data[:2], "big"))
        if channel is None or not channel.is_installed:
            return []
        return self._to_peer(allocation, data[4 : 4 + size], channel.peer, now)

    def _send_indication(self, message: Message, client: Client, now: Monotonic) -> list[Effect]:
        """RFC 8656 section 11.2: silence where anything does not fit."""
        allocation = self._allocations.get(client)
        data = message.get(Attribute.DATA)
        if allocation is None or data is None or message.unknown():
            return []
        try:
            peer = read_peers(message)[0]
        except StunError:
            return []
        unbroken = message.get(Attribute.DONT_FRAGMENT) is not None
        return self._to_peer(allocation, data, peer, now, dont_fragment=unbroken)

    def _to_peer(
        self,
        allocation: Allocation,
        data: bytes,
        peer: Endpoint,
        now: Monotonic,
        *,
        dont_fragment: bool = False,
    ) -> list[Effect]:
        relay = allocation.relay_to(peer.host)
        if relay is None or not allocation.permits(peer.host, now) or allocation.pending:
            return []
        if not self._permissions.may_send(peer, allocation):
            return []
        return [SendToPeer(relay, data, allocation.wire(peer), dont_fragment)]

    def _indication(
        self,
        allocation: Allocation,
        relay: int,
        peer: Endpoint,
        what: tuple[int, bytes],
        size: int,
    ) -> Effect:
        self._serial += 1
        transaction_id = self._serial.to_bytes(12, "big")
        message = Message(
            Method.DATA,
            MessageClass.INDICATION,
            transaction_id,
            ((Attribute.XOR_PEER_ADDRESS, xor_address(peer, transaction_id)), what),
        )
        return DataToClient(message.encode(), allocation.client, relay, size)

    # Requests

    def _request(
        self, message: Message, client: Client, caller: Authenticated, now: Monotonic
    ) -> list[Effect]:
        allocation = self._allocations.get(client)
        if message.method == Method.ALLOCATE:
            return self._allocate(message, client, caller, allocation, now)
        if allocation is None or allocation.pending:
            raise RequestRefused(Code.ALLOCATION_MISMATCH)
        if allocation.login != caller.login:
            raise RequestRefused(Code.WRONG_CREDENTIALS)
        if message.method == Method.REFRESH:
            return self._refresh(message, client, caller, allocation, now)
        if message.method == Method.CREATE_PERMISSION:
            effects = self._permissions.create(message, allocation, now)
        else:
            effects = self._permissions.bind(message, allocation, now)
        self._schedule(allocation)
        return [self._answers.success(message, client, caller, ()), *effects]

    def _allocate(
        self,
        message: Message,
        client: Client,
        caller: Authenticated,
        existing: Allocation | None,
        now: Monotonic,
    ) -> list[Effect]:
        if existing is not None:
            if existing.transaction_id != message.transaction_id:
                raise RequestRefused(Code.ALLOCATION_MISMATCH)
            # Retransmitted: answered once the port is there, and again as often as asked.
            return [Reply(existing.response, client)] if existing.response else []
        wanted = AllocateRequest.read(message, self.config.families)
        count = max(len(wanted.families), 1)
        lifetime = self._guest_time.granted(caller.login, wanted.lifetime, now)
        if not lifetime:
            raise RequestRefused(Code.INSUFFICIENT_CAPACITY)
        if not self.quotas.take(caller.login, client.host, count):
            raise RequestRefused(Code.ALLOCATION_QUOTA_REACHED)
        allocation = Allocation(client, caller.login, message.transaction_id, lifetime)
        allocation.pending = count
        self._allocations[client] = allocation
        allocation.draft = Draft(message, caller.key)
        effects: list[Effect] = []
        for family in wanted.families or (Family.IPV4,):
            relay = self._new_relay()
            self._relays[relay] = allocation
            if wanted.token is None:
                allocation.relays[family] = relay
            effects.append(
                OpenRelay(
                    relay, client, family, wanted.even, wanted.reserve, wanted.token, caller.login
                )
            )
        return effects

    def _one_less(
        self, allocation: Allocation, token: bytes | None, now: Monotonic
    ) -> list[Effect]:
        """One of the ports asked for was opened or refused; answer when it was the last."""
        allocation.pending -= 1
        draft = allocation.draft
        if token is not None and draft is not None:
            draft.extras.append((Attribute.RESERVATION_TOKEN, token))
        if allocation.pending or draft is None:
            return []
        reply = self._answers.allocated(allocation, draft)
        allocation.draft = None
        if not allocation.relayed:
            return [reply, *self._end(allocation)]
        allocation.response = reply.data
        # Guests' time may have been ended since they asked.
        lifetime = self._guest_time.granted(allocation.login, allocation.lifetime, now)
        expires = Monotonic(now + lifetime)
        allocation.expires = dict.fromkeys(allocation.relayed, expires)
        self._schedule(allocation)
        return [reply]

    def _refresh(
        self,
        message: Message,
        client: Client,
        caller: Authenticated,
        allocation: Allocation,
        now: Monotonic,
    ) -> list[Effect]:
        """RFC 8656 section 8.2."""
        requested = message.get(Attribute.REQUESTED_ADDRESS_FAMILY)
        families = list(allocation.relays)
        if requested is not None:
            number = read_family(requested)
            families = [family for family in families if family == number]
            if not families:
                raise RequestRefused(Code.PEER_ADDRESS_FAMILY_MISMATCH)
        wanted = read_lifetime(message)
        lifetime = 0 if wanted == 0 else granted(wanted)
        lifetime = self._guest_time.granted(allocation.login, lifetime, now)
        effects: list[Effect] = []
        if lifetime:
            for family in families:
                allocation.expires[family] = Monotonic(now + lifetime)
            self._schedule(allocation)
        else:
            effects = self._drop(allocation, families)
        return [self._answers.refreshed(message, client, caller, lifetime), *effects]

    # Ends

    def _end(self, allocation: Allocation) -> list[Effect]:
        """Forget an allocation; ports still pending are closed as they come."""
        del self._allocations[allocation.client]
        allocation.is_ended = True
        effects: list[Effect] = self._permissions.remove_routes(allocation)
        opened = [allocation.relays[family] for family in allocation.relayed]
        for relay in opened:
            self._forget_relay(relay, allocation)
            effects.append(CloseRelay(relay))
        return effects

    def _drop(self, allocation: Allocation, families: Collection[Family]) -> list[Effect]:
        """Close some ports of an allocation; with the last one it ends."""
        if len(families) == len(allocation.relayed):
            return self._end(allocation)
        effects: list[Effect] = []
        for family in families:
            effects += self._permissions.remove_family(allocation, family)
            relay = allocation.relays.pop(family)
            del allocation.relayed[family], allocation.expires[family]
            self._forget_relay(relay, allocation)
            effects.append(CloseRelay(relay))
        return effects

    def _forget_relay(self, relay: int, allocation: Allocation) -> None:
        del self._relays[relay]
        self.quotas.give_back(allocation.login, allocation.client.host)

    def _new_relay(self) -> int:
        while True:
            relay, self._next_relay = self._next_relay, self._next_relay % MAX_RELAY + 1
            if relay not in self._relays:
                return relay

    def _schedule(self, allocation: Allocation) -> None:
        due = allocation.due()
        if allocation.scheduled is None or due < allocation.scheduled:
            allocation.scheduled = due
            self._serial += 1
            heapq.heappush(self._timers, (due, self._serial, allocation))


_AUTHENTICATED = frozenset(
    {Method.ALLOCATE, Method.REFRESH, Method.CREATE_PERMISSION, Method.CHANNEL_BIND}
)
