"""How each direction of a call arrived."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the counters of the main stream; calls that ended before have none."""
    for side in ("caller", "callee"):
        op.add_column("call_records", sa.Column(f"{side}_packets", sa.Integer))
        op.add_column("call_records", sa.Column(f"{side}_lost", sa.Integer))
        op.add_column("call_records", sa.Column(f"{side}_jitter", sa.Double))
        op.add_column("call_records", sa.Column(f"{side}_longest_gap", sa.Double))
