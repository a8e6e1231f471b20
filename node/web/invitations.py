"""Invitations: links by which people make an account for themselves."""

from collections.abc import Awaitable, Callable

from federation.model.clocks import Clock, Entropy, UnixTime
from node.control import JsonObject, RefusedError
from node.pin_desk import moment
from node.storage.one_time import Invitation, InvitationBook
from node.storage.storage import Storage
from node.web.access import digest_of, new_token

INVITATION_SECONDS = 7 * 86_400
"How long an invitation is open where nothing else was said."
LONGEST_SECONDS = 366 * 86_400
MAX_USES = 1000
MAX_INVITATIONS = 200
MAX_NOTE = 64
AddUser = Callable[[str, str | None], Awaitable[JsonObject]]
"Makes an account of a login and a name; the answer is its sheet with the password."


class InvitationDesk:
    """Makes, lists, revokes and takes invitations. Methods may raise `RefusedError`."""

    def __init__(
        self,
        book: InvitationBook,
        storage: Storage,
        *,
        url: Callable[[], str],
        only_here: bool,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        """`url` is where others reach the web server; `only_here`: nobody else does."""
        self._book = book
        self._storage = storage
        self._url = url
        self._only_here = only_here
        self._clock = clock
        self._entropy = entropy

    async def create(
        self, *, uses: int = 1, seconds: int = INVITATION_SECONDS, note: str = ""
    ) -> JsonObject:
        """Invite: as of `all`, and `url`, which is shown only now, and `only_here`."""
        note, url = note.strip(), self._url()
        if not 1 <= uses <= MAX_USES:
            raise RefusedError(f"{uses} uses cannot be: 1 to {MAX_USES} can", 400)
        if not 1 <= seconds <= LONGEST_SECONDS:
            raise RefusedError(f"{seconds} s cannot be the time: 1 to {LONGEST_SECONDS} can", 400)
        if len(note) > MAX_NOTE or not note.isprintable():
            raise RefusedError(f"a note is one line of up to {MAX_NOTE} characters", 400)
        self._sweep()
        if len(self._book) >= MAX_INVITATIONS:
            raise RefusedError(f"{MAX_INVITATIONS} invitations are open; revoke one first")
        token, now = new_token(self._entropy), self._clock.unix()
        invitation = Invitation(
            digest=digest_of(token),
            note=note,
            since=now,
            until=UnixTime(now + seconds),
            uses=uses,
        )
        self._book.put(invitation)
        await self._storage.flush()
        link = {"url": f"{url}/join/{token}", "only_here": self._only_here}
        return _as_json(invitation) | link

    def all(self) -> list[JsonObject]:
        """Those that are open: `id`, `note`, `since`, `until` (UTC), `uses`, `used`."""
        self._sweep()
        return [_as_json(invitation) for invitation in self._book]

    async def revoke(self, name: str) -> JsonObject:
        """Take one back by its id; accounts that were made by it stay."""
        for invitation in self._book:
            if invitation.id == name:
                self._book.remove(invitation)
                await self._storage.flush()
                return {"revoked": name}
        raise RefusedError(
            f"no invitation {name[:20]!r} is open; `ringmesh invite list` shows which are", 404
        )

    def find(self, token: str) -> Invitation | None:
        """The invitation of a link, if it is still open."""
        invitation = self._book.get(digest_of(token))
        is_open = invitation is not None and invitation.is_open(self._clock.unix())
        return invitation if is_open else None

    async def accept(
        self, invitation: Invitation, login: str, name: str | None, add: AddUser
    ) -> JsonObject:
        """Make the account of somebody invited; where that fails, the invitation is not used."""
        as_it_is = self._book.get(invitation.digest)
        if as_it_is is None or not as_it_is.is_open(self._clock.unix()):
            raise RefusedError("this invitation has just been used up; ask for another", 410)
        self._book.count(invitation.digest, 1)
        try:
            sheet = await add(login, name)
        except BaseException:
            self._book.count(invitation.digest, -1)
            raise
        await self._storage.flush()
        return sheet

    def _sweep(self) -> None:
        now = self._clock.unix()
        for invitation in [each for each in self._book if not each.is_open(now)]:
            self._book.remove(invitation)


def _as_json(invitation: Invitation) -> JsonObject:
    return {
        "id": invitation.id,
        "note": invitation.note,
        "since": moment(invitation.since),
        "until": moment(invitation.until),
        "uses": invitation.uses,
        "used": invitation.used,
    }
