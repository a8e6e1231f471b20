"""Why a call would go where it goes: each step of a lookup, told before any call is made.

The target is read and located by the very classes that calls use; what they ask is watched. Nothing
is pinned by asking, but a key that conflicts with a pin is remembered as it is in a call.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dht.directory import Directory
from dht.finder import Found, Inconclusive, Step
from dht.record import Record, positions, record_key
from dht.store import merge
from federation.domain_proof import DomainProof, Identify, Resolver
from federation.model.clocks import Clock, Monotonic
from federation.model.identity import NodeId
from federation.model.network import Network
from federation.peers import LinkInfo, Links
from node.accounts.account import Account
from node.control import JsonObject
from node.offerer import Offerer
from node.outside import Outside, SipServers
from node.pin_desk import moment, pin_as_json
from node.routing import (
    DomainTarget,
    LocalTarget,
    Located,
    Locator,
    Refusal,
    ServiceTarget,
    Target,
    TargetReader,
    TrunkTarget,
)
from node.sip.registrar import Registrar
from node.sip.uri import Uri
from node.sound_way import SoundWay
from node.storage.pins import PinBook
from node.verdicts import (
    kind_of,
    pin_verdict,
    proof_verdict,
    reading_of,
    record_verdict,
    result_word,
    servers_as_json,
    way_out,
    way_outside,
    way_to,
)
from node.watched import LookupNote, WatchedDns, WatchedLookups, WatchedPins

MAX_STEPS = 300
"Questions that are told of one lookup; further ones are counted."
MAX_RECORDS = 20
"Records that are told of one lookup; further ones are counted."


@dataclass(frozen=True, kw_only=True)
class Explainer:
    """Explains targets; it asks the network anew each time."""

    node: NodeId
    network: Network
    reader: TargetReader
    directory: Directory
    pins: PinBook
    resolver: Resolver
    dial: Identify
    "`Links.identify`."
    guard: Callable[[Identify], Identify]
    "Keeps from dialling where strangers' DNS must not lead."
    links: Links
    registrar: Registrar
    clock: Clock
    outer: Callable[[], list[JsonObject]] = list
    "Where others reach this node from outside a NAT (`OuterWatch.told`)."
    sound: SoundWay | None = None
    "What carries the sound; `None`: nobody says."
    servers: SipServers | None = None
    "Finds other SIP networks, where those may be called."
    offerers: Sequence[Offerer] = ()
    "The trunks of other nodes whose offers count."

    async def explain(self, target: str, uri: Uri) -> JsonObject:
        """What a call of an own account to `uri` would meet; `target` is what the person typed."""
        started = self.clock.monotonic()
        meant = self.reader.classify(uri, may_leave=True)
        answer: JsonObject = {
            "target": target,
            "uri": str(uri),
            "kind": kind_of(meant),
            "reading": reading_of(meant),
            "outer": self.outer(),
            "sound": None if self.sound is None else self.sound.told(),
            "proof": None,
            "lookups": [],
            "pins": [],
            "nodes": [],
            "servers": [],
            "devices": None,
        }
        match meant:
            case Refusal():
                end = meant
            case ServiceTarget():
                end = Refusal(200, "this node answers it itself")
            case LocalTarget(account=account):
                end = self._devices(account, answer)
            case TrunkTarget():
                end = Refusal(200, way_out(self.reader.ways_out(meant)))
            case _:
                end = await self._elsewhere(meant, answer, started)
        lack = None if self.sound is None else self.sound.lack()
        if end.status < 300 and lack is not None:
            end = Refusal(480, lack)
        seconds = self.clock.monotonic() - started
        return answer | {"status": end.status, "reason": end.text, "seconds": seconds}

    def _devices(self, account: Account, answer: JsonObject) -> Refusal:
        bindings = self.registrar.bindings(account.login, now=self.clock.unix())
        answer["devices"] = [
            {
                "uri": binding.uri,
                "address": str(binding.flow.remote),
                "transport": binding.flow.transport,
                "connected": binding.is_connected,
            }
            for binding in bindings
        ]
        ringing = sum(binding.is_connected for binding in bindings)
        if not ringing:
            return Refusal(480, "no device of this user is connected")
        return Refusal(200, f"{ringing} device{'' if ringing == 1 else 's'} here would ring")

    async def _elsewhere(self, meant: Target, answer: JsonObject, started: Monotonic) -> Refusal:
        lookups = WatchedLookups(self.directory, self.node, self.clock)
        dns = WatchedDns(self.resolver, self.clock)
        pins = WatchedPins(self.pins)
        proof = DomainProof(
            identify=dns.watching(self.guard, self.dial), clock=self.clock, resolver=dns
        )
        try:
            locator = Locator(
                self.node,
                lookups,
                pins,
                proof.prove,
                self.clock,
                servers=self.servers,
                offerers=self.offerers,
            )
            located = await locator.locate(meant)
            if isinstance(meant, DomainTarget):
                answer["proof"] = self._proof(meant.domain, proof, dns, started)
        finally:
            await proof.close()
        answer["lookups"] = [self._lookup(note, started) for note in lookups.notes]
        answer["pins"] = self._pins(pins)
        if isinstance(located, Refusal):
            return located
        if isinstance(located, Outside):
            answer["servers"] = servers_as_json(located)
            return Refusal(200, way_outside(located))
        answer["nodes"] = self._nodes(located)
        return Refusal(200, way_to(located, answer["nodes"][0]["linked"], lookups.notes))

    # What is told of each part

    def _proof(
        self, domain: str, proof: DomainProof, dns: WatchedDns, started: Monotonic
    ) -> JsonObject:
        found = proof.cached(domain)
        texts = next((n for n in dns.notes if n.kind == "TXT"), None)
        return {
            "domain": domain,
            "dns": [
                {
                    "name": note.name,
                    "type": note.kind,
                    "answers": None if note.answers is None else list(note.answers),
                    "error": note.error or None,
                    "seconds": note.seconds,
                    "at": note.started - started,
                }
                for note in dns.notes
            ],
            "dialled": [
                {
                    "asked": [str(endpoint) for endpoint in dial.asked],
                    "dialled": [str(endpoint) for endpoint in dial.dialled],
                    "node_id": None if dial.found is None else dial.found[0].text,
                    "claims": [] if dial.found is None else list(dial.found[1].domains),
                }
                for dial in dns.dials
            ],
            "node_id": None if found is None else found.text,
            "verdict": proof_verdict(domain, found, texts, dns),
        }

    def _lookup(self, note: LookupNote, started: Monotonic) -> JsonObject:
        search, result = note.search, note.result
        steps = search.steps if search is not None else ()
        key = record_key(note.kind, note.owner, note.label, self.network)
        known = self._records(note)
        return {
            "record": note.kind.name.lower(),
            "label": note.label,
            "owner": None if note.owner is None else note.owner.text,
            "at": note.started - started,
            "seconds": None if search is None else search.seconds,
            "result": result_word(result),
            "reason": result.reason if isinstance(result, Inconclusive) else None,
            "asked": 0 if search is None else search.asked,
            "hops": 0 if search is None else search.hops,
            "answered": sum(step.answered for step in steps),
            "agreed": search is not None and any(o.agreed for o in search.outcomes),
            "places": [
                {
                    "place": position.hex(),
                    "asked": sum(step.region == region for step in steps),
                    "answered": sum(step.region == region and step.answered for step in steps),
                }
                for region, position in enumerate(positions(key))
            ],
            "steps": self._steps(steps[:MAX_STEPS]),
            "steps_left_out": max(0, len(steps) - MAX_STEPS),
            "records": [_record(record, note) for record in known[:MAX_RECORDS]],
            "records_left_out": max(0, len(known) - MAX_RECORDS),
        }

    def _steps(self, steps: Sequence[Step]) -> list[JsonObject]:
        names = {contact.id: contact.node for contact in self.directory.contacts()}
        return [
            {
                "place": step.region,
                "at": step.at,
                "address": str(step.endpoint),
                "node_id": names[step.id].text if step.id in names else None,
                "overlay_id": bytes(step.id).hex(),
                "answered": step.answered,
                "contacts": step.named,
                "records": step.records,
                "refused": step.refused,
            }
            for step in steps
        ]

    def _records(self, note: LookupNote) -> tuple[Record, ...]:
        """Everything with a good signature that came, whether it was believed or not."""
        if note.search is not None:
            return merge(*(outcome.records for outcome in note.search.outcomes))
        return note.result.records if isinstance(note.result, Found) else ()

    def _pins(self, pins: WatchedPins) -> list[JsonObject]:
        told: list[JsonObject] = []
        for (kind, name), found in pins.consulted.items():
            pin = self.pins.get(kind, name)
            if pin is not None:
                told.append(pin_as_json(pin) | {"verdict": pin_verdict(pin, found)})
            elif found is not None:
                verdict = f"not pinned yet; the first call pins it to {found.text}"
                unknown: JsonObject = {
                    "kind": kind.value,
                    "name": name,
                    "key": None,
                    "conflict": [],
                }
                told.append(unknown | {"verdict": verdict})
        return told

    def _nodes(self, located: Located) -> list[JsonObject]:
        links = {link.node: link for link in self.links.peers()}
        return [
            {
                "node_id": attempt.node.text,
                "addresses": [str(hint) for hint in attempt.hints],
                "uri": str(located.uri_at(attempt.node)),
                "linked": attempt.node in links,
                "link": _link(links.get(attempt.node)),
            }
            for attempt in located.attempts
        ]


def _record(record: Record, note: LookupNote) -> JsonObject:
    routes = record.route.routes if record.route is not None else ()
    endpoints = record.address.endpoints if record.address is not None else ()
    offers = record.prefixes.offers if record.prefixes is not None else ()
    return {
        "owner": record.owner.text,
        "publisher": record.publisher.text,
        "issued": moment(record.issued / 1000),
        "expires": moment(record.expires),
        "believed": isinstance(note.result, Found) and record in note.result.records,
        "verdict": record_verdict(record, note),
        "nodes": [
            {
                "node_id": route.node.text,
                "priority": route.priority,
                "weight": route.weight,
                "hint": None if route.hint is None else str(route.hint),
            }
            for route in routes
        ],
        "addresses": [str(endpoint) for endpoint in endpoints],
        "prefixes": [f"+{offer.prefix}" for offer in offers],
    }


def _link(link: LinkInfo | None) -> JsonObject | None:
    if link is None:
        return None
    return {
        "address": None if link.endpoint is None else str(link.endpoint),
        "since": link.age,
        "rtt": link.rtt,
        "software": link.software,
    }
