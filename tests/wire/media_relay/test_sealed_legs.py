from contextlib import closing

import pytest

from federation.model.address import Endpoint
from media_relay.counters import Drop
from media_relay.errors import NoCapacity
from tests.support.relay_table import (
    DTLS_PACKET,
    RTCP_PACKET,
    STUN_PACKET,
    UDPTL_LATER,
    ZRTP_PACKET,
    rtp,
)
from tests.support.relay_wire import (
    WirePhone,
    a_pool,
    connect_legs,
    facing,
    hear_each_other,
    phones,
    until,
)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("told", [False, True])
async def test_two_nodes_carry_every_kind_both_ways(host: str, told: bool) -> None:
    async with a_pool(leg_hosts=(host,)) as here, a_pool(leg_hosts=(host,)) as there:
        with phones(4, host) as (alice, alice_rtcp, bob, bob_rtcp):
            near, far = here.session("near"), there.session("far")
            one = facing(near, alice, rtcp=alice_rtcp.endpoint)
            other = facing(far, bob, rtcp=bob_rtcp.endpoint)
            near_leg, far_leg = connect_legs(near, far, host=host, told=told)
            near.join(one, near_leg)
            far.join(other, far_leg)
            if told:
                await until(lambda: all(s.report().last_heard for s in (near, far)))
            for data in (rtp(), STUN_PACKET, DTLS_PACKET, ZRTP_PACKET, RTCP_PACKET):
                await hear_each_other(alice, one, bob, other, data)
            alice_rtcp.send(RTCP_PACKET, one.rtcp)
            assert await bob_rtcp.hear_from() == (RTCP_PACKET, other.rtcp)
            bob_rtcp.send(RTCP_PACKET, other.rtcp)
            assert await alice_rtcp.hear_from() == (RTCP_PACKET, one.rtcp)
            alice.send(UDPTL_LATER, one.rtp)
            assert await bob.hears_nothing()


async def test_fax_passes_where_it_was_signalled() -> None:
    async with a_pool() as here, a_pool() as there:
        with phones(2) as (alice, bob):
            near, far = here.session("near"), there.session("far")
            one, other = facing(near, alice, udptl=True), facing(far, bob, udptl=True)
            near_leg, far_leg = connect_legs(near, far)
            near.join(one, near_leg)
            far.join(other, far_leg)
            await hear_each_other(alice, one, bob, other, UDPTL_LATER)


async def test_a_wrong_key_is_silence_that_is_counted() -> None:
    async with a_pool() as here, a_pool() as there:
        with phones(2) as (alice, bob):
            near, far = here.session("near"), there.session("far")
            one, other = facing(near, alice), facing(far, bob)
            near_leg, far_leg = connect_legs(near, far, far_key=b"another key here")
            near.join(one, near_leg)
            far.join(other, far_leg)
            alice.send(rtp(), one.rtp)
            assert await bob.hears_nothing()
            # Keepalives and the packet.
            await until(lambda: [e.drops[Drop.FORGED] >= 4 for e in far.report().legs] == [True])
            assert far.report().legs[0].last_heard is None


async def test_a_leg_that_was_freed_carries_nothing() -> None:
    async with a_pool() as here, a_pool() as there:
        with phones(2) as (alice, bob):
            near, far = here.session("near"), there.session("far")
            one, other = facing(near, alice), facing(far, bob)
            near_leg, far_leg = connect_legs(near, far)
            near.join(one, near_leg)
            far.join(other, far_leg)
            await hear_each_other(alice, one, bob, other, rtp())
            far.free_leg(far_leg)
            alice.send(rtp(2), one.rtp)
            assert await bob.hears_nothing()
            await until(lambda: there.usage().workers[0].strays >= 1)


async def test_a_told_address_that_never_answers_gets_no_media() -> None:
    async with a_pool() as pool:
        with phones(2) as (alice, victim):
            session = pool.session("call")
            anchor = facing(session, alice)
            leg = session.leg_block(8)
            session.install_leg(
                leg,
                peer_leg=1,
                peer=victim.endpoint,
                send_key=bytes(16),
                receive_key=bytes(16),
                told=True,
            )
            session.join(anchor, leg)
            for number in range(20):
                alice.send(rtp(number), anchor.rtp)
            await until(lambda: [e.drops[Drop.UNSENT] for e in session.report().legs] == [20])
            assert [len(datagram) for datagram in victim.heard()] == [32, 32, 32]


async def test_a_family_without_leg_port_is_refused() -> None:
    async with a_pool(leg_hosts=("127.0.0.1",)) as pool:
        with pytest.raises(NoCapacity):
            pool.session("call").leg_port("::1")


async def test_a_port_bound_everywhere_is_told_as_the_address_that_faces_the_peer() -> None:
    async with a_pool(leg_hosts=("0.0.0.0",)) as pool:
        session = pool.session("call")
        assert session.leg_port("127.0.0.5").host == "127.0.0.5"
        assert session.leg_port("127.0.0.5").port == session.leg_port("127.0.0.1").port


async def test_both_families_have_one_port_even_if_it_is_taken_in_one() -> None:
    """An offer of a leg names one port; which family leads there, the link decides."""
    host, taken = "127.0.0.78", 14780
    with closing(WirePhone("::1", taken)):
        async with a_pool(ports=(taken, taken + 3), leg_hosts=(host, "::1")) as pool:
            session = pool.session("call")
            assert session.leg_port(host) == Endpoint(host, taken + 2)
            assert session.leg_port("::1") == Endpoint("::1", taken + 2)
            assert (pool.usage().ports_in_use, pool.usage().ports_free) == (1, 1)


async def test_a_family_that_cannot_be_bound_leaves_the_other() -> None:
    async with a_pool(leg_hosts=("127.0.0.1", "2001:db8::77")) as pool:
        session = pool.session("call")
        assert session.leg_port("127.0.0.1").port
        with pytest.raises(NoCapacity):
            session.leg_port("::1")
