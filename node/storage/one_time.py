"""Links that others use: invitations, and settings for one device. Written behind."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace

from sqlalchemy import Connection, select

from federation.model.clocks import UnixTime
from node.storage import schema
from node.storage.writer import Writer


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """Lets a few people make an account each. Kept is the SHA-256 of its secret."""

    digest: bytes
    note: str
    since: UnixTime
    until: UnixTime
    uses: int
    "How many accounts may be made by it."
    used: int = 0

    @property
    def id(self) -> str:
        """What it is called by in commands."""
        return self.digest[:5].hex()

    def is_open(self, now: UnixTime) -> bool:
        """Whether it lets anybody in."""
        return now < self.until and self.used < self.uses


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceLink:
    """Lets one device fetch the settings of an account. Kept is the SHA-256 of its secret."""

    digest: bytes
    login: str
    since: UnixTime
    until: UnixTime

    @property
    def id(self) -> str:
        """What it is called by in commands."""
        return self.digest[:5].hex()

    def is_open(self, now: UnixTime) -> bool:
        """Whether its time has not passed."""
        return now < self.until


class InvitationBook:
    """Every invitation that is open."""

    def __init__(self, invitations: Iterable[Invitation], writer: Writer) -> None:
        self._writer = writer
        self._known = {each.digest: each for each in invitations}

    def __iter__(self) -> Iterator[Invitation]:
        return iter(sorted(self._known.values(), key=lambda each: each.since))

    def __len__(self) -> int:
        return len(self._known)

    def get(self, digest: bytes) -> Invitation | None:
        """The invitation of a secret's digest, open or not."""
        return self._known.get(digest)

    def put(self, invitation: Invitation) -> None:
        """Have one, in place of what it was before."""
        self._known[invitation.digest] = invitation
        self._writer.put("invitations", (invitation.digest,), asdict(invitation))

    def count(self, digest: bytes, change: int) -> None:
        """One more use, or with -1 one less, of an invitation that may have been revoked since."""
        invitation = self._known.get(digest)
        if invitation is not None:
            self.put(replace(invitation, used=max(0, invitation.used + change)))

    def remove(self, invitation: Invitation) -> None:
        """End one; harmless if it has ended."""
        if self._known.pop(invitation.digest, None) is not None:
            self._writer.remove("invitations", (invitation.digest,))


class DeviceLinkBook:
    """Every link for a device that was not fetched yet."""

    def __init__(self, links: Iterable[DeviceLink], writer: Writer) -> None:
        self._writer = writer
        self._known = {each.digest: each for each in links}

    def __iter__(self) -> Iterator[DeviceLink]:
        return iter(sorted(self._known.values(), key=lambda each: each.since))

    def __len__(self) -> int:
        return len(self._known)

    def get(self, digest: bytes, *, now: UnixTime) -> DeviceLink | None:
        """The link of a secret's digest, if its time has not passed."""
        link = self._known.get(digest)
        return link if link is not None and link.is_open(now) else None

    def put(self, link: DeviceLink) -> None:
        """Have one more."""
        self._known[link.digest] = link
        self._writer.put("provisioning", (link.digest,), asdict(link))

    def remove(self, link: DeviceLink) -> None:
        """End one; harmless if it has ended."""
        if self._known.pop(link.digest, None) is not None:
            self._writer.remove("provisioning", (link.digest,))


def load_invitations(connection: Connection) -> list[Invitation]:
    """All that are stored."""
    rows = connection.execute(select(schema.invitations)).mappings()
    return [Invitation(**row) for row in rows]


def load_device_links(connection: Connection) -> list[DeviceLink]:
    """All that are stored."""
    rows = connection.execute(select(schema.provisioning)).mappings()
    return [DeviceLink(**row) for row in rows]
