"""The schema: the store's tables, and the names of the versions that led to them."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from director.contract.ids import MAX_NAME_LENGTH, MAX_ROOM_LENGTH, MAX_USER_LENGTH

REVISIONS = ("0001",)
"""Every version of the schema, oldest first; the last one is what this release writes and reads."""

MAX_CID_LENGTH = 64
MAX_TOKEN_LENGTH = 64  # of what the fleet itself draws: log ids and incarnations

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)


def _name(length: int) -> String:
    """Text that is compared byte by byte, whatever language a server is set to: so the order of rooms is one and the
    same everywhere, and keys cost less to compare."""
    return String(length).with_variant(String(length, collation="C"), "postgresql")


rooms = Table(
    "rooms",
    metadata,
    Column("room", _name(MAX_ROOM_LENGTH), primary_key=True),
    Column("log", String(MAX_TOKEN_LENGTH), nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("owner_inc", String(MAX_TOKEN_LENGTH), nullable=False),
    Column("last_seq", BigInteger, nullable=False),
    Column("last_at", BigInteger, nullable=False),
    Column("mode", String(16), nullable=False),
    Column("slow_ms", Integer, nullable=False),
    Column("notice", Text),
    Column("state", String(16), nullable=False, server_default="active"),
    sqlite_with_rowid=False,
)

# Kept by (room, seq), so that a page of history is one stretch of the table. That its room is there PostgreSQL does not
# check: who adds it holds the lock of the room's row, and the check would be half of what an entry costs the server.
entries = Table(
    "entries",
    metadata,
    Column("room", _name(MAX_ROOM_LENGTH), primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("epoch", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("cid", _name(MAX_CID_LENGTH), nullable=False),
    Column("author", _name(MAX_USER_LENGTH), nullable=False),
    Column("author_name", String(MAX_NAME_LENGTH), nullable=False),
    Column("author_role", String(16), nullable=False),
    Column("text", Text),
    Column("reply_to", BigInteger),
    Column("target", BigInteger),
    Column("mode", String(16)),
    Column("slow_ms", Integer),
    Column("deleted", Boolean, nullable=False),
    Column("digest", LargeBinary(8), nullable=False),
    UniqueConstraint("room", "author", "cid"),
    ForeignKeyConstraint(["room"], ["rooms.room"]).ddl_if(dialect="sqlite"),
    sqlite_with_rowid=False,
)

owners = Table(
    "owners",
    metadata,
    Column("room", _name(MAX_ROOM_LENGTH), ForeignKey("rooms.room"), primary_key=True),
    Column("epoch", BigInteger, primary_key=True, autoincrement=False),
    Column("owner_inc", String(MAX_TOKEN_LENGTH), nullable=False),
    Column("first_seq", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
