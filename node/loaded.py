"""Everything the database holds at start, read once."""

from dataclasses import dataclass
from typing import Any, Self

import msgspec

from federation.model.clocks import Entropy, UnixTime
from federation.model.identity import AccountId
from federation.model.number import Number
from node import turn_credentials
from node.accounts.account import Account
from node.accounts.rows import load_accounts
from node.edge.token import SECRET_BYTES
from node.relaying.consent import Consent
from node.setting import SettingError
from node.sip.binding import Binding
from node.storage.bans import Ban, load_bans
from node.storage.bindings import load_bindings
from node.storage.call_records import trim_call_records
from node.storage.database import Database
from node.storage.dialogs import load_dialogs
from node.storage.domains import load_domains
from node.storage.features import Features, load_features
from node.storage.grants import Grant, load_grants
from node.storage.messages import KeptMessage, load_messages
from node.storage.meta import kept_secret, read_meta
from node.storage.one_time import DeviceLink, Invitation, load_device_links, load_invitations
from node.storage.pins import Pin, load_pins
from node.storage.published import Published, load_published
from node.storage.relay_usage import load_consent, load_relay_usage
from node.storage.ring_groups import RingGroup, load_ring_groups
from node.storage.verified_numbers import load_verified_numbers
from node.trunks.book import TrunkBook
from node.trunks.rows import load_days, load_trunk_book
from node.web.access import PASSWORD_NAME

ROUTE_KEY = "route-key"
"Name of the key that signs our Record-Route tokens."


@dataclass(frozen=True, slots=True)
class Loaded:
    """The state of a node as it was left."""

    accounts: list[Account]
    bindings: list[Binding]
    pins: list[Pin]
    verified: list[tuple[AccountId, Number]]
    dialogs: dict[str, bytes]
    published: dict[str, Published]
    domains: list[str]
    "Those that a command added."
    features: list[Features]
    ring_groups: list[RingGroup]
    bans: list[Ban]
    messages: list[KeptMessage]
    "For users who were not there."
    route_secret: bytes
    turn_secret: bytes
    "Makes passwords of time-limited TURN names, unless the configuration has one."
    relay_consent: Consent | None
    "As a command chose last; `None`: as configured."
    relay_usage: dict[str, int]
    "Bytes relayed for strangers, by month."
    trunks: TrunkBook
    trunk_days: dict[str, tuple[int, int]]
    "The last day on which each trunk carried calls out, and how many."
    grants: list[Grant]
    "Of the web server."
    web_password: bytes | None
    "As `node.web.access.Access` keeps it."
    invitations: list[Invitation]
    device_links: list[DeviceLink]

    @classmethod
    def from_database(cls, database: Database, *, entropy: Entropy, now: UnixTime) -> Self:
        """Read it all; secrets are made where there are none, old call records go.

        Raises:
            StorageError: the database cannot be read or written.
        """
        with database.write() as connection:
            trim_call_records(connection)
            return cls(
                accounts=load_accounts(connection),
                bindings=load_bindings(connection, now=now),
                pins=load_pins(connection),
                verified=load_verified_numbers(connection),
                dialogs=load_dialogs(connection),
                published=load_published(connection),
                domains=load_domains(connection),
                features=load_features(connection),
                ring_groups=load_ring_groups(connection),
                bans=load_bans(connection),
                route_secret=kept_secret(connection, ROUTE_KEY, SECRET_BYTES, entropy),
                turn_secret=kept_secret(
                    connection, turn_credentials.SECRET_NAME, turn_credentials.SECRET_BYTES, entropy
                ),
                relay_consent=_consent(load_consent(connection)),
                relay_usage=load_relay_usage(connection),
                messages=load_messages(connection),
                trunks=load_trunk_book(connection),
                trunk_days=load_days(connection),
                grants=load_grants(connection),
                web_password=read_meta(connection, PASSWORD_NAME),
                invitations=load_invitations(connection),
                device_links=load_device_links(connection),
            )


def _consent(values: dict[str, Any] | None) -> Consent | None:
    """What was chosen; off where it cannot be read, since consent must be certain."""
    try:
        return None if values is None else msgspec.convert(values, Consent)
    except (msgspec.ValidationError, SettingError):
        return Consent()
