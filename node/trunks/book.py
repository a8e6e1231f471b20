"""Trunks, DIDs and the dial plan in memory, for the SIP path; nothing here asks the database."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from dht.prefixes import PrefixOffer
from federation.model.clocks import UnixTime
from node.sip.digest_client import DigestClient
from node.trunks.e164 import e164
from node.trunks.rules import best_rule, is_beginning
from node.trunks.trunk import PbxSettings, ProviderSettings, Trunk

MAX_TRUNKS = 1_024
MAX_DIDS = 100_000
"Of one node."


@dataclass(frozen=True, slots=True)
class Did:
    """A telephone number of a provider and the account here that it leads to."""

    number: str
    "Digits of E.164, without `+`."
    login: str
    extension: str | None
    "Behind the account, which is a trunk then."
    added_at: UnixTime

    @property
    def target(self) -> str:
        """As people write it: `alice`, `pbx` or `pbx*123`."""
        return self.login if self.extension is None else f"{self.login}*{self.extension}"


class DidBook:
    """Every DID, by number and by account."""

    def __init__(self, dids: Iterable[Did] = ()) -> None:
        self.countries: frozenset[str] = frozenset()
        "Whose national form (`030…`) is understood besides the international one."
        self._by_number: dict[str, Did] = {}
        self._by_login: dict[str, dict[str, Did]] = {}
        for did in dids:
            self.add(did)

    def __len__(self) -> int:
        return len(self._by_number)

    def __iter__(self) -> Iterator[Did]:
        return iter(tuple(self._by_number.values()))

    def get(self, number: str) -> Did | None:
        """The DID of these digits."""
        return self._by_number.get(number)

    def find(self, user: str) -> Did | None:
        """The DID that a user part means, in whatever form it is written."""
        if not self._by_number or user[:1] not in "+0123456789":
            return None
        found = self._by_number.get(e164(user, bare=True) or "")
        if found is None and user[:1] == "0":
            for country in self.countries:
                found = found or self._by_number.get(e164(user, country) or "")
        return found

    def international(self, user: str) -> str | None:
        """The number that was dialled, digits of E.164; national where one country is known."""
        country = next(iter(self.countries)) if len(self.countries) == 1 else None
        return e164(user, country)

    def of(self, login: str, extension: str | None = None) -> list[Did]:
        """The DIDs of an account, or of one extension behind it; the one mapped first leads."""
        found = self._by_login.get(login)
        if not found:
            return []
        return [did for did in found.values() if did.extension == extension]

    def all_of(self, login: str) -> list[Did]:
        """Those of its extensions as well."""
        return list(self._by_login.get(login, {}).values())

    def add(self, did: Did) -> None:
        """Take one in; a number that is there already leads elsewhere from now on."""
        self.remove(did.number)
        self._by_number[did.number] = did
        self._by_login.setdefault(did.login, {})[did.number] = did

    def remove(self, number: str) -> Did | None:
        """Drop one."""
        did = self._by_number.pop(number, None)
        if did is not None:
            numbers = self._by_login[did.login]
            del numbers[number]
            if not numbers:
                del self._by_login[did.login]
        return did


@dataclass(frozen=True, slots=True)
class Way:
    """A trunk that takes a dialled number, and what it is asked for."""

    trunk: Trunk
    number: str


class TrunkBook:
    """The trunks of a node, and its DIDs."""

    def __init__(self, trunks: Iterable[Trunk] = (), dids: Iterable[Did] = ()) -> None:
        self.dids = DidBook(dids)
        self._by_name: dict[str, Trunk] = {}
        self._providers: tuple[tuple[Trunk, ProviderSettings], ...] = ()
        self._listeners: list[Callable[[str], None]] = []
        for trunk in trunks:
            self._by_name[trunk.name] = trunk
        self._refresh()

    def __len__(self) -> int:
        return len(self._by_name)

    def __iter__(self) -> Iterator[Trunk]:
        return iter(tuple(self._by_name.values()))

    def get(self, name: str) -> Trunk | None:
        """The trunk of that name."""
        return self._by_name.get(name)

    def pbx(self, login: str) -> PbxSettings:
        """How the PBX of a trunk account is reached."""
        trunk = self._by_name.get(login)
        if trunk is not None and isinstance(trunk.settings, PbxSettings):
            return trunk.settings
        return PbxSettings()

    def credentials(self, side: str) -> DigestClient | None:
        """What answers the challenges of a trunk, given the name of its end of a dialog."""
        for trunk, settings in self._providers:
            if trunk.side == side and settings.login is not None:
                return DigestClient(settings.login, trunk.password or "")
        return None

    @property
    def has_providers(self) -> bool:
        """Whether any call can go out."""
        return bool(self._providers)

    def put(self, trunk: Trunk) -> None:
        """Take one in, or change it."""
        self._by_name[trunk.name] = trunk
        self._refresh()
        self._tell(trunk.name)

    def remove(self, name: str) -> Trunk | None:
        """Drop one."""
        trunk = self._by_name.pop(name, None)
        if trunk is not None:
            self._refresh()
            self._tell(name)
        return trunk

    def listen(self, listener: Callable[[str], None]) -> None:
        """Have `listener` called with the name of each trunk that is new, other or gone."""
        self._listeners.append(listener)

    def ways(self, dialled: str) -> list[Way]:
        """The trunks that take a number: by the longest prefix, then by priority."""
        found = []
        for trunk, settings in self._providers:
            best = best_rule(settings.rules, dialled)
            if best is not None:
                found.append((-best[0], settings.priority, trunk.name, Way(trunk, best[1])))
        found.sort(key=lambda entry: entry[:3])
        return [entry[3] for entry in found]

    def offered_ways(self, number: str, node: str) -> list[Way]:
        """The trunks that offer a number (digits of E.164) to a node: as `ways`."""
        dialled, found = f"+{number}", []
        for trunk, settings in self._providers:
            prefixes = [prefix for prefix in settings.offers if number.startswith(prefix)]
            best = best_rule(settings.rules, dialled)
            if prefixes and best is not None and node in settings.offer_to:
                longest = max(map(len, prefixes))
                found.append((-longest, settings.priority, trunk.name, Way(trunk, best[1])))
        found.sort(key=lambda entry: entry[:3])
        return [entry[3] for entry in found]

    def could_grow(self, dialled: str) -> bool:
        """Whether a number of which this is the beginning could go out."""
        return any(is_beginning(settings.rules, dialled) for _, settings in self._providers)

    def offers_of(self, name: str) -> tuple[PrefixOffer, ...]:
        """What a trunk offers to other nodes."""
        trunk = self._by_name.get(name)
        if trunk is None or not isinstance(trunk.settings, ProviderSettings):
            return ()
        settings = trunk.settings
        return tuple(PrefixOffer(prefix, settings.priority) for prefix in settings.offers)

    def emergency_ways(self, dialled: str) -> list[Way]:
        """The trunks that take emergency numbers, which go out as they were dialled."""
        chosen = [
            (settings.priority, trunk.name, trunk)
            for trunk, settings in self._providers
            if settings.emergency
        ]
        return [Way(trunk, dialled) for _, _, trunk in sorted(chosen, key=lambda e: e[:2])]

    def _refresh(self) -> None:
        self._providers = tuple(
            (trunk, trunk.settings)
            for trunk in self._by_name.values()
            if isinstance(trunk.settings, ProviderSettings)
        )
        self.dids.countries = frozenset(
            settings.country for _, settings in self._providers if settings.country
        )

    def _tell(self, name: str) -> None:
        for listener in self._listeners:
            listener(name)
