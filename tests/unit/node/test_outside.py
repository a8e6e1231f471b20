"""Where plain SIP may be sent, and which domains lead outside."""

import asyncio

import pytest

from dht.finder import LookupResult, NotFound
from federation.model.address import Endpoint
from federation.model.clocks import SystemClock, UnixTime
from federation.model.identity import NodeId, NodeKey
from node.config import Config, SettingError
from node.names import OwnNames
from node.outside import Outside, SendGuard
from node.routing import DomainTarget, Locator, Refusal
from node.sip.locate import Hop, LocateError
from node.sip.locate import Target as SipTarget
from node.sip.uri import Uri
from node.sip_config import SipConfig
from node.storage.pins import Pin, PinKind

OWN = NodeKey(bytes(31) + b"\x01").id
OTHER = NodeKey(bytes(31) + b"\x02").id


def guard(*networks: str) -> SendGuard:
    names = OwnNames(
        OWN, domains=[], addresses=["203.0.114.5", "127.0.0.2"], sip_port=5060, tls_port=5061
    )
    allowed = SipConfig(outbound_networks=networks).outbound_allowed
    return SendGuard(names, allowed)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "10.1.2.3",
        "192.168.0.1",
        "172.16.0.1",
        "100.64.0.1",
        "169.254.1.1",
        "0.0.0.0",
        "255.255.255.255",
        "224.0.0.1",
        "::1",
        "::",
        "fe80::1",
        "fd00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "203.0.114.5",
        "nonsense",
    ],
)
def test_dns_of_strangers_leads_to_global_addresses_only(host: str) -> None:
    assert not guard().may_send(Endpoint(host, 5060))


def test_global_addresses_and_networks_that_the_operator_lists_are_reached() -> None:
    assert guard().may_send(Endpoint("8.8.8.8", 5060))
    assert guard().may_send(Endpoint("2a00:1450::1", 5060))
    listed = guard("127.0.0.0/8", "fd00::/8")
    assert listed.may_send(Endpoint("127.0.0.1", 5060))
    assert listed.may_send(Endpoint("fd00::7", 5060))
    assert not listed.may_send(Endpoint("10.0.0.1", 5060))


@pytest.mark.parametrize("port", [5060, 5061])
def test_a_domain_that_points_back_here_is_a_loop(port: int) -> None:
    listed = guard("127.0.0.0/8", "203.0.114.0/24")
    assert not listed.may_send(Endpoint("127.0.0.2", port))
    assert not listed.may_send(Endpoint("203.0.114.5", port))
    assert listed.may_send(Endpoint("127.0.0.2", 5080))


@pytest.mark.parametrize("text", ["10.0.0.0/33", "example.org", "10.0.0.1/8"])
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(SettingError, match=r"sip\.outbound_networks"):
        Config(sip=SipConfig(outbound_networks=(text,)))


class Names:
    """DNS and proof, as a test wants them."""

    def __init__(self, proven: NodeId | None = None, error: LocateError | None = None) -> None:
        self.proven, self.error = proven, error
        self.asked: list[SipTarget] = []
        self.pin: Pin | None = None

    async def prove(self, domain: str) -> NodeId | None:
        await asyncio.sleep(0)
        return self.proven

    async def locate(self, target: SipTarget) -> tuple[Hop, ...]:
        self.asked.append(target)
        if self.error is not None:
            raise self.error
        return (Hop("UDP", Endpoint("8.8.8.8", 5060), target.host),)

    def get(self, kind: PinKind, name: str) -> Pin | None:
        return self.pin

    def check(self, *_: object, **__: object) -> bool:
        return True

    def offer(self, *_: object, **__: object) -> bool:
        return False

    async def find(self, *_: object, **__: object) -> LookupResult:
        return NotFound()

    find_number = find_user = find_domain = find_address = find


async def located(names: Names, text: str = "sip:bob@other.test") -> object:
    uri = Uri.parse(text)
    locator = Locator(OWN, names, names, names.prove, SystemClock(), servers=names)  # type: ignore[arg-type]
    return await locator.locate(DomainTarget(uri.host, uri.user or "", uri.port, uri))


async def test_a_domain_that_nobody_proves_leads_to_its_sip_servers() -> None:
    names = Names()
    found = await located(names, "sip:bob@other.test:5080;transport=tcp")
    assert isinstance(found, Outside)
    assert names.asked == [SipTarget("other.test", 5080, "TCP")]
    assert str(found.uri) == "sip:bob@other.test:5080;transport=tcp"


async def test_a_proven_domain_is_called_over_the_mesh() -> None:
    found = await located(Names(proven=OTHER))
    assert found == Refusal(404, "no such node is known")


async def test_a_pinned_domain_never_falls_back_to_plain_sip() -> None:
    names = Names()
    names.pin = Pin(PinKind.DOMAIN, "other.test", OTHER, UnixTime(1.0), UnixTime(1.0))
    found = await located(names)
    assert isinstance(found, Refusal)
    assert found.status == 480
    assert names.asked == []


@pytest.mark.parametrize(("temporary", "status"), [(True, 480), (False, 404)])
async def test_why_there_is_no_server_is_told(temporary: bool, status: int) -> None:
    found = await located(Names(error=LocateError("no luck", is_temporary=temporary)))
    assert found == Refusal(status, "no luck")
