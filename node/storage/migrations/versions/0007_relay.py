"""What was relayed for strangers each month, and receipts of what others relayed."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "relay_usage",
        sa.Column("month", sa.String(7), nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("month", name="pk_relay_usage"),
    )
    op.create_table(
        "relay_receipts",
        sa.Column("nonce", sa.LargeBinary(16), nullable=False),
        sa.Column("relay", sa.LargeBinary(32), nullable=False),
        sa.Column("received_at", sa.Double, nullable=False),
        sa.Column("receipt", sa.LargeBinary(512), nullable=False),
        sa.PrimaryKeyConstraint("nonce", name="pk_relay_receipts"),
    )
