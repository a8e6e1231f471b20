"""Links by which one device fetches the settings of an account, once.

A link holds no password and changes nothing. The file with the password is made when a device
fetches it: the account then gets a new password, which no person has seen, and those devices that
have the old one are logged out. Where the fetch breaks off the link stays open, and the next one
makes another password.
"""

import contextlib
from collections.abc import Callable, Iterator

from federation.model.clocks import Clock, Entropy, UnixTime
from node.accounts.account import Account
from node.control import JsonObject, RefusedError
from node.pin_desk import moment
from node.storage.one_time import DeviceLink, DeviceLinkBook
from node.storage.storage import Storage
from node.web.access import digest_of, new_token

LINK_SECONDS = 86_400
"How long a link is open where nothing else was said."
LONGEST_SECONDS = 30 * 86_400
MAX_LINKS = 1000


class ProvisioningDesk:
    """Makes, lists and revokes such links. Methods may raise `RefusedError`."""

    def __init__(
        self,
        book: DeviceLinkBook,
        storage: Storage,
        *,
        account: Callable[[str], Account],
        url: Callable[[], str],
        only_here: bool,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        """`account` finds an account by its login, or refuses."""
        self._book = book
        self._storage = storage
        self._account = account
        self._url = url
        self._only_here = only_here
        self._clock = clock
        self._entropy = entropy
        self._busy: set[bytes] = set()

    async def issue(self, login: str, *, seconds: int = LINK_SECONDS) -> JsonObject:
        """A link for one device of an account: as of `all`, and where the files are.

        `folder` is the beginning of every file's URL, `linphone`, `yealink`, `grandstream`,
        `snom` and `poly` are what such a device is told. They are shown only now.
        """
        known, url = self._account(login).login, self._url()
        if not 1 <= seconds <= LONGEST_SECONDS:
            raise RefusedError(f"{seconds} s cannot be the time: 1 to {LONGEST_SECONDS} can", 400)
        self._sweep()
        if len(self._book) >= MAX_LINKS:
            raise RefusedError(f"{MAX_LINKS} links are open; revoke one first")
        token, now = new_token(self._entropy), self._clock.unix()
        until = UnixTime(now + seconds)
        link = DeviceLink(digest=digest_of(token), login=known, since=now, until=until)
        self._book.put(link)
        await self._storage.flush()
        folder = f"{url}/p/{token}/"
        return _as_json(link) | {
            "folder": folder,
            "linphone": f"{folder}linphone.xml",
            "yealink": f"{folder}yealink/",
            "grandstream": f"{folder}grandstream/",
            "snom": f"{folder}snom/{{mac}}.xml",
            "poly": f"{folder}poly/",
            "only_here": self._only_here,
        }

    def all(self) -> list[JsonObject]:
        """Those that were not fetched: `id`, `login`, `since`, `until` (UTC)."""
        self._sweep()
        return [_as_json(link) for link in self._book]

    async def revoke(self, name: str) -> JsonObject:
        """Take one back by its id."""
        for link in self._book:
            if link.id == name:
                self._book.remove(link)
                await self._storage.flush()
                return {"revoked": name}
        raise RefusedError(
            f"no link {name[:20]!r} is open; `ringmesh user links` shows which are", 404
        )

    def forget(self, login: str) -> None:
        """An account was removed: so are its links."""
        for link in [each for each in self._book if each.login == login]:
            self._book.remove(link)

    def find(self, token: str) -> DeviceLink | None:
        """The link of a secret, if it is open."""
        return self._book.get(digest_of(token), now=self._clock.unix())

    @contextlib.contextmanager
    def fetching(self, link: DeviceLink) -> Iterator[None]:
        """One fetch of the file with the password: ends the link unless it breaks off."""
        if link.digest in self._busy:
            raise RefusedError("another device is fetching this right now", 409)
        self._busy.add(link.digest)
        try:
            yield
            self._book.remove(link)
        finally:
            self._busy.discard(link.digest)

    def _sweep(self) -> None:
        now = self._clock.unix()
        for link in [each for each in self._book if not each.is_open(now)]:
            self._book.remove(link)


def _as_json(link: DeviceLink) -> JsonObject:
    return {
        "id": link.id,
        "login": link.login,
        "since": moment(link.since),
        "until": moment(link.until),
    }
