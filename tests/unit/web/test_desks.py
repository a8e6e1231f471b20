"""Invitations, links for devices, and tries: their bounds and what they refuse."""

from types import SimpleNamespace
from typing import Any

import pytest

from federation.model.clocks import UnixTime
from node.control import RefusedError
from node.storage.one_time import DeviceLinkBook, InvitationBook
from node.web import invitations, provisioning, rates
from node.web.desk import WebDesk
from node.web.invitations import InvitationDesk
from node.web.provisioning import ProvisioningDesk
from node.web.rates import SAID_AT_ONCE, SECONDS_A_TRY, TRIES_AT_ONCE, Seldom, Tries
from tests.support.web_client import Kept, an_access
from tests.unit.web.test_access import Counted, SetClock


class Flushed(Kept):
    """A storage that keeps rows at once."""

    async def flush(self) -> None:
        """Nothing waits."""


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def kept() -> Flushed:
    return Flushed()


@pytest.fixture
def desk(clock: SetClock, kept: Flushed) -> InvitationDesk:
    return InvitationDesk(
        InvitationBook([], kept),
        kept,  # type: ignore[arg-type]
        url=lambda: "https://x.example",
        only_here=False,
        clock=clock,  # type: ignore[arg-type]
        entropy=Counted(),  # type: ignore[arg-type]
    )


@pytest.fixture
def devices(clock: SetClock, kept: Flushed) -> ProvisioningDesk:
    def account(login: str) -> Any:
        if login != "alice":
            raise RefusedError(f"no account {login!r} here", 404)
        return SimpleNamespace(login=login)

    return ProvisioningDesk(
        DeviceLinkBook([], kept),
        kept,  # type: ignore[arg-type]
        account=account,
        url=lambda: "https://x.example",
        only_here=True,
        clock=clock,  # type: ignore[arg-type]
        entropy=Counted(),  # type: ignore[arg-type]
    )


def token_of(made: dict[str, Any]) -> str:
    return str(made["url"]).rpartition("/")[2]


async def add(login: str, name: str | None) -> dict[str, Any]:
    if login == "taken":
        raise RefusedError("taken exists already")
    return {"login": login, "name": name}


async def test_an_invitation_is_used_up_and_only_by_success(desk: InvitationDesk) -> None:
    invitation = desk.find(token_of(await desk.create()))
    assert invitation is not None
    with pytest.raises(RefusedError, match="exists already"):
        await desk.accept(invitation, "taken", None, add)
    assert (await desk.accept(invitation, "bob", "Bob", add))["login"] == "bob"
    with pytest.raises(RefusedError, match="used up"):
        await desk.accept(invitation, "eve", None, add)
    assert desk.all() == []


async def test_two_who_come_at_once_share_what_is_left(desk: InvitationDesk) -> None:
    """The second is refused while the first account is still being made."""
    token = token_of(await desk.create())

    async def slow(login: str, name: str | None) -> dict[str, Any]:
        assert desk.find(token) is None
        return {"login": login}

    invitation = desk.find(token)
    assert invitation is not None
    assert await desk.accept(invitation, "bob", None, slow) == {"login": "bob"}


async def test_an_invitation_ends_in_time_and_by_its_id(
    desk: InvitationDesk, clock: SetClock, kept: Flushed
) -> None:
    late, revoked = await desk.create(seconds=60), await desk.create()
    assert await desk.revoke(revoked["id"]) == {"revoked": revoked["id"]}
    clock.now += 60
    assert desk.find(token_of(late)) is None
    assert desk.find(token_of(revoked)) is None
    with pytest.raises(RefusedError, match="invite list"):
        await desk.revoke(late["id"] + "0")
    assert desk.all() == []
    assert kept.rows == {}


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"uses": 0}, "0 uses cannot be"),
        ({"uses": invitations.MAX_USES + 1}, "1 to 1000 can"),
        ({"seconds": 0}, "0 s cannot be"),
        ({"seconds": invitations.LONGEST_SECONDS + 1}, "cannot be the time"),
        ({"note": "x" * 65}, "one line of up to 64"),
        ({"note": "a\x00b"}, "one line"),
    ],
)
async def test_what_no_invitation_can_be(
    desk: InvitationDesk, asked: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(RefusedError, match=sentence):
        await desk.create(**asked)


async def test_links_and_invitations_are_bounded(
    desk: InvitationDesk, devices: ProvisioningDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(invitations, "MAX_INVITATIONS", 2)
    monkeypatch.setattr(provisioning, "MAX_LINKS", 2)
    for _ in range(2):
        await desk.create()
        await devices.issue("alice")
    with pytest.raises(RefusedError, match="2 invitations are open; revoke one first"):
        await desk.create()
    with pytest.raises(RefusedError, match="2 links are open; revoke one first"):
        await devices.issue("alice")


async def test_a_fetch_that_breaks_off_leaves_the_link_open(devices: ProvisioningDesk) -> None:
    token = (await devices.issue("alice"))["folder"].split("/")[-2]
    link = devices.find(token)
    assert link is not None
    with pytest.raises(ConnectionError), devices.fetching(link):
        raise ConnectionError
    assert devices.find(token) == link
    with devices.fetching(link):
        with pytest.raises(RefusedError, match="right now"), devices.fetching(link):
            pass
        assert devices.find(token) == link
    assert devices.find(token) is None


async def test_a_device_link_ends_in_time_and_is_for_accounts_only(
    devices: ProvisioningDesk, clock: SetClock
) -> None:
    with pytest.raises(RefusedError, match="no account 'bob'"):
        await devices.issue("bob")
    with pytest.raises(RefusedError, match="cannot be the time"):
        await devices.issue("alice", seconds=provisioning.LONGEST_SECONDS + 1)
    made = await devices.issue("alice", seconds=60)
    assert made["only_here"] is True
    clock.now += 60
    assert devices.find(made["folder"].split("/")[-2]) is None
    assert devices.all() == []


def test_tries_are_counted_by_source_and_forgiven(
    clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = Tries(clock)  # type: ignore[arg-type]
    assert all(tries.may_try("192.0.2.1") for _ in range(TRIES_AT_ONCE))
    assert not tries.may_try("192.0.2.1")
    assert tries.may_try("192.0.2.2")
    clock.now = UnixTime(clock.now + SECONDS_A_TRY)
    assert tries.may_try("192.0.2.1")
    assert not tries.may_try("192.0.2.1")
    tries.was_right("192.0.2.1")
    assert tries.may_try("192.0.2.1")
    hosts = [f"2001:db8::{number:x}" for number in range(TRIES_AT_ONCE)]
    assert all(map(tries.may_try, hosts))
    assert not tries.may_try("2001:db8::ffff")  # one /64
    monkeypatch.setattr(rates, "MAX_SOURCES", 3)
    for number in range(9):
        tries.may_try(f"198.51.100.{number}")
    assert len(tries._sources) <= 4


def test_sayings_are_bounded_and_go_on(clock: SetClock) -> None:
    seldom = Seldom(clock)  # type: ignore[arg-type]
    assert [seldom.may_say() for _ in range(SAID_AT_ONCE + 5)].count(True) == SAID_AT_ONCE
    clock.now = UnixTime(clock.now + 1)
    assert [seldom.may_say() for _ in range(5)].count(True) == 1


@pytest.mark.parametrize(
    "password", [" leading blank", "trailing blank ", "a tab\tinside it", "short"]
)
async def test_a_password_that_no_form_sends_is_refused(kept: Flushed, password: str) -> None:
    """Forms take blanks off the ends: with them nobody could log in."""
    desk = WebDesk(an_access(), kept, enabled=True, url=str, entropy=Counted())  # type: ignore[arg-type]
    with pytest.raises(RefusedError, match="the console's password has 10 to 256 characters"):
        await desk.password(password)
    assert await desk.password("blanks within it") == {"password": "blanks within it"}
