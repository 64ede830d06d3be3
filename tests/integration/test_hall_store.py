"""`hall store`, `hall export` and `hall settings` as an operator uses them."""

import asyncio
import csv
import io
import json
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner, Result

from director.cli.main import app
from director.contract.ids import LogId, RoomId, Seq
from loadtest.contract.history import Acked
from persistence import migrate
from persistence.contract.messages import Draft
from persistence.store_sql import SqlStore, open_sql_store
from tests.support.fleet import Fleet
from tests.support.raw_client import fresh_cid, fresh_room, member
from tests.support.stores import (
    LECTURER,
    ONE,
    OTHER,
    ROOM,
    STUDENT,
    all_entries,
    append,
    deleted,
    noticed,
    open_room,
    said,
    store_url,
)

DAY_MS = 86_400_000
MORNING = 1_709_542_800_000  # 2024-03-04T09:00:00Z

Hall = Callable[..., Result]


@pytest.fixture
def hall(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hall:
    """Run `hall` on the store of this test."""
    monkeypatch.delenv("HALL_DATA", raising=False)
    monkeypatch.setenv("HALL_STORE_URL", store_url(tmp_path))
    return lambda *words: CliRunner().invoke(app, [*words])


@pytest.fixture
def log(tmp_path: Path) -> Callable[..., None]:
    """Make the store, and write drafts into a room, each with its instant."""

    async def write(*drafts: tuple[int, Draft], room: RoomId) -> None:
        await migrate.upgrade(store_url(tmp_path))
        async with open_sql_store(store_url(tmp_path)) as store:
            await open_room(store, room)
            for at, draft in drafts:
                await append(store, draft, room=room, at=at)

    return lambda *drafts, room=ROOM: asyncio.run(write(*drafts, room=room))


def in_store(tmp_path: Path, look: Callable[[SqlStore], object]) -> object:
    async def run() -> object:
        async with open_sql_store(store_url(tmp_path)) as store:
            return await look(store)  # type: ignore[misc]

    return asyncio.run(run())


class TestUpgrade:
    def test_a_store_is_made_checked_and_left_alone(self, hall: Hall) -> None:
        missing = hall("store", "check")
        assert (missing.exit_code, "hall store upgrade" in missing.stdout) == (1, True)
        assert hall("store", "upgrade").exit_code == 0
        assert hall("store", "upgrade").exit_code == 0
        assert hall("store", "check").exit_code == 0
        assert json.loads(hall("store", "check", "--json").stdout)["ok"] is True

    def test_a_newer_schema_is_left_alone_and_told(self, hall: Hall, tmp_path: Path) -> None:
        hall("store", "upgrade")
        with sqlite3.connect(tmp_path / "store.sqlite3") as raw:
            raw.execute("UPDATE alembic_version SET version_num = '0900'")
        raw.close()
        for words in (("check",), ("upgrade",), ("prune", "--older-than", "30d"), ("erase", "--user", "ann", "--yes")):
            told = hall("store", *words)
            assert told.exit_code == 1
            assert "newer release" in told.output

    def test_what_is_no_store_is_told_in_one_sentence(self, hall: Hall) -> None:
        told = hall("store", "check", "--store", "mysql://nowhere")
        assert (told.exit_code, "Traceback" in told.output) == (1, False)


class TestPrune:
    def test_old_entries_go_and_the_report_says_how_many(
        self, hall: Hall, log: Callable[..., None], tmp_path: Path
    ) -> None:
        now = int(time.time() * 1000)
        log((now - 400 * DAY_MS, said("a")), (now - 200 * DAY_MS, said("b")), (now - DAY_MS, said("c")))
        would = json.loads(hall("store", "prune", "--older-than", "180d", "--dry-run", "--json").stdout)
        assert (would["entries"], would["rooms"], would["dry_run"]) == (2, 1, True)
        report = json.loads(hall("store", "prune", "--older-than", "180d", "--json").stdout)
        assert (report["entries"], report["rooms"]) == (2, 1)
        assert [it.seq for it in in_store(tmp_path, all_entries)] == [3]  # type: ignore[attr-defined]
        again = hall("store", "prune", "--older-than", "180d", "--room", ROOM)
        assert (again.exit_code, again.stdout.startswith("0 entries")) == (0, True)

    @pytest.mark.parametrize("kept", [1, 0])
    def test_a_history_still_holds_when_its_room_was_pruned(
        self, hall: Hall, log: Callable[..., None], tmp_path: Path, kept: int
    ) -> None:
        """`hall check` once called what was pruned a hole, and its acks lost."""
        now = int(time.time() * 1000)
        ages = (400, 200, 2 if kept else 190)
        log(*((now - days * DAY_MS, said(f"c{days}")) for days in ages))
        history = tmp_path / "history.jsonl"
        acks = [
            Acked("ann", ROOM, 0.0, f"c{days}", STUDENT.id, Seq(seq), ONE, False)
            for seq, days in enumerate(ages, start=1)
        ]
        history.write_bytes(b"".join(msgspec.json.encode(it) + b"\n" for it in acks))
        before = hall("check", str(history), "--json")
        assert (before.exit_code, json.loads(before.stdout)["total"]["pruned"]) == (0, 0)
        assert hall("store", "prune", "--older-than", "180d").exit_code == 0
        after = hall("check", str(history), "--json")
        assert (after.exit_code, json.loads(after.stdout)["total"]["pruned"]) == (0, 3 - kept)
        assert f"{3 - kept} acked messages have been pruned since" in " ".join(after.stderr.split())
        with history.open("ab") as more:
            more.write(msgspec.json.encode(msgspec.structs.replace(acks[0], cid="never", seq=Seq(4))) + b"\n")
        assert hall("check", str(history)).exit_code == 1

    @pytest.mark.parametrize(
        "words",
        [
            ("--older-than", "23h"),
            ("--older-than", "soon"),
            ("--older-than", "0d"),
            ("--older-than", "30d", "--room", "no room"),
            (),
        ],
    )
    def test_what_makes_no_sense_is_refused_and_nothing_goes(
        self, hall: Hall, log: Callable[..., None], tmp_path: Path, words: tuple[str, ...]
    ) -> None:
        log((1_000, said("a")))
        assert hall("store", "prune", *words).exit_code == 2
        assert len(in_store(tmp_path, all_entries)) == 1  # type: ignore[arg-type]


class TestErase:
    def test_it_asks_first(self, hall: Hall, log: Callable[..., None], tmp_path: Path) -> None:
        log((1_000, said("a", "secret")), (1_000, said("b", by=OTHER)))
        asked = hall("store", "erase", "--user", STUDENT.id)
        assert (asked.exit_code, "1 entries" in asked.output) == (1, True)
        assert in_store(tmp_path, all_entries)[0].text == "secret"  # type: ignore[index]

    def test_who_wrote_nothing_is_told_so(self, hall: Hall, log: Callable[..., None]) -> None:
        log((1_000, said("a")))
        told = hall("store", "erase", "--user", "nobody", "--yes")
        assert (told.exit_code, "wrote nothing" in told.stdout) == (0, True)
        assert hall("store", "erase", "--user", "", "--yes").exit_code == 2


class TestNewLog:
    def test_every_room_begins_a_new_log(self, hall: Hall, log: Callable[..., None], tmp_path: Path) -> None:
        log((1_000, said("a")))
        assert hall("store", "new-log").exit_code == 1, "it asks"
        assert json.loads(hall("store", "new-log", "--yes", "--json").stdout) == {"rooms": 1}
        state = in_store(tmp_path, lambda store: store.row_states([ROOM]))[ROOM]  # type: ignore[index]
        assert state.log != LogId("log-1")
        assert hall("store", "new-log", "--yes", "--room", "nowhere").exit_code == 1


class TestExport:
    @pytest.fixture(autouse=True)
    def lecture(self, log: Callable[..., None]) -> None:
        log(
            (MORNING - 60_000, said("early", "is this on?")),
            (MORNING + 5_000, said("a", "=HYPERLINK()")),
            (MORNING + 10_000, said("b", "take this back")),
            (MORNING + 3_000_000, said("c", "coffee", by=OTHER)),
            (MORNING + 3_660_000, noticed("n", "the exam is on Friday", by=LECTURER)),
            (MORNING + 3_661_000, deleted("d", 3)),
        )

    START = ("--start", "2024-03-04T09:00+00:00", "--pause", "09:45/10:00")

    def test_json_lines_are_the_log_with_the_lecture_s_clock(self, hall: Hall) -> None:
        lines = [json.loads(it) for it in hall("export", ROOM, *self.START).stdout.splitlines()]
        assert [it.get("seq") for it in lines] == [1, 2, 3, None, 4, 5, 6]
        assert [it["clock_ms"] for it in lines] == [-60_000, 5_000, 10_000, 2_700_000, 2_700_000, 2_760_000, 2_761_000]
        assert "take this back" not in str(lines)

    def test_a_table_runs_nothing(self, hall: Hall) -> None:
        text = hall("export", ROOM, "--format", "csv", *self.START).stdout
        table = list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"))))
        assert [it["text"] for it in table][1:3] == ["'=HYPERLINK()", ""]
        assert "take this back" not in text

    def test_captions_are_of_the_recording_alone(self, hall: Hall, tmp_path: Path) -> None:
        file = tmp_path / "lecture.vtt"
        assert hall("export", ROOM, "--format", "vtt", *self.START, "--output", str(file)).exit_code == 0
        text = file.read_text()
        assert text.startswith("WEBVTT\n\n")
        assert "00:46:00.000 --> " in text
        for left_out in ("is this on?", "take this back", "coffee"):
            assert left_out not in text
        assert list(tmp_path.glob(".*.part")) == []

    def test_the_first_entry_begins_the_clock_unless_told(self, hall: Hall) -> None:
        lines = [json.loads(it) for it in hall("export", ROOM).stdout.splitlines()]
        assert [it["clock_ms"] for it in lines][:2] == [0, 65_000]

    def test_a_long_room_is_whole(self, hall: Hall, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("persistence.export.PAGE_ENTRIES", 2)
        lines = [json.loads(it) for it in hall("export", ROOM).stdout.splitlines()]
        assert [it["seq"] for it in lines] == [1, 2, 3, 4, 5, 6]

    def test_a_room_that_was_pruned_begins_later(self, hall: Hall) -> None:
        hours = int((time.time() * 1000 - MORNING) / 3_600_000)
        report = json.loads(hall("store", "prune", "--older-than", f"{hours}h", "--json").stdout)
        lines = [json.loads(it) for it in hall("export", ROOM).stdout.splitlines()]
        assert 1 <= report["entries"] <= 4
        assert [it["seq"] for it in lines] == list(range(report["entries"] + 1, 7))

    @pytest.mark.parametrize(
        ("words", "code"),
        [
            (("nowhere",), 1),
            (("no room",), 2),
            ((ROOM, "--format", "pdf"), 2),
            ((ROOM, "--start", "noon"), 2),
            ((ROOM, "--pause", "09:45/10:00"), 2),
            ((ROOM, "--start", "2024-03-04T09:00", "--pause", "09:45"), 2),
            ((ROOM, "--start", "2024-03-04T09:00", "--pause", "09:45/09:45"), 2),
            ((ROOM, "--start", "2024-03-04T09:00", "--pause", "09:45/x"), 2),
            ((ROOM, "--output", "/nowhere/at/all.jsonl"), 1),
        ],
    )
    def test_what_cannot_be_is_told_in_one_sentence(self, hall: Hall, words: tuple[str, ...], code: int) -> None:
        told = hall("export", *words)
        assert told.exit_code == code
        assert "Traceback" not in told.output


class TestErasingFromALiveFleet:
    """Nodes hold the newest entries in memory: an erasure must reach them, also where nobody says anything."""

    async def test_a_room_that_nobody_writes_to_shows_none_of_it_once_the_command_is_done(self, fleet: Fleet) -> None:
        room, user = fresh_room(), f"u{fresh_cid()}"
        async with (
            member(fleet, room, user=user) as (writer, _),
            member(fleet, room, user="ben") as (reader, joined),
        ):
            assert (await reader.ask("send", {"cid": fresh_cid(), "text": "welcome"}))["seq"] == 1
            assert (await writer.ask("send", {"cid": fresh_cid(), "text": "my secret", "reply_to": 1}))["seq"] == 2
            since = {**joined["pos"], "seq": 2}
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "director.cli.main", "store", "erase", "--user", user, "--yes", "--json"),
                *("--store", fleet.store_url),
                stdout=asyncio.subprocess.PIPE,
            )
            output, _ = await process.communicate()
            report = json.loads(output)
            assert (process.returncode, report["entries"], report["rooms"]) == (0, 1, 1)
            bye = await reader.until("bye")
            assert (bye["code"], bye["action"]) == ("NOT_OWNER", "reroute")
        async with member(fleet, room, user="ben", since=since) as (reader, back):
            assert "my secret" not in str(back)
            assert (back["recovered"], [it["target"] for it in back["entries"]]) == (True, [2])
            assert (await reader.ask("send", {"cid": fresh_cid(), "text": "on we go"}))["seq"] == 4
        async with member(fleet, room, user="eve") as (client, joined):
            page = await client.ask("history", {"after": 0})
            for seen in (joined["entries"], page["entries"]):
                assert [it["seq"] for it in seen] == [1, 2, 3, 4]
                assert (seen[1]["deleted"], seen[1]["reply_to"], seen[1]["by"]["name"]) == (True, 1, "")
                assert user not in str(seen)
                assert "my secret" not in str(seen)

    async def test_a_member_whose_position_was_pruned_is_told_so(self, fleet: Fleet) -> None:
        """Numbers go on, the position is below what is left, and the room was closed in between."""
        room = fresh_room()
        async with member(fleet, room) as (client, joined):
            for _ in range(3):
                await client.ask("send", {"cid": fresh_cid(), "text": "old"})
            since = {**joined["pos"], "seq": 1}
            await make_old_and_prune(fleet, room, keep=1)
            assert (await client.until("bye"))["code"] == "NOT_OWNER"
        async with member(fleet, room, since=since) as (client, back):
            assert (back["recovered"], back["reason"]) == (False, "too_far")
            assert [it["seq"] for it in back["entries"]] == [3]
            assert back["pos"]["seq"] == 3
            page = await client.ask("history", {"before": 3})
            assert (page["entries"], page["more"]) == ([], False)
            page = await client.ask("history", {"after": 0})
            assert [it["seq"] for it in page["entries"]] == [3]
            assert (await client.ask("send", {"cid": fresh_cid(), "text": "new"}))["seq"] == 4


async def make_old_and_prune(fleet: Fleet, room: RoomId, *, keep: int) -> None:
    """Let all but the last entries of a room be as old as need be, prune it, and have it opened anew."""
    from persistence.retention import Retention
    from persistence.upkeep import open_upkeep

    async with open_sql_store(fleet.store_url) as store, open_upkeep(fleet.store_url) as upkeep:
        state = (await store.row_states([room]))[room]
        async with upkeep.writing() as connection:
            await connection.exec_driver_sql(
                "UPDATE entries SET at = 1000 WHERE room = ? AND seq <= ?", (room, state.last_seq - keep)
            )
        work = Retention(upkeep)
        for stale in [it async for it in work.find(before_ms=2_000, room=room)]:
            assert sum([count async for count in work.prune(stale, before_ms=2_000)]) == state.last_seq - keep
        # another owner for a moment, so that the node reads the room once more
        await open_room(store, room, epoch=state.epoch + 1, incarnation="somebody")
