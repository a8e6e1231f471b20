"""Keeps the DHT saying what accounts and domains this node has."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog

from dht.directory import Directory
from dht.publisher import Publication as DirectoryEntry
from dht.record import Accepts, Kind
from federation.model.clocks import Clock
from federation.model.identity import NodeId
from node.accounts.account import Account, AccountKind
from node.accounts.book import (
    AccountAdded,
    AccountBook,
    AccountChange,
    AccountChanged,
    AccountRemoved,
)
from node.storage.published import Published, PublishedNames
from node.trunks.book import TrunkBook

log = structlog.get_logger("publication")


@dataclass(slots=True)
class Publication:
    """Publishes accounts when they appear, and withdraws them when they go.

    What was published is remembered over restarts: what went while the node was stopped is
    withdrawn at the next start, and again at every start while a record of it may live.
    """

    book: AccountBook
    directory: Directory
    names: PublishedNames
    clock: Clock
    trunks: TrunkBook = field(default_factory=TrunkBook)

    def start(self, node: NodeId, domains: Sequence[str] = ()) -> None:
        """Publish every account and domain, withdraw what went, and follow the changes."""
        for account in self.book:
            self._publish(account)
        for domain in domains:
            self.publish_domain(domain, node)
        offering = [trunk.name for trunk in self.trunks if self.trunks.offers_of(trunk.name)]
        for trunk in offering:
            self._offer(trunk)
        current = {name.row_name for account in self.book for name in _names_of(account)}
        current |= {Published(Kind.DOMAIN, domain).row_name for domain in domains}
        current |= {Published(Kind.PREFIXES, trunk).row_name for trunk in offering}
        for name in self.names:
            if name.row_name not in current:
                self._bury(name)
        self.book.listen(self._changed)
        self.trunks.listen(self._trunk_changed)

    def _trunk_changed(self, name: str) -> None:
        """A trunk may accept extensions now, or no more."""
        account = self.book.by_login(name)
        if account is not None:
            self._publish(account)
        self._offer(name)

    def _offer(self, name: str) -> None:
        """Say which numbers a trunk offers to other nodes, or that it does so no more."""
        offers, published = self.trunks.offers_of(name), Published(Kind.PREFIXES, name)
        if offers:
            self.directory.publish_prefixes(name, offers)
            self.names.add(published)
        elif self.names.has(published):
            self.directory.withdraw(Kind.PREFIXES, name)
            self.names.withdraw(published, now=self.clock.unix())
            log.info("offers_withdrawn", trunk=name)

    def publish_domain(self, domain: str, node: NodeId) -> None:
        """Say that this node answers for a domain."""
        self.directory.publish_domain(domain, (node,))
        self.names.add(Published(Kind.DOMAIN, domain))

    def withdraw_domain(self, domain: str) -> None:
        """Say that it does no more."""
        self.directory.withdraw(Kind.DOMAIN, domain)
        self.names.withdraw(Published(Kind.DOMAIN, domain), now=self.clock.unix())
        log.info("domain_withdrawn", domain=domain)

    def _changed(self, change: AccountChange) -> None:
        match change:
            case AccountAdded(account):
                self._publish(account)
            case AccountChanged(before, after):
                if before.number != after.number or before.kind != after.kind:
                    self._publish(after)
            case AccountRemoved(account):
                self._withdraw(account)

    def _publish(self, account: Account) -> None:
        accepts = Accepts.USER
        if account.kind is AccountKind.TRUNK:
            accepts = Accepts.TRUNK
            if self.trunks.pbx(account.login).takes_extensions:
                accepts |= Accepts.EXTENSIONS
        self.directory.publish_user(account.login, accepts)
        if account.number is not None:
            self.directory.publish_number(account.number, account.key, accepts)
        for name in _names_of(account):
            self.names.add(name)

    def _withdraw(self, account: Account) -> None:
        self.directory.withdraw(Kind.USER, account.login)
        if account.number is not None:
            self.directory.withdraw(Kind.NUMBER, account.number, account.id)
        for name in _names_of(account):
            self.names.withdraw(name, now=self.clock.unix())
        log.info("account_withdrawn", login=account.login)

    def _bury(self, name: Published) -> None:
        """Withdraw what an earlier run published, or forget it when its time is over."""
        now, kind = self.clock.unix(), Kind(name.kind)
        if name.withdrawn_at is not None and now - name.withdrawn_at > kind.longest_ttl:
            self.names.forget(name)
            return
        self.directory.bury(DirectoryEntry(kind=kind, label=name.label, account=name.account))
        self.names.withdraw(name, now=now)
        log.info("withdrawn_late", kind=kind.name, label=name.label)


def _names_of(account: Account) -> list[Published]:
    names = [Published(Kind.USER, account.login)]
    if account.number is not None:
        names.append(Published(Kind.NUMBER, account.number, account.key))
    return names
