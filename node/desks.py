"""The operator's desks of a running node, and how its parts follow when its domains change."""

import contextlib

import msgspec
import structlog

from federation.domain_proof import DnsResolver, Identify
from federation.messages import Hello
from federation.model.identity import NodeKey
from node.accounts.moved import Arrival, MovedAccount
from node.answers import Answers
from node.ban_desk import BanDesk
from node.control import JsonObject
from node.dns_lines import Whereabouts
from node.domain_desk import DomainDesk, DomainNames
from node.feature_desk import FeatureDesk
from node.message_desk import MessageDesk
from node.own_domains import OwnDomains, careful
from node.phone_features import PhoneFeatures
from node.publication import Publication
from node.sheet import ServedAt
from node.sound_way import SoundWay
from node.state import StateError, StateFolder
from node.storage.bans import BanBook
from node.storage.errors import StorageError
from node.storage.features import FeatureBook
from node.storage.ring_groups import RingGroups
from node.trunk_room import TrunkRoom
from node.why import Explainer

log = structlog.get_logger("node")


class Desks(Answers):
    """The part of `node.app.Node` that people's changes of names reach."""

    _state: StateFolder
    _key: NodeKey
    _resolver: DnsResolver
    _publication: Publication
    _domain_names: DomainNames
    _looks: OwnDomains
    _trunks: TrunkRoom
    _proven: frozenset[str] = frozenset()
    features: FeatureBook
    ring_groups: RingGroups
    bans: BanBook

    def served(self) -> JsonObject:
        """Where accounts are reached, for commands while the node is stopped."""
        facts: JsonObject = self.served_at.as_json()
        return facts | {
            "mesh_port": self.config.mesh_port,
            "configured_domains": list(self._domain_names.configured),
        }

    async def user_import(self, moved: MovedAccount, arrival: Arrival) -> JsonObject:
        """Take in an account of another node; its number is computed before the answer."""
        account, password = await self.keeper.take_in(moved, arrival)
        with contextlib.suppress(StorageError):  # the account works; its number follows
            await self.keeper.number_of(account.login)
        log.info("account_arrived", login=account.login, came_from=moved.node)
        return self._sheet(self._account(account.login), password)

    def _open_desks(self) -> None:
        """What the operator's questions and changes lead to."""
        self._looks = self._own_domains()
        self.domain_desk = DomainDesk(
            names=self._domain_names,
            whereabouts=self._whereabouts,
            accounts=lambda: self.accounts,
            keep=self.storage.run,
            resolver=self._resolver,
            clock=self.clock,
            looks=self._looks,
            on_change=self._on_domains,
        )
        self.message_desk = MessageDesk(self._account, lambda: self.edge, self.names.key_name)
        self.ban_desk = BanDesk(
            self.bans,
            self.clock,
            allowed=self.config.limits.networks,
            own=lambda: self.names.addresses,
            forgive=self._forgive,
        )
        self.phone_features = PhoneFeatures(
            FeatureDesk(
                self.accounts,
                self.features,
                self.ring_groups,
                key_name=self._key.id.key_name,
                sheet=self._sheet,
                read=lambda uri: self.reader.classify(uri, may_leave=True),
            ),
            self.keeper,
            self.storage,
        )
        self.trunk_desk = self._trunks.desk(self.accounts, self.keeper, self._sheet)
        self.explainer = Explainer(
            node=self._key.id,
            network=self.config.net,
            reader=self.reader,
            directory=self.directory,
            pins=self.pin_book,
            resolver=self._resolver,
            dial=self.links.identify,
            guard=self._careful,
            links=self.links,
            registrar=self.registrar,
            clock=self.clock,
            servers=self.servers,
            outer=self.outer_watch.told,
            sound=SoundWay(self.relay, self.relaying, self.directory),
            offerers=self.config.dialling.offerers,
        )

    def _forgive(self, source: str) -> None:
        if self.edge is not None:
            self.edge.guard.forgive(source)

    def _own_domains(self) -> OwnDomains:
        return OwnDomains(
            lambda: self.config.domains,
            node=self._key.id,
            proof=self.prover,
            resolver=self._resolver,
            addresses=lambda: self.served_at.reached_at,
            sip_port=self.config.sip_port,
            on_change=self._serve,
        )

    def _take_domains(self) -> None:
        """From now on the node's domains are those of `_domain_names`."""
        self.config = msgspec.structs.replace(self.config, domains=self._domain_names.all)
        self.names.set_domains(self.config.domains)

    def _on_domains(self) -> None:
        """A command added or removed a domain."""
        before = self.config.domains
        self._take_domains()
        for domain in set(self.config.domains) - set(before):
            self._publication.publish_domain(domain, self._key.id)
        for domain in set(before) - set(self.config.domains):
            self._publication.withdraw_domain(domain)
        self._serve(self._proven)

    def _whereabouts(self) -> Whereabouts:
        config, served = self.config, self.served_at
        return Whereabouts(self._key.id, served.reached_at, config.sip_port, config.mesh_port)

    def _careful(self, identify: Identify) -> Identify:
        return careful(
            identify,
            self._key.id,
            lambda: self.own_endpoints,
            lambda: Hello(domains=self.config.domains),
        )

    def _serve(self, proven: frozenset[str]) -> None:
        """Where accounts are reached has changed; also for commands while the node is stopped."""
        self._proven = proven
        self.served_at = ServedAt.of(self.config, self._key.id, proven=proven)
        try:
            self._state.keep_last_run(self.served())
        except StateError as error:
            log.warning("last_run_not_kept", reason=str(error))
