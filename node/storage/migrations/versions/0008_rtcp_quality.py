"""What each side said of the stream it was sent: loss and round trip, by RTCP."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add what earlier versions did not know; nothing is lost."""
    for side in ("caller", "callee"):
        op.add_column("call_records", sa.Column(f"{side}_told_lost", sa.Integer))
        op.add_column("call_records", sa.Column(f"{side}_round_trip", sa.Double))
