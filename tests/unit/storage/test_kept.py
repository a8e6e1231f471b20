"""Bindings, pins, verified numbers and call records survive a restart."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from federation.model.address import Endpoint
from federation.model.clocks import UnixTime
from federation.model.identity import AccountId, AccountKey, NodeId, NodeKey
from federation.model.number import Number
from node.sip.binding import BindingRemoved, BindingStored
from node.sip.flow import Flow
from node.sip.message import parse_message
from node.sip.registrar import Registrar
from node.storage.bindings import BindingStore, load_bindings
from node.storage.call_records import (
    CallRecord,
    CallRecords,
    StreamQuality,
    newest_call_records,
    trim_call_records,
)
from node.storage.database import Database
from node.storage.pins import (
    MAX_OFFERS,
    MAX_PINS,
    SEEN_STEP,
    Offer,
    Pin,
    PinBook,
    PinError,
    PinKind,
    load_pins,
)
from node.storage.verified_numbers import MAX_VERIFIED, VerifiedNumbers, load_verified_numbers
from node.storage.writer import WriteThrough
from tests.support.digest_client import register
from tests.support.sip_exchange import TCP, UDP

NOW = UnixTime(1_800_000_000.0)
NUMBERS = [Number(f"0{n}0000000000000") for n in range(2, 8)]


def account(n: int) -> AccountId:
    return AccountKey(bytes([n]) * 32).id


def node(n: int) -> NodeId:
    return NodeKey(bytes([n]) * 32).id


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database.open(tmp_path)
    yield opened
    opened.close()


def restored(database: Database, now: UnixTime = NOW) -> Registrar:
    registrar = Registrar()
    with database.write() as connection:
        registrar.restore(load_bindings(connection, now=now), now=now)
    return registrar


def test_bindings_survive_a_restart_field_by_field(database: Database) -> None:
    registrar, store = Registrar(), BindingStore(WriteThrough(database))
    ipv6 = Flow("UDP", Endpoint("2001:db8::1", 5060), Endpoint("2001:db8::2", 5070))
    contacts = [
        ("<sip:alice@192.0.2.10:5070;ob>;q=0.3", UDP, []),
        ('<sip:a@[2001:db8::2]>;+sip.instance="<urn:uuid:1>";reg-id=3', ipv6, []),
        ("<sip:m%C3%BCller@192.0.2.3>", UDP, [("User-Agent", "Téléphone \u260e/1")]),
        (
            "<sip:b@192.0.2.4>",
            UDP,
            [("Supported", "path"), ("Path", "<sip:e1;lr>, <sip:e2;lr>")],
        ),
    ]
    for n, (contact, flow, headers) in enumerate(contacts):
        request = register(contacts=[contact], call_id=f"c{n}", cseq=2**31 - 1, headers=headers)
        answer = registrar.register("alice", request, flow, now=NOW)
        assert answer.status == 200
        store.apply(answer.changes)
    after = restored(database)
    assert set(after.bindings("alice", now=NOW)) == set(registrar.bindings("alice", now=NOW))
    assert len(after) == 4


def test_bytes_that_are_no_text_come_back_as_they_were(database: Database) -> None:
    raw = register().encode().replace(b"Contact:", b"User-Agent: \xff\xfe\x00\r\nContact:")
    raw = raw.replace(b"<sip:alice@192.0.2.10:5070>", b"<sip:\xe4lice@192.0.2.10:5070>")
    registrar = Registrar()
    answer = registrar.register("alice", parse_message(raw), UDP, now=NOW)  # type: ignore[arg-type]
    assert answer.status == 200
    BindingStore(WriteThrough(database)).apply(answer.changes)
    assert restored(database).bindings("alice", now=NOW) == registrar.bindings("alice", now=NOW)


def test_a_restored_stream_is_not_connected(database: Database) -> None:
    registrar = Registrar()
    answer = registrar.register("alice", register(), TCP, now=NOW)
    BindingStore(WriteThrough(database)).apply(answer.changes)
    (binding,) = restored(database).bindings("alice", now=NOW)
    assert (binding.is_connected, binding.flow) == (False, replace(TCP, id=0))


def test_removed_and_expired_bindings_are_not_restored(database: Database) -> None:
    registrar, store = Registrar(), BindingStore(WriteThrough(database))
    store.apply(registrar.register("alice", register(), UDP, now=NOW).changes)
    (binding,) = registrar.bindings("alice", now=NOW)
    assert len(restored(database, UnixTime(NOW + 599))) == 1
    assert len(restored(database, UnixTime(NOW + 600))) == 0
    assert len(restored(database, NOW)) == 0
    store.apply([BindingStored(binding), BindingRemoved(binding)])
    assert len(restored(database)) == 0


def a_pin_book(database: Database, limit: int = MAX_PINS) -> PinBook:
    with database.read() as connection:
        return PinBook(load_pins(connection), WriteThrough(database), limit=limit)


def test_the_first_key_of_a_name_is_pinned(database: Database) -> None:
    book = a_pin_book(database)
    assert book.check(PinKind.NUMBER, NUMBERS[0], account(1), now=NOW)
    assert book.check(PinKind.DOMAIN, "example.org", node(2), now=NOW)
    again = a_pin_book(database)
    assert {(pin.kind, pin.name): pin.key for pin in again} == {
        (PinKind.NUMBER, NUMBERS[0]): account(1),
        (PinKind.DOMAIN, "example.org"): node(2),
    }
    pin = again.get(PinKind.DOMAIN, "example.org")
    assert pin == Pin(PinKind.DOMAIN, "example.org", node(2), NOW, NOW)
    assert isinstance(pin.key, NodeId)
    assert again.get(PinKind.NUMBER, "example.org") is None


def test_another_key_is_refused_until_it_is_accepted(database: Database) -> None:
    book = a_pin_book(database)
    name, old, new = "example.org", node(1), node(2)
    book.check(PinKind.DOMAIN, name, old, now=NOW)
    assert not book.check(PinKind.DOMAIN, name, new, now=NOW)
    again = a_pin_book(database)
    conflict = Pin(PinKind.DOMAIN, name, old, NOW, NOW, (Offer(new, NOW, NOW),))
    assert again.get(PinKind.DOMAIN, name) == conflict
    assert again.check(PinKind.DOMAIN, name, old, now=NOW)
    assert again.get(PinKind.DOMAIN, name) == conflict, "it is never resolved silently"
    later = UnixTime(NOW + 1)
    accepted = Pin(PinKind.DOMAIN, name, new, later, later)
    assert again.accept(PinKind.DOMAIN, name, now=later) == accepted
    final = a_pin_book(database)
    assert list(final) == [accepted]
    assert final.check(PinKind.DOMAIN, name, new, now=later)
    assert not final.check(PinKind.DOMAIN, name, old, now=later)


def test_the_old_key_may_be_kept(database: Database) -> None:
    """To accept the pinned key ends the conflict in its favour."""
    book, name = a_pin_book(database), "example.org"
    book.check(PinKind.DOMAIN, name, node(1), now=NOW)
    book.check(PinKind.DOMAIN, name, node(2), now=NOW)
    later = UnixTime(NOW + 9)
    book.accept(PinKind.DOMAIN, name, now=later, key=node(1))
    assert list(a_pin_book(database)) == [Pin(PinKind.DOMAIN, name, node(1), NOW, later)]


def test_two_keys_at_once_pin_neither(database: Database) -> None:
    """Whoever has which claim first in an answer wins nothing by it."""
    book, name = a_pin_book(database), NUMBERS[0]
    assert book.offer(PinKind.NUMBER, name, account(1), now=NOW)
    assert book.offer(PinKind.NUMBER, name, account(2), now=NOW)
    assert not book.offer(PinKind.NUMBER, name, account(2), now=NOW), "seen already"
    again = a_pin_book(database)
    offers = tuple(Offer(account(n), NOW, NOW) for n in (1, 2))
    pin = again.get(PinKind.NUMBER, name)
    assert pin is not None
    assert (pin.key, set(pin.offers)) == (None, set(offers))
    assert not again.check(PinKind.NUMBER, name, account(1), now=NOW)
    with pytest.raises(PinError, match=r"2 keys were seen for number \d+: say which one; they are"):
        again.accept(PinKind.NUMBER, name, now=NOW)
    with pytest.raises(PinError, match="that key was not seen for number"):
        again.accept(PinKind.NUMBER, name, now=NOW, key=account(3))
    again.accept(PinKind.NUMBER, name, now=NOW, key=account(2))
    assert list(a_pin_book(database)) == [Pin(PinKind.NUMBER, name, account(2), NOW, NOW)]


def test_when_a_key_was_last_seen_is_kept_by_the_minute(database: Database) -> None:
    book, name = a_pin_book(database), "example.org"
    for later in (0.0, SEEN_STEP - 1, SEEN_STEP):
        book.check(PinKind.DOMAIN, name, node(1), now=UnixTime(NOW + later))
        book.check(PinKind.DOMAIN, name, node(2), now=UnixTime(NOW + later))
        (pin,) = a_pin_book(database)
        seen = NOW + (later if later >= SEEN_STEP else 0.0)
        assert (pin.last_seen, pin.offers[0].last_seen) == (seen, seen)
        assert (pin.pinned_at, pin.offers[0].first_seen) == (NOW, NOW)


def test_refused_keys_are_limited_and_the_latest_stay(database: Database) -> None:
    book, name = a_pin_book(database), "example.org"
    for n in range(1, MAX_OFFERS + 4):
        book.check(PinKind.DOMAIN, name, node(n), now=UnixTime(NOW + n))
    (pin,) = a_pin_book(database)
    assert pin.key == node(1)
    assert [offer.key for offer in pin.offers] == [node(n) for n in range(4, MAX_OFFERS + 4)]


def test_a_key_may_be_accepted_by_name(database: Database) -> None:
    book = a_pin_book(database)
    pin = book.accept(PinKind.NUMBER, NUMBERS[0], now=NOW, key=account(3))
    assert pin == book.get(PinKind.NUMBER, NUMBERS[0])


def test_a_forgotten_name_is_pinned_anew(database: Database) -> None:
    book = a_pin_book(database)
    book.check(PinKind.NUMBER, NUMBERS[0], account(1), now=NOW)
    book.check(PinKind.NUMBER, NUMBERS[0], account(2), now=NOW)
    book.forget(PinKind.NUMBER, NUMBERS[0])
    assert list(a_pin_book(database)) == []
    assert book.check(PinKind.NUMBER, NUMBERS[0], account(2), now=NOW)


def test_what_is_not_pinned_is_said(database: Database) -> None:
    book = a_pin_book(database)
    with pytest.raises(
        PinError, match="number 02 is not pinned; `ringmesh pin list` shows what is"
    ):
        book.forget(PinKind.NUMBER, "02")
    book.check(PinKind.DOMAIN, "example.org", node(1), now=NOW)
    with pytest.raises(PinError, match=r"no other key was seen for domain example\.org"):
        book.accept(PinKind.DOMAIN, "example.org", now=NOW)


def test_pins_are_limited(database: Database) -> None:
    book = a_pin_book(database, limit=2)
    for n, number in enumerate(NUMBERS[:4], start=1):
        book.check(PinKind.NUMBER, number, account(n), now=UnixTime(NOW + n))
    assert [pin.name for pin in book] == NUMBERS[2:4]
    assert [pin.name for pin in a_pin_book(database)] == NUMBERS[2:4]


def verified(database: Database, limit: int = MAX_VERIFIED) -> VerifiedNumbers:
    with database.read() as connection:
        pairs = load_verified_numbers(connection)
    return VerifiedNumbers(pairs, WriteThrough(database), limit=limit)


def test_a_verified_number_is_kept(database: Database) -> None:
    numbers = verified(database)
    numbers.add(account(1), NUMBERS[0], now=NOW)
    numbers.add(account(1), NUMBERS[0], now=UnixTime(NOW + 5))
    again = verified(database)
    assert (again.get(account(1)), again.get(account(2)), len(again)) == (NUMBERS[0], None, 1)


def test_verified_numbers_are_limited(database: Database) -> None:
    numbers = verified(database, limit=2)
    for n, number in enumerate(NUMBERS[:4], start=1):
        numbers.add(account(n), number, now=UnixTime(NOW + n))
    for held in (numbers, verified(database)):
        assert [held.get(account(n)) for n in (1, 2, 3, 4)] == [None, None, *NUMBERS[2:4]]


def test_call_records_are_read_newest_first_and_trimmed(database: Database) -> None:
    records = CallRecords(WriteThrough(database))
    calls = [
        CallRecord(
            id=f"{n}", call_id=f"call-{n}", caller=NUMBERS[0], target="bob", account="alice",
            peer=None, started_at=UnixTime(NOW + n),
            answered_at=UnixTime(NOW + n + 2) if n else None,
            ended_at=UnixTime(NOW + n + 10), status=200 if n else 486, reason="hang-up",
            from_caller=StreamQuality(packets=500 + n, lost=n, jitter=0.001, longest_gap=0.06)
            if n else None,
            from_callee=StreamQuality(packets=0, lost=0, jitter=None, longest_gap=0.0)
            if n == 4 else None,
        )
        for n in range(5)
    ]  # fmt: skip
    for call in calls:
        records.add(call)
    assert [call.duration for call in calls[:2]] == [0.0, 8.0]
    with database.write() as connection:
        assert list(newest_call_records(connection, 3)) == calls[:1:-1]
        assert trim_call_records(connection, 2) == 3
        assert list(newest_call_records(connection, 9)) == calls[:2:-1]
