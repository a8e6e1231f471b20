"""Everything of trunks in a running node, joined: books, lines, counters, and how they are."""

from collections.abc import Callable, Iterator
from typing import Any

from federation.model.address import Endpoint
from federation.model.clocks import Clock, Entropy
from node.accounts.account import Account
from node.accounts.book import AccountBook
from node.accounts.keeper import AccountKeeper
from node.accounts.login import Reserved
from node.config import Config
from node.control import JsonObject
from node.edge.edge import Edge
from node.edge.trunk_lines import TrunkParts
from node.loaded import Loaded
from node.names import OwnNames
from node.sip.flow import Flow
from node.sip.registrar import Registrar
from node.sip.transports.sockets import SipTransports
from node.sip_location import DnsRecords, SipLocator, families_of
from node.storage.storage import Storage
from node.tracing.counts import Counts
from node.trunks.desk import TrunkDesk
from node.trunks.lines import TrunkLines
from node.trunks.load import TrunkLoad
from node.trunks.tester import TrunkTester, step
from node.trunks.trunk import PbxSettings, Trunk

PLACES_KEPT = 5.0
"Seconds after which it is looked anew where trunks are, for counting."


class TrunkRoom:
    """Made before the edge, which is given `parts`; started with it, closed before it."""

    def __init__(
        self,
        loaded: Loaded,
        storage: Storage,
        transports: SipTransports,
        names: OwnNames,
        config: Config,
        registrar: Registrar,
        *,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self.book = loaded.trunks
        self._storage = storage
        self._registrar = registrar
        self._clock = clock
        self._reserved = Reserved(emergency=frozenset(config.dialling.emergency_numbers))
        # Its own, for trunks lead where their operator says, also into private networks.
        self._finder = SipLocator(
            DnsRecords(config.dns.endpoints),
            clock=clock,
            entropy=entropy,
            families=lambda: families_of(names.addresses),
        )
        self.load = TrunkLoad(loaded.trunk_days, on_day=self._store_day)
        self.lines = TrunkLines(
            self.book,
            finder=self._finder,
            flow_to=transports.flow_to,
            reached_at=names.reached_at,
            learn=names.learn,
            secret=loaded.route_secret,
            clock=clock,
            entropy=entropy,
        )
        self._tester = TrunkTester(self.lines, self.book, entropy)
        self.counts = Counts(self.at)
        self._edge: Edge | None = None
        self._places: dict[Endpoint | str, str] = {}
        self._places_until = 0.0

    @property
    def parts(self) -> TrunkParts:
        """What the edge is told."""
        return TrunkParts(self.book, self.load, self.lines)

    def start(self, edge: Edge) -> None:
        """Register at the providers."""
        self._edge = edge
        self.lines.start(edge.ask)

    async def close(self) -> None:
        """Take the registrations back."""
        await self.lines.close()
        await self._finder.close()

    def desk(
        self,
        accounts: AccountBook,
        keeper: AccountKeeper,
        sheet: Callable[[Account, str | None], JsonObject],
    ) -> TrunkDesk:
        """Where the operator's commands end."""
        return TrunkDesk(
            book=self.book,
            accounts=accounts,
            maker=keeper,
            keep=self._storage.run,
            clock=self._clock,
            sheet=sheet,
            reserved=self._reserved,
            states=self,
        )

    # How the trunks are (`node.trunks.desk.TrunkStates`)

    def state_of(self, trunk: Trunk) -> tuple[str, str]:
        """One word, and the reason where it does not work."""
        if _registers_here(trunk):
            found = self._registrar.bindings(trunk.name, now=self._clock.unix())
            if any(binding.is_connected for binding in found):
                return "registered", ""
            return "not registered", "the PBX has not registered here"
        line = self.lines.get(trunk.name)
        if line is None:
            return "starting", ""
        return line.core.state.value, line.core.reason

    def calls_of(self, trunk: Trunk) -> tuple[int, int]:
        """Calls under way, and calls out today."""
        now = self._clock.unix()
        return self.load.calls(trunk.name), self.load.out_today(trunk.name, now=now)

    def traffic_of(self, trunk: Trunk) -> JsonObject:
        """The messages that passed between this node and the trunk, and how sound arrived."""
        return self.counts.of("trunk", trunk.name).as_json()

    def at(self, flow: Flow) -> str | None:
        """The trunk that a flow leads to, by its address; new ones are known after a moment."""
        now = self._clock.monotonic()
        if now >= self._places_until:
            self._places_until = now + PLACES_KEPT
            self._places = dict(self._found_places())
        return self._places.get(flow.remote) or self._places.get(flow.remote.host)

    def _found_places(self) -> Iterator[tuple[Endpoint | str, str]]:
        """Where trunks are: exact addresses for UDP, hosts for connections that servers make."""
        for trunk in self.book:
            line = self.lines.get(trunk.name)
            if line is not None:
                yield from ((host, trunk.name) for host in line.hosts)
            elif _registers_here(trunk):
                for binding in self._registrar.bindings(trunk.name, now=self._clock.unix()):
                    yield binding.flow.remote, trunk.name

    async def test(self, trunk: Trunk) -> list[JsonObject]:
        """Each step that a call depends on."""
        if _registers_here(trunk):
            return self._contacts(trunk)
        return await self._tester.test(trunk)

    def ended(self, trunk: Trunk) -> None:
        """A trunk was removed: its registrations and calls end."""
        if self._edge is not None:
            self._edge.end_account(trunk.side)

    def _contacts(self, trunk: Trunk) -> list[JsonObject]:
        found = self._registrar.bindings(trunk.name, now=self._clock.unix())
        if not found:
            text = (
                f"the PBX has not registered: give it the login {trunk.name}, its password and "
                f"the server that ringmesh trunk show {trunk.name} names"
            )
            return [step("registration", False, text)]
        steps: list[dict[str, Any]] = []
        for binding in found:
            left = round(binding.expires_at - self._clock.unix())
            where = f"{binding.flow.transport} {binding.flow.remote}"
            text = f"{binding.uri} over {where}, for another {left} s"
            steps.append(step("registration", binding.is_connected, text))
        return steps

    def _store_day(self, name: str, day: int, calls: int) -> None:
        row = {"name": name, "day": day, "calls": calls}
        self._storage.put("trunk_days", (name,), row)


def _registers_here(trunk: Trunk) -> bool:
    settings = trunk.settings
    return isinstance(settings, PbxSettings) and settings.static is None
