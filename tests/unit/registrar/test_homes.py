"""Where registered devices send from is known while they are registered, and no longer."""

from federation.model.address import Endpoint
from federation.model.clocks import UnixTime
from node.sip.flow import Flow
from node.sip.registrar import Registrar
from tests.support.digest_client import register

NOW = UnixTime(1000.0)


def flow(host: str, port: int) -> Flow:
    return Flow("UDP", Endpoint("192.0.2.1", 5060), Endpoint(host, port))


def test_addresses_follow_what_is_registered() -> None:
    registrar = Registrar()
    first, second = flow("203.0.113.5", 1001), flow("203.0.113.5", 1002)
    registrar.register("alice", register(cseq=1), first, now=NOW)
    assert registrar.senders.has(first.remote)
    assert registrar.senders.is_home("203.0.113.5")
    registrar.register("alice", register(cseq=2), second, now=NOW)
    assert [registrar.senders.has(each.remote) for each in (first, second)] == [False, True]
    assert registrar.senders.is_home("203.0.113.5")
    registrar.remove("alice")
    assert not registrar.senders.has(second.remote)
    assert not registrar.senders.is_home("203.0.113.5")
    assert len(registrar.senders) == 0


def test_an_ipv6_home_is_a_64() -> None:
    registrar = Registrar()
    registrar.register("alice", register(), flow("2001:db8:1:2::7", 5060), now=NOW)
    assert registrar.senders.is_home("2001:db8:1:2:ffff::1")
    assert not registrar.senders.is_home("2001:db8:1:3::7")
    registrar.handle_timer(now=UnixTime(NOW + 100_000))
    assert not registrar.senders.is_home("2001:db8:1:2::7")
