"""Links, sessions, tokens and the password of the web server."""

import pytest

from federation.model.clocks import UnixTime
from node.storage.grants import MAX_GRANTS, GrantKind
from node.web.access import LINK_SECONDS, MAX_LINKS, SESSION_SECONDS, Access
from tests.support.web_client import Kept


class SetClock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def unix(self) -> UnixTime:
        return UnixTime(self.now)

    def monotonic(self) -> float:
        return self.now


class Counted:
    """Entropy that never repeats."""

    def __init__(self) -> None:
        self.count = 0

    def token(self, size: int) -> bytes:
        self.count += 1
        return self.count.to_bytes(size, "big")


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def access(clock: SetClock, kept: Kept) -> Access:
    return Access([], None, kept, clock=clock, entropy=Counted())  # type: ignore[arg-type]


def test_a_link_opens_one_session_in_its_time(access: Access, clock: SetClock) -> None:
    link = access.link()
    session = access.use_link(link, "a browser")
    assert session is not None
    assert access.check(GrantKind.SESSION, session) is not None
    assert access.use_link(link, "a browser") is None
    late = access.link()
    clock.now += LINK_SECONDS
    assert access.use_link(late, "a browser") is None


def test_links_are_bounded(access: Access) -> None:
    links = [access.link() for _ in range(MAX_LINKS + 1)]
    assert access.use_link(links[0], "x") is None
    assert access.use_link(links[1], "x") is not None


def test_a_session_ends(access: Access, clock: SetClock) -> None:
    session = access.open_session("a browser")
    clock.now += SESSION_SECONDS
    assert access.check(GrantKind.SESSION, session) is None


def test_what_is_kept_opens_nothing(access: Access, kept: Kept) -> None:
    session = access.open_session("a browser")
    (row,) = kept.rows.values()
    assert session not in str(row)
    assert access.check(GrantKind.SESSION, row["digest"].hex()) is None


def test_too_many_sessions_end_the_oldest_and_no_token(access: Access) -> None:
    _, token = access.grant_token("monitor", None)
    sessions = [access.open_session(str(number)) for number in range(MAX_GRANTS)]
    assert access.check(GrantKind.SESSION, sessions[0]) is None
    assert access.check(GrantKind.SESSION, sessions[1]) is not None
    assert access.check(GrantKind.TOKEN, token) is not None
    assert len(list(access.book)) == MAX_GRANTS


def test_the_password_is_known_again_and_kept_unreadable(access: Access, kept: Kept) -> None:
    assert not access.is_password("")
    access.set_password("correct horse")
    assert access.is_password("correct horse")
    assert not access.is_password("correct horsf")
    assert "horse" not in str(kept.rows)
    access.set_password(None)
    assert not access.is_password("correct horse")
    assert kept.rows == {}
