"""What the operator sees and does about the node's own domains, running or stopped.

A domain comes from the configuration (`domains` in the file, `RINGMESH_DOMAINS`, `--domain`) or was
added by a command. The latter are kept in the database, and only they can be removed by a command.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from sqlalchemy import Connection

from federation.domain_proof import Resolver
from federation.model.clocks import Clock
from node.accounts.account import Account
from node.config import MAX_DOMAINS, SettingError, check_domain
from node.control import JsonObject, RefusedError
from node.dns_lines import Finding, LineCheck, Purpose, Whereabouts, check_lines, dns_lines
from node.own_domains import is_global, lack_of_way
from node.storage.domains import delete_domain, insert_domain

MAX_LOGINS_TOLD = 20
"Logins that are named in one answer; of further ones only the count is told."
CONFIGURED, ADDED = "configuration", "command"
Keep = Callable[[Callable[[Connection], None]], Awaitable[None]]
"Carries out a change of the database and commits it."


@dataclass(slots=True)
class DomainNames:
    """The domains of a node, by where they come from."""

    configured: tuple[str, ...]
    added: list[str] = field(default_factory=list)

    @property
    def all(self) -> tuple[str, ...]:
        """Each once, those of the configuration first, as many as a node may have."""
        return tuple(dict.fromkeys([*self.configured, *self.added]))[:MAX_DOMAINS]


class Looks(Protocol):
    """A running node's looks at its domains (`node.own_domains.OwnDomains`)."""

    def is_proven(self, domain: str) -> bool | None:
        """Whether the domain works; `None` if that is not known yet."""

    def lack(self, domain: str) -> str:
        """What is missing, as far as is known."""

    def look_soon(self) -> None:
        """Look again now."""

    async def lack_of_proof(self, domain: str) -> str:
        """What keeps others from believing the name."""


@dataclass(kw_only=True)
class DomainDesk:
    """Adds, lists, verifies and removes. Every method may raise `RefusedError` with a sentence."""

    names: DomainNames
    whereabouts: Callable[[], Whereabouts]
    accounts: Callable[[], Iterable[Account]]
    keep: Keep
    resolver: Resolver
    clock: Clock
    looks: Looks | None = None
    "`None` while the node is stopped."
    on_change: Callable[[], None] = lambda: None
    _changing: asyncio.Lock = field(default_factory=asyncio.Lock)

    def all(self) -> list[JsonObject]:
        """Every domain: `domain`, `source`, `proven` or null, `lacks` or null."""
        return [self._entry(name) for name in self.names.all]

    def _entry(self, name: str) -> JsonObject:
        source = CONFIGURED if name in self.names.configured else ADDED
        entry: JsonObject = {"domain": name, "source": source, "proven": None, "lacks": None}
        if self.looks is not None:
            entry["proven"] = self.looks.is_proven(name)
            entry["lacks"] = self.looks.lack(name) or None
        return entry

    async def add(self, text: str) -> JsonObject:
        """Have the node answer for a domain; the answer has the DNS lines to paste."""
        async with self._changing:
            return await self._add(text)

    async def _add(self, text: str) -> JsonObject:
        name = read_domain(text)
        if name in self.names.all:
            raise RefusedError(
                f"{name} is a domain of this node already; "
                f"what its DNS lacks is told by ringmesh domain verify {name}"
            )
        if len(self.names.all) >= MAX_DOMAINS:
            raise RefusedError(f"a node has at most {MAX_DOMAINS} domains; remove one first")
        now = self.clock.unix()
        await self.keep(lambda connection: insert_domain(connection, name, now=now))
        self.names.added.append(name)
        self._changed()
        return self._sheet(name)

    def _sheet(self, name: str) -> JsonObject:
        accounts = sorted(self.accounts(), key=lambda account: account.login)
        without = [a.login for a in accounts if a.credential(f"{a.login}@{name}") is None]
        return {
            "domain": name,
            "source": ADDED,
            "dns": [line.as_json() for line in dns_lines(name, self.whereabouts())],
            "accounts": len(accounts),
            "uri": [f"sip:{account.login}@{name}" for account in accounts[:MAX_LOGINS_TOLD]],
            "public": any(map(is_global, self.whereabouts().addresses)),
            "without_hash": len(without),
            "logins_without_hash": without[:MAX_LOGINS_TOLD],
        }

    async def remove(self, text: str) -> JsonObject:
        """Answer for an added domain no more."""
        async with self._changing:
            return await self._remove(text)

    async def _remove(self, text: str) -> JsonObject:
        name = self._own(text)
        if name in self.names.configured:
            raise RefusedError(
                f"{name} comes from the configuration: take it out of `domains` in the file, of "
                "RINGMESH_DOMAINS or of --domain, and start the node again"
            )
        await self.keep(lambda connection: delete_domain(connection, name))
        self.names.added.remove(name)
        self._changed()
        return {"removed": name}

    async def verify(self, text: str) -> JsonObject:
        """Ask DNS now, line by line, and whether others would believe it."""
        name = self._own(text)
        at = self.whereabouts()
        checks, way = await asyncio.gather(
            check_lines(dns_lines(name, at), at, self.resolver),
            lack_of_way(name, self.resolver, at.addresses, at.sip_port),
        )
        lack = await self._lack_of_proof(name, checks)
        if self.looks is not None:
            self.looks.look_soon()
        return {
            "domain": name,
            "believed": None if lack is None else not lack,
            "lack_of_proof": lack or None,
            "phones": not way,
            "lack_of_way": way or None,
            "dns": [check.as_json() for check in checks],
        }

    async def _lack_of_proof(self, name: str, checks: Sequence[LineCheck]) -> str | None:
        """Empty if nothing; `None` where only a running node could tell."""
        if self.looks is not None:
            return await self.looks.lack_of_proof(name)
        if any(c.line.purpose is Purpose.PROOF and c.finding is Finding.THERE for c in checks):
            return ""
        return None

    def _own(self, text: str) -> str:
        name = read_domain(text)
        if name not in self.names.all:
            raise RefusedError(
                f"{name} is no domain of this node; `ringmesh domain list` shows which there are, "
                f"`ringmesh domain add {name}` adds it",
                404,
            )
        return name

    def _changed(self) -> None:
        self.on_change()
        if self.looks is not None:
            self.looks.look_soon()


def read_domain(text: str) -> str:
    """The domain that a person typed, in lower case and without a final dot.

    Raises:
        RefusedError: it cannot be a domain of theirs.
    """
    name = text.strip().lower().removesuffix(".")
    try:
        check_domain(name)
    except SettingError as error:
        raise RefusedError(f"{text[:80]!r} will not do: give {error.wanted}", 400) from error
    return name
