"""RoomLogs: where a check reads the rooms' logs: the store, where it is in reach, else the rooms themselves."""

import os
from collections.abc import Iterable
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec

from director.cli.data_folder import FleetFacts
from director.contract.ids import Role, RoomId
from loadtest.client import HallClient
from loadtest.core.findings import StoredLog
from loadtest.log_reading import LogReader, MemberLogs, StoreLogs
from loadtest.routing import direct_http
from persistence.store_sql import open_sql_store

_READER = "log-reader"


def store_url_for(director_url: str, *, given: str | None, data: Path) -> str | None:
    """The store to judge by: `given`, else that of the fleet that runs on the folder `data` behind `director_url`."""
    if given:
        return given
    try:
        facts = msgspec.json.decode((data / "fleet.json").read_bytes(), type=FleetFacts)
    except (OSError, msgspec.DecodeError):
        return None
    return facts.store_url if facts.director_url.rstrip("/") == director_url.rstrip("/") else None


async def read_logs(
    rooms: Iterable[RoomId], *, store_url: str | None, director_url: str, may_be_pruned: bool = False
) -> dict[RoomId, StoredLog]:
    """The rooms' logs as they stand, with the store's owner records where `store_url` names one. Where they
    `may_be_pruned` what is missing at their beginnings was let go for its age."""
    async with AsyncExitStack() as stack:
        reader: LogReader
        if store_url is not None:
            store = await stack.enter_async_context(open_sql_store(store_url))
            reader = StoreLogs(store, store, rows=store if may_be_pruned else None)
        else:
            http = await stack.enter_async_context(direct_http())
            members = [
                HallClient(director_url, room, user=f"{_READER}-{os.getpid()}", role=Role.STUDENT, tail=0, http=http)
                for room in rooms
            ]
            there = [await stack.enter_async_context(member) for member in members]
            reader = MemberLogs(there, may_be_pruned=may_be_pruned)
        return {room: await reader.read(room) for room in rooms}
