"""What `why` says of records, proofs and pins, where a call alone would only say no."""

from dataclasses import replace
from typing import Any

import pytest

from dht.finder import Found, Inconclusive, LookupResult, NotFound
from dht.record import Accepts, Kind, Record, Route, RoutePayload
from federation.domain_proof import DomainProof, ResolveError
from federation.messages import Hello
from federation.model.address import Endpoint
from federation.model.clocks import Monotonic, SystemClock, UnixTime
from federation.model.identity import AccountKey, NodeId, NodeKey
from node.storage.pins import Offer, Pin, PinBook, PinKind
from node.verdicts import pin_verdict, proof_verdict, record_verdict, result_word
from node.watched import LookupNote, WatchedDns, WatchedPins
from tests.support.memory_node import KEY, Nowhere, SetDns

NODE, OTHER = KEY.id, NodeKey(bytes(32)).id
OWNER = AccountKey(bytes([7]) * 32).id
NOW = UnixTime(1_800_000_000.0)
CLAIM = Record(
    kind=Kind.NUMBER,
    owner=OWNER,
    label="020000000000001",
    publisher=NODE,
    issued=0,
    ttl=60,
    payload=RoutePayload(Accepts.USER, (Route(NODE),)),
)


@pytest.mark.parametrize(
    ("record", "result", "verdict"),
    [
        (CLAIM, Found((CLAIM,)), "signed by the node its owner delegated to; the number follows"),
        (CLAIM, NotFound(), "but the number does not follow from the owner's key: refused"),
        (CLAIM, Inconclusive("late"), "was not checked in time"),
        (replace(CLAIM, payload=None), NotFound(), "delegated to: withdrawn"),
        (
            replace(CLAIM, kind=Kind.USER, owner=NODE, label="bob"),
            NotFound(),
            "signed by its owner",
        ),
    ],
)
def test_records_are_judged(record: Record, result: LookupResult, verdict: str) -> None:
    note = LookupNote(record.kind, None, record.label, Monotonic(0.0), result)
    assert verdict in record_verdict(record, note)


def test_how_a_lookup_ended_is_one_word() -> None:
    words = [result_word(each) for each in (Found(()), NotFound(), Inconclusive("x"), None)]
    assert words == ["found", "not found", "inconclusive", "cut off"]


def test_pins_are_judged() -> None:
    pin = Pin(PinKind.DOMAIN, "example.org", NODE, NOW, NOW)
    assert pin_verdict(pin, NODE) == "the same key as before"
    assert pin_verdict(pin, OTHER) == f"another key than before, refused: {OTHER.text}"
    assert pin_verdict(pin, None) == "pinned, and no key was found for it now"
    neither = replace(pin, key=None, offers=(Offer(NODE, NOW, NOW), Offer(OTHER, NOW, NOW)))
    assert pin_verdict(neither, NODE).startswith("several keys were found and none is believed")


async def proven(
    dns: SetDns, node: tuple[NodeId, Hello] | None = None, *, dials: bool = True
) -> tuple[NodeId | None, str]:
    """Prove example.org while it is watched; returns the key and what is said of it."""

    async def dial(_: Any) -> tuple[NodeId, Hello] | None:
        return node

    async def keep_home(_: Any) -> tuple[NodeId, Hello] | None:
        return None

    watched = WatchedDns(dns, SystemClock())
    identify = watched.watching(lambda inner: inner if dials else keep_home, dial)
    proof = DomainProof(identify=identify, clock=SystemClock(), resolver=watched)
    found = await proof.prove("example.org")
    await proof.close()
    texts = next(note for note in watched.notes if note.kind == "TXT")
    return found, proof_verdict("example.org", found, texts, watched)


async def test_each_way_to_be_proven_or_not_has_its_sentence() -> None:
    dns = SetDns()
    nothing = "not proven: DNS has no TXT record with a node key, and leads to no address"
    assert await proven(dns) == (None, nothing)
    dns.hosts["example.org"] = ["192.0.2.1"]
    silent = "not proven: no TXT record, and no node answers where DNS leads"
    assert await proven(dns) == (None, silent)
    guarded = "not proven: DNS leads only to addresses that are not dialled from here"
    assert await proven(dns, dials=False) == (None, guarded)
    claims = Hello(domains=("example.org",))
    shaken = "proven: the node that DNS leads to has this key and claims the name"
    assert await proven(dns, (NODE, claims)) == (NODE, shaken)
    unclaimed = "not proven: the node where DNS leads does not claim example.org"
    assert await proven(dns, (NODE, Hello())) == (None, unclaimed)
    dns.txt["_ringmesh.example.org"] = ["no key"]
    assert (await proven(dns))[1] == "not proven: the TXT record holds no node key"
    dns.txt["_ringmesh.example.org"] = [NODE.text, OTHER.text]
    assert (await proven(dns))[1] == "not proven: the TXT records name two different keys"
    dns.txt["_ringmesh.example.org"] = [NODE.text]
    assert await proven(dns) == (NODE, "proven by the TXT record")
    dns = SetDns()
    dns.silent = {"_ringmesh.example.org"}
    assert (await proven(dns))[1] == "not proven: DNS did not answer everything in time"


async def test_what_dns_did_not_answer_is_written_down() -> None:
    dns = SetDns()
    dns.silent = {"example.org"}
    watched = WatchedDns(dns, SystemClock())
    with pytest.raises(ResolveError):
        await watched.addresses("example.org")
    (note,) = watched.notes
    assert (note.kind, note.answers, note.error) == ("A/AAAA", None, "no answer for example.org")


async def test_where_dns_leads_and_what_was_dialled_are_told_apart() -> None:
    asked = (Endpoint("10.0.0.1", 7060), Endpoint("5.6.7.8", 7060))
    watched = WatchedDns(SetDns(), SystemClock())

    async def dial(_: Any) -> None:
        return None

    def guard(inner: Any) -> Any:
        return lambda endpoints: inner(list(endpoints)[1:])

    assert await watched.watching(guard, dial)(asked) is None
    (note,) = watched.dials
    assert (note.asked, note.dialled) == (asked, asked[1:])


def test_watched_pins_keep_conflicts_and_pin_nothing() -> None:
    book = PinBook([], Nowhere())
    pins = WatchedPins(book)
    assert pins.check(PinKind.DOMAIN, "example.org", NODE, now=NOW)
    assert list(book) == []
    book.check(PinKind.DOMAIN, "example.org", NODE, now=NOW)
    assert not pins.check(PinKind.DOMAIN, "example.org", OTHER, now=NOW)
    (pin,) = book
    assert (pin.key, [offer.key for offer in pin.offers]) == (NODE, [OTHER])
    assert pins.consulted == {(PinKind.DOMAIN, "example.org"): OTHER}
