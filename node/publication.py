"""Keeps the DHT saying what accounts this node has."""

from dataclasses import dataclass

import structlog

from dht.directory import Directory
from dht.record import Accepts, Kind
from node.accounts.account import Account, AccountKind
from node.accounts.book import (
    AccountAdded,
    AccountBook,
    AccountChange,
    AccountChanged,
    AccountRemoved,
)

log = structlog.get_logger("publication")


@dataclass(slots=True)
class Publication:
    """Publishes accounts when they appear, and withdraws them when they go."""

    book: AccountBook
    directory: Directory

    def start(self) -> None:
        """Publish every account, and follow the changes."""
        for account in self.book:
            self._publish(account)
        self.book.listen(self._changed)

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
            accepts = Accepts.TRUNK | Accepts.EXTENSIONS
        self.directory.publish_user(account.login, accepts)
        if account.number is not None:
            self.directory.publish_number(account.number, account.key, accepts)

    def _withdraw(self, account: Account) -> None:
        self.directory.withdraw(Kind.USER, account.login)
        if account.number is not None:
            self.directory.withdraw(Kind.NUMBER, account.number, account.id)
        log.info("account_withdrawn", login=account.login)
