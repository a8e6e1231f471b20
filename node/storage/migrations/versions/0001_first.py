"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make every table of the first version."""
    op.create_table(
        "accounts",
        sa.Column("login", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("key", sa.LargeBinary(32), nullable=False),
        sa.Column("seed", sa.LargeBinary(32), nullable=False),
        sa.Column("number", sa.String(15)),
        sa.Column("extension", sa.String(8)),
        sa.Column("ha1_md5", sa.String(32), nullable=False),
        sa.Column("ha1_sha256", sa.String(64), nullable=False),
        sa.Column("userhash", sa.LargeBinary(32), nullable=False),
        sa.Column("digest", sa.String(8), nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("login", name="pk_accounts"),
        sa.UniqueConstraint("key", name="uq_accounts_key"),
        sa.UniqueConstraint("number", name="uq_accounts_number"),
        sa.UniqueConstraint("extension", name="uq_accounts_extension"),
    )
    op.create_table(
        "aliases",
        sa.Column("username", sa.String(320), nullable=False),
        sa.Column("login", sa.String(64), nullable=False),
        sa.Column("ha1_md5", sa.String(32), nullable=False),
        sa.Column("ha1_sha256", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("username", name="pk_aliases"),
        sa.ForeignKeyConstraint(
            ["login"], ["accounts.login"], name="fk_aliases_login", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_aliases_login", "aliases", ["login"])
    op.create_table(
        "bindings",
        sa.Column("login", sa.String(64), nullable=False),
        sa.Column("key", sa.String(2048), nullable=False),
        sa.Column("uri", sa.String(2048), nullable=False),
        sa.Column("transport", sa.String(8), nullable=False),
        sa.Column("local_host", sa.String(64), nullable=False),
        sa.Column("local_port", sa.Integer, nullable=False),
        sa.Column("remote_host", sa.String(64), nullable=False),
        sa.Column("remote_port", sa.Integer, nullable=False),
        sa.Column("server", sa.String(320), nullable=False),
        sa.Column("instance", sa.String(512)),
        sa.Column("reg_id", sa.Integer),
        sa.Column("q", sa.Double, nullable=False),
        sa.Column("path", sa.String(8192), nullable=False),
        sa.Column("user_agent", sa.String(256), nullable=False),
        sa.Column("call_id", sa.String(1024), nullable=False),
        sa.Column("cseq", sa.Integer, nullable=False),
        sa.Column("registered_at", sa.Double, nullable=False),
        sa.Column("expires_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("login", "key", name="pk_bindings"),
    )
    op.create_table(
        "dialogs",
        sa.Column("id", sa.String(512), nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_dialogs"),
    )
    op.create_table(
        "pins",
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("key", sa.LargeBinary(32), nullable=False),
        sa.Column("pinned_at", sa.Double, nullable=False),
        sa.Column("offered", sa.LargeBinary(32)),
        sa.PrimaryKeyConstraint("kind", "name", name="pk_pins"),
    )
    op.create_table(
        "verified_numbers",
        sa.Column("key", sa.LargeBinary(32), nullable=False),
        sa.Column("number", sa.String(15), nullable=False),
        sa.Column("verified_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_verified_numbers"),
    )
    op.create_table(
        "call_records",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("call_id", sa.String(1024), nullable=False),
        sa.Column("caller", sa.String(512), nullable=False),
        sa.Column("target", sa.String(512), nullable=False),
        sa.Column("account", sa.String(64)),
        sa.Column("peer", sa.String(64)),
        sa.Column("started_at", sa.Double, nullable=False),
        sa.Column("answered_at", sa.Double),
        sa.Column("ended_at", sa.Double, nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("reason", sa.String(256), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_call_records"),
    )
    op.create_index("ix_call_records_started_at", "call_records", ["started_at"])
    op.create_table(
        "meta",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("value", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_meta"),
    )
