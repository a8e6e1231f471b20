"""The part of the control messages that is about TURN; see `media_relay.control`."""

from typing import Annotated

import msgspec
from msgspec import Meta

MAX_TURN_NETWORKS = 256
"Networks opened to peers, and addresses of our own, in one configuration."
MAX_CODES = 64
MAX_PLACES = 8
"Two addresses of each family, with two ports each."
MAX_ACCOUNTS_A_MESSAGE = 300
MAX_USAGES_A_MESSAGE = 300

U16 = Annotated[int, Meta(ge=0, le=0xFFFF)]
U32 = Annotated[int, Meta(ge=0, le=0xFFFFFFFF)]
Count = Annotated[int, Meta(ge=0)]
Host = Annotated[str, Meta(max_length=64)]
Login = Annotated[str, Meta(min_length=1, max_length=128)]
Family = Annotated[int, Meta(ge=1, le=2)]
Token = Annotated[bytes, Meta(min_length=8, max_length=8)]
Path = Annotated[str, Meta(max_length=4096)]

UDP, TCP, TLS = 0, 1, 2
Transport = Annotated[int, Meta(ge=UDP, le=TLS)]


class ConfigureTurn(msgspec.Struct, frozen=True, array_like=True, tag=16):
    """How the TURN server behaves; may be sent again, allocations stay."""

    realm: Annotated[str, Meta(max_length=127)]
    nonce_key: Annotated[bytes, Meta(min_length=16, max_length=64)]
    rest_secret: Annotated[bytes, Meta(min_length=16, max_length=256)] | None
    families: Annotated[tuple[Family, ...], Meta(max_length=2)]
    external: Annotated[tuple[tuple[Family, Host], ...], Meta(max_length=2)]
    discovery: Annotated[tuple[tuple[U16, Host, U16], ...], Meta(max_length=MAX_PLACES)]
    "Listeners by which RFC 5780 is served, and their addresses."
    own: Annotated[tuple[Host, ...], Meta(max_length=MAX_TURN_NETWORKS)]
    allow: Annotated[tuple[Host, ...], Meta(max_length=MAX_TURN_NETWORKS)]
    account_quota: Count
    source_quota: Count
    total_quota: Count
    software: Annotated[str, Meta(max_length=127)]
    unix_offset: float
    "Unix time less monotonic time, in seconds."
    certificate: Path | None
    private_key: Path | None

    def __repr__(self) -> str:
        return f"ConfigureTurn(realm={self.realm!r})"


class AttachTurn(msgspec.Struct, frozen=True, array_like=True, tag=17):
    """Serve TURN clients on the socket that comes along."""

    listener: U16
    transport: Transport


class PutAccounts(msgspec.Struct, frozen=True, array_like=True, tag=18):
    """Add accounts, or change their keys."""

    accounts: Annotated[
        tuple[
            tuple[
                Login,
                Annotated[bytes, Meta(min_length=16, max_length=16)],
                Annotated[bytes, Meta(min_length=32, max_length=32)],
            ],
            ...,
        ],
        Meta(max_length=MAX_ACCOUNTS_A_MESSAGE),
    ]
    "Login, MD5 key, SHA-256 key."

    def __repr__(self) -> str:
        return f"PutAccounts({len(self.accounts)})"


class RemoveAccounts(msgspec.Struct, frozen=True, array_like=True, tag=19):
    """Forget accounts; what they have ends with its lifetime, what guests have at once."""

    logins: Annotated[tuple[Login, ...], Meta(max_length=MAX_ACCOUNTS_A_MESSAGE)]


class RelayOpened(msgspec.Struct, frozen=True, array_like=True, tag=20):
    """The answer to `WantRelay`; the socket comes along."""

    relay: U32
    token: Token | None


class RelayRefused(msgspec.Struct, frozen=True, array_like=True, tag=21):
    """The other answer: a STUN error code."""

    relay: U32
    code: Annotated[int, Meta(ge=300, le=699)]


class LendGuests(msgspec.Struct, frozen=True, array_like=True, tag=22):
    """So many bytes more may be passed for guests (`budget.py`)."""

    credit: Count
    kept: Count
    "Of its credit, what a worker keeps while its guests are silent."


class EndGuests(msgspec.Struct, frozen=True, array_like=True, tag=23):
    """Guests' allocations end within so many seconds, 0: now; -1: they may stay after all."""

    seconds: Annotated[int, Meta(ge=-1, le=3600)]


class LimitAccount(msgspec.Struct, frozen=True, array_like=True, tag=24):
    """An account may have so many bytes a second relayed by this worker."""

    login: Login
    rate: Count
    "0: it has no port there any more."


class WantRelay(msgspec.Struct, frozen=True, array_like=True, tag=69):
    """An authenticated client of this worker wants a relay port."""

    relay: U32
    listener: U16
    family: Family
    even: bool
    reserve: bool
    token: Token | None
    login: Login
    source: Host


class RelayClosed(msgspec.Struct, frozen=True, array_like=True, tag=70):
    """A relay port was closed here."""

    relay: U32


class AccountUsage(msgspec.Struct, frozen=True, array_like=True):
    """What one account had relayed since the last report."""

    login: Login
    packets_to_peers: Count
    bytes_to_peers: Count
    packets_to_clients: Count
    bytes_to_clients: Count
    bytes_dropped: Count = 0
    "Over the account's rate."

    @property
    def size(self) -> int:
        """Bytes that it had relayed or would have."""
        return self.bytes_to_peers + self.bytes_to_clients + self.bytes_dropped


class TurnUsage(msgspec.Struct, frozen=True, array_like=True, tag=71):
    """Accounts whose counters moved, and how many allocations and connections there are."""

    allocations: Count
    connections: Count
    accounts: Annotated[tuple[AccountUsage, ...], Meta(max_length=MAX_USAGES_A_MESSAGE)]
    refused: Annotated[tuple[tuple[U16, Count], ...], Meta(max_length=MAX_CODES)] = ()
    "Requests refused since the last report, by error code; 0: what was no STUN message."


class GuestTraffic(msgspec.Struct, frozen=True, array_like=True, tag=72):
    """Bytes passed for guests since the last such notice, dropped for want of credit, returned."""

    passed: Count
    dropped: Count
    returned: Count


TurnOrder = (
    ConfigureTurn
    | AttachTurn
    | PutAccounts
    | RemoveAccounts
    | RelayOpened
    | RelayRefused
    | LendGuests
    | EndGuests
    | LimitAccount
)
TurnNotice = WantRelay | RelayClosed | TurnUsage | GuestTraffic
