"""Permissions and channels of allocations (RFC 8656 sections 9 to 12), and the routes they make.

A channel's route stands in the shell while the channel and the permission for its peer both hold.
"""

from federation.model.address import Endpoint
from federation.model.clocks import Monotonic
from media_relay.stun.attributes import Code, Family
from media_relay.stun.message import Message, StunError
from media_relay.turn.allocation import (
    CHANNEL_LIFETIME,
    MAX_CHANNELS,
    MAX_PERMISSIONS,
    PERMISSION_LIFETIME,
    Allocation,
    Channel,
)
from media_relay.turn.effects import Effect, InstallRoute, RemoveRoute
from media_relay.turn.peers import PeerPolicy
from media_relay.turn.requests import RequestRefused, read_channel_number, read_peers


class Permissions:
    """Changes allocations as requests and time demand."""

    def __init__(self, policy: PeerPolicy) -> None:
        self.policy = policy

    def create(self, message: Message, allocation: Allocation, now: Monotonic) -> list[Effect]:
        """CreatePermission: all peers or none (RFC 8656 section 10.2).

        Raises:
            RequestRefused: 403, 443 or 508.
            StunError: no peer, or one that is none; 400.
        """
        hosts = {peer.host for peer in read_peers(message)}
        for host in hosts:
            self._check(host, allocation)
        if len(allocation.permissions.keys() | hosts) > MAX_PERMISSIONS:
            raise RequestRefused(Code.INSUFFICIENT_CAPACITY)
        for host in hosts:
            allocation.permissions[host] = Monotonic(now + PERMISSION_LIFETIME)
        return self._install(allocation, now)

    def may_send(self, peer: Endpoint, allocation: Allocation) -> bool:
        """Whether a datagram may go to a peer, and to where it would go for this allocation.

        The two differ in their verdict once an outer address is this machine's no more.
        """
        return self.policy.may_send(peer) and self.policy.may_send(allocation.wire(peer))

    def bind(self, message: Message, allocation: Allocation, now: Monotonic) -> list[Effect]:
        """ChannelBind, which also permits its peer (RFC 8656 section 12.2).

        Raises:
            RequestRefused: 403, 443 or 508.
            StunError: no or another's number or peer; 400.
        """
        number, peer = read_channel_number(message), read_peers(message)[0]
        channel = allocation.channels.get(number)
        bound = allocation.channel_of.get(allocation.wire(peer))
        if channel is not bound:
            raise StunError("the number has another peer, or the peer another number")
        self._check(peer.host, allocation)
        if not self.may_send(peer, allocation):
            raise RequestRefused(Code.FORBIDDEN)
        known = peer.host in allocation.permissions
        if channel is None:
            full = len(allocation.channels) >= MAX_CHANNELS
            if full or (not known and len(allocation.permissions) >= MAX_PERMISSIONS):
                raise RequestRefused(Code.INSUFFICIENT_CAPACITY)
            channel = Channel(number, peer, now)
            allocation.channels[number] = channel
            allocation.channel_of[allocation.wire(peer)] = channel
        channel.expires = Monotonic(now + CHANNEL_LIFETIME)
        allocation.permissions[peer.host] = Monotonic(now + PERMISSION_LIFETIME)
        return self._install(allocation, now)

    def expire(self, allocation: Allocation, now: Monotonic) -> list[Effect]:
        """Drop what has expired of an allocation that has not."""
        effects: list[Effect] = []
        for channel in list(allocation.channels.values()):
            if channel.expires <= now:
                effects += self._remove(allocation, channel)
                allocation.unbind(channel)
            elif not allocation.permits(channel.peer.host, now):
                effects += self._remove(allocation, channel)
        for host, expires in list(allocation.permissions.items()):
            if expires <= now:
                del allocation.permissions[host]
        return effects

    def remove_routes(self, allocation: Allocation) -> list[Effect]:
        """Take back every route of an allocation that ends."""
        return [
            effect
            for channel in allocation.channels.values()
            for effect in self._remove(allocation, channel)
        ]

    def remove_family(self, allocation: Allocation, family: Family) -> list[Effect]:
        """Forget everything about peers of a family whose port is closed."""
        effects: list[Effect] = []
        for channel in list(allocation.channels.values()):
            if allocation.family_to(channel.peer.host) is family:
                effects += self._remove(allocation, channel)
                allocation.unbind(channel)
        for host in list(allocation.permissions):
            if allocation.family_to(host) is family:
                del allocation.permissions[host]
        return effects

    def _check(self, host: str, allocation: Allocation) -> None:
        if allocation.family_to(host) is None:
            raise RequestRefused(Code.PEER_ADDRESS_FAMILY_MISMATCH)
        if not self.policy.may_permit(host):
            raise RequestRefused(Code.FORBIDDEN)

    @staticmethod
    def _install(allocation: Allocation, now: Monotonic) -> list[Effect]:
        """Routes for channels that have both halves now and are not in the shell yet."""
        effects: list[Effect] = []
        for channel in allocation.channels.values():
            relay = allocation.relay_to(channel.peer.host)
            if (
                relay is not None
                and not channel.is_installed
                and now < channel.expires
                and allocation.permits(channel.peer.host, now)
            ):
                channel.is_installed = True
                wire = allocation.wire(channel.peer)
                effects.append(InstallRoute(relay, allocation.client, channel.number, wire))
        return effects

    @staticmethod
    def _remove(allocation: Allocation, channel: Channel) -> list[Effect]:
        relay = allocation.relay_to(channel.peer.host)
        if not channel.is_installed or relay is None:
            return []
        channel.is_installed = False
        wire = allocation.wire(channel.peer)
        return [RemoveRoute(relay, allocation.client, channel.number, wire)]
