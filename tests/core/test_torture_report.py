"""What a torture says at its end."""

from io import StringIO
from pathlib import Path

from rich.console import Console

from director.cli.torture_report import FaultReport, TortureReport, WakingReport, show_figures, show_torture
from director.contract.ids import RoomId
from loadtest.core.findings import Findings, Promise, Tally, Violation
from loadtest.report import report_of

ROOM = RoomId("torture-01")
FAULT = FaultReport(
    fault="cut-redis",
    manner="black hole",
    target="node-2",
    begins=5.0,
    lasts=9.5,
    left_out=None,
    affected=12,
    back=11,
    seconds=(1.25, 2.0, None, None),
    slowest_send=3.0,
    failed_sends=1,
)


def report(*violations: Violation, faults: tuple[FaultReport, ...] = (FAULT,)) -> TortureReport:
    findings = Findings(violations, {ROOM: Tally(members=6, asked=9, acked=9)}, events=99)
    outcome = report_of(findings, acks={}, deliveries={})
    return TortureReport(7, faults, resumed=3, restarted=0, epochs=4, unanswered=0, unrouted={}, outcome=outcome)


def told(*violations: Violation, faults: tuple[FaultReport, ...] = (FAULT,)) -> str:
    console = Console(file=StringIO(), width=200)
    show_torture(report(*violations, faults=faults), console, folder=Path("/somewhere"))
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def figures(*faults: FaultReport) -> list[str]:
    console = Console(file=StringIO(), width=1_000)
    show_figures(report(faults=faults), console)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue().splitlines()


def test_each_fault_has_its_row_and_what_never_came_is_a_dash() -> None:
    (row,) = [line for line in told().splitlines() if "cut-redis" in line]
    cells = [cell.strip() for cell in row.split("│")]
    assert cells == ["cut-redis, black hole", "node-2", "5", "9.5", "12", "1.2", "2.0", "-", "-", "3.0", "1"]


def test_a_fault_that_nobody_felt_has_no_times() -> None:
    harmless = FaultReport(**{**_fields(FAULT), "affected": 0, "back": 0, "seconds": (None,) * 4, "failed_sends": 0})
    (row,) = [line for line in told(faults=(harmless,)).splitlines() if "cut-redis" in line]
    assert [cell.strip() for cell in row.split("│")][5:9] == ["", "", "", ""]


def test_a_fault_that_was_left_out_says_why() -> None:
    left_out = FaultReport(**{**_fields(FAULT), "left_out": "no disk in memory"})
    assert "left out: no disk in memory" in told(faults=(left_out,))


def test_a_broken_promise_is_told_with_the_seed_and_where_to_look() -> None:
    broken = Violation(Promise.DOUBLED, ROOM, 4, None, "torture-01: c4 of ada is 4 and 5")
    words = told(broken)
    assert "c4 of ada is 4 and 5" in words
    assert "seed 7; histories, logs and the store are in /somewhere" in words
    assert "seed 7" not in told()


def test_a_measured_fault_is_told_in_a_sentence_and_one_that_was_left_out_is_not() -> None:
    assert figures(FAULT, FaultReport(**{**_fields(FAULT), "left_out": "no"})) == [
        "cut-redis, black hole node-2: 12 members lost their connection; "
        "live again: 50 % after 1.2 s, 95 % after 2.0 s, 99 % after - s, 100 % after - s; "
        "1 sends failed, the slowest that did not took 3.0 s."
    ]


def test_of_a_quiet_fault_is_told_that_nobody_felt_it_and_who_came_back_by_themselves() -> None:
    quiet = {"affected": 0, "back": 0, "failed_sends": 0, "dropped": 7, "returned": 6}
    (line,) = figures(FaultReport(**{**_fields(FAULT), **quiet}))
    assert "0 members lost their connection; 0 sends failed" in line
    assert "7 times a member cut its own connection meanwhile, 6 times it came back" in line


def test_of_a_zombie_is_told_what_it_wrote_and_showed() -> None:
    waking = WakingReport(rooms=8, rows=0, frames=2, latest_ms=117, past_fence=0)
    (line,) = figures(FaultReport(**{**_fields(FAULT), "waking": waking}))
    assert "it added 0 rows and showed 2 frames, the last 117 ms later, 0 of them with entries from after" in line
    (line,) = figures(FaultReport(**{**_fields(FAULT), "waking": WakingReport(8, 0, 0, None, 0)}))
    assert "showed 0 frames, 0 of them" in line


def _fields(report: FaultReport) -> dict[str, object]:
    return {name: getattr(report, name) for name in report.__struct_fields__}
