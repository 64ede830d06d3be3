"""The operators' commands against an admin interface that answers as it is told, over real HTTP."""

import json
import os
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from director.cli import drains, operator_desk, rebalance
from director.cli.director_call import AdminCall, DirectorRefused
from director.cli.main import app
from director.cli.operation_watch import OperationWatch
from director.cli.wording import local
from director.contract.admin import (
    CapacityAnswer,
    DrainBody,
    NodeOrdered,
    NodesAnswer,
    OperationsAnswer,
    PinAnswer,
    PlanAnswer,
    RebalanceBody,
    ReservationAnswer,
    ReservationsAnswer,
    ResumeAnswer,
    RoomsAnswer,
    Started,
)
from director.contract.errors import ErrorCode, Refusal
from director.contract.ids import NodeName, RoomId
from director.contract.lease import NodeState
from director.contract.operations import OperationKind, OperationState
from tests.support.stub_admin import TOKEN, StubAdmin, stub_admin
from tests.support.terminal import in_terminal
from tests.support.told_fleet import AT_MS, explained, planned, told_node, told_operation, told_room

HALL = (sys.executable, "-m", "director.cli.main")
DRAIN, OPERATION = "/admin/nodes/node-2/drain", "/admin/operations/op-1"
NODE_2 = NodeName("node-2")

DONE, FAILED, USAGE, NO_DIRECTOR, PARTLY, LEFT = 0, 1, 2, 3, 4, 130

Hall = Callable[..., Result]


@pytest.fixture
def admin() -> Iterator[StubAdmin]:
    with stub_admin() as running:
        yield running


@pytest.fixture
def hall(admin: StubAdmin, monkeypatch: pytest.MonkeyPatch) -> Hall:
    """Run `hall` as an operator of the stub, in 80 columns unless told otherwise."""
    for name, value in environment(admin).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("HALL_DATA", raising=False)
    return lambda *words, **said: CliRunner().invoke(app, [*words], **said)


def environment(admin: StubAdmin) -> dict[str, str]:
    return {"HALL_DIRECTOR_URL": admin.url, "HALL_ADMIN_TOKEN": TOKEN, "TZ": "UTC"}


class TestNodes:
    def test_they_are_shown_with_what_is_wrong_and_what_to_do(self, admin: StubAdmin, hall: Hall) -> None:
        cordoned = told_node("node-2", state=NodeState.CORDONED, order=NodeState.CORDONED, limit=None)
        hot = told_node("node-3", load=2_500, store_ok=False, capacity=2.0)
        stopping = told_node("node-4", state=NodeState.DRAINING, limit=None)
        lapsed = told_node("node-5", has_lapsed=True)
        admin.on("GET", "/admin/nodes", NodesAnswer((told_node("node-1"), cordoned, hot, stopping, lapsed)))
        told = hall("nodes")
        assert told.exit_code == DONE
        assert "5 nodes, 70 rooms, 6,000 members" in told.stdout
        assert "above what it should have: node-3" in " ".join(told.stdout.split())
        assert "hall failover resume" in told.stdout
        assert "is stopping" in told.stdout
        assert "capacity 2" in told.stdout
        assert admin.asked[0].token == TOKEN

    @pytest.mark.parametrize("columns", ["80", "120"])
    def test_the_table_fits_the_terminal_and_a_wide_one_has_addresses(
        self, admin: StubAdmin, hall: Hall, monkeypatch: pytest.MonkeyPatch, columns: str
    ) -> None:
        monkeypatch.setenv("COLUMNS", columns)
        admin.on("GET", "/admin/nodes", NodesAnswer((told_node("node-1"),)))
        lines = hall("nodes").stdout.splitlines()
        assert max(map(len, lines)) <= int(columns)
        assert len(lines) == 3
        assert ("http://127.0.0.1:9001" in lines[1]) is (columns == "120")

    def test_no_node_that_serves_is_said(self, admin: StubAdmin, hall: Hall) -> None:
        admin.on("GET", "/admin/nodes", NodesAnswer((told_node("node-1", state=NodeState.CORDONED, limit=None),)))
        assert "no node can be given rooms" in hall("nodes").stdout

    @pytest.mark.parametrize(
        ("verb", "state", "words"),
        [
            ("cordon", NodeState.CORDONED, "is given no rooms, and keeps"),
            ("uncordon", NodeState.SERVING, "may be given rooms"),
            ("uncordon", NodeState.DRAINING, "moved away"),
        ],
    )
    def test_an_order_says_what_it_means(
        self, admin: StubAdmin, hall: Hall, verb: str, state: NodeState, words: str
    ) -> None:
        admin.on("POST", f"/admin/nodes/node-2/{verb}", NodeOrdered(NODE_2, state))
        told = hall(verb, "node-2")
        assert (told.exit_code, words in told.stdout) == (DONE, True)

    def test_capacity_is_a_share(self, admin: StubAdmin, hall: Hall) -> None:
        admin.on("PUT", "/admin/nodes/node-2/capacity", CapacityAnswer(NODE_2, 2.0))
        assert hall("capacity", "node-2", "2").exit_code == DONE
        assert admin.bodies("PUT", "/admin/nodes/node-2/capacity") == [{"share": 2.0}]
        assert hall("capacity", "node-2", "0").exit_code == USAGE


class TestRooms:
    def test_pages_are_put_together(self, admin: StubAdmin, hall: Hall) -> None:
        pages = [RoomsAnswer((told_room("a"), told_room("b")), True), RoomsAnswer((told_room("c"),), False)]
        admin.on("GET", "/admin/rooms", *pages)
        told = json.loads(hall("rooms", "--all", "--json", "--node", "node-1").stdout)
        assert [room["room"] for room in told["rooms"]] == ["a", "b", "c"]
        assert [asked.query.get("after") for asked in admin.asked] == [None, "b"]
        assert {asked.query["node"] for asked in admin.asked} == {"node-1"}

    def test_what_is_left_out_is_said_with_the_way_on(self, admin: StubAdmin, hall: Hall) -> None:
        admin.on("GET", "/admin/rooms", RoomsAnswer((told_room("a"), told_room("b")), True))
        told = hall("rooms", "--limit", "2")
        assert "--after b" in told.stderr
        assert admin.asked[0].query == {"limit": "2"}

    def test_names_are_shown_whole_and_as_they_are(self, admin: StubAdmin, hall: Hall) -> None:
        name = "a:smile:" + "x" * 120
        admin.on("GET", "/admin/rooms", RoomsAnswer((told_room(name, target=NODE_2, pinned=NODE_2),), False))
        shown = hall("rooms").stdout
        column = "".join(line.split(" ")[0] for line in shown.splitlines()[1:])
        assert column == name
        assert "moving to" in shown

    @pytest.mark.parametrize(("words", "said"), [((), "first member"), (("--prefix", "m"), "like that")])
    def test_no_rooms_are_told_beside_the_output(
        self, admin: StubAdmin, hall: Hall, words: tuple[str, ...], said: str
    ) -> None:
        admin.on("GET", "/admin/rooms", RoomsAnswer((), False))
        told = hall("rooms", *words)
        assert (told.stdout, said in told.stderr, told.exit_code) == ("", True, DONE)


class TestExplain:
    def test_it_tells_owner_reason_lease_load_moves_and_orders(self, admin: StubAdmin, hall: Hall) -> None:
        node_3 = NodeName("node-3")
        told = explained("r", target=node_3, target_why="ordered", is_warm=True, pinned=node_3, reserved=3_000)
        admin.on("GET", "/admin/rooms/r", told)
        shown = " ".join(hall("explain", "r").stdout.split())
        for words in (
            "node-2, serving, its lease has 4.2 s left incarnation a1b2c3d4e5f60718",
            "epoch 17; moved once",
            "to even out the load (balance)",
            "312 now, 340 at most; counts for 340",
            "node-3, which is ready for it: an operator wants it there",
            "hall move r node-3",
            "for 3,000 members",
            "node-1 > node-2",
            "if it had none node-1: its first choice of the ring",
            f"{local(AT_MS + 60_000):%Y-%m-%d %H:%M:%S}",
        ):
            assert words in shown, shown

    def test_a_room_that_nobody_has_says_where_it_would_go(self, admin: StubAdmin, hall: Hall) -> None:
        nothing = {"owner": None, "incarnation": None, "owner_state": None, "owner_lives": False, "epoch": None}
        told = explained("r", **nothing, lease_left_ms=None, why=None, moves=0, past=(), ring=(), would_go_to=None)
        admin.on("GET", "/admin/rooms/r", told)
        shown = hall("explain", "r").stdout
        assert "none: it is placed when somebody asks for it" in shown
        assert "nowhere: no node can be given rooms" in shown

    @pytest.mark.parametrize(("state", "words"), [("lapsed", "is not declared dead"), ("dead", "gets another")])
    def test_an_owner_that_is_gone_is_said_to_be(self, admin: StubAdmin, hall: Hall, state: str, words: str) -> None:
        admin.on("GET", "/admin/rooms/r", explained("r", owner_state=state, owner_lives=False, past=None))
        shown = hall("explain", "r").stdout
        assert words in shown
        assert "Redis does not answer" in shown


class TestDrain:
    def test_it_is_followed_to_its_end_and_told(self, admin: StubAdmin, hall: Hall) -> None:
        admin.on("POST", DRAIN, Started("op-1"))
        running = told_operation(OperationState.RUNNING, planned(3, done=1, moving=1))
        admin.on("GET", OPERATION, running, running, told_operation(OperationState.DONE, planned(3, done=3)))
        told = hall("drain", "node-2", "--within", "60", "--rooms-at-a-time", "2", "--members-per-second", "100")
        assert told.exit_code == DONE
        assert told.stderr == "drain node-2: 1 of 3 rooms, 20 of 60 members, 5.0 s of about 1.5 s\n"
        assert "done, 3 rooms with 60 members moved in 5.0 s" in told.stdout
        assert "hall uncordon node-2" in told.stdout
        body = {"plan": False, "rooms_at_a_time": 2, "members_per_second": 100.0, "within_s": 60.0}
        assert admin.bodies("POST", DRAIN) == [body]

    @pytest.mark.parametrize(
        ("state", "done", "failed", "stranded", "code"),
        [
            (OperationState.DONE, 3, 0, 0, DONE),
            (OperationState.DONE, 2, 1, 0, DONE),  # it did not have to be moved any more
            (OperationState.FAILED, 2, 0, 1, PARTLY),
            (OperationState.FAILED, 1, 1, 0, PARTLY),
            (OperationState.FAILED, 0, 1, 0, FAILED),
            (OperationState.CANCELLED, 1, 0, 0, PARTLY),
        ],
    )
    def test_the_exit_code_says_what_came_of_it(
        self, admin: StubAdmin, hall: Hall, state: OperationState, done: int, failed: int, stranded: int, code: int
    ) -> None:
        admin.on("POST", DRAIN, Started("op-1"))
        admin.on("GET", OPERATION, told_operation(state, planned(3, done=done, failed=failed, stranded=stranded)))
        told = hall("drain", "node-2")
        assert told.exit_code == code
        assert ("node-1 did not open it [in time]" in told.stdout) is bool(failed)
        assert ("nowhere to go, no node can be given rooms: stranded-0" in told.stdout) is bool(stranded)

    def test_for_programs_its_end_is_all_that_is_printed(self, admin: StubAdmin, hall: Hall) -> None:
        admin.on("POST", DRAIN, Started("op-1"))
        running = told_operation(OperationState.RUNNING, planned(3, moving=1))
        admin.on("GET", OPERATION, running, told_operation(OperationState.DONE, planned(3, done=3)))
        told = hall("drain", "node-2", "--json")
        assert json.loads(told.stdout)["operation"]["state"] == "done"
        assert told.stderr == ""

    def test_a_plan_moves_nothing_and_warns_by_its_exit_code(self, admin: StubAdmin, hall: Hall) -> None:
        admin.on("POST", DRAIN, PlanAnswer(planned(45)), PlanAnswer(planned(1, stranded=1)))
        told = hall("drain", "node-2", "--plan")
        assert told.exit_code == DONE
        assert "45 rooms with 900 members in about 22 s; while a room moves" in told.stdout
        assert "and 5 more moves" in told.stdout
        assert max(map(len, told.stdout.splitlines())) <= 80
        assert hall("drain", "node-2", "--plan").exit_code == PARTLY
        assert [body["plan"] for body in admin.bodies("POST", DRAIN)] == [True, True]

    def test_without_waiting_its_id_is_printed(self, admin: StubAdmin, hall: Hall) -> None:
        admin.on("POST", DRAIN, Started("op-1"))
        told = hall("drain", "node-2", "--no-wait")
        assert (told.stdout, told.exit_code) == ("op-1\n", DONE)
        assert "hall operations op-1" in told.stderr

    def test_cancel_ends_it(self, admin: StubAdmin, hall: Hall) -> None:
        admin.on("DELETE", DRAIN, NodeOrdered(NODE_2, NodeState.SERVING))
        assert "node-2 is serving" in hall("drain", "node-2", "--cancel").stdout
        assert hall("drain", "node-2", "--cancel", "--plan").exit_code == USAGE

    def test_cancel_says_what_becomes_of_the_rooms_of_a_node_that_was_told_to_stop(
        self, admin: StubAdmin, hall: Hall
    ) -> None:
        admin.on("DELETE", DRAIN, NodeOrdered(NODE_2, NodeState.DRAINING))
        told = hall("drain", "node-2", "--cancel").stdout
        assert "node-2 is draining by itself, since it was told to stop" in told
        assert "keeps" not in told
        admin.on("DELETE", DRAIN, NodeOrdered(NODE_2, NodeState.CORDONED))
        assert "node-2 is cordoned: it is given no rooms" in hall("drain", "node-2", "--cancel").stdout

    def test_a_drain_whose_director_ends_goes_on_under_another(self, admin: StubAdmin, hall: Hall) -> None:
        admin.on("POST", DRAIN, Started("op-1"))
        plan = planned(2, done=1)
        left = told_operation(OperationState.INTERRUPTED, plan)
        done = told_operation(OperationState.DONE, planned(2, done=2))
        admin.on("GET", OPERATION, left, told_operation(OperationState.RUNNING, plan), done)
        told = hall("drain", "node-2")
        assert told.exit_code == DONE
        assert "waiting for another" in told.stderr

    def test_a_director_that_is_busy_for_a_moment_does_not_end_the_watch(self, admin: StubAdmin, hall: Hall) -> None:
        admin.on("POST", DRAIN, Started("op-1"))
        busy = Refusal(ErrorCode.BUSY, "Redis does not answer; ask again", retry_after_ms=1_000)
        admin.on("GET", OPERATION, busy, told_operation(OperationState.DONE, planned(1, done=1)))
        assert hall("drain", "node-2").exit_code == DONE

    def test_an_operation_that_is_not_known_ends_the_watch(self, admin: StubAdmin, hall: Hall) -> None:
        admin.on("POST", DRAIN, Started("op-1"))
        admin.on("GET", OPERATION, Refusal(ErrorCode.BAD_REQUEST, "there is no operation op-1"))
        told = hall("drain", "node-2")
        assert (told.exit_code, "there is no operation op-1" in told.stderr) == (FAILED, True)


class TestWatch:
    """The watch alone, with a clock that jumps."""

    def watch(self, call: AdminCall) -> OperationWatch:
        clock = [0.0]

        def pause(seconds: float) -> None:
            clock[0] += seconds

        return OperationWatch(call, "op-1", pause=pause, clock=lambda: clock[0])

    def test_it_gives_a_silent_director_half_a_minute_and_says_that_the_operation_goes_on(
        self, admin: StubAdmin, capfd: pytest.CaptureFixture[str]
    ) -> None:
        admin.on("GET", OPERATION, Refusal(ErrorCode.BUSY, "Redis does not answer"))
        with AdminCall(admin.url, TOKEN) as call, pytest.raises(DirectorRefused):
            self.watch(call).until_over()
        assert 70 < len(admin.asked) < 80
        assert "it goes on without you" in capfd.readouterr().err

    def test_it_gives_a_drain_time_to_be_taken_up_and_nothing_else(self, admin: StubAdmin) -> None:
        plan = planned(2, done=1)
        admin.on("GET", OPERATION, told_operation(OperationState.INTERRUPTED, plan))
        with AdminCall(admin.url, TOKEN) as call:
            assert self.watch(call).until_over().state is OperationState.INTERRUPTED
            assert 45 < len(admin.asked) < 55
            move = told_operation(OperationState.INTERRUPTED, plan, kind=OperationKind.MOVE, subject="r")
            admin.on("GET", OPERATION, move)
            former = len(admin.asked)
            assert self.watch(call).until_over() == move.operation
            assert len(admin.asked) == former + 1


class TestAtATerminal:
    def test_a_bar_shows_how_far_it_is_and_the_end_stays(self, admin: StubAdmin) -> None:
        admin.on("GET", OPERATION, told_operation(OperationState.RUNNING, planned(30, done=3, moving=4)))
        with in_terminal([*HALL, "operations", "op-1"], env=environment(admin)) as terminal:
            terminal.wait_for("drain node-2")
            terminal.wait_for("3 of 30 rooms, 60 of 600 members; moving lecture-3 to node-1")
            admin.on("GET", OPERATION, told_operation(OperationState.DONE, planned(30, done=30)))
            terminal.wait_for("done, 30 rooms with 600 members moved")
            assert terminal.ended() == DONE

    def test_ctrl_c_asks_and_leaves_it_running_with_the_way_back(self, admin: StubAdmin) -> None:
        admin.on("GET", OPERATION, told_operation(OperationState.RUNNING, planned(3, moving=1)))
        with in_terminal([*HALL, "operations", "op-1"], env=environment(admin)) as terminal:
            terminal.wait_for("0 of 3 rooms")
            terminal.type("\x03")
            terminal.wait_for("Cancel it?")
            terminal.type("\n")
            terminal.wait_for("hall operations op-1")
            assert terminal.ended() == LEFT
        assert admin.bodies("DELETE", OPERATION) == []

    def test_ctrl_c_cancels_it_if_one_says_so_and_waits_for_the_moves_under_way(self, admin: StubAdmin) -> None:
        plan = planned(3, moving=1)
        admin.on("GET", OPERATION, told_operation(OperationState.RUNNING, plan))
        admin.on("DELETE", OPERATION, Started("op-1"))
        with in_terminal([*HALL, "operations", "op-1"], env=environment(admin)) as terminal:
            terminal.wait_for("0 of 3 rooms")
            terminal.type("\x03")
            terminal.wait_for("Cancel it?")
            terminal.type("y\n")
            admin.wait_until_asked("DELETE", OPERATION)
            admin.on("GET", OPERATION, told_operation(OperationState.RUNNING, plan, is_cancelling=True))
            terminal.wait_for("it stops after the moves under way")
            admin.on("GET", OPERATION, told_operation(OperationState.CANCELLED, planned(3, done=1)))
            terminal.wait_for("cancelled, 1 of 3 rooms with 20 members moved")
            assert terminal.ended() == PARTLY

    def test_what_has_ended_before_it_could_be_cancelled_is_told_as_it_ended(self, admin: StubAdmin) -> None:
        admin.on("GET", OPERATION, told_operation(OperationState.RUNNING, planned(3, moving=1)))
        admin.on("DELETE", OPERATION, Refusal(ErrorCode.BAD_REQUEST, "op-1 is over already: it is done"))
        with in_terminal([*HALL, "operations", "op-1"], env=environment(admin)) as terminal:
            terminal.wait_for("0 of 3 rooms")
            terminal.type("\x03")
            terminal.wait_for("Cancel it?")
            admin.on("GET", OPERATION, told_operation(OperationState.DONE, planned(3, done=3)))
            terminal.type("y\n")
            terminal.wait_for("done, 3 rooms with 60 members moved")
            assert terminal.ended() == DONE

    def test_a_cancel_that_was_not_taken_is_no_success(self, admin: StubAdmin) -> None:
        admin.on("GET", OPERATION, told_operation(OperationState.RUNNING, planned(3, moving=1)))
        admin.on("DELETE", OPERATION, Refusal(ErrorCode.BUSY, "Redis does not answer"))
        with in_terminal([*HALL, "operations", "op-1"], env=environment(admin)) as terminal:
            terminal.wait_for("0 of 3 rooms")
            terminal.type("\x03")
            terminal.wait_for("Cancel it?")
            terminal.type("y\n")
            terminal.wait_for("Redis does not answer")
            assert terminal.ended() == FAILED

    def test_rebalance_shows_its_plan_and_asks(self, admin: StubAdmin) -> None:
        admin.on("POST", "/admin/rebalance", PlanAnswer(planned(2)))
        with in_terminal([*HALL, "rebalance"], env=environment(admin)) as terminal:
            terminal.wait_for("lecture-0")
            terminal.wait_for("Run it?")
            terminal.type("\n")
            terminal.wait_for("nothing was moved")
            assert terminal.ended() == DONE
        assert [body["plan"] for body in admin.bodies("POST", "/admin/rebalance")] == [True]


class TestMove:
    def test_it_asks_for_the_room_and_waits(self, admin: StubAdmin, hall: Hall) -> None:
        admin.on("POST", "/admin/rooms/r/move", PlanAnswer(planned(1)), Started("op-1"))
        done = told_operation(OperationState.DONE, planned(1, done=1), kind=OperationKind.MOVE, subject="r")
        admin.on("GET", OPERATION, done)
        assert hall("move", "r", "node-1", "--plan").exit_code == DONE
        told = hall("move", "r", "node-1")
        assert (told.exit_code, told.stdout) == (DONE, "move r: done, 1 room with 20 members moved in 5.0 s\n")
        bodies = admin.bodies("POST", "/admin/rooms/r/move")
        assert bodies == [{"to": "node-1", "plan": True}, {"to": "node-1", "plan": False}]

    def test_one_that_fails_names_the_reason_and_where_to_look(self, admin: StubAdmin, hall: Hall) -> None:
        admin.on("POST", "/admin/rooms/r/move", Started("op-1"))
        failed = told_operation(OperationState.FAILED, planned(1, failed=1), kind=OperationKind.MOVE, subject="r")
        admin.on("GET", OPERATION, failed)
        told = hall("move", "r", "node-1")
        assert told.exit_code == FAILED
        assert "did not open it" in told.stdout
        assert "hall explain r" in told.stdout


class TestRebalance:
    PATH = "/admin/rebalance"

    def test_a_run_is_exactly_what_the_plan_said(self, admin: StubAdmin, hall: Hall) -> None:
        admin.on("POST", self.PATH, PlanAnswer(planned(2)), Started("op-1"))
        done = told_operation(OperationState.DONE, planned(2, done=2), kind=OperationKind.REBALANCE, subject="")
        admin.on("GET", OPERATION, done)
        told = hall("rebalance", "--yes", "--bound", "1.5")
        assert told.exit_code == DONE
        assert "rebalance: done, 2 rooms" in told.stdout
        plan, run = admin.bodies("POST", self.PATH)
        assert (plan["plan"], plan["moves"], plan["bound"]) == (True, None, 1.5)
        moves = [{"room": f"lecture-{number}", "source": "node-2", "target": "node-1"} for number in range(2)]
        assert (run["plan"], run["moves"], run["bound"]) == (False, moves, 1.5)

    def test_a_plan_that_was_kept_is_run_later(self, admin: StubAdmin, hall: Hall, tmp_path: Path) -> None:
        admin.on("POST", self.PATH, PlanAnswer(planned(2)))
        kept = tmp_path / "plan.json"
        kept.write_text(hall("rebalance", "--plan", "--json").stdout)
        admin.on("POST", self.PATH, Started("op-1"))
        done = told_operation(OperationState.DONE, planned(2, done=2), kind=OperationKind.REBALANCE, subject="")
        admin.on("GET", OPERATION, done)
        assert hall("rebalance", "--from", str(kept), "--json").exit_code == DONE
        assert hall("rebalance", "--from", "-", input=kept.read_text()).exit_code == DONE
        runs = admin.bodies("POST", self.PATH)[1:]
        assert [(run["plan"], len(run["moves"])) for run in runs] == [(False, 2), (False, 2)]

    def test_a_plan_that_no_longer_fits_moves_nothing_and_says_so(self, admin: StubAdmin, hall: Hall) -> None:
        stale = Refusal(ErrorCode.BAD_REQUEST, "lecture-1 is on node-3 now: plan again")
        admin.on("POST", self.PATH, PlanAnswer(planned(2)), stale)
        told = hall("rebalance", "--yes")
        assert (told.exit_code, "plan again" in told.stderr, "try again" in told.stderr) == (FAILED, True, False)

    def test_nobody_to_say_yes_is_an_error_before_anything_is_asked(self, admin: StubAdmin, hall: Hall) -> None:
        told = hall("rebalance")
        assert (told.exit_code, "--yes" in told.stderr, admin.asked) == (USAGE, True, [])

    def test_rooms_that_have_nowhere_to_go_are_told_by_the_exit_code(self, admin: StubAdmin, hall: Hall) -> None:
        admin.on("POST", self.PATH, PlanAnswer(planned(1, stranded=1)), Started("op-1"))
        plan = planned(1, done=1, stranded=1)
        done = told_operation(OperationState.DONE, plan, kind=OperationKind.REBALANCE, subject="")
        admin.on("GET", OPERATION, done)
        told = hall("rebalance", "--yes")
        assert (told.exit_code, "hall rebalance --plan" in told.stdout) == (PARTLY, True)

    def test_nothing_to_move_is_done(self, admin: StubAdmin, hall: Hall) -> None:
        admin.on("POST", self.PATH, PlanAnswer(planned(0)))
        told = hall("rebalance", "--yes")
        assert (told.exit_code, "nothing to move" in told.stdout, len(admin.asked)) == (DONE, True, 1)

    @pytest.mark.parametrize("text", ["", "{}", "not json"])
    def test_a_file_without_a_plan_is_refused(self, hall: Hall, tmp_path: Path, text: str) -> None:
        (tmp_path / "plan").write_text(text)
        assert hall("rebalance", "--from", str(tmp_path / "plan")).exit_code == USAGE
        assert hall("rebalance", "--from", str(tmp_path / "none")).exit_code == USAGE


class TestOperations:
    def test_they_are_listed(self, admin: StubAdmin, hall: Hall) -> None:
        running = told_operation(OperationState.RUNNING, planned(3, done=1)).operation
        admin.on("GET", "/admin/operations", OperationsAnswer((running,)), OperationsAnswer(()))
        shown = hall("operations").stdout.splitlines()[1]
        assert shown.split() == ["op-1", "drain", "node-2", "running", "1/3", f"{local(AT_MS):%H:%M:%S}"]
        assert "none of late" in hall("operations").stderr

    def test_one_is_cancelled_and_followed_to_its_end(self, admin: StubAdmin, hall: Hall) -> None:
        admin.on("DELETE", OPERATION, Started("op-1"))
        admin.on("GET", OPERATION, told_operation(OperationState.CANCELLED, planned(3, done=1)))
        told = hall("operations", "op-1", "--cancel")
        assert (told.exit_code, "cancelled, 1 of 3 rooms" in told.stdout) == (PARTLY, True)

    def test_one_is_shown_as_it_is_now(self, admin: StubAdmin, hall: Hall) -> None:
        admin.on("GET", OPERATION, told_operation(OperationState.RUNNING, planned(3, done=1, moving=1)))
        told = hall("operations", "op-1", "--no-wait")
        assert (told.exit_code, "running, 1 of 3 rooms" in told.stdout) == (DONE, True)

    def test_cancel_without_one_is_wrong(self, hall: Hall) -> None:
        assert hall("operations", "--cancel").exit_code == USAGE


class TestPins:
    @pytest.mark.parametrize(
        ("owner", "words"), [("node-2", "belongs on node-2"), ("node-1", "hall move r node-2"), (None, "placed there")]
    )
    def test_a_pin_says_what_is_left_to_do(
        self, admin: StubAdmin, hall: Hall, owner: NodeName | None, words: str
    ) -> None:
        admin.on("PUT", "/admin/rooms/r/pin", PinAnswer(RoomId("r"), NODE_2, owner))
        assert words in hall("pin", "r", "node-2").stdout
        assert admin.bodies("PUT", "/admin/rooms/r/pin") == [{"node": "node-2"}]

    def test_it_is_taken_back(self, admin: StubAdmin, hall: Hall) -> None:
        admin.on("DELETE", "/admin/rooms/r/pin", PinAnswer(RoomId("r"), None, NODE_2))
        assert hall("unpin", "r").stdout == "r is pinned nowhere; it stays on node-2\n"


class TestReservations:
    PATH = "/admin/rooms/math-101/reservations"

    def answer(self, at_ms: int, *, counts: bool = False) -> ReservationsAnswer:
        room = RoomId("math-101")
        return ReservationsAnswer((ReservationAnswer(room, 3_000, at_ms, 90, at_ms + 5_400_000, counts, None),))

    def test_the_day_and_the_zone_are_told_back(
        self, admin: StubAdmin, hall: Hall, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        at_ms = 4_102_477_200_000  # 2100-01-01T09:00:00Z
        admin.on("PUT", self.PATH, self.answer(at_ms))
        told = hall("reserve", "math-101", "--members", "3000", "--at", "2100-01-01T09:00Z", "--minutes", "90")
        assert admin.bodies("PUT", self.PATH) == [{"members": 3_000, "at_ms": at_ms, "minutes": 90}]
        assert told.exit_code == DONE
        assert told.stdout.startswith("math-101: 3,000 members, ")
        assert "(" in told.stdout
        assert "in " in told.stdout

    def test_they_are_listed_with_the_zone(self, admin: StubAdmin, hall: Hall) -> None:
        admin.on("GET", "/admin/reservations", self.answer(AT_MS), ReservationsAnswer(()))
        told = hall("reservations")
        assert "math-101" in told.stdout
        assert "times are " in told.stdout
        assert "nothing is reserved" in hall("reservations").stderr

    def test_all_of_a_room_or_the_one_at_a_time_is_taken_back(self, admin: StubAdmin, hall: Hall) -> None:
        admin.on("DELETE", self.PATH, self.answer(AT_MS), ReservationsAnswer(()))
        told = hall("reserve", "math-101", "--cancel", "--at", "2100-01-01T09:00Z")
        assert "nothing else is reserved" in told.stdout
        assert hall("reserve", "math-101", "--cancel").stdout == "nothing is reserved for math-101\n"
        assert [asked.query for asked in admin.asked] == [{"at_ms": "4102477200000"}, {}]

    @pytest.mark.parametrize(
        "words",
        [
            (),
            ("--members", "3000"),
            ("--at", "09:00"),
            ("--members", "3000", "--at", "nine"),
            ("--members", "3000", "--at", "2001-01-01T09:00"),
            ("--members", "-1", "--at", "09:00"),
            ("--members", "3000", "--cancel"),
        ],
    )
    def test_what_makes_no_lecture_is_refused_before_it_is_asked(
        self, admin: StubAdmin, hall: Hall, words: tuple[str, ...]
    ) -> None:
        assert hall("reserve", "math-101", *words).exit_code == USAGE
        assert admin.asked == []


class TestWhatGoesWrong:
    def test_a_refusal_is_told_with_its_code_and_to_programs_in_its_shape(self, admin: StubAdmin, hall: Hall) -> None:
        unknown = Refusal(ErrorCode.BAD_REQUEST, "there is no node node-9; there are node-1, node-2")
        admin.on("POST", "/admin/nodes/node-9/cordon", unknown)
        told = hall("cordon", "node-9")
        assert (told.exit_code, told.stdout) == (FAILED, "")
        assert "there are node-1, node-2 (BAD_REQUEST)" in told.stderr
        told = hall("cordon", "node-9", "--json")
        assert told.exit_code == FAILED
        assert json.loads(told.stdout)["error"]["code"] == "BAD_REQUEST"

    @pytest.mark.parametrize(
        ("refusal", "words"),
        [
            (Refusal(ErrorCode.UNAUTHENTICATED, "this takes the operators' token"), "HALL_ADMIN_TOKEN"),
            (Refusal(ErrorCode.UNSUPPORTED, "there is no such thing"), "older release"),
            (Refusal(ErrorCode.BUSY, "Redis does not answer", retry_after_ms=3_000), "try again in 3 s"),
        ],
    )
    def test_it_says_what_to_do(self, admin: StubAdmin, hall: Hall, refusal: Refusal, words: str) -> None:
        admin.on("GET", "/admin/nodes", refusal)
        assert words in hall("nodes").stderr

    def test_a_director_that_is_not_there_has_an_exit_code_of_its_own(self, hall: Hall) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        told = hall("nodes", "--director", f"http://127.0.0.1:{port}", "--json")
        assert told.exit_code == NO_DIRECTOR
        assert json.loads(told.stdout)["error"]["code"] == "NO_DIRECTOR"
        assert "hall up" in told.stderr
        assert hall("failover", "resume", "--director", f"http://127.0.0.1:{port}").exit_code == NO_DIRECTOR
        assert hall("nodes", "--director", "no address").exit_code == NO_DIRECTOR

    def test_the_way_to_the_director_is_straight_whatever_proxy_is_named(
        self, admin: StubAdmin, hall: Hall, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
        monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
        admin.on("GET", "/admin/nodes", NodesAnswer(()))
        assert hall("nodes").exit_code == DONE

    def test_something_else_that_answers_is_no_director(self, admin: StubAdmin, hall: Hall) -> None:
        admin.on("GET", "/admin/nodes", b"<html>welcome</html>")
        told = hall("nodes")
        assert (told.exit_code, "is no director" in told.stderr) == (NO_DIRECTOR, True)

    def test_the_token_is_given_or_found_in_the_fleets_folder_or_asked_for(
        self, admin: StubAdmin, hall: Hall, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        admin.on("POST", "/admin/failover/resume", ResumeAnswer(1, 60_000))
        monkeypatch.delenv("HALL_ADMIN_TOKEN")
        told = hall("failover", "resume", "--data", str(tmp_path))
        assert (told.exit_code, "--token" in told.stderr) == (USAGE, True)
        (tmp_path / "admin.token").write_text("found\n")
        assert hall("failover", "resume", "--data", str(tmp_path)).stdout.startswith("1 node waits")
        assert hall("failover", "resume", "--data", str(tmp_path), "--token", "given\n").exit_code == DONE
        assert [asked.token for asked in admin.asked] == ["found", "given"]
        assert hall("nodes", "--token", "ключ").exit_code == USAGE

    @pytest.mark.parametrize(
        "words",
        [
            ("explain", "no room"),
            ("explain", "."),  # a room, but a path cannot name it: the list of rooms would be asked for
            ("unpin", ".."),
            ("move", "r", "-"),
            ("drain", "a/b"),
            ("rooms", "--node", "?"),
            ("pin", "r"),
        ],
    )
    def test_names_that_cannot_be_are_refused_before_they_are_asked(
        self, admin: StubAdmin, hall: Hall, words: tuple[str, ...]
    ) -> None:
        assert hall(*words).exit_code == USAGE
        assert admin.asked == []


class TestCompletion:
    def complete(self, admin: StubAdmin, words: str, **said: str) -> list[str]:
        """What bash is given for a line."""
        number = len(words.split(" ")) - 1
        env = {**environment(admin), "_HALL_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(number)}
        told = CliRunner().invoke(app, [], env={**env, **said}, prog_name="hall")
        assert (told.stderr, told.exit_code) == ("", 0)
        return told.stdout.split()

    def test_nodes_rooms_and_operations_are_asked_from_the_director(self, admin: StubAdmin) -> None:
        admin.on("GET", "/admin/nodes", NodesAnswer((told_node("node-1"), told_node("east-1"))))
        admin.on("GET", "/admin/rooms", RoomsAnswer((told_room("math-101"), told_room("math-102")), True))
        done = told_operation(OperationState.DONE, planned(1, done=1)).operation
        admin.on("GET", "/admin/operations", OperationsAnswer((done,)))
        assert self.complete(admin, "hall drain no") == ["node-1"]
        assert self.complete(admin, "hall explain math") == ["math-101", "math-102"]
        assert admin.asked[-1].query == {"limit": "100", "prefix": "math"}
        assert self.complete(admin, "hall move math-101 ") == ["node-1", "east-1"]
        assert self.complete(admin, "hall operations ") == ["op-1"]
        assert self.complete(admin, "hall rooms --node e") == ["east-1"]

    def test_what_was_typed_before_says_which_director(self, admin: StubAdmin) -> None:
        admin.on("GET", "/admin/nodes", NodesAnswer((told_node("node-1"),)))
        line = f"hall drain --director {admin.url} --token typed "
        assert self.complete(admin, line, HALL_DIRECTOR_URL="http://127.0.0.1:9") == ["node-1"]
        assert admin.asked[-1].token == "typed"

    @pytest.mark.parametrize("answer", [Refusal(ErrorCode.UNAUTHENTICATED, "no"), b"nonsense", {"nodes": 7}, {}])
    def test_a_director_that_is_no_help_completes_nothing_and_says_nothing(
        self, admin: StubAdmin, answer: object
    ) -> None:
        admin.on("GET", "/admin/nodes", answer)
        assert self.complete(admin, "hall drain ") == []

    def test_no_director_and_no_token_complete_nothing_and_say_nothing(self, admin: StubAdmin, tmp_path: Path) -> None:
        assert self.complete(admin, "hall drain ", HALL_DIRECTOR_URL="http://127.0.0.1:9") == []
        assert self.complete(admin, "hall drain ", HALL_ADMIN_TOKEN="", HALL_DATA=str(tmp_path)) == []

    def test_it_can_be_installed_for_a_shell(self, tmp_path: Path) -> None:
        env = {**os.environ, "HOME": str(tmp_path)}
        with in_terminal(["bash", "--norc", "-c", f"{HALL[0]} -m {HALL[2]} --install-completion; true"], env=env) as it:
            it.wait_for("completion installed")
            assert it.ended() == 0
        assert (tmp_path / ".bashrc").exists()


def test_the_defaults_of_the_options_are_those_of_the_contract() -> None:
    body, asked = DrainBody(), RebalanceBody(True)
    assert body.within_s == drains.DEFAULT_WITHIN
    assert asked.bound == rebalance.DEFAULT_BOUND
    budgets = {(it.rooms_at_a_time, it.members_per_second) for it in (body, asked)}
    assert budgets == {(operator_desk.DEFAULT_ROOMS_AT_A_TIME, operator_desk.DEFAULT_MEMBERS_PER_SECOND)}
