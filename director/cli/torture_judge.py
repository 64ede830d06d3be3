"""TortureJudge: all that a run recorded, judged against the store when everything has stopped."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import func, select

from director.cli.room_logs import read_logs
from director.contract.ids import RoomId
from loadtest.core.admission_check import AdmissionCheck
from loadtest.core.findings import Findings, Promise, Violation
from loadtest.core.history_check import HistoryCheck
from loadtest.torture import Torture
from loadtest.torture_faults import SLOW_LATENCY
from persistence import schema
from persistence.contract.store import OwnerRecord
from persistence.engines import open_engines

_MARGIN = 0.2


@dataclass(frozen=True, slots=True)
class Judgement:
    """The findings, and the store's owner records that they go by."""

    findings: Findings
    owners: Mapping[RoomId, Sequence[OwnerRecord]]


async def judge(history: HistoryCheck, admissions: AdmissionCheck, torture: Torture, *, store_url: str) -> Judgement:
    """Every violation that the histories, the store's entries and its owner records show."""
    logs = await read_logs(history.rooms, store_url=store_url, director_url="")
    findings = history.judge(logs)
    slack = torture.lag.highest + SLOW_LATENCY + _MARGIN
    stale = admissions.judge(slack=slack, thaws=torture.thaws())
    violations = (*findings.violations, *stale, *await rows_of_stale_owners(store_url))
    return Judgement(replace(findings, violations=violations), {room: log.owners or () for room, log in logs.items()})


async def rows_of_stale_owners(store_url: str) -> Sequence[Violation]:
    """Entries whose epoch is not that of the owner whose word counted at their number."""
    entries, owners = schema.entries.c, schema.owners.c
    owner = func.max(owners.epoch)
    wanted = (
        select(entries.room, entries.seq, entries.epoch, owner.label("owner"))
        .join(schema.owners, (owners.room == entries.room) & (owners.first_seq <= entries.seq))
        .group_by(entries.room, entries.seq, entries.epoch)
        .having(owner != entries.epoch)
    )
    engines = open_engines(store_url)
    try:
        async with engines.reader.connect() as connection:
            rows = (await connection.execute(wanted)).all()
    finally:
        await engines.close()
    return [
        Violation(
            Promise.ROW_OF_STALE,
            RoomId(row.room),
            row.seq,
            None,
            f"{row.room}: {row.seq} was written by epoch {row.epoch}, its owner was of epoch {row.owner}",
        )
        for row in rows
    ]
