"""Edges joined by links in memory, with phones in memory: whole calls without a socket.

```python
@in_virtual_time
async def test_a_call() -> None:
    world = World()
    alice, bob = world.phone("A", "alice"), world.phone("B", "bob")
    await world.registered()
    call = alice.invite(world.number("bob"))
    await world.settle()
    bob.calls()[0].respond(200, sdp(bob.ip))
```
"""

import asyncio
import itertools
import random
import traceback
from dataclasses import replace
from typing import Any, cast

from federation.model.address import Endpoint
from federation.model.clocks import UnixTime
from federation.model.identity import AccountId, AccountKey, NodeId, NodeKey
from federation.model.network import Network
from federation.model.number import Number
from node.accounts.account import Account, AccountKind, hash_password
from node.accounts.book import AccountBook
from node.edge.branches import NodeAttempt
from node.edge.edge import Edge
from node.edge.edge_parts import EdgeParts
from node.edge.vouching import NumberChecks, Voucher
from node.names import OwnNames
from node.offerer import OfferTarget
from node.routing import (
    DomainTarget,
    KeyTarget,
    Located,
    Locator,
    NumberTarget,
    Refusal,
    Target,
    TargetReader,
)
from node.sip.digest import DigestAuthenticator, DigestPreference
from node.sip.flow import WEB_TRANSPORTS, Flow, TransportName
from node.sip.registrar import Registrar
from node.sip.sdp import Sdp
from node.storage.bans import BanBook
from node.storage.call_records import CallRecords
from node.storage.dialogs import DialogStore
from node.storage.features import FeatureBook
from node.storage.ring_groups import RingGroups
from node.storage.verified_numbers import VerifiedNumbers
from tests.support.account_tools import cheap_number
from tests.support.edge_links import LinkNetwork, MemoryLinks
from tests.support.edge_phone import Phone, Sent, Talk, sdp
from tests.support.edge_relay import MediaMap, RecordingRelay, as_relay
from tests.support.edge_trunks import edge_trunks
from tests.support.sip_exchange import SeededEntropy
from tests.support.virtual_loop import LoopClock

PASSWORD = "correct horse"
NETWORK = Network.named("edges")
SIP_PORT = 5060
WEB_PORT = 8060


class Rows:
    """What would be written to the database."""

    def __init__(self) -> None:
        self.tables: dict[str, dict[tuple[Any, ...], dict[str, Any]]] = {}

    def put(
        self, table: str, key: tuple[Any, ...], row: dict[str, Any], *, is_new: bool = False
    ) -> None:
        self.tables.setdefault(table, {})[key] = row

    def remove(self, table: str, key: tuple[Any, ...]) -> None:
        self.tables.get(table, {}).pop(key, None)

    def table(self, name: str) -> dict[tuple[Any, ...], dict[str, Any]]:
        return self.tables.get(name, {})


class MemoryLocator:
    """Knows where everybody is, and takes its time to say so."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.forgotten: list[Target] = []

    async def locate(self, target: Target) -> Located | Refusal:
        await asyncio.sleep(self._world.lookup_delay)
        match target:
            case NumberTarget(number, extension):
                user = f"{number}*{extension}" if extension else str(number)
                nodes = [n for n in self._world.nodes.values() if n.accounts.by_number(number)]
            case KeyTarget(node, user):
                nodes = [n for n in self._world.nodes.values() if n.id == node]
            case OfferTarget(number):
                user = f"+{number}"
                nodes = [n for n in self._world.nodes.values() if n.offers]
            case DomainTarget(domain, user):
                nodes = [n for n in self._world.nodes.values() if domain in n.names.domains]
            case _:
                nodes = []
        if not nodes:
            return Refusal(404, "nobody has this number")
        attempts = tuple(NodeAttempt(n.id, (Endpoint(n.mesh_ip, 7060),)) for n in nodes)
        return Located(attempts, user, "test")

    def forget(self, target: Target) -> None:
        self.forgotten.append(target)


class EdgeNode:
    """One node: an edge and what it stands on."""

    def __init__(self, world: "World", name: str, number: int) -> None:
        self.name = name
        self.ip, self.mesh_ip = f"10.{number}.0.1", f"192.0.2.{number}"
        key = NodeKey(bytes([number]) * 32)
        self.id = key.id
        self.rows = Rows()
        self.relay = RecordingRelay(world.media)
        self.accounts = AccountBook()
        self.links = MemoryLinks(world.links, key.id)
        self.names = OwnNames(
            key.id, domains=[f"{name.lower()}.test"], addresses=[self.ip], sip_port=SIP_PORT
        )
        self.entropy = SeededEntropy(number)
        self.registrar = Registrar()
        self.features = FeatureBook((), cast(Any, self.rows))
        self.ring_groups = RingGroups((), cast(Any, self.rows))
        self.bans = BanBook((), cast(Any, self.rows), now=world.clock.unix())
        self.phones: dict[Endpoint, Phone] = {}
        self.offers = False
        "Whether it is a node whose offers count for others."
        self._dialling: dict[Flow, asyncio.TimerHandle] = {}
        self._world = world
        checks = NumberChecks(world.clock, VerifiedNumbers(world.verified, cast(Any, self.rows)))
        self.voucher = Voucher(
            key,
            NETWORK,
            world.clock,
            checks,
            own_domain=lambda: self.names.domains[0],
            proven=lambda domain: None,
        )
        self.trunks = edge_trunks(world.clock, self.names, self.entropy, self.ip)
        digest = DigestAuthenticator(
            self.accounts.credential, secret=self.entropy.token(32), entropy=self.entropy
        )
        self.edge = Edge(
            EdgeParts(
                node=key.id,
                names=self.names,
                token_secret=self.entropy.token(32),
                wires=self,
                links=self.links,
                relay=as_relay(self.relay),
                accounts=self.accounts,
                digest=digest,
                registrar=self.registrar,
                reader=TargetReader(
                    self.names,
                    self.accounts,
                    emergency=frozenset({"112"}),
                    trunks=self.trunks.book,
                    has_offers=True,
                ),
                trunks=self.trunks.parts,
                locator=cast(Locator, world.locator),
                voucher=self.voucher,
                store_bindings=lambda changes: None,
                dialogs=DialogStore(cast(Any, self.rows)),
                records=CallRecords(cast(Any, self.rows)),
                features=self.features,
                ring_groups=self.ring_groups,
                bans=self.bans,
                clock=world.clock,
                entropy=self.entropy,
            )
        )
        world.links.receivers[key.id] = self.edge.inbound
        world.links.ips[key.id] = self.mesh_ip

    def send(self, data: bytes, flow: Flow) -> None:
        """Put a message on its way to a phone."""
        phone = self.phones.get(flow.remote)
        if phone is not None and flow.transport == "TCP" and flow.id == 0 and not phone.takes_tcp:
            later = asyncio.get_running_loop().call_later
            closing = later(phone.refuses_after, lambda: self._refused(flow))
            self._dialling.setdefault(flow, closing)
        elif flow.is_web and (phone is None or phone.flow.id != flow.id):
            asyncio.get_running_loop().call_soon(self.edge.flow_closed, flow)
        elif phone is not None:
            phone.came_over.append(flow.transport)
            self._world.carry(flow, lambda: phone.receive(data))

    def stands(self, flow: Flow) -> bool:
        """Whether a phone is still at the other end."""
        return flow.id != 0 and flow.remote in self.phones

    def abandon(self, flow: Flow) -> None:
        """Give up a connection that was not refused yet."""
        closing = self._dialling.get(flow)
        if closing is not None:
            closing.cancel()
            asyncio.get_running_loop().call_soon(self._refused, flow)

    def _refused(self, flow: Flow) -> None:
        self._dialling.pop(flow, None)
        self.edge.flow_closed(flow)

    @property
    def held(self) -> dict[str, int]:
        """Everything of calls that is held now; empty when all is over."""
        held = dict(self.edge.leftovers)
        held["trunk_calls"] = sum(self.trunks.load.calls(t.name) for t in self.trunks.book)
        held["sessions"] = len(self.relay.open)
        held["stored"] = len(self.rows.table("dialogs"))
        return {key: count for key, count in held.items() if count}


class World:
    """Nodes, phones and what lies between them."""

    def __init__(self, nodes: str = "AB", *, seed: int = 1) -> None:
        self.clock = LoopClock(asyncio.get_running_loop())
        self.media = MediaMap()
        self.links = LinkNetwork(seed)
        self.locator = MemoryLocator(self)
        self.verified: list[tuple[AccountId, Number]] = []
        self.lookup_delay = 0.02
        self.loss = 0.0
        "Of datagrams between phones and their nodes."
        self.delay, self.jitter = 0.002, 0.0
        self.nodes: dict[str, EdgeNode] = {}
        self.phones: list[Phone] = []
        self._random = random.Random(seed)
        self._ports = itertools.count(SIP_PORT)
        self._seeds = itertools.count(1)
        self._names = nodes
        self.errors: list[str] = []
        "Exceptions that escaped into the loop."
        asyncio.get_running_loop().set_exception_handler(self._escaped)
        self._open()

    def _escaped(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        trace = "" if error is None else "".join(traceback.format_exception(error))
        print(trace)  # pytest shows errors of a failed test
        self.errors.append(f"{context['message']} {trace}")

    def _open(self) -> None:
        # Accounts of every node are known as verified to all, so that no thread has to derive.
        for number, name in enumerate(self._names, 1):
            self.nodes[name] = EdgeNode(self, name, number)
            self.nodes[name].edge.start({})

    def __getitem__(self, name: str) -> EdgeNode:
        return self.nodes[name]

    # People

    def account(self, node: str, login: str, kind: AccountKind = AccountKind.USER) -> Account:
        """An account, made when it is new."""
        book = self.nodes[node].accounts
        known = book.by_login(login)
        if known is not None:
            return known
        seed = next(self._seeds).to_bytes(32, "big")
        key = AccountKey(seed)
        hashes, aliases = hash_password(login, PASSWORD, [])
        account = Account(
            login=login,
            kind=kind,
            name="",
            id=key.id,
            seed=seed,
            number=cheap_number(key.id),
            extension=None,
            hashes=hashes,
            aliases=aliases,
            digest=DigestPreference.BOTH,
            created_at=UnixTime(0.0),
        )
        book.add(account)
        assert account.number is not None
        for other in self.nodes.values():
            other.voucher._checks.verified.add(account.id, account.number, now=UnixTime(0.0))
        return account

    def phone(
        self, node: str, login: str, transport: TransportName = "UDP", ip: str | None = None
    ) -> Phone:
        """A further device of an account, not yet registered."""
        self.account(node, login)
        phone = self.stranger(node, login, transport, ip)
        self.phones.append(phone)
        return phone

    def stranger(
        self, node: str, login: str, transport: TransportName = "UDP", ip: str | None = None
    ) -> Phone:
        """Somebody within a node's reach who has no account there."""
        home = self.nodes[node]
        own = Endpoint(ip or f"{home.ip[:-1]}{len(self.phones) + 10}", next(self._ports))
        port = WEB_PORT if transport in WEB_TRANSPORTS else SIP_PORT
        flow = Flow(transport, own, Endpoint(home.ip, port), 0 if transport == "UDP" else 1)
        phone = Phone(_Wire(self, home), flow, login, PASSWORD, self.clock, home.ip)
        home.phones[own] = phone
        return phone

    def reconnect(self, phone: Phone) -> None:
        """A phone on a stream connects anew, from another port."""
        home = next(n for n in self.nodes.values() if phone.flow.local in n.phones)
        own = Endpoint(phone.ip, next(self._ports))
        del home.phones[phone.flow.local]
        home.phones[own] = phone
        phone.flow = replace(phone.flow, local=own, id=phone.flow.id + 1)

    async def registered(self) -> None:
        """Have every phone registered."""
        sent = [phone.register() for phone in self.phones]
        await self.settle()
        assert [s.status for s in sent] == [200] * len(sent)

    def number(self, login: str) -> str:
        """How a phone of any node dials an account."""
        for node in self.nodes.values():
            account = node.accounts.by_login(login)
            if account is not None:
                return f"sip:{account.number}@dialled.test"
        raise KeyError(login)

    def dial(self, caller: Phone, login: str) -> str:
        """The Request-URI by which `caller` calls an account by number."""
        return self.number(login).replace("dialled.test", caller.server)

    # Time and wires

    def carry(self, flow: Flow, action: Any) -> None:
        """One message between phone and node."""
        if flow.transport == "UDP" and self._random.random() < self.loss:
            return
        delay = self.delay
        if flow.transport == "UDP":
            delay += self._random.random() * self.jitter
        asyncio.get_running_loop().call_later(delay, action)

    async def settle(self, seconds: float = 0.3) -> None:
        """Let that much time pass."""
        await asyncio.sleep(seconds)

    async def over(self) -> None:
        """Let enough time pass for everything that ended to be forgotten, then look."""
        await asyncio.sleep(140)
        self.assert_nothing_held()

    def assert_nothing_held(self) -> None:
        held = {name: node.held for name, node in self.nodes.items()}
        assert held == {name: {} for name in self.nodes}
        assert self.errors == []

    # Calls

    async def call(self, caller: Phone, callee: Phone) -> tuple[Talk, Talk]:
        """A call that is up: the caller's view of it and the callee's."""
        sent = caller.invite(self.dial(caller, callee.login))
        await self.settle()
        arrived = callee.calls()[-1]
        arrived.respond(180)
        await self.settle()
        arrived.respond(200, sdp(callee.ip))
        await self.settle()
        assert sent.status == 200, sent.statuses
        talk = sent.talk()
        talk.ack()
        await self.settle()
        assert arrived.acked
        return talk, arrived.talk()

    def hears(self, description: bytes) -> Endpoint | None:
        """Where the sound of a phone comes out that obeys the `description` it was given."""
        return self.media.leads(audio_of(description))


def audio_of(description: bytes, line: int = 0) -> Endpoint:
    """Where a description wants its RTP."""
    endpoint = Sdp.parse(description).media[line].rtp_endpoint
    assert endpoint is not None
    return endpoint


class _Wire:
    """From one node's phones to its edge."""

    def __init__(self, world: World, home: EdgeNode) -> None:
        self._world, self._home = world, home

    def to_node(self, data: bytes, phone: Phone) -> None:
        flow = Flow(phone.flow.transport, phone.flow.remote, phone.flow.local, phone.flow.id)
        self._world.carry(flow, lambda: self._home.edge.receive(data, flow))


__all__ = [
    "PASSWORD",
    "EdgeNode",
    "NodeId",
    "Phone",
    "Sent",
    "Talk",
    "World",
    "audio_of",
    "sdp",
]
