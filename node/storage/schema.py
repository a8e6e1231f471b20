"""The tables, in types that SQLite and PostgreSQL share.

Instants are `UnixTime` seconds in a double, keys and blobs are raw bytes, HA1s are lower-case
hex. Passwords are in no column but `trunks.password`: what a provider asks for is needed in clear.
A change here needs a new `SCHEMA_VERSION` and a migration beside
the first one; a test compares what the migrations build with what stands here.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
)

SCHEMA_VERSION = "0009"
"The newest Alembic revision; `alembic_version` holds the one a database is at."

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

accounts = Table(
    "accounts",
    metadata,
    Column("login", String(64), primary_key=True),
    Column("kind", String(8), nullable=False),
    Column("name", String(64), nullable=False),
    Column("key", LargeBinary(32), nullable=False, unique=True),
    Column("seed", LargeBinary(32), nullable=False),
    Column("number", String(15), unique=True),
    Column("extension", String(8), unique=True),
    Column("ha1_md5", String(32), nullable=False),
    Column("ha1_sha256", String(64), nullable=False),
    Column("userhash", LargeBinary(32), nullable=False),
    Column("digest", String(8), nullable=False),
    Column("created_at", Double, nullable=False),
)
"Users and trunks. `number` is null until it was derived."

aliases = Table(
    "aliases",
    metadata,
    Column("username", String(320), primary_key=True),
    Column("login", String(64), ForeignKey("accounts.login", ondelete="CASCADE"), nullable=False),
    Column("ha1_md5", String(32), nullable=False),
    Column("ha1_sha256", String(64), nullable=False),
    Index("ix_aliases_login", "login"),
)
"The other user names a digest may be computed with: `login@domain`."

bindings = Table(
    "bindings",
    metadata,
    Column("login", String(64), primary_key=True),
    Column("key", String(2048), primary_key=True),
    Column("uri", String(2048), nullable=False),
    Column("transport", String(8), nullable=False),
    Column("local_host", String(64), nullable=False),
    Column("local_port", Integer, nullable=False),
    Column("remote_host", String(64), nullable=False),
    Column("remote_port", Integer, nullable=False),
    Column("server", String(320), nullable=False),
    Column("instance", String(512)),
    Column("reg_id", Integer),
    Column("q", Double, nullable=False),
    Column("path", String(8192), nullable=False),
    Column("user_agent", String(256), nullable=False),
    Column("call_id", String(1024), nullable=False),
    Column("cseq", Integer, nullable=False),
    Column("registered_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
)
"Registrations. `path` holds one value a line; text is written as `storage.bindings` says."

dialogs = Table(
    "dialogs",
    metadata,
    Column("id", String(512), primary_key=True),
    Column("data", LargeBinary, nullable=False),
)
"The edge's dialogs, each in the edge's own encoding."

pins = Table(
    "pins",
    metadata,
    Column("kind", String(8), primary_key=True),
    Column("name", String(255), primary_key=True),
    Column("key", LargeBinary(32), nullable=False),
    Column("pinned_at", Double, nullable=False),
    Column("last_seen", Double),
)
"First key seen for a number or domain; `last_seen` is null where an older version pinned it."

pin_offers = Table(
    "pin_offers",
    metadata,
    Column("kind", String(8), primary_key=True),
    Column("name", String(255), primary_key=True),
    Column("key", LargeBinary(32), primary_key=True),
    Column("first_seen", Double, nullable=False),
    Column("last_seen", Double, nullable=False),
)
"Other keys that were seen for a number or domain, refused, and wait for the operator."

domains = Table(
    "domains",
    metadata,
    Column("name", String(253), primary_key=True),
    Column("added_at", Double, nullable=False),
)
"Domains that a command added; those of the configuration are not here."

verified_numbers = Table(
    "verified_numbers",
    metadata,
    Column("key", LargeBinary(32), primary_key=True),
    Column("number", String(15), nullable=False),
    Column("verified_at", Double, nullable=False),
)
"Foreign account keys whose number was derived here, so that it need not be done again."

messages = Table(
    "messages",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("login", String(64), ForeignKey("accounts.login", ondelete="CASCADE"), nullable=False),
    Column("source", String(80), nullable=False),
    Column("display", String(256), nullable=False),
    Column("number", String(15)),
    Column("uri", String(1024), nullable=False),
    Column("verified", Boolean, nullable=False),
    Column("anonymous", Boolean, nullable=False),
    Column("headers", LargeBinary, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("sent_at", String(64), nullable=False),
    Column("kept_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
    Index("ix_messages_login", "login"),
)
"Messages for accounts of which no device was there. `headers` is msgpack: pairs of texts."

call_records = Table(
    "call_records",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("call_id", String(1024), nullable=False),
    Column("caller", String(512), nullable=False),
    Column("target", String(512), nullable=False),
    Column("account", String(64)),
    Column("peer", String(64)),
    Column("started_at", Double, nullable=False),
    Column("answered_at", Double),
    Column("ended_at", Double, nullable=False),
    Column("status", Integer, nullable=False),
    Column("reason", String(256), nullable=False),
    Column("caller_packets", Integer),
    Column("caller_lost", Integer),
    Column("caller_jitter", Double),
    Column("caller_longest_gap", Double),
    Column("callee_packets", Integer),
    Column("callee_lost", Integer),
    Column("callee_jitter", Double),
    Column("callee_longest_gap", Double),
    Column("other_account", String(64)),
    Column("direction", String(8)),
    Column("path", String(8)),
    Column("codec", String(32)),
    Column("caller_told_lost", Integer),
    Column("caller_round_trip", Double),
    Column("callee_told_lost", Integer),
    Column("callee_round_trip", Double),
    Index("ix_call_records_started_at", "started_at"),
)
"""One row a finished call; how each side's main stream arrived, null where it had none.

`other_account`, `direction`, `path` and `codec` are null in rows of an older version.
"""

features = Table(
    "features",
    metadata,
    Column("login", String(64), primary_key=True),
    Column("dnd", Integer, nullable=False),
    Column("always", String(320)),
    Column("busy", String(320)),
    Column("no_answer", String(320)),
    Column("after", Integer, nullable=False),
)
"Call forwarding and do-not-disturb of accounts that have any of them; `after` in seconds."

ring_groups = Table(
    "ring_groups",
    metadata,
    Column("login", String(64), primary_key=True),
    Column("members", String(8192), nullable=False),
    Column("mode", String(8), nullable=False),
    Column("ring", Integer, nullable=False),
)
"Accounts of kind `group`: their members' logins, one a line, and how these are rung."

bans = Table(
    "bans",
    metadata,
    Column("address", String(64), primary_key=True),
    Column("port", Integer, primary_key=True),
    Column("reason", String(256), nullable=False),
    Column("by_operator", Integer, nullable=False),
    Column("since", Double, nullable=False),
    Column("until", Double),
    Column("times", Integer, nullable=False),
)
"Sources that are not heard; port 0 is the whole address. `until` is null for a ban without end."

meta = Table(
    "meta",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", LargeBinary, nullable=False),
)
"Single values of the node."

trunks = Table(
    "trunks",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("kind", String(8), nullable=False),
    Column("settings", LargeBinary, nullable=False),
    Column("password", String(255)),
    Column("created_at", Double, nullable=False),
)
"PBXs (the login of their account is the name) and providers; `settings` is JSON."

dids = Table(
    "dids",
    metadata,
    Column("number", String(15), primary_key=True),
    Column("login", String(64), ForeignKey("accounts.login", ondelete="CASCADE"), nullable=False),
    Column("extension", String(16)),
    Column("added_at", Double, nullable=False),
    Index("ix_dids_login", "login"),
)
"Telephone numbers (E.164 digits) and the account, or extension behind it, that they lead to."

trunk_days = Table(
    "trunk_days",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("day", Integer, nullable=False),
    Column("calls", Integer, nullable=False),
)
"Calls out over each trunk on its last day of use; `day` counts from 1970 in UTC."

relay_usage = Table(
    "relay_usage",
    metadata,
    Column("month", String(7), primary_key=True),
    Column("bytes", BigInteger, nullable=False),
)
"Bytes relayed for strangers in each calendar month (UTC, `2026-03`)."

relay_receipts = Table(
    "relay_receipts",
    metadata,
    Column("nonce", LargeBinary(16), primary_key=True),
    Column("relay", LargeBinary(32), nullable=False),
    Column("received_at", Double, nullable=False),
    Column("receipt", LargeBinary(512), nullable=False),
)
"What other nodes relayed for this one, as they signed it; the latest of each token."

web_grants = Table(
    "web_grants",
    metadata,
    Column("digest", LargeBinary(32), primary_key=True),
    Column("kind", String(8), nullable=False),
    Column("name", String(64), nullable=False),
    Column("since", Double, nullable=False),
    Column("until", Double),
)
"Sessions and tokens of the web server, by the SHA-256 of their secret."

invitations = Table(
    "invitations",
    metadata,
    Column("digest", LargeBinary(32), primary_key=True),
    Column("note", String(64), nullable=False),
    Column("since", Double, nullable=False),
    Column("until", Double, nullable=False),
    Column("uses", Integer, nullable=False),
    Column("used", Integer, nullable=False),
)
"Links by which people make an account for themselves, by the SHA-256 of their secret."

provisioning = Table(
    "provisioning",
    metadata,
    Column("digest", LargeBinary(32), primary_key=True),
    Column("login", String(64), ForeignKey("accounts.login", ondelete="CASCADE"), nullable=False),
    Column("since", Double, nullable=False),
    Column("until", Double, nullable=False),
    Index("ix_provisioning_login", "login"),
)
"Links by which one device fetches its settings, once, by the SHA-256 of their secret."
