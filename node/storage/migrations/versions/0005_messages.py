"""Messages that wait for users who are not there."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "messages",
        sa.Column("id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("login", sa.String(64), nullable=False),
        sa.Column("source", sa.String(80), nullable=False),
        sa.Column("display", sa.String(256), nullable=False),
        sa.Column("number", sa.String(15)),
        sa.Column("uri", sa.String(1024), nullable=False),
        sa.Column("verified", sa.Boolean, nullable=False),
        sa.Column("anonymous", sa.Boolean, nullable=False),
        sa.Column("headers", sa.LargeBinary, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("sent_at", sa.String(64), nullable=False),
        sa.Column("kept_at", sa.Double, nullable=False),
        sa.Column("expires_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_messages"),
        sa.ForeignKeyConstraint(
            ["login"], ["accounts.login"], name="fk_messages_login", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_messages_login", "messages", ["login"])
