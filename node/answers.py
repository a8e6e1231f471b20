"""What a running node answers to its operator (`node.control.NodeControl`)."""

import asyncio
import contextlib

from dht.directory import Directory
from federation.domain_proof import DomainProof
from federation.mesh import MeshSocket
from federation.model.address import Endpoint
from federation.model.clocks import Clock, Monotonic
from federation.model.errors import ConfigError
from federation.model.identity import NodeId
from federation.peers import Links
from media_relay.pool import RelayPool
from node.accounts.account import Account, AccountKind
from node.accounts.book import AccountBook
from node.accounts.keeper import AccountKeeper
from node.accounts.login import AccountError
from node.accounts.wanted import WantedAccount
from node.ban_desk import BanDesk
from node.call_log import stream_as_json
from node.config import Config
from node.control import JsonObject, RefusedError
from node.dht_figures import dht_figures
from node.domain_desk import DomainDesk
from node.edge.edge import Edge
from node.message_desk import MessageDesk
from node.metrics.monitor import Monitor
from node.names import OwnNames
from node.outside import Outside
from node.phone_features import PhoneFeatures
from node.pin_desk import PinDesk, pin_as_json
from node.relaying.answers import RelayAnswers
from node.routing import (
    DomainTarget,
    LocalTarget,
    Located,
    Locator,
    NumberTarget,
    Refusal,
    ServiceTarget,
    Target,
    TargetReader,
    TrunkTarget,
)
from node.sheet import AccountSheet, ServedAt
from node.sip.errors import SipParseError
from node.sip.registrar import Registrar
from node.sip.uri import Uri
from node.sip_location import SipLocator
from node.status_answers import StatusAnswers
from node.storage.errors import StorageError
from node.storage.pins import PinBook, PinKind
from node.storage.storage import Storage
from node.trace_desk import TraceDesk
from node.trunk_answers import TrunkAnswers
from node.turn_credentials import turn_credentials
from node.verdicts import kind_of, servers_as_json, way_out
from node.web.desk import WebDesk
from node.web.invitations import InvitationDesk
from node.web.provisioning import ProvisioningDesk
from node.why import Explainer


class Answers(StatusAnswers, TrunkAnswers, RelayAnswers):
    """The operator's side of a node; `node.app.Node` makes the parts."""

    config: Config
    clock: Clock
    names: OwnNames
    node_id: NodeId
    served_at: ServedAt
    own_endpoints: tuple[Endpoint, ...]
    started_at: Monotonic
    ready: bool = False
    accounts: AccountBook
    keeper: AccountKeeper
    registrar: Registrar
    directory: Directory
    links: Links
    mesh: MeshSocket
    relay: RelayPool
    reader: TargetReader
    locator: Locator
    prover: DomainProof
    edge: Edge | None = None
    servers: SipLocator | None = None
    "Finds other SIP networks, where those may be called."
    storage: Storage
    pin_book: PinBook
    pin_desk: PinDesk
    domain_desk: DomainDesk
    explainer: Explainer
    turn_secret: bytes
    phone_features: PhoneFeatures
    message_desk: MessageDesk
    ban_desk: BanDesk
    web_desk: WebDesk
    trace_desk: TraceDesk
    invitation_desk: InvitationDesk
    provisioning_desk: ProvisioningDesk
    monitor: Monitor

    # Looking

    async def resolve(self, uri: str) -> JsonObject:
        """Where a dialled target leads."""
        target = self.reader.classify(self._dialled(uri), may_leave=True)
        answer: JsonObject = {"target": uri, "kind": kind_of(target), "nodes": [], "pin": None}
        match target:
            case Refusal(status, text):
                return answer | {"status": status, "reason": text}
            case ServiceTarget() | LocalTarget():
                own = {
                    "node_id": self.node_id.text,
                    "addresses": [str(endpoint) for endpoint in self.own_endpoints],
                }
                return answer | {"nodes": [own], "status": 200, "reason": "this node"}
            case TrunkTarget():
                return answer | {"status": 200, "reason": way_out(self.reader.ways_out(target))}
        self.locator.forget(target)  # who asks wants to know how it is now
        if isinstance(target, DomainTarget):
            self.prover.forget(target.domain)
        located = await self.locator.locate(target)
        answer["pin"] = self._pin_of(target)
        if isinstance(located, Outside):
            return answer | {
                "status": 200,
                "reason": "plain SIP, not sealed",
                "servers": servers_as_json(located),
            }
        if not isinstance(located, Located):
            return answer | {"status": located.status, "reason": located.text}
        answer["nodes"] = [
            {
                "node_id": attempt.node.text,
                "addresses": [str(hint) for hint in attempt.hints],
            }
            for attempt in located.attempts
        ]
        return answer | {"status": 200, "reason": "found in the network"}

    def _dialled(self, text: str) -> Uri:
        """What a person typed, as a phone of this node would send it."""
        plain = text.strip().replace(" ", "")
        if "://" in plain:
            raise RefusedError(
                f"{text!r} is no SIP address: give a number, a login or user@domain", 400
            )
        if not plain.startswith(("sip:", "sips:", "tel:")):
            plain = f"sip:{plain}" if "@" in plain else f"sip:{plain}@{self.names.key_name}"
        try:
            return Uri.parse(plain)
        except SipParseError as error:
            raise RefusedError(
                f"{text!r} cannot be dialled: give a number, a login or user@domain", 400
            ) from error

    def _pin_of(self, target: Target) -> JsonObject | None:
        pin = None
        match target:
            case NumberTarget(number):
                pin = self.pin_book.get(PinKind.NUMBER, number)
            case DomainTarget(domain):
                pin = self.pin_book.get(PinKind.DOMAIN, domain)
        return None if pin is None else pin_as_json(pin)

    async def why(self, uri: str) -> JsonObject:
        """What a call to a dialled target would meet, step by step."""
        dialled = self._dialled(uri)
        target = self.reader.classify(dialled, may_leave=True)
        self.locator.forget(target)  # the next call meets what is told here
        if isinstance(target, DomainTarget):
            self.prover.forget(target.domain)
        return await self.explainer.explain(uri, dialled)

    async def dht(self) -> JsonObject:
        """Figures of the directory."""
        directory = self.directory
        return dht_figures(directory.stats(), directory.contacts(), directory.own_id)

    # Names

    async def pins(self) -> list[JsonObject]:
        """Pinned names."""
        return self.pin_desk.all()

    async def pin_accept(self, name: str, key: str | None = None) -> JsonObject:
        """Pin a name to another key."""
        await asyncio.to_thread(self.pin_desk.check_claim, name, key)
        return await self._after_pin(self.pin_desk.accept(name, key))

    async def pin_forget(self, name: str) -> JsonObject:
        """Drop a pin."""
        return await self._after_pin(self.pin_desk.forget(name))

    async def _after_pin(self, answer: JsonObject) -> JsonObject:
        """Commit before the answer; the next call looks the name up again."""
        self.locator.forget_all()
        try:
            await self.storage.flush()
        except StorageError as error:
            raise RefusedError(f"done, but not yet kept: {error}", 503) from error
        return answer

    async def domains(self) -> list[JsonObject]:
        """Own domains."""
        return self.domain_desk.all()

    async def domain_add(self, name: str) -> JsonObject:
        """Answer for a domain from now on."""
        return await self.domain_desk.add(name)

    async def domain_remove(self, name: str) -> JsonObject:
        """Answer for an added domain no more."""
        return await self.domain_desk.remove(name)

    async def domain_verify(self, name: str) -> JsonObject:
        """Ask DNS now."""
        return await self.domain_desk.verify(name)

    # Users

    async def users_list(self) -> list[JsonObject]:
        """All users."""
        return [
            {
                "login": account.login,
                "number": account.number,
                "extension": account.extension,
                "name": account.name,
                "devices": len(self.registrar.bindings(account.login, now=self.clock.unix())),
            }
            for account in sorted(self.accounts, key=lambda account: account.login)
            if account.kind is AccountKind.USER
        ]

    async def user_show(self, login: str) -> JsonObject:
        """One user's sheet and devices."""
        account = self._account(login)
        devices = [
            {
                "uri": binding.uri,
                "transport": binding.flow.transport,
                "address": str(binding.flow.remote),
                "connected": binding.is_connected,
                "user_agent": binding.user_agent,
                "expires": round(binding.expires_at - self.clock.unix()),
            }
            for binding in self.registrar.bindings(account.login, now=self.clock.unix())
        ]
        return self._sheet(account) | {"devices": devices} | self.phone_features.desk.of(account)

    async def user_add(
        self,
        login: str,
        *,
        password: str | None = None,
        extension: str | None = None,
        name: str | None = None,
    ) -> JsonObject:
        """Make a user; its number is computed before the answer."""
        wanted = WantedAccount(login=login, password=password, extension=extension, name=name or "")
        try:
            made = (await self.keeper.add([wanted]))[0]
        except (AccountError, StorageError) as error:
            raise RefusedError(str(error)) from error
        with contextlib.suppress(StorageError):  # the account works; its number follows
            await self.keeper.number_of(login)
        return self._sheet(self._account(login), made.password)

    async def user_passwd(self, login: str, *, password: str | None = None) -> JsonObject:
        """Give a user a new password."""
        self._account(login)
        try:
            made = await self.keeper.set_password(login, password)
        except (AccountError, StorageError) as error:
            raise RefusedError(str(error)) from error
        return self._sheet(made.account, made.password)

    async def user_remove(self, login: str) -> None:
        """Remove a user, its registrations, its calls and what was published for it."""
        account = self._account(login)
        if account.kind is AccountKind.TRUNK:
            raise RefusedError(f"{login} is a trunk; remove it with: ringmesh trunk remove {login}")
        try:
            await self.keeper.remove(account.login)
        except (ConfigError, StorageError) as error:
            raise RefusedError(str(error)) from error
        if self.edge is not None:
            self.edge.end_account(account.login)

    async def turn_credentials(self, login: str, *, ttl: int | None = None) -> JsonObject:
        """Access to the relay that ends after `ttl` seconds."""
        return turn_credentials(
            self._account(login).login,
            ttl,
            secret=self.turn_secret,
            served=self.served_at,
            now=self.clock.unix(),
        )

    def _account(self, login: str) -> Account:
        account = self.accounts.by_login(login)
        if account is not None and account.kind is AccountKind.GROUP:
            raise RefusedError(f"{login} is a ring group; see ringmesh group --help")
        if account is None:
            raise RefusedError(
                f"no account {login!r} here; `ringmesh user list` shows which there are", 404
            )
        return account

    def _sheet(self, account: Account, password: str | None = None) -> JsonObject:
        return AccountSheet(
            login=account.login,
            served=self.served_at,
            number=account.number,
            extension=account.extension,
            name=account.name,
            password=password,
        ).as_json()

    # Calls

    async def calls(self) -> list[JsonObject]:
        """Calls under way."""
        found = [] if self.edge is None else self.edge.calls()
        return [
            {
                "id": call.id,
                "from": call.caller,
                "to": call.target,
                "state": call.state,
                "since": round(call.since, 3),
                "peer": None if call.peer is None else call.peer.text,
                "codec": call.codec,
                "from_caller": stream_as_json(call.from_caller, call.codec),
                "from_callee": stream_as_json(call.from_callee, call.codec),
            }
            for call in found
        ]

    async def hangup(self, call: str) -> int:
        """End one call by its id, or all of them with `all`."""
        ended = 0 if self.edge is None else self.edge.hang_up(call)
        if not ended and call != "all":
            raise RefusedError(
                f"no call {call!r} is under way; `ringmesh call list` shows which are", 404
            )
        return ended
