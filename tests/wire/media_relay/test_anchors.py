import socket
from contextlib import closing

import pytest

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
    facing,
    hear_each_other,
    phones,
    until,
)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_two_phones_hear_each_other(host: str) -> None:
    async with a_pool() as pool:
        with phones(2, host) as (alice, bob):
            session = pool.session("call")
            one, other = facing(session, alice), facing(session, bob)
            session.join(one, other)
            assert one.rtp.host == host
            assert (one.rtp.port % 2, one.rtcp.port) == (0, one.rtp.port + 1)
            await hear_each_other(alice, one, bob, other, rtp())


async def test_what_is_heard_comes_from_the_port_that_was_told() -> None:
    async with a_pool() as pool:
        with phones(2) as (alice, bob):
            session = pool.session("call")
            one, other = facing(session, alice), facing(session, bob)
            session.join(one, other)
            alice.send(rtp(), one.rtp)
            assert await bob.hear_from() == (rtp(), other.rtp)


async def test_a_worker_that_forwards_one_way_fails_the_check_of_sound() -> None:
    async with a_pool(worker_module="tests.support.one_way_worker") as pool:
        with phones(2) as (alice, bob):
            session = pool.session("call")
            one, other = facing(session, alice), facing(session, bob)
            session.join(one, other)
            alice.send(rtp(), one.rtp)
            assert await bob.hear() == rtp()
            bob.send(rtp(), other.rtp)
            assert await alice.hears_nothing()
            await until(lambda: sum(a.dropped for a in session.report().anchors) == 1)


async def test_another_source_port_of_the_same_ip_is_heard_and_answered() -> None:
    """A phone behind NAT: its SDP names a port that its packets do not come from."""
    async with a_pool() as pool:
        with phones(3) as (alice, alice_outside, bob):
            session = pool.session("call")
            one, other = facing(session, alice), facing(session, bob)
            session.join(one, other)
            await hear_each_other(alice_outside, one, bob, other, rtp())
            alice.send(rtp(9), one.rtp)
            assert await bob.hears_nothing(), "the first packet won"
            await until(lambda: session.report().anchors[0].latched == alice_outside.endpoint)


async def test_a_foreign_ip_never_latches() -> None:
    """Whoever guesses the port and sends first gets and gives nothing."""
    async with a_pool() as pool:
        with phones(2) as (alice, bob), phones(1, "127.0.0.9") as (thief,):
            session = pool.session("call")
            one, other = facing(session, alice), facing(session, bob)
            session.join(one, other)
            for _ in range(20):
                thief.send(rtp(), one.rtp)
            assert await bob.hears_nothing()
            bob.send(rtp(), other.rtp)
            assert await alice.hear() == rtp()
            assert thief.heard() == []
            await hear_each_other(alice, one, bob, other, rtp(2))


async def test_a_named_ip_latches() -> None:
    async with a_pool() as pool:
        with phones(2) as (alice, bob), phones(1, "127.0.0.9") as (outside,):
            session = pool.session("call")
            one = facing(session, alice, sources=frozenset({"127.0.0.9"}))
            other = facing(session, bob)
            session.join(one, other)
            await hear_each_other(outside, one, bob, other, rtp())


async def test_a_new_offer_may_open_the_lock_again() -> None:
    async with a_pool() as pool:
        with phones(3) as (alice, moved, bob):
            session = pool.session("call")
            one, other = facing(session, alice), facing(session, bob)
            session.join(one, other)
            await hear_each_other(alice, one, bob, other, rtp())
            one.expect(rtp=moved.endpoint, rtcp=None, sources=frozenset(), relatch=True)
            bob.send(rtp(2), other.rtp)
            assert await moved.hear() == rtp(2)
            await hear_each_other(moved, one, bob, other, rtp(3))


async def test_a_hold_without_address_keeps_the_phone_heard() -> None:
    async with a_pool() as pool:
        with phones(2) as (alice, bob):
            session = pool.session("call")
            one, other = facing(session, alice), facing(session, bob)
            session.join(one, other)
            await hear_each_other(alice, one, bob, other, rtp())
            one.expect(rtp=None, rtcp=None, sources=frozenset({"127.0.0.1"}), relatch=True)
            bob.send(rtp(2), other.rtp)
            assert await alice.hear() == rtp(2)


async def test_every_kind_and_component_passes() -> None:
    async with a_pool() as pool:
        with phones(4) as (alice, alice_rtcp, bob, bob_rtcp):
            session = pool.session("call")
            one = facing(session, alice, rtcp=alice_rtcp.endpoint)
            other = facing(session, bob, rtcp=bob_rtcp.endpoint)
            session.join(one, other)
            for data in (rtp(), STUN_PACKET, DTLS_PACKET, ZRTP_PACKET, RTCP_PACKET):
                await hear_each_other(alice, one, bob, other, data)
            alice_rtcp.send(RTCP_PACKET, one.rtcp)
            assert await bob_rtcp.hear_from() == (RTCP_PACKET, other.rtcp)
            alice.send(UDPTL_LATER, one.rtp)
            assert await bob.hears_nothing()


async def test_echo_returns_sound_under_another_ssrc() -> None:
    async with a_pool() as pool:
        with phones(1) as (alice,):
            session = pool.session("echo")
            anchor = facing(session, alice)
            session.echo(anchor)
            alice.send(rtp(5, payload=b"speech"), anchor.rtp)
            heard, source = await alice.hear_from()
            sent = rtp(5, payload=b"speech")
            assert source == anchor.rtp
            assert (heard[:8], heard[12:]) == (sent[:8], sent[12:])
            assert heard[8:12] != sent[8:12]


async def test_joining_elsewhere_silences_the_earlier_partner() -> None:
    async with a_pool() as pool:
        with phones(3) as (alice, bob, carol):
            session = pool.session("fork")
            one, other, third = (facing(session, phone) for phone in (alice, bob, carol))
            session.join(one, other)
            await hear_each_other(alice, one, bob, other, rtp())
            session.join(one, third)
            await hear_each_other(alice, one, carol, third, rtp(2))
            bob.send(rtp(3), other.rtp)
            assert await alice.hears_nothing()
            session.unjoin(one)
            carol.send(rtp(4), third.rtp)
            assert await alice.hears_nothing()


async def test_ports_in_use_are_skipped_and_exhaustion_is_said() -> None:
    """Somebody else's socket on the range is noticed, and freed ports rest."""
    host, taken = "127.0.0.77", 14680
    with closing(WirePhone(host, taken)):
        async with a_pool(ports=(taken, taken + 5), leg_hosts=(host,)) as pool:
            session = pool.session("call")
            # Three pairs: one is taken, one holds the leg port, one is left.
            anchor = session.anchor(host)
            assert anchor.rtp.port != taken
            with pytest.raises(NoCapacity):
                session.anchor(host)
            session.free_anchor(anchor)
            with pytest.raises(NoCapacity):
                session.anchor(host)


async def test_an_address_that_is_not_ours_is_no_capacity() -> None:
    async with a_pool() as pool:
        session = pool.session("call")
        with pytest.raises(NoCapacity):
            session.anchor("192.0.2.1")
        assert pool.usage().ports_in_use == 1


async def test_closing_frees_every_port_at_once() -> None:
    async with a_pool() as pool:
        session = pool.session("call")
        anchors = [session.anchor("127.0.0.1") for _ in range(5)]
        assert pool.usage().ports_in_use == 6
        session.close()
        session.close()
        assert pool.usage().ports_in_use == 1
        assert pool.usage().workers[0].endpoints == 0
        for anchor in anchors:
            await until(lambda port=anchor.rtp.port: is_free(port))


def is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


async def test_reports_come_each_second_and_once_more_at_the_end() -> None:
    async with a_pool() as pool:
        with phones(2) as (alice, bob):
            session = pool.session("call")
            one, other = facing(session, alice), facing(session, bob)
            session.join(one, other)
            for number in (1, 2, 4):
                alice.send(rtp(number), one.rtp)
                assert await bob.hear() == rtp(number)
            await until(lambda: [a.packets_out for a in session.report().anchors] == [0, 3])
            await until(lambda: session.report().anchors[0].packets_in == 3)
            first, second = session.report().anchors
            assert (first.id, first.bytes_in, first.lost) == (one.id, 516, 1)
            assert (second.id, second.packets_out, second.bytes_out) == (other.id, 3, 516)
            assert first.last_heard is not None
            assert second.last_heard is None
            alice.send(rtp(5), one.rtp)
            assert await bob.hear() == rtp(5)
            session.close()
            await until(lambda: session.report().anchors[0].packets_in == 4)
