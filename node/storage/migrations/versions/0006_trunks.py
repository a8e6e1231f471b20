"""Trunks, the numbers that lead to accounts, and how many calls went out each day."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the tables. Accounts of kind `trunk` get their settings when they are next changed."""
    op.create_table(
        "trunks",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("settings", sa.LargeBinary, nullable=False),
        sa.Column("password", sa.String(255)),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_trunks"),
    )
    op.create_table(
        "dids",
        sa.Column("number", sa.String(15), nullable=False),
        sa.Column("login", sa.String(64), nullable=False),
        sa.Column("extension", sa.String(16)),
        sa.Column("added_at", sa.Double, nullable=False),
        sa.ForeignKeyConstraint(
            ["login"], ["accounts.login"], name="fk_dids_login", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("number", name="pk_dids"),
    )
    op.create_index("ix_dids_login", "dids", ["login"])
    op.create_table(
        "trunk_days",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("day", sa.Integer, nullable=False),
        sa.Column("calls", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_trunk_days"),
    )
