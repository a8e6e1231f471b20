"""Sessions and tokens of the web server, invitations, one-time links for devices."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add what earlier versions did not know; nothing is lost."""
    op.create_table(
        "web_grants",
        sa.Column("digest", sa.LargeBinary(32), primary_key=True),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("since", sa.Double, nullable=False),
        sa.Column("until", sa.Double),
    )
    op.create_table(
        "invitations",
        sa.Column("digest", sa.LargeBinary(32), primary_key=True),
        sa.Column("note", sa.String(64), nullable=False),
        sa.Column("since", sa.Double, nullable=False),
        sa.Column("until", sa.Double, nullable=False),
        sa.Column("uses", sa.Integer, nullable=False),
        sa.Column("used", sa.Integer, nullable=False),
    )
    op.create_table(
        "provisioning",
        sa.Column("digest", sa.LargeBinary(32), primary_key=True),
        sa.Column(
            "login",
            sa.String(64),
            sa.ForeignKey("accounts.login", ondelete="CASCADE"),
            nullable=False,
        ),
        sa.Column("since", sa.Double, nullable=False),
        sa.Column("until", sa.Double, nullable=False),
    )
    op.create_index("ix_provisioning_login", "provisioning", ["login"])
