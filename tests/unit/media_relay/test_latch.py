from federation.model.address import Endpoint
from media_relay.latch import Latch

PHONE = Endpoint("192.0.2.10", 4000)
NATTED = ("192.0.2.10", 61000)
SIP_SOURCE = ("198.51.100.7", 5555)
STRANGER = ("203.0.113.9", 4000)


def a_latch(sources: frozenset[str] = frozenset()) -> Latch:
    latch = Latch()
    latch.expect(PHONE, sources, relatch=False)
    return latch


def test_the_signalled_address_is_sent_to_at_once() -> None:
    assert a_latch().peer == PHONE


def test_nothing_is_admitted_before_signalling_said_anything() -> None:
    assert not Latch().admits(tuple(PHONE), locks=True)


def test_another_port_of_the_signalled_ip_latches() -> None:
    latch = a_latch()
    assert latch.admits(NATTED, locks=True)
    assert (latch.peer, latch.accepted) == (NATTED, NATTED)


def test_an_ip_that_signalling_named_latches() -> None:
    latch = a_latch(frozenset({SIP_SOURCE[0]}))
    assert latch.admits(SIP_SOURCE, locks=True)
    assert latch.peer == SIP_SOURCE


def test_a_foreign_ip_never_latches() -> None:
    latch = a_latch(frozenset({SIP_SOURCE[0]}))
    assert not latch.admits(STRANGER, locks=True)
    assert latch.peer == PHONE
    assert latch.accepted is None


def test_the_first_packet_wins() -> None:
    latch = a_latch()
    assert latch.admits(NATTED, locks=True)
    assert not latch.admits(tuple(PHONE), locks=True)
    assert latch.peer == NATTED


def test_stun_moves_the_peer_and_media_locks_it() -> None:
    """ICE tries each path before it uses one."""
    latch = a_latch(frozenset({SIP_SOURCE[0]}))
    assert latch.admits(SIP_SOURCE, locks=False)
    assert latch.admits(NATTED, locks=False)
    assert (latch.peer, latch.accepted) == (NATTED, None)
    assert latch.admits(SIP_SOURCE, locks=True)
    assert not latch.admits(NATTED, locks=False)


def test_a_new_offer_leaves_a_locked_peer() -> None:
    latch = a_latch()
    latch.admits(NATTED, locks=True)
    latch.expect(Endpoint("192.0.2.10", 4100), frozenset(), relatch=False)
    assert (latch.peer, latch.accepted) == (NATTED, NATTED)


def test_relatch_with_the_same_address_goes_on_sending_to_the_latched_one() -> None:
    """A phone behind NAT repeats its private address in every offer."""
    latch = a_latch()
    latch.admits(NATTED, locks=True)
    latch.expect(PHONE, frozenset(), relatch=True)
    assert (latch.peer, latch.accepted) == (NATTED, None)


def test_relatch_with_another_address_sends_there() -> None:
    latch = a_latch()
    latch.admits(NATTED, locks=True)
    moved = Endpoint("192.0.2.11", 4000)
    latch.expect(moved, frozenset(), relatch=True)
    assert (latch.peer, latch.accepted) == (moved, None)
    assert not latch.admits(NATTED, locks=True)


def test_relatch_forgets_a_peer_that_is_no_source_any_more() -> None:
    latch = a_latch(frozenset({SIP_SOURCE[0]}))
    latch.admits(SIP_SOURCE, locks=True)
    latch.expect(PHONE, frozenset(), relatch=True)
    assert latch.peer == PHONE


def test_without_a_signalled_address_packets_go_where_they_come_from() -> None:
    latch = Latch()
    latch.expect(None, frozenset({SIP_SOURCE[0]}), relatch=False)
    assert latch.peer is None
    assert latch.admits(SIP_SOURCE, locks=True)
    assert latch.peer == SIP_SOURCE


def test_ipv6_sources_compare_by_ip() -> None:
    latch = Latch()
    latch.expect(Endpoint("2001:db8::1", 4000), frozenset(), relatch=False)
    assert latch.admits(("2001:db8::1", 61000, 0, 0), locks=True)
    assert not latch.admits(("2001:db8::2", 4000, 0, 0), locks=True)
