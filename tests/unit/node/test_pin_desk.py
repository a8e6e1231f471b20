"""Pins as the operator sees and changes them."""

import pytest

from federation.model.identity import AccountKey, NodeKey
from federation.model.number import Number, derive_number
from node.control import RefusedError
from node.pin_desk import PinDesk
from node.storage.pins import PinBook, PinKind
from tests.support.account_tools import NOW, StandingClock
from tests.support.memory_node import Nowhere

OLD, NEW = (NodeKey(bytes([n]) * 32).id for n in (1, 2))
NUMBER = Number("020000000000001")


def a_desk() -> tuple[PinDesk, PinBook]:
    book = PinBook([], Nowhere())
    return PinDesk(book, StandingClock()), book


def test_conflicts_are_listed_first_and_whole() -> None:
    desk, book = a_desk()
    book.check(PinKind.DOMAIN, "quiet.example", OLD, now=NOW)
    book.check(PinKind.DOMAIN, "example.org", OLD, now=NOW)
    book.check(PinKind.DOMAIN, "example.org", NEW, now=NOW)
    at = "2027-01-15T08:00:00Z"
    conflict = [{"key": NEW.text, "since": at, "last_seen": at}]
    pin = {"kind": "domain", "key": OLD.text, "since": at, "last_seen": at}
    assert desk.all() == [
        pin | {"name": "example.org", "conflict": conflict},
        pin | {"name": "quiet.example", "conflict": []},
    ]
    assert desk.accept("Example.org.")["key"] == NEW.text
    assert desk.forget("example.org")["name"] == "example.org"
    assert [each["name"] for each in desk.all()] == ["quiet.example"]


@pytest.mark.parametrize("typed", [NUMBER, "0200 0000 0000 001", " 020-000-000-000-001 "])
def test_a_number_is_read_as_people_write_it(typed: str) -> None:
    desk, book = a_desk()
    book.check(PinKind.NUMBER, NUMBER, AccountKey(bytes(32)).id, now=NOW)
    assert desk.forget(typed)["name"] == NUMBER


@pytest.mark.parametrize(
    ("name", "key", "status", "sentence"),
    [
        ("bob", None, 400, "'bob' cannot be pinned: give a number of 15 digits, or a domain"),
        ("bob@example.org", None, 400, "a domain without a user"),
        ("x" * 400, None, 400, "x" * 40 + "…"),
        (OLD.key_name, None, 400, "proves itself by its key and is never pinned"),
        ("example.org", "abc", 400, "'abc' is not a key: copy all 52 characters"),
        ("example.org", None, 409, "no other key was seen for domain example.org"),
    ],
)
def test_what_cannot_be_accepted_is_said(
    name: str, key: str | None, status: int, sentence: str
) -> None:
    desk, _ = a_desk()
    with pytest.raises(RefusedError) as refused:
        desk.accept(name, key)
    assert sentence in str(refused.value)
    assert refused.value.status == status


def test_what_is_not_pinned_cannot_be_forgotten() -> None:
    with pytest.raises(RefusedError) as refused:
        a_desk()[0].forget("example.org")
    assert refused.value.status == 404


def test_a_number_never_met_takes_its_own_key_only() -> None:
    desk, _ = a_desk()
    key = AccountKey(bytes(32)).id
    number = derive_number(key)
    desk.check_claim(number, key.text)
    with pytest.raises(RefusedError, match=f"{NUMBER} is not the number of that key"):
        desk.check_claim(NUMBER, key.text)
    desk.check_claim("example.org", OLD.text)
    assert desk.accept(number, key.text)["key"] == key.text
