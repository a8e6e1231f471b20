"""What the operator sees and does about trunks and DIDs, running or stopped."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

from sqlalchemy import Connection

from federation.model.clocks import Clock
from node.accounts.account import Account, AccountKind
from node.accounts.book import AccountBook, AccountChange, AccountRemoved
from node.accounts.login import MAX_PASSWORD, AccountError, Reserved, check_login
from node.accounts.wanted import MadeAccount, WantedAccount
from node.control import JsonObject, RefusedError
from node.trunks.book import MAX_DIDS, MAX_TRUNKS, Did, TrunkBook
from node.trunks.e164 import read_number
from node.trunks.options import NewTrunk, TrunkOptions, fresh_settings, settings_with
from node.trunks.rows import delete_did, delete_trunk, insert_did, insert_trunk, update_trunk
from node.trunks.trunk import (
    PbxSettings,
    ProviderSettings,
    Settings,
    Trunk,
    TrunkKind,
    check_settings,
    settings_as_json,
)

MAX_EXTENSION = 16
"Digits of an extension behind a trunk."
Keep = Callable[[Callable[[Connection], None]], Awaitable[None]]
"Carries out a change of the database and commits it."


class AccountMaker(Protocol):
    """Makes and changes the accounts of PBXs; commits before it returns."""

    async def add(self, wanted: Sequence[WantedAccount]) -> list[MadeAccount]:
        """Add all of them or none."""

    async def set_password(self, login: str, password: str | None = None) -> MadeAccount:
        """Give an account another password."""

    async def remove(self, login: str) -> Account:
        """Remove an account."""

    async def number_of(self, login: str) -> object:
        """Wait for the account's number."""


class TrunkStates(Protocol):
    """How the trunks of a running node are."""

    def state_of(self, trunk: Trunk) -> tuple[str, str]:
        """One word, and for one that does not work the reason as a sentence."""

    def calls_of(self, trunk: Trunk) -> tuple[int, int]:
        """Calls under way, and calls out today."""

    def traffic_of(self, trunk: Trunk) -> JsonObject:
        """The messages that passed between this node and it, and how sound arrived."""

    async def test(self, trunk: Trunk) -> list[JsonObject]:
        """Try each step that a call depends on: `step`, `ok` (or null), `says`."""

    def ended(self, trunk: Trunk) -> None:
        """A trunk was removed: its calls end."""


@dataclass(kw_only=True)
class TrunkDesk:
    """Adds, lists, changes, tests and removes. Methods may raise `RefusedError` with a sentence,
    and `AccountError` and `StorageError`; nothing was changed then."""

    book: TrunkBook
    accounts: AccountBook
    maker: AccountMaker
    keep: Keep
    clock: Clock
    sheet: Callable[[Account, str | None], JsonObject]
    reserved: Reserved
    states: TrunkStates | None = None
    "`None` while the node is stopped."
    _changing: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        self.accounts.listen(self._account_changed)

    # Looking

    def all(self) -> list[JsonObject]:
        """Every trunk, by name."""
        return [self.show(trunk.name) for trunk in sorted(self.book, key=lambda t: t.name)]

    def show(self, name: str, password: str | None = None) -> JsonObject:
        """One trunk: what it was told, how it is, and what a PBX needs to be told."""
        trunk = self._get(name)
        answer: JsonObject = {"name": trunk.name, "kind": trunk.kind.value}
        account = self.accounts.by_login(trunk.name)
        if trunk.kind is TrunkKind.PBX and account is not None:
            answer = self.sheet(account, password) | answer
        settings = settings_as_json(trunk.settings)
        if isinstance(trunk.settings, ProviderSettings):
            settings["rules"] = [str(rule) for rule in trunk.settings.rules]
            settings["offers"] = [f"+{prefix}" for prefix in trunk.settings.offers]
        answer |= settings | {"state": None, "reason": None, "calls": None, "calls_today": None}
        answer["traffic"] = None
        if self.states is not None:
            answer["state"], reason = self.states.state_of(trunk)
            answer["reason"] = reason or None
            answer["calls"], answer["calls_today"] = self.states.calls_of(trunk)
            answer["traffic"] = self.states.traffic_of(trunk)
        answer["dids"] = [f"+{did.number}" for did in self.book.dids.all_of(trunk.name)]
        return answer

    async def test(self, name: str) -> JsonObject:
        """Say step by step what works."""
        trunk = self._get(name)
        if self.states is None:
            raise RefusedError(
                "a trunk is tested by the running node: start it with ringmesh up", 503
            )
        steps = await self.states.test(trunk)
        works = all(step["ok"] is not False for step in steps)
        return {"name": trunk.name, "works": works, "steps": steps}

    # Changing

    async def add(self, new: NewTrunk) -> JsonObject:
        """Make a trunk, its account if it is a PBX, and map its numbers."""
        async with self._changing:
            return await self._add(new)

    async def _add(self, new: NewTrunk) -> JsonObject:
        check_login(new.name, self.reserved)
        if self.book.get(new.name) is not None:
            raise RefusedError(
                f"trunk {new.name!r}: there is one already; choose another name, or change it "
                f"with ringmesh trunk set {new.name}"
            )
        known = self.accounts.find(new.name)
        if known is not None:
            raise RefusedError(
                f"trunk {new.name!r}: account {known.login} is called by it already; "
                "choose another name"
            )
        if len(self.book) >= MAX_TRUNKS:
            raise RefusedError(f"a node has at most {MAX_TRUNKS} trunks; remove one first")
        settings = settings_with(new.name, fresh_settings(new.name, new.kind), new)
        check_settings(new.name, settings)
        _check_secret(new.name, settings, new.password)
        mapped = [self._read_mapping(text, new.name, settings) for text in new.dids]
        for did in mapped:
            if sum(other.number == did.number for other in mapped) > 1:
                raise AccountError(f"number +{did.number}: --did names it twice; keep one")
        trunk = Trunk(
            name=new.name,
            settings=settings,
            password=new.password if isinstance(settings, ProviderSettings) else None,
            created_at=self.clock.unix(),
        )
        password = await self._make(trunk, new.password)
        for did in mapped:
            await self.keep(partial(_insert_did, did))
            self.book.dids.add(did)
        return self.show(trunk.name, password)

    async def _make(self, trunk: Trunk, password: str | None) -> str | None:
        """Store a trunk; the password of a PBX's account is returned, given or generated."""
        made = None
        if trunk.kind is TrunkKind.PBX:
            wanted = WantedAccount(login=trunk.name, kind=AccountKind.TRUNK, password=password)
            # Before the account is there, so that it is published with what it accepts.
            self.book.put(trunk)
            try:
                made = (await self.maker.add([wanted]))[0]
                await self.keep(lambda connection: insert_trunk(connection, trunk))
            except BaseException:
                self.book.remove(trunk.name)
                if made is not None:
                    await self.maker.remove(trunk.name)
                raise
            await self.maker.number_of(trunk.name)
            return made.password
        await self.keep(lambda connection: insert_trunk(connection, trunk))
        self.book.put(trunk)
        return None

    async def change(self, name: str, options: TrunkOptions) -> JsonObject:
        """Change settings of a trunk; what is not given stays."""
        async with self._changing:
            trunk = self._get(name)
            settings = settings_with(name, trunk.settings, options)
            check_settings(name, settings)
            password = trunk.password if options.password is None else options.password
            shown = None
            if isinstance(settings, ProviderSettings):
                _check_secret(name, settings, password)
            elif options.password is not None:
                shown = (await self.maker.set_password(name, options.password or None)).password
                password = None
            changed = replace(trunk, settings=settings, password=password)
            await self.keep(lambda connection: update_trunk(connection, changed))
            self.book.put(changed)
            return self.show(name, shown)

    async def remove(self, name: str) -> JsonObject:
        """Remove a trunk, the account of a PBX, and the numbers mapped to it."""
        async with self._changing:
            trunk = self._get(name)
            unmapped = [f"+{did.number}" for did in self.book.dids.all_of(trunk.name)]
            if trunk.kind is TrunkKind.PBX and self.accounts.by_login(trunk.name) is not None:
                await self.maker.remove(trunk.name)
            await self.keep(lambda connection: delete_trunk(connection, trunk.name))
            self.book.remove(trunk.name)
            if self.states is not None:
                self.states.ended(trunk)
            return {"removed": trunk.name, "unmapped": unmapped}

    # Numbers

    def dids(self) -> list[JsonObject]:
        """Every mapped number, and where it leads."""
        found = sorted(self.book.dids, key=lambda did: did.number)
        return [_did_as_json(did) for did in found]

    async def map(self, number: str, target: str) -> JsonObject:
        """Have a number lead to an account, or to an extension behind a trunk."""
        async with self._changing:
            did = self._read_did(number, target)
            self._check_new(did)
            await self.keep(lambda connection: insert_did(connection, did))
            self.book.dids.add(did)
            return _did_as_json(did)

    async def unmap(self, number: str) -> JsonObject:
        """Have a number lead nowhere."""
        async with self._changing:
            digits = read_number(number, self._country())
            did = self.book.dids.get(digits)
            if did is None:
                raise RefusedError(
                    f"number +{digits} is not mapped; `ringmesh did list` shows which are", 404
                )
            await self.keep(lambda connection: delete_did(connection, digits))
            self.book.dids.remove(digits)
            return {"unmapped": f"+{digits}", "target": did.target}

    def _read_mapping(self, text: str, name: str, settings: Settings) -> Did:
        number, equals, target = text.partition("=")
        country = settings.country if isinstance(settings, ProviderSettings) else None
        if not equals:
            if isinstance(settings, PbxSettings):
                did = Did(read_number(number, self._country()), name, None, self.clock.unix())
                self._check_new(did)
                return did
            raise AccountError(
                f"--did {text[:64]!r}: say where it leads, as in --did '+49 30 1234567=alice'"
            )
        own = name if isinstance(settings, PbxSettings) else None
        did = self._read_did(number, target, country, own)
        self._check_new(did)
        return did

    def _read_did(
        self, number: str, target: str, country: str | None = None, own: str | None = None
    ) -> Did:
        digits = read_number(number, country or self._country())
        login, star, extension = target.strip().partition("*")
        account = self.accounts.find(login)
        is_trunk = login == own or (account is not None and account.kind is AccountKind.TRUNK)
        if account is None and login != own:
            if self.book.get(login) is not None:
                raise RefusedError(
                    f"{login} is a provider; map +{digits} to an account here, such as a user "
                    "or a PBX"
                )
            raise RefusedError(
                f"no account {login[:64]!r} here to map +{digits} to; `ringmesh user list` and "
                "`ringmesh trunk list` show which there are",
                404,
            )
        if star and not is_trunk:
            raise RefusedError(
                f"{login} is a user and has no extensions; map +{digits} to {login} itself"
            )
        is_number = extension.isascii() and extension.isdigit() and len(extension) <= MAX_EXTENSION
        if star and not is_number:
            raise AccountError(
                f"extension {extension[:32]!r}: use 1 to {MAX_EXTENSION} digits, as in {login}*123"
            )
        login = login if account is None else account.login
        return Did(digits, login, extension or None, self.clock.unix())

    def _check_new(self, did: Did) -> None:
        known = self.book.dids.get(did.number)
        if known is not None:
            raise RefusedError(
                f"number +{did.number} is mapped to {known.target} already; "
                f"first take it away with: ringmesh did unmap +{did.number}"
            )
        if len(self.book.dids) >= MAX_DIDS:
            raise RefusedError(f"a node has at most {MAX_DIDS} mapped numbers; unmap one first")

    def _country(self) -> str | None:
        """Whose national numbers may be typed: that of the trunks, where they agree."""
        countries = self.book.dids.countries
        return next(iter(countries)) if len(countries) == 1 else None

    def _get(self, name: str) -> Trunk:
        trunk = self.book.get(name)
        if trunk is None:
            raise RefusedError(
                f"no trunk {name[:64]!r} here; `ringmesh trunk list` shows which there are", 404
            )
        return trunk

    def _account_changed(self, change: AccountChange) -> None:
        if isinstance(change, AccountRemoved):
            for did in self.book.dids.all_of(change.account.login):
                self.book.dids.remove(did.number)


def _insert_did(did: Did, connection: Connection) -> None:
    insert_did(connection, did)


def _did_as_json(did: Did) -> JsonObject:
    return {
        "number": f"+{did.number}",
        "target": did.target,
        "login": did.login,
        "extension": did.extension,
    }


def _check_secret(name: str, settings: Settings, password: str | None) -> None:
    """The password at a provider: any that a digest can be made with."""
    if isinstance(settings, PbxSettings):
        return
    if settings.login is not None and not password:
        raise AccountError(
            f"trunk {name}: --password is missing: the one that the provider gave for "
            f"{settings.login} (`-` reads it from standard input)"
        )
    if settings.login is None and password:
        raise AccountError(f"trunk {name}: --login is missing: the account that --password is for")
    if password and (len(password) > MAX_PASSWORD or not password.isprintable()):
        raise AccountError(
            f"trunk {name}: the password has control characters or more than {MAX_PASSWORD}"
        )
