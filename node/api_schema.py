"""What the API's answers hold, as types: for its description, and for tests that compare.

An answer may hold more than is written here; what is written is promised. Instants are texts in
UTC (`2026-01-31T08:00:00Z`), times are in seconds.
"""

from typing import Any, Literal

import msgspec


class Refused(msgspec.Struct, kw_only=True):
    """The node said no."""

    error: str
    "A sentence that says why, and what to do."


class Status(msgspec.Struct, kw_only=True):
    """How the node is."""

    ready: bool
    node_id: str
    key_name: str
    network: str
    server: str
    version: str
    domains: list[str]
    addresses: list[str]
    ports: list[tuple[str, str, int, int]]
    "Name, `udp` or `tcp`, first and last port."
    peers: int
    accounts: int
    registrations: int
    calls: int
    overload: dict[str, Any] | None
    relay: dict[str, Any]
    mesh: dict[str, int]
    directory: dict[str, Any]
    uptime: float


class Peer(msgspec.Struct, kw_only=True):
    """A node that this one knows."""

    node_id: str
    address: str | None
    linked: bool
    rtt: float | None
    last_heard: float | None


class Pin(msgspec.Struct, kw_only=True):
    """The key that a number or a domain had when it was first called."""

    kind: str
    name: str
    key: str | None
    since: str
    last_seen: str
    conflict: list[dict[str, Any]]


class Where(msgspec.Struct, kw_only=True):
    """Where a dialled target leads."""

    target: str
    kind: str
    nodes: list[dict[str, Any]]
    status: int
    "200, or the SIP status that a caller would get."
    reason: str
    pin: dict[str, Any] | None


class Explanation(msgspec.Struct, kw_only=True):
    """What a call would meet, step by step."""

    target: str
    uri: str
    reading: str
    kind: str
    proof: dict[str, Any] | None
    lookups: list[dict[str, Any]]
    pins: list[dict[str, Any]]
    nodes: list[dict[str, Any]]
    devices: list[dict[str, Any]] | None
    status: int
    reason: str
    seconds: float


class Domain(msgspec.Struct, kw_only=True):
    """A domain of this node."""

    domain: str
    source: Literal["configuration", "command"]
    proven: bool | None
    lacks: str | None


class DomainSheet(msgspec.Struct, kw_only=True):
    """A domain that was added, and what its DNS has to say."""

    domain: str
    dns: list[dict[str, Any]]
    uri: list[str]


class DomainCheck(msgspec.Struct, kw_only=True):
    """What DNS says of a domain now."""

    domain: str
    believed: bool | None
    lack_of_proof: str | None
    phones: bool
    lack_of_way: str | None
    dns: list[dict[str, Any]]


class UserRow(msgspec.Struct, kw_only=True):
    """A user in the list."""

    login: str
    number: str | None
    extension: str | None
    name: str
    devices: int


class Device(msgspec.Struct, kw_only=True):
    """A registered device."""

    uri: str
    transport: str
    address: str
    connected: bool
    user_agent: str | None
    expires: int


class Sheet(msgspec.Struct, kw_only=True):
    """What is entered in a phone; the password is there only when it was just made."""

    login: str
    server: str
    uri: list[str]
    number: str | None
    extension: str | None
    name: str
    turn: dict[str, Any]
    password: str | msgspec.UnsetType = msgspec.UNSET


class User(Sheet, kw_only=True):
    """A user with devices and forwarding."""

    devices: list[Device]
    dnd: bool
    forwarding: dict[str, Any]


class Features(msgspec.Struct, kw_only=True):
    """Forwarding and do-not-disturb of an account."""

    login: str
    dnd: bool
    forwarding: dict[str, Any]


class Group(Sheet, kw_only=True):
    """A ring group."""

    members: list[str]
    mode: Literal["all", "in-turn"]
    ring: int


class Credentials(msgspec.Struct, kw_only=True):
    """Access to the relay that ends by itself."""

    username: str
    password: str
    ttl: int
    expires: str
    uris: list[str]


class Stream(msgspec.Struct, kw_only=True):
    """How one side's sound arrives."""

    packets: int
    lost: int
    jitter: float | None
    longest_gap: float
    mos: float | None
    told_lost: int | None
    round_trip: float | None


class Call(msgspec.Struct, kw_only=True):
    """A call under way."""

    id: str
    from_: str = msgspec.field(name="from")
    to: str
    state: Literal["ringing", "up"]
    since: float
    peer: str | None
    codec: str | None
    from_caller: Stream | None
    from_callee: Stream | None


class Record(msgspec.Struct, kw_only=True):
    """A call that has ended."""

    id: str
    call_id: str
    started: str
    answered: str | None
    ended: str
    duration: float
    direction: str | None
    from_: str = msgspec.field(name="from")
    to: str
    account: str | None
    other_account: str | None
    status: int
    reason: str
    path: str | None
    peer: str | None
    codec: str | None
    from_caller: Stream | None
    from_callee: Stream | None


class Trace(msgspec.Struct, kw_only=True):
    """The SIP messages of a call; secrets are masked."""

    call: str
    call_id: str
    under_way: bool
    whole: bool
    left_out: int
    parties: list[dict[str, Any]]
    messages: list[dict[str, Any]]


class Sent(msgspec.Struct, kw_only=True):
    """A message that was sent."""

    from_: str = msgspec.field(name="from")
    to: str
    kept: bool
    "It waits, for nobody is there."


class Waiting(msgspec.Struct, kw_only=True):
    """A message that waits."""

    from_: str = msgspec.field(name="from")
    name: str
    verified: bool
    sent: str | None
    bytes: int
    expires: str


class Ban(msgspec.Struct, kw_only=True):
    """A source that is not heard."""

    address: str
    port: int | None
    reason: str
    by: Literal["node", "operator"]
    since: str
    until: str | None
    times: int


class Trunk(msgspec.Struct, kw_only=True):
    """A trunk: its settings, which differ by kind, and how it is."""

    name: str
    kind: Literal["pbx", "provider"]
    state: str | None
    reason: str | None
    calls: int | None
    calls_today: int | None
    dids: list[str]


class TrunkTest(msgspec.Struct, kw_only=True):
    """What works of a trunk."""

    name: str
    works: bool
    steps: list[dict[str, Any]]


class Did(msgspec.Struct, kw_only=True):
    """A telephone number and whom it leads to."""

    number: str
    target: str
    login: str
    extension: str | None


class RelayUse(msgspec.Struct, kw_only=True):
    """Relaying for strangers: limits, and what is used of them."""

    strangers: bool
    state: str
    limits: dict[str, Any]
    now: dict[str, Any]
    month: str
    bytes: int
    bytes_left: int
    months: dict[str, int]


class GrantRow(msgspec.Struct, kw_only=True):
    """A browser or a program that may use the console or the API."""

    id: str
    kind: Literal["session", "token"]
    name: str
    since: str
    until: str | None


class NewGrant(GrantRow, kw_only=True):
    """A token, shown only now."""

    token: str


class ConsoleLink(msgspec.Struct, kw_only=True):
    """A link that opens the console once."""

    url: str
    seconds: int


class ConsolePassword(msgspec.Struct, kw_only=True):
    """The password of the login page; null: there is none."""

    password: str | None


class InvitationRow(msgspec.Struct, kw_only=True):
    """An invitation."""

    id: str
    note: str
    since: str
    until: str
    uses: int
    used: int


class MadeInvitation(InvitationRow, kw_only=True):
    """An invitation with its link, shown only now."""

    url: str
    only_here: bool


class DeviceLinkRow(msgspec.Struct, kw_only=True):
    """A link that sets up one device."""

    id: str
    login: str
    since: str
    until: str


class MadeDeviceLink(DeviceLinkRow, kw_only=True):
    """Such a link with what each device is told, shown only now."""

    folder: str
    linphone: str
    yealink: str
    grandstream: str
    snom: str
    poly: str
    only_here: bool
