"""The first tables: rooms, their entries and the record of their owners."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0001"
down_revision: str | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# of PostgreSQL; SQLite compares byte by byte anyway
_name_64 = sa.String(64).with_variant(sa.String(64, collation="C"), "postgresql")
_name_128 = sa.String(128).with_variant(sa.String(128, collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "rooms",
        sa.Column("room", _name_128, nullable=False),
        sa.Column("log", sa.String(64), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("owner_inc", sa.String(64), nullable=False),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=False),
        sa.Column("mode", sa.String(16), nullable=False),
        sa.Column("slow_ms", sa.Integer(), nullable=False),
        sa.Column("notice", sa.Text()),
        sa.Column("state", sa.String(16), server_default="active", nullable=False),
        sa.PrimaryKeyConstraint("room", name="pk_rooms"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "entries",
        sa.Column("room", _name_128, nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("cid", _name_64, nullable=False),
        sa.Column("author", _name_128, nullable=False),
        sa.Column("author_name", sa.String(64), nullable=False),
        sa.Column("author_role", sa.String(16), nullable=False),
        sa.Column("text", sa.Text()),
        sa.Column("reply_to", sa.BigInteger()),
        sa.Column("target", sa.BigInteger()),
        sa.Column("mode", sa.String(16)),
        sa.Column("slow_ms", sa.Integer()),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.Column("digest", sa.LargeBinary(8), nullable=False),
        sa.PrimaryKeyConstraint("room", "seq", name="pk_entries"),
        sa.UniqueConstraint("room", "author", "cid", name="uq_entries_room_author_cid"),
        # on PostgreSQL the lock of the room's row says the same, and costs nothing
        sa.ForeignKeyConstraint(["room"], ["rooms.room"], name="fk_entries_room").ddl_if(dialect="sqlite"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "owners",
        sa.Column("room", _name_128, nullable=False),
        sa.Column("epoch", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("owner_inc", sa.String(64), nullable=False),
        sa.Column("first_seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("room", "epoch", name="pk_owners"),
        sa.ForeignKeyConstraint(["room"], ["rooms.room"], name="fk_owners_room"),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    op.drop_table("owners")
    op.drop_table("entries")
    op.drop_table("rooms")
