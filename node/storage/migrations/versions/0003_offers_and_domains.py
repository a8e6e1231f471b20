"""Several refused keys a pin, when a key was last seen, and domains added by command."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Move the one refused key of a pin to a row of its own; it counts as seen when pinned."""
    op.create_table(
        "pin_offers",
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("key", sa.LargeBinary(32), nullable=False),
        sa.Column("first_seen", sa.Double, nullable=False),
        sa.Column("last_seen", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("kind", "name", "key", name="pk_pin_offers"),
    )
    op.execute(
        "INSERT INTO pin_offers (kind, name, key, first_seen, last_seen)"
        " SELECT kind, name, offered, pinned_at, pinned_at FROM pins WHERE offered IS NOT NULL"
    )
    op.drop_column("pins", "offered")
    op.add_column("pins", sa.Column("last_seen", sa.Double))
    op.create_table(
        "domains",
        sa.Column("name", sa.String(253), nullable=False),
        sa.Column("added_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_domains"),
    )
