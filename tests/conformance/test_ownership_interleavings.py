"""All scripts in any order, by any process however late: what must hold of owners and epochs after each step.

A model of the fleet beside the hall: processes that open rooms at a store, are replaced, lapse, are declared dead, come
back, and go on acting though they were declared dead; directors that claim by what they believed long ago, and ask for
moves; owners that hand rooms over and take them back; and a Redis that is wiped or goes back to an older state. Over
the hall in memory, and over Valkey in fewer examples.
"""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.errors import FlakyStrategyDefinition
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from director.contract.failover import Departed, Verdicts
from director.contract.ids import Epoch, Incarnation, NodeName, RoomId
from director.contract.lease import Forgotten, Lost, NodeLeases, Renewed
from director.contract.ownership import Asked, Claimed, Outrun, RoomOwners, RoomRecord, Unfit
from director.failover_memory import MemoryVerdicts
from director.leases_memory import MemoryNodeLeases
from director.memory_hall import MemoryHall
from director.moves_memory import identity_of
from director.ownership_memory import MemoryRoomOwners
from tests.support.halls import Hall, hall_on, lease_of
from tests.support.valkey_server import valkey

MAX_RUNS = 5
T = TypeVar("T")
NODES = [NodeName("a"), NodeName("b"), NodeName("c")]
ROOMS = [RoomId("math"), RoomId("art")]
EXPIRE, SETTLE = 6.0, 3.0
Key = tuple[NodeName, Incarnation]


@dataclass(slots=True, eq=False)
class Process:
    """One start of a node, with the rooms that it has opened at the store."""

    node: NodeName
    incarnation: Incarnation
    generation: str
    rooms: dict[RoomId, RoomRecord] = field(default_factory=dict)

    @property
    def key(self) -> Key:
        return self.node, self.incarnation


class Interleavings(RuleBasedStateMachine):
    """The rules; a subclass says over which hall."""

    owners: RoomOwners
    leases: NodeLeases
    verdicts: Verdicts

    def __init__(self) -> None:
        super().__init__()
        self.processes: list[Process] = []
        self.started: list[Key] = []
        # as far as this Redis knows: it may lose the graves, too
        self.dead: set[Key] = set()
        self.beliefs: list[RoomRecord | None] = [None]
        # what the store has: the room's row, and all that ever owned it
        self.rows: dict[RoomId, tuple[Epoch, Incarnation]] = {}
        self.history: dict[tuple[RoomId, Epoch], Incarnation] = {}
        # who was given which epoch in this life of Redis
        self.given: dict[tuple[str, RoomId, Epoch], Incarnation] = {}
        self.highest: dict[tuple[str, RoomId], Epoch] = {}
        self.set_up()

    def set_up(self) -> None:
        raise NotImplementedError

    def do(self, call: Coroutine[Any, Any, T]) -> T:
        raise NotImplementedError

    @initialize()
    def begin(self) -> None:
        """Two nodes, each with a room."""
        for node in NODES[:2]:
            self.start(node)
        self.let_settle()
        for process, room in zip(list(self.processes), ROOMS, strict=True):
            self.claim_for(process, room, None)
            # an epoch that a wiped counter does not reach again by counting
            self.rows[room] = (Epoch(1_000), Incarnation("of old"))
            self.open_at(process, room)

    def let_settle(self) -> None:
        """Let a settle time pass, if there is one."""

    # -- the fleet

    @rule(node=st.sampled_from(NODES))
    def start(self, node: NodeName) -> None:
        """Also while another process of that name runs."""
        incarnation = Incarnation(f"i{len(self.started) + 1}")
        self.started.append((node, incarnation))
        last = [lease for lease in self.last_holders() if lease[0] == node]
        answer = self.do(self.leases.acquire(lease_of(node, incarnation), expire=EXPIRE))
        assert isinstance(answer, Renewed)
        self.dead.update(last)
        self.processes.append(Process(node, incarnation, answer.generation))

    def last_holders(self) -> set[Key]:
        read = self.do(self.leases.live_nodes())
        return {(lease.node, lease.incarnation) for lease in [*(n.lease for n in read.nodes), *read.lapsed]}

    @precondition(lambda self: self.processes)
    @rule(data=st.data())
    def renew(self, data: st.DataObject) -> None:
        self.renew_one(data.draw(st.sampled_from(self.processes)))

    def renew_one(self, process: Process) -> None:
        lease = lease_of(process.node, process.incarnation)
        match self.do(self.leases.renew(lease, expire=EXPIRE, members=dict.fromkeys(process.rooms, 1))):
            case Renewed(generation):
                assert process.key not in self.dead
                if generation != process.generation:
                    process.generation = generation
                    self.assert_rooms(process)
            case Forgotten():
                assert process.key not in self.dead
                assert process.node not in {node for node, inc in self.last_holders() if inc != process.incarnation}
                answer = self.do(self.leases.acquire(lease, expire=EXPIRE))
                assert isinstance(answer, Renewed)
                process.generation = answer.generation
                self.assert_rooms(process)
            case Lost():
                assert process.key in self.dead or process.key not in self.last_holders()
                self.processes.remove(process)

    def assert_rooms(self, process: Process) -> None:
        # a node asserts what the store confirms to be its own (shard_node/lease_keeper.py)
        confirmed = [r for r in process.rooms.values() if self.rows.get(r.room) == (r.epoch, r.incarnation)]
        process.rooms = {record.room: record for record in confirmed}
        records = list(confirmed)
        for record, answer in zip(records, self.do(self.owners.assert_owned(records)), strict=True):
            if isinstance(answer, Outrun):
                assert answer.record is not None
                assert answer.record.epoch >= record.epoch
                del process.rooms[record.room]

    @precondition(lambda self: self.processes)
    @rule(data=st.data(), room=st.sampled_from(ROOMS), is_fresh=st.booleans(), is_opened=st.booleans())
    def claim(self, data: st.DataObject, room: RoomId, is_fresh: bool, is_opened: bool) -> None:
        """By a director whose picture is fresh, or of any age; its node may open the room at once."""
        process = data.draw(st.sampled_from(self.processes))
        old = [belief for belief in self.beliefs if belief is None or belief.room == room]
        believed = self.do(self.owners.room_record(room)) if is_fresh else data.draw(st.sampled_from(old))
        self.claim_for(process, room, believed)
        if is_opened:
            self.open_at(process, room)

    def claim_for(self, process: Process, room: RoomId, believed: RoomRecord | None) -> None:
        standing = self.do(self.owners.room_record(room))
        answer = self.do(
            self.owners.claim(room, node=process.node, incarnation=process.incarnation, replacing=believed, why="any")
        )
        if not isinstance(answer, Claimed):
            assert self.do(self.owners.room_record(room)) == standing, "what is refused changes nothing"
            return
        record = answer.record
        if standing is not None:
            assert (standing.owner, standing.incarnation) in self.dead, "nobody replaces an owner that is not dead"
            assert record.epoch > standing.epoch
        self.note(record)

    @rule(room=st.sampled_from(ROOMS), how=st.sampled_from(["proven", "lapsed", "judged", "released"]))
    def fall(self, room: RoomId, how: str) -> None:
        """Whoever owns a room loses its lease in one way or another; unless released it goes on acting."""
        record = self.do(self.owners.room_record(room))
        if record is None:
            return
        key = (record.owner, record.incarnation)
        match how:
            case "proven":
                self.do(self.leases.declare_dead(*key, why="refused"))
                self.dead.add(key)
            case "released":
                self.do(self.leases.release(*key))
                self.dead.add(key)
                self.processes = [process for process in self.processes if process.key != key]
            case "lapsed" | "judged":
                if key in self.last_holders():
                    self.let_lapse(record.owner)
                if how == "judged":
                    self.judge_one(key)

    @rule(data=st.data(), room=st.sampled_from(ROOMS))
    def take_over(self, data: st.DataObject, room: RoomId) -> None:
        """What a steward does: a node that stands gets the room, and opens it."""
        standing = [n.lease.incarnation for n in self.do(self.leases.live_nodes()).nodes]
        heirs = [process for process in self.processes if process.incarnation in standing]
        if heirs:
            heir = data.draw(st.sampled_from(heirs))
            self.claim_for(heir, room, self.do(self.owners.room_record(room)))
            self.open_at(heir, room)

    def open_at(self, process: Process, room: RoomId) -> None:
        """As a node does that was told of a claim, or was joined: fence the store, raise an epoch that is behind."""
        record = self.do(self.owners.room_record(room))
        while record is not None and (record.owner, record.incarnation) == process.key:
            epoch, owner = self.rows.get(room, (Epoch(0), Incarnation("")))
            if epoch < record.epoch or (epoch, owner) == (record.epoch, process.incarnation):
                self.rows[room] = (record.epoch, process.incarnation)
                assert self.history.setdefault((room, record.epoch), process.incarnation) == process.incarnation
                process.rooms[room] = record
                return
            answer = self.do(
                self.owners.renew_claim(
                    room, node=process.node, incarnation=process.incarnation, epoch=record.epoch, floor=epoch
                )
            )
            assert isinstance(answer, Claimed)
            assert answer.record.epoch > epoch, "above the store's"
            record = answer.record
            self.note(record)

    # -- moves

    @precondition(lambda self: self.processes)
    @rule(data=st.data(), room=st.sampled_from(ROOMS), steps=st.integers(1, 5), is_opened=st.booleans())
    def move(self, data: st.DataObject, room: RoomId, steps: int, is_opened: bool) -> None:
        """A move of a room as it should go, up to some step, by what stands."""
        target = data.draw(st.sampled_from(self.processes))
        former = self.do(self.owners.room_record(room))
        for step in [self.ask, self.warm, self.hand_over][:steps]:
            record = self.do(self.owners.room_record(room))
            if record is None:
                return
            step(record, target)
        if is_opened:
            self.open_at(target, room)
        owner = former and next((p for p in self.processes if p.key == (former.owner, former.incarnation)), None)
        record = self.do(self.owners.room_record(room))
        if steps == 5 and owner is not None and record is not None:
            self.take_back(record, owner)
            self.open_at(owner, room)

    @precondition(lambda self: self.processes)
    @rule(
        data=st.data(),
        room=st.sampled_from(ROOMS),
        step=st.sampled_from(["ask", "warm", "cancel", "hand_over", "take_back"]),
        is_fresh=st.booleans(),
        is_opened=st.booleans(),
    )
    def move_a_step(self, data: st.DataObject, room: RoomId, step: str, is_fresh: bool, is_opened: bool) -> None:
        """Any step of a move, by anybody who believes what stands or what stood long ago."""
        process = data.draw(st.sampled_from(self.processes))
        old = [belief for belief in self.beliefs if belief is not None and belief.room == room]
        believed = self.do(self.owners.room_record(room)) if is_fresh or not old else data.draw(st.sampled_from(old))
        if believed is None:
            return
        steps = {
            "ask": self.ask,
            "warm": self.warm,
            "cancel": self.cancel,
            "hand_over": self.hand_over,
            "take_back": self.take_back,
        }
        steps[step](believed, process)
        if is_opened:
            self.open_at(process, room)

    def ask(self, believed: RoomRecord, target: Process) -> None:
        ask = self.owners.ask_move(believed, to=target.node, incarnation=target.incarnation, why="any")
        self.change_but_the_owner(believed, ask)

    def warm(self, believed: RoomRecord, target: Process) -> None:
        self.change_but_the_owner(believed, self.owners.note_warm(believed))

    def cancel(self, believed: RoomRecord, target: Process) -> None:
        self.change_but_the_owner(believed, self.owners.cancel_move(believed))

    def change_but_the_owner(
        self,
        believed: RoomRecord,
        call: Coroutine[Any, Any, Asked | Outrun] | Coroutine[Any, Any, Asked | Outrun | Unfit],
    ) -> None:
        standing = self.do(self.owners.room_record(believed.room))
        answer = self.do(call)
        after = self.do(self.owners.room_record(believed.room))
        if not isinstance(answer, Asked):
            assert after == standing, "what is refused changes nothing"
            return
        assert standing is not None
        assert identity_of(standing) == identity_of(believed) == identity_of(answer.record)
        assert answer.record == after
        self.beliefs.append(answer.record)

    def hand_over(self, believed: RoomRecord, target: Process) -> None:
        room = believed.room
        standing = self.do(self.owners.room_record(room))
        answer = self.do(self.owners.hand_over(believed))
        match answer:
            case Claimed(record):
                assert standing is not None
                assert identity_of(standing) == identity_of(believed), "only what still stands is handed over"
                assert (standing.target, standing.target_incarnation) == (record.owner, record.incarnation)
                assert (record.owner, record.incarnation) in self.holders(), "to a node that lives"
                self.be_given(standing, record)
            case Unfit():
                after = self.do(self.owners.room_record(room))
                assert standing is not None
                assert after is not None
                assert identity_of(after) == identity_of(standing)
                assert after.target is None
            case Outrun():
                assert self.do(self.owners.room_record(room)) == standing, "what is refused changes nothing"

    def take_back(self, believed: RoomRecord, former: Process) -> None:
        standing = self.do(self.owners.room_record(believed.room))
        answer = self.do(self.owners.take_back(believed, node=former.node, incarnation=former.incarnation))
        match answer:
            case Claimed(record):
                assert standing is not None
                assert identity_of(standing) == identity_of(believed)
                assert former.key == (record.owner, record.incarnation)
                assert former.key in self.holders()
                self.be_given(standing, record)
            case Outrun():
                assert self.do(self.owners.room_record(believed.room)) == standing, "what is refused changes nothing"

    def be_given(self, standing: RoomRecord, record: RoomRecord) -> None:
        assert record.epoch > standing.epoch
        assert record.target is None
        assert self.do(self.owners.room_record(record.room)) == record
        (last, *_) = self.do(self.owners.past_moves(record.room))
        assert (last.source, last.target, last.epoch) == (standing.owner, record.owner, record.epoch)
        self.note(record)

    def holders(self) -> set[Key]:
        read = self.do(self.leases.live_nodes())
        return {(node.lease.node, node.lease.incarnation) for node in read.nodes}

    @precondition(lambda self: any(process.rooms for process in self.processes))
    @rule(data=st.data(), is_over=st.booleans())
    def act(self, data: st.DataObject, is_over: bool) -> None:
        """A process writes to a room that it has open, or closes it, however much has happened since."""
        process = data.draw(st.sampled_from([process for process in self.processes if process.rooms]))
        room = data.draw(st.sampled_from(sorted(process.rooms)))
        record = process.rooms[room]
        if is_over:
            del process.rooms[room]
            self.close(process, record)
        elif self.rows[room] == (record.epoch, process.incarnation):
            assert max(epoch for at, epoch in self.history if at == room) == record.epoch
        else:
            del process.rooms[room]

    def close(self, process: Process, record: RoomRecord) -> None:
        room, epoch = record.room, record.epoch
        standing = self.do(self.owners.room_record(room))
        self.do(self.owners.release(room, node=process.node, incarnation=process.incarnation, epoch=epoch))
        if standing is not None and (standing.incarnation, standing.epoch) != (process.incarnation, epoch):
            assert self.do(self.owners.room_record(room)) == standing, "a late clean-up touches nobody else's"

    @precondition(lambda self: self.started)
    @rule(data=st.data())
    def judge(self, data: st.DataObject) -> None:
        self.judge_one(data.draw(st.sampled_from(self.started)))

    def judge_one(self, key: Key) -> None:
        stands = {(n.lease.node, n.lease.incarnation) for n in self.do(self.leases.live_nodes()).nodes}
        # what the limit holds back is another test's matter
        self.do(self.verdicts.resume())
        if isinstance(self.do(self.verdicts.judge(*key)), Departed):
            assert key not in stands, "nobody who holds a lease is judged"
            self.dead.add(key)

    def let_lapse(self, node: NodeName) -> None:
        raise NotImplementedError

    # -- Redis

    def wipe_data(self) -> None:
        raise NotImplementedError

    @rule(newest_first=st.booleans())
    def wipe(self, newest_first: bool) -> None:
        self.wipe_data()
        self.dead.clear()
        self.come_back(newest_first=newest_first)

    def come_back(self, *, newest_first: bool = False) -> None:
        """After trouble with Redis the processes that live come back, in the settle time if there is one."""
        for process in self.processes[:: -1 if newest_first else 1]:
            if process in self.processes:
                self.renew_one(process)
        self.let_settle()

    def note(self, record: RoomRecord) -> None:
        generation = self.do(self.owners.snapshot()).generation
        given = self.given.setdefault((generation, record.room, record.epoch), record.incarnation)
        assert given == record.incarnation, "one owner for each epoch"
        self.beliefs.append(record)

    @invariant()
    def directors_learn(self) -> None:
        snapshot = self.do(self.owners.snapshot())
        for record in snapshot.rooms:
            highest = self.highest.get((snapshot.generation, record.room), Epoch(0))
            assert record.epoch >= highest, "a room's epoch never falls"
            if (record.room, record.epoch) in self.history:
                # one that nobody opened has served nobody, and may be given back to the store's owner
                self.highest[snapshot.generation, record.room] = record.epoch
            if record not in self.beliefs:
                self.beliefs.append(record)

    @invariant()
    def the_dead_hold_no_lease(self) -> None:
        live = self.do(self.leases.live_nodes())
        for node in live.nodes:
            assert (node.lease.node, node.lease.incarnation) not in self.dead


class OverMemory(Interleavings):
    """Over the hall in memory, with a settle time by a clock of its own, and with failovers that lose writes."""

    def set_up(self) -> None:
        self.now = 1_000.0
        self.hall = MemoryHall(clock=lambda: self.now, settle=SETTLE)
        self.owners, self.leases = MemoryRoomOwners(self.hall), MemoryNodeLeases(self.hall)
        self.verdicts = MemoryVerdicts(self.hall)

    def do(self, call: Coroutine[Any, Any, T]) -> T:
        try:
            call.send(None)
        except StopIteration as done:
            value: T = done.value
            return value
        raise AssertionError("the hall in memory never waits")

    def let_settle(self) -> None:
        for _ in range(4):
            self.now += 1.0
            self.do(self.leases.live_nodes())

    @rule()
    def pause(self) -> None:
        """Everybody is silent until all leases have lapsed."""
        self.now += EXPIRE + 1
        self.come_back()

    def let_lapse(self, node: NodeName) -> None:
        self.hall._leases.pop(node, None)

    def wipe_data(self) -> None:
        self.hall.wipe()

    @rule(data=st.data(), room=st.sampled_from(ROOMS))
    def fail_over(self, data: st.DataObject, room: RoomId) -> None:
        """A room changes hands, the replica was not told, and is promoted."""
        saved = self.hall.save()
        self.fall(room, "judged")
        self.take_over(data, room)
        self.hall.fail_over(saved)
        self.dead = set(saved.dead)
        if data.draw(st.booleans()):
            self.come_back()


class OverValkey(Interleavings):
    """Over a real server; without a settle time, because its clock is the machine's."""

    hall: Hall
    runner: asyncio.Runner
    server: Any

    def set_up(self) -> None:
        self.context = hall_on(self.server)
        self.hall = self.runner.run(self.context.__aenter__())
        self.owners, self.leases, self.verdicts = self.hall.owners, self.hall.leases, self.hall.verdicts

    def teardown(self) -> None:
        self.runner.run(self.context.__aexit__(None, None, None))

    def do(self, call: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(call)

    def let_lapse(self, node: NodeName) -> None:
        self.do(self.hall.lapse(node))

    def wipe_data(self) -> None:
        self.hall.wipe()


def test_any_order_of_the_scripts_keeps_owners_and_epochs_apart() -> None:
    OverMemory.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
    OverMemory.TestCase().runTest()


def test_any_order_of_the_scripts_keeps_owners_and_epochs_apart_on_a_real_server() -> None:
    with valkey() as server, asyncio.Runner() as runner:
        OverValkey.server, OverValkey.runner = server, runner
        OverValkey.TestCase.settings = settings(
            max_examples=30,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],  # to make a failing example small takes minutes here
        )
        for _ in range(MAX_RUNS):
            try:
                OverValkey.TestCase().runTest()
            except FlakyStrategyDefinition:
                # not a broken promise: the server's clock moved on, and the same choices met another number of leases
                continue
            return
        pytest.fail(f"none of {MAX_RUNS} runs came to its end")
