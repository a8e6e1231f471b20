"""What strangers get from the ports of a relay: nothing of a call, and hardly a byte for a byte."""

import asyncio
import struct

from media_relay.counters import Drop
from media_relay.stun.attributes import Method
from media_relay.turn.answers import AMPLIFICATION
from tests.support.relay_table import STUN_PACKET, rtp
from tests.support.relay_wire import (
    WirePhone,
    a_pool,
    connect_legs,
    facing,
    hear_each_other,
    phones,
    until,
)
from tests.support.turn_pool import a_turn_pool, serving

COOKIE = 0x2112A442
STRANGER = "127.0.0.66"
SPRAY = 100


def stun(kind: int, attributes: bytes = b"") -> bytes:
    return struct.pack("!HHI", kind, len(attributes), COOKIE) + bytes(12) + attributes


async def test_no_port_sprayed_with_rtp_from_elsewhere_is_heard_or_taken() -> None:
    """Before the phone spoke, while it speaks, after a new offer; RTP, RTCP and legs' ports."""
    async with a_pool() as near_pool, a_pool() as far_pool:
        with phones(2) as (alice, bob):
            near, far = near_pool.session("near"), far_pool.session("far")
            one, other = facing(near, alice), facing(far, bob)
            legs = connect_legs(near, far)
            near.join(one, legs[0])
            far.join(other, legs[1])
            stranger = WirePhone(STRANGER)
            targets = [one.rtp, one.rtcp, other.rtp, other.rtcp, near.leg_port("127.0.0.1")]

            async def spray() -> None:
                for number in range(SPRAY):
                    for target in targets:
                        stranger.send(rtp(number, ssrc=666), target)
                        stranger.send(STUN_PACKET, target)
                    await asyncio.sleep(0.001)

            await spray()
            assert (alice.heard(), bob.heard(), stranger.heard()) == ([], [], [])
            await hear_each_other(alice, one, bob, other, rtp(1))
            await spray()
            one.expect(rtp=alice.endpoint, rtcp=None, sources=frozenset(), relatch=True)
            await spray()
            assert (alice.heard(), bob.heard()) == ([], [])
            await hear_each_other(alice, one, bob, other, rtp(2))
            assert stranger.heard() == []
            await until(lambda: near.report().anchors[0].drops[Drop.SOURCE] >= 4 * SPRAY)
            assert near.report().anchors[0].latched == alice.endpoint
            stranger.close()


async def test_a_turn_port_answers_strangers_with_three_times_their_bytes_at_most() -> None:
    """Every method and class with and without attributes, cut short, and what is no STUN at all."""
    attributes = [
        b"",
        struct.pack("!HHI", 0x0019, 4, 17 << 24),
        struct.pack("!HHI", 0x0003, 4, 6),
        struct.pack("!HHI", 0x7FFF, 4, 0) * 40,
        struct.pack("!HH", 0x0006, 400) + b"a" * 400,
    ]
    asked = [
        stun(method | kind, more)
        for method in (*map(int, Method), 0x00F)
        for kind in (0x000, 0x010, 0x100, 0x110)
        for more in attributes
    ]
    asked += [message[:cut] for message in asked[:20] for cut in (1, 4, 19, 20, 24)]
    asked += [b"", b"\0", b"\x40\x00\x00\x04abcd", b"\x40\x00\xff\xff", rtp(1), bytes(1200)]
    async with a_turn_pool() as pool:
        server = serving(pool)
        answered = 0
        for message in asked:
            stranger = WirePhone()
            stranger.send(message, server)
            stranger.send(
                stun(0x001), server
            )  # a Binding request, whose answer tells that it is done
            answers = []
            while not answers or answers[-1][:2] != b"\x01\x01":
                answers.append(await stranger.hear())
            await asyncio.sleep(0)
            size = sum(map(len, (*answers, *stranger.heard())))
            assert size <= AMPLIFICATION * (len(message) + 20), message.hex()
            answered += len(answers) > 1
            stranger.close()
        assert answered >= 5, "what is asked properly is answered"
