"""Call forwarding, ring groups, bans; codec, direction and path of calls."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add what earlier versions did not know; nothing is lost."""
    for column in (
        sa.Column("other_account", sa.String(64)),
        sa.Column("direction", sa.String(8)),
        sa.Column("path", sa.String(8)),
        sa.Column("codec", sa.String(32)),
    ):
        op.add_column("call_records", column)
    op.create_table(
        "features",
        sa.Column("login", sa.String(64), nullable=False),
        sa.Column("dnd", sa.Integer, nullable=False),
        sa.Column("always", sa.String(320)),
        sa.Column("busy", sa.String(320)),
        sa.Column("no_answer", sa.String(320)),
        sa.Column("after", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("login", name="pk_features"),
    )
    op.create_table(
        "ring_groups",
        sa.Column("login", sa.String(64), nullable=False),
        sa.Column("members", sa.String(8192), nullable=False),
        sa.Column("mode", sa.String(8), nullable=False),
        sa.Column("ring", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("login", name="pk_ring_groups"),
    )
    op.create_table(
        "bans",
        sa.Column("address", sa.String(64), nullable=False),
        sa.Column("port", sa.Integer, nullable=False),
        sa.Column("reason", sa.String(256), nullable=False),
        sa.Column("by_operator", sa.Integer, nullable=False),
        sa.Column("since", sa.Double, nullable=False),
        sa.Column("until", sa.Double),
        sa.Column("times", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("address", "port", name="pk_bans"),
    )
