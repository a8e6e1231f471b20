"""A `RunnableNode` whose users and calls live in memory: what the API and command line meet."""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Any, cast

from federation.domain_proof import ResolveError, Service
from federation.model.clocks import SystemClock, UnixTime
from federation.model.identity import NodeKey
from federation.model.number import Number
from node.accounts.moved import Arrival, MovedAccount
from node.control import JsonObject, RefusedError
from node.dns_lines import Whereabouts
from node.domain_desk import DomainDesk, DomainNames
from node.metrics.monitor import Monitor
from node.pin_desk import PinDesk
from node.relaying.consent import Consent, ConsentChange
from node.sheet import AccountSheet, ServedAt
from node.storage.pins import PinBook
from node.turn_credentials import turn_credentials

KEY = NodeKey(bytes(range(32)))
SERVED = ServedAt(key_name=KEY.id.key_name, addresses=("192.0.2.7",), sip_port=5070)


class Nowhere:
    """A writer that keeps nothing."""

    def put(self, table: str, key: tuple[Any, ...], row: Mapping[str, Any]) -> None: ...

    def remove(self, table: str, key: tuple[Any, ...]) -> None: ...


class SetDns:
    """DNS with the records that a test sets, by name."""

    def __init__(self) -> None:
        self.txt: dict[str, list[str]] = {}
        self.srv: dict[str, list[Service]] = {}
        self.hosts: dict[str, list[str]] = {}
        self.silent: set[str] = set()

    async def texts(self, name: str) -> Sequence[str]:
        self._must_answer(name)
        return self.txt.get(name, [])

    async def services(self, name: str) -> Sequence[Service]:
        self._must_answer(name)
        return self.srv.get(name, [])

    async def addresses(self, name: str) -> Sequence[str]:
        self._must_answer(name)
        return self.hosts.get(name, [])

    def _must_answer(self, name: str) -> None:
        if name in self.silent:
            raise ResolveError(f"no answer for {name}")


class SetLinks:
    """The console's desk of a node without one."""

    def link(self) -> JsonObject:
        return {"url": "http://127.0.0.1:8060/enter/secret", "seconds": 3600}


async def _kept_nowhere(change: Any) -> None:
    """A commit to no database."""


TRAFFIC = {
    "requests": {"in": 3, "out": 5},
    "responses": {
        "in": {"1xx": 4, "2xx": 2, "3xx": 0, "4xx": 0, "5xx": 1, "6xx": 1},
        "out": {"1xx": 3, "2xx": 3, "3xx": 0, "4xx": 0, "5xx": 0, "6xx": 0},
    },
    "retransmissions": {"in": 0, "out": 0},
    "timeouts": 1,
    "rtp": {"streams": 2, "packets": 98, "lost": 2, "told_lost": 1, "jitter": 0.004},
}
"What passed between a node and a peer."


class MemoryTraces:
    """The trace of one call, with one message."""

    async def trace(self, call: str) -> JsonObject:
        if call != "c1@x/y":
            raise RefusedError(f"nothing is kept of a call {call!r}", 404)
        message = {
            "time": "2027-01-15T08:00:01.000000Z",
            "after": 0.0,
            "direction": "in",
            "party": 0,
            "transport": "UDP",
            "local": "192.0.2.7:5070",
            "remote": "192.0.2.9:5062",
            "summary": "INVITE sip:bob@192.0.2.7",
            "repeated": False,
            "bytes": 40,
            "text": "INVITE sip:bob@192.0.2.7 SIP/2.0\n\n",
        }
        return {
            "call": call,
            "call_id": call,
            "under_way": True,
            "whole": True,
            "left_out": 0,
            "parties": [{"address": "192.0.2.9:5062", "kind": "sip"}],
            "messages": [message],
        }


class MemoryNode:
    """Answers as a node does. `start_error` and `stop_seconds` make it fail or hang."""

    def __init__(self, *, start_error: Exception | None = None, stop_seconds: float = 0.0) -> None:
        self.users: dict[str, dict[str, Any]] = {}
        self.live_calls: dict[str, JsonObject] = {
            "c1": {"id": "c1", "from": "a", "to": "b", "state": "up", "since": 3.0, "peer": None}
        }
        self.pin_book = PinBook([], Nowhere())
        self.pin_desk = PinDesk(self.pin_book, SystemClock())
        self.domain_desk = DomainDesk(
            names=DomainNames(("conf.example",)),
            whereabouts=lambda: Whereabouts(KEY.id, SERVED.addresses, 5060, 7060),
            accounts=list,
            keep=_kept_nowhere,
            resolver=SetDns(),
            clock=SystemClock(),
        )
        self.trace_desk = MemoryTraces()
        self.monitor = Monitor(cast(Any, None), (), lambda: None)
        self.trouble: asyncio.Future[str] | None = None
        self.events: list[str] = []
        self.consent = Consent()
        self.web_desk = SetLinks()
        self._start_error = start_error
        self._stop_seconds = stop_seconds

    async def start(self) -> None:
        if self._start_error is not None:
            raise self._start_error
        self.trouble = asyncio.get_running_loop().create_future()
        self.events.append("start")

    async def stop(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(self._stop_seconds)
        self.events.append("stop")

    async def failed(self) -> str:
        assert self.trouble is not None
        return await self.trouble

    def reload(self) -> None:
        self.events.append("reload")

    def served(self) -> JsonObject:
        return SERVED.as_json()

    async def status(self) -> JsonObject:
        return {
            "ready": True,
            "node_id": KEY.id.text,
            "key_name": KEY.id.key_name,
            "network": "main",
            "server": SERVED.server,
            "addresses": ["192.0.2.7:7060"],
            "peers": 0,
            "health": {"healthy": True, "checks": {"loop": {"ok": True, "says": "it turns"}}},
            "traffic": TRAFFIC,
            "accounts": len(self.users),
            "registrations": 0,
            "calls": len(self.live_calls),
            "relay": {"workers": [], "ports_free": 10},
            "reloads": self.events.count("reload"),
        }

    async def peers(self) -> list[JsonObject]:
        return [
            {
                "node_id": KEY.id.text,
                "address": "192.0.2.8:7060",
                "linked": True,
                "rtt": 0.0123,
                "last_heard": 2.0,
                "traffic": TRAFFIC,
            }
        ]

    async def resolve(self, uri: str) -> JsonObject:
        if uri == "echo":
            return {"target": uri, "kind": "service", "nodes": [], "status": 200, "reason": "OK"}
        return {"target": uri, "kind": "local", "nodes": [], "status": 404, "reason": "Not Found"}

    async def why(self, uri: str) -> JsonObject:
        return {
            "target": uri,
            "uri": f"sip:{uri}@here",
            "kind": "none",
            "reading": "nothing that can be called from here",
            "proof": None,
            "lookups": [],
            "pins": [],
            "nodes": [],
            "devices": None,
            "status": 404,
            "reason": "nobody has this name or number",
            "seconds": 0.001,
        }

    async def dht(self) -> JsonObject:
        return {"contacts": 3, "lookups": {"Found": 2}}

    async def pins(self) -> list[JsonObject]:
        return self.pin_desk.all()

    async def pin_accept(self, name: str, key: str | None = None) -> JsonObject:
        return self.pin_desk.accept(name, key)

    async def pin_forget(self, name: str) -> JsonObject:
        return self.pin_desk.forget(name)

    async def domains(self) -> list[JsonObject]:
        return self.domain_desk.all()

    async def domain_add(self, name: str) -> JsonObject:
        return await self.domain_desk.add(name)

    async def domain_remove(self, name: str) -> JsonObject:
        return await self.domain_desk.remove(name)

    async def domain_verify(self, name: str) -> JsonObject:
        return await self.domain_desk.verify(name)

    async def users_list(self) -> list[JsonObject]:
        return [
            {
                "login": login,
                "number": "020000000000001",
                "extension": user["extension"],
                "name": user["name"] or "",
                "devices": 0,
            }
            for login, user in self.users.items()
        ]

    async def user_show(self, login: str) -> JsonObject:
        return self._sheet(login) | {"devices": []}

    async def user_add(
        self,
        login: str,
        *,
        password: str | None = None,
        extension: str | None = None,
        name: str | None = None,
    ) -> JsonObject:
        if login in self.users:
            raise RefusedError(f"{login} exists already: choose another login")
        self.users[login] = {"extension": extension, "name": name}
        return self._sheet(login, password or "generated7")

    async def user_import(self, moved: MovedAccount, arrival: Arrival) -> JsonObject:
        sheet = await self.user_add(arrival.login or moved.login, password=arrival.password)
        if arrival.password is None:
            del sheet["password"]
        return sheet

    async def user_passwd(self, login: str, *, password: str | None = None) -> JsonObject:
        return self._sheet(login, password or "generated8")

    async def user_remove(self, login: str) -> None:
        self._sheet(login)
        del self.users[login]

    async def turn_credentials(self, login: str, *, ttl: int | None = None) -> JsonObject:
        if login not in self.users:
            raise RefusedError(f"no account {login!r} here", 404)
        return turn_credentials(
            login, ttl, secret=bytes(32), served=SERVED, now=UnixTime(1_800_000_000.5)
        )

    async def calls(self) -> list[JsonObject]:
        return list(self.live_calls.values())

    async def hangup(self, call: str) -> int:
        if call == "all":
            ended = len(self.live_calls)
            self.live_calls.clear()
            return ended
        if self.live_calls.pop(call, None) is None:
            raise RefusedError(f"there is no call {call}: see ringmesh call list", 404)
        return 1

    def _sheet(self, login: str, password: str | None = None) -> JsonObject:
        user = self.users.get(login)
        if user is None:
            raise RefusedError(f"there is no user {login}: see ringmesh user list", 404)
        return AccountSheet(
            login=login,
            served=SERVED,
            number=Number("020000000000001"),
            extension=user["extension"],
            name=user["name"] or "",
            password=password,
        ).as_json()

    # Relaying for others

    async def relay_on(self, change: ConsentChange) -> JsonObject:
        self.consent = change.applied(self.consent, strangers=True)
        return await self.relay_usage()

    async def relay_off(self) -> JsonObject:
        self.consent = ConsentChange().applied(self.consent, strangers=False)
        return await self.relay_usage()

    async def relay_usage(self) -> JsonObject:
        consent = self.consent
        return {
            "strangers": consent.strangers,
            "state": "open" if consent.strangers else "off",
            "limits": {
                "kbit": consent.kbit,
                "sessions": consent.sessions,
                "gb_month": consent.gb_month,
                "hours": consent.hours,
            },
            "now": {"kbit": 0.0, "sessions": 0},
            "month": "2026-03",
            "bytes": 12_000_000,
        }

    async def relay_candidates(self) -> list[JsonObject]:
        return []

    async def relay_leases(self) -> list[JsonObject]:
        return []

    async def relay_borrow(self, count: int, *, keep: bool = False) -> list[JsonObject]:
        raise RefusedError("no node that is known relays for this one", 503)

    async def relay_give_back(self, lease: str) -> JsonObject:
        raise RefusedError("no such lease is held", 404)
