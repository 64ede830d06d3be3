"""A real primary with its synchronous standby, as in a fleet that is to outlive a database machine."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from director.held_port import HOST, HeldPort
from director.own_postgres import USER, OwnPostgres, postgres_binaries
from persistence.engines import postgres_dsn_of

_SETTINGS = {"wal_level": "replica", "max_wal_senders": "10", "wal_keep_size": "64MB", "hot_standby": "on"}


@dataclass(frozen=True, slots=True)
class PostgresPair:
    """`primary` waits with each commit for `standby`, which takes reads only until it is promoted."""

    primary: OwnPostgres
    standby: OwnPostgres

    @property
    def url(self) -> str:
        """Of both: whoever uses it is to find the one that writes."""
        hosts = f"{HOST}:{self.primary.port},{HOST}:{self.standby.port}"
        return f"postgresql+asyncpg://{USER}@{hosts}/postgres"

    async def join(self) -> None:
        """Let no commit of the primary return from now on before the standby has it."""
        await _run(self.primary, "ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()")
        waiting = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"
        connection = await asyncpg.connect(postgres_dsn_of(self.primary.url))
        try:
            while not await connection.fetchval(waiting):
                await connection.execute("SELECT pg_sleep(0.02)")
        finally:
            await connection.close()

    async def promote(self) -> None:
        """Make the standby the primary; returns when it takes writes."""
        await _run(self.standby, "SELECT pg_promote()")


@contextmanager
def running_pair() -> Iterator[PostgresPair]:
    """Two new servers, gone after the block. Use it in the main thread. Raises NoPostgresBinaries, PostgresFailed."""
    binaries = postgres_binaries()
    with (
        tempfile.TemporaryDirectory(prefix="hall-postgres-pair-", ignore_cleanup_errors=True) as folder,
        HeldPort() as first,
        HeldPort() as second,
    ):
        os.chmod(folder, 0o711)
        data, copy = Path(folder) / "primary", Path(folder) / "standby"
        primary = OwnPostgres(binaries, data, first.port, settings=_SETTINGS)
        primary.prepare()
        owner = data.stat()
        shutil.copytree(data, copy)
        with (copy / "postgresql.auto.conf").open("a") as settings:
            settings.write(f"primary_conninfo = 'host={HOST} port={first.port} user={USER}'\n")
        (copy / "standby.signal").touch()
        for path in (copy, *copy.rglob("*")):
            os.chown(path, owner.st_uid, owner.st_gid)
        standby = OwnPostgres(binaries, copy, second.port, settings=_SETTINGS)
        try:
            primary.start()
            standby.start()
            yield PostgresPair(primary, standby)
        finally:
            for server in (standby, primary):
                server.stop()


async def _run(server: OwnPostgres, *statements: str) -> None:
    connection = await asyncpg.connect(postgres_dsn_of(server.url))
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()
