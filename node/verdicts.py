"""What steps of a lookup amount to, in a sentence each."""

from collections.abc import Sequence

from dht.finder import Found, Inconclusive, LookupResult, NotFound
from dht.record import Kind, Record
from federation.domain_proof import keys_in_texts
from federation.model.identity import NodeId, PublicKey
from node.accounts.account import AccountKind
from node.offerer import OfferTarget
from node.outside import Outside
from node.routing import (
    ECHO_NAMES,
    DomainTarget,
    KeyTarget,
    LocalTarget,
    Located,
    NumberTarget,
    Refusal,
    ServiceTarget,
    Target,
    TrunkTarget,
)
from node.storage.pins import Pin
from node.trunks.book import Way
from node.watched import DnsNote, LookupNote, WatchedDns


def kind_of(target: Target) -> str:
    """One word for a target."""
    match target:
        case ServiceTarget():
            return "service"
        case LocalTarget():
            return "local"
        case NumberTarget():
            return "number"
        case KeyTarget():
            return "key"
        case DomainTarget():
            return "domain"
        case TrunkTarget():
            return "trunk"
        case OfferTarget():
            return "offer"
        case Refusal():
            return "none"


def reading_of(target: Target) -> str:
    """How a target was understood, for people."""
    match target:
        case ServiceTarget(name):
            return f"a service of this node: {name}"
        case LocalTarget(account, extension, did):
            who = "a trunk" if account.kind is AccountKind.TRUNK else "a user"
            behind = f", extension {extension} behind it" if extension else ""
            mapped = f"the number +{did}, mapped to " if did else ""
            return f"{mapped}{who} of this node: {account.login}{behind}"
        case TrunkTarget(dialled, emergency):
            kind = "an emergency number" if emergency else "a telephone number"
            return f"{kind} that goes out over a trunk: {dialled}"
        case OfferTarget(number):
            return (
                f"a telephone number that no trunk here takes; other nodes' may offer it: +{number}"
            )
        case NumberTarget(number, extension):
            behind = f", extension {extension} behind it" if extension else ""
            return f"a number of the network: {number.spoken}{behind}"
        case KeyTarget(node, user):
            return f"user {user} at the node whose key the name holds: {node.text}"
        case DomainTarget(domain, user):
            return f"user {user} at the domain {domain}, which has to be proven"
        case Refusal(status=403):
            return "an emergency number"
        case Refusal(status=484):
            return "the beginning of a number of the network"
        case Refusal():
            return "nothing that can be called from here"


def way_out(ways: Sequence[Way]) -> str:
    """The trunks that are tried for a number, in order."""
    return "out over " + ", else ".join(f"trunk {w.trunk.name} as {w.number}" for w in ways)


def result_word(result: LookupResult | None) -> str:
    """How a lookup ended; `None` is one that the time did not suffice for."""
    if result is None:
        return "cut off"
    if isinstance(result, Found):
        return "found"
    return "inconclusive" if isinstance(result, Inconclusive) else "not found"


def record_verdict(record: Record, note: LookupNote) -> str:
    """Who signed a record, and for a number whether it is the owner's."""
    signer = "its owner" if record.publisher == record.owner else "the node its owner delegated to"
    signed = f"signed by {signer}"
    if record.is_tombstone:
        return f"{signed}: withdrawn"
    if record.kind is not Kind.NUMBER:
        return signed
    if isinstance(note.result, Found) and record in note.result.records:
        return f"{signed}; the number follows from the owner's key"
    if isinstance(note.result, Inconclusive):
        return f"{signed}; whether the number follows from the key was not checked in time"
    return f"{signed}, but the number does not follow from the owner's key: refused"


def proof_verdict(domain: str, found: NodeId | None, texts: DnsNote | None, dns: WatchedDns) -> str:
    """One sentence on why a domain is proven, or why not."""
    keys = keys_in_texts(texts.answers or ()) if texts is not None else set()
    if found is not None:
        if keys:
            return "proven by the TXT record"
        return "proven: the node that DNS leads to has this key and claims the name"
    if len(keys) > 1:
        return "not proven: the TXT records name two different keys"
    if any(note.answers is None for note in dns.notes):
        return "not proven: DNS did not answer everything in time"
    if texts is not None and texts.answers:
        return "not proven: the TXT record holds no node key"
    if not dns.dials:
        return "not proven: DNS has no TXT record with a node key, and leads to no address"
    dial = dns.dials[-1]
    if not dial.dialled and dial.found is None:
        return "not proven: DNS leads only to addresses that are not dialled from here"
    if dial.found is None:
        return "not proven: no TXT record, and no node answers where DNS leads"
    return f"not proven: the node where DNS leads does not claim {domain}"


def way_to(located: Located, linked: bool, lookups: list[LookupNote]) -> str:
    """Where a call goes; `linked`: whether a link to the first node is up."""
    first, more = located.attempts[0], len(located.attempts) - 1
    then = f", then {more} more" if more else ""
    how = "over the link that is up" if linked else "after a link to it is made"
    if located.kind == "offer":
        how += ", which has it go out over its trunk if it allows this node"
    way = f"the call goes to node {first.node.text[:16]}…{then}, {how}"
    user = next((note for note in lookups if note.kind is Kind.USER), None)
    if user is not None and isinstance(user.result, NotFound) and user.label not in ECHO_NAMES:
        way += (
            f"; that node publishes no user {user.label}, so it answers 404 unless it knows the "
            "name as an extension or number"
        )
    return way


def servers_as_json(outside: Outside) -> list[dict[str, str]]:
    """The SIP servers of another network, in the order in which they are tried."""
    return [
        {"transport": hop.transport.lower(), "address": str(hop.remote), "name": hop.name}
        for hop in outside.hops
    ]


def way_outside(outside: Outside) -> str:
    """Where a call to another SIP network goes."""
    first, more = outside.hops[0], len(outside.hops) - 1
    then = f", then to {more} more" if more else ""
    return (
        f"the call goes by plain SIP to {first.remote} over {first.transport}{then}; "
        "no node proves the domain, so it is not sealed"
    )


def pin_verdict(pin: Pin, found: PublicKey | None) -> str:
    """What a pin means for the key that was found; `None`: none was."""
    if found is None:
        return "pinned, and no key was found for it now"
    if pin.key is None:
        return "several keys were found and none is believed; see ringmesh pin list"
    if found != pin.key:
        return f"another key than before, refused: {found.text}"
    return "the same key as before"
