"""Forwarding, do-not-disturb and ring groups of a running node: changes are committed first."""

from collections.abc import Sequence

from federation.model.errors import ConfigError
from node.accounts.account import AccountKind
from node.accounts.book import AccountChange, AccountRemoved
from node.accounts.keeper import AccountKeeper
from node.accounts.login import AccountError
from node.accounts.wanted import WantedAccount
from node.control import JsonObject, RefusedError
from node.feature_desk import FeatureDesk
from node.storage.errors import StorageError
from node.storage.storage import Storage


class PhoneFeatures:
    """The operator's side of `FeatureDesk`. Every method may raise `RefusedError`."""

    def __init__(self, desk: FeatureDesk, keeper: AccountKeeper, storage: Storage) -> None:
        self.desk = desk
        self._keeper = keeper
        self._storage = storage
        keeper.book.listen(self._changed)

    def _changed(self, change: AccountChange) -> None:
        if isinstance(change, AccountRemoved):
            self.desk.forget(change.account.login)

    async def forward(
        self,
        login: str,
        *,
        always: str | None = None,
        busy: str | None = None,
        no_answer: str | None = None,
        after: int | None = None,
        off: bool = False,
        dnd: bool | None = None,
    ) -> JsonObject:
        """Set forwarding and do-not-disturb; what is not given stays."""
        answer = self.desk.forward(
            login, always=always, busy=busy, no_answer=no_answer, after=after, off=off
        )
        if dnd is not None:
            answer = self.desk.dnd(login, on=dnd)
        return await self._kept(answer)

    async def group_add(
        self,
        login: str,
        *,
        members: Sequence[str],
        mode: str,
        ring: int,
        extension: str | None = None,
        name: str = "",
    ) -> JsonObject:
        """Make a group; its number is computed before the answer."""
        group = self.desk.checked(login, members, mode, ring)
        wanted = WantedAccount(login=login, kind=AccountKind.GROUP, extension=extension, name=name)
        try:
            await self._keeper.add([wanted])
            self.desk.keep(group)
            await self._keeper.number_of(login)
        except (AccountError, StorageError) as error:
            raise RefusedError(str(error)) from error
        return await self._kept(self.desk.group(login))

    async def group_set(
        self,
        login: str,
        *,
        members: Sequence[str] | None = None,
        mode: str | None = None,
        ring: int | None = None,
    ) -> JsonObject:
        """Change what is given."""
        return await self._kept(self.desk.group_set(login, members=members, mode=mode, ring=ring))

    async def group_remove(self, login: str) -> JsonObject:
        """Remove a group, its number and what was published for it."""
        known = self.desk.check_group(login)
        try:
            await self._keeper.remove(known)
        except (ConfigError, StorageError) as error:
            raise RefusedError(str(error)) from error
        return await self._kept({"removed": known})

    async def _kept(self, answer: JsonObject) -> JsonObject:
        try:
            await self._storage.flush()
        except StorageError as error:
            raise RefusedError(f"done, but not yet kept: {error}", 503) from error
        return answer
