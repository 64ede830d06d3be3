"""What RoomOwners promises, over memory, Valkey and Redis 7.0 alike."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import msgspec
import pytest

from director.contract.ids import Epoch, Incarnation, NodeName, RoomId
from director.contract.ownership import (
    Claimed,
    Interrupted,
    MembersCounted,
    NodeChanged,
    NodeGone,
    Outrun,
    RoomChanged,
    RoomGone,
    RoomRecord,
    Unfit,
)
from director.ownership_redis import RedisRoomOwners
from tests.support.halls import ART, KINDS, MATHS, Hall, hall_on, lease_of, server_of
from tests.support.valkey_server import ValkeyServer

N1, N2, N3 = NodeName("node-1"), NodeName("node-2"), NodeName("node-3")
I1, I2 = Incarnation("i1"), Incarnation("i2")
LONG = 60.0


@pytest.fixture(scope="module", params=KINDS)
def server(request: pytest.FixtureRequest) -> Iterator[ValkeyServer | None]:
    with server_of(request.param) as server:
        yield server


@pytest.fixture
async def hall(server: ValkeyServer | None) -> AsyncIterator[Hall]:
    async with hall_on(server) as hall:
        for node in ("node-1", "node-2"):
            await hall.leases.acquire(lease_of(node), expire=LONG)
        yield hall


async def claimed(
    hall: Hall, room: RoomId = MATHS, node: NodeName = N1, replacing: RoomRecord | None = None
) -> RoomRecord:
    answer = await hall.owners.claim(room, node=node, incarnation=I1, replacing=replacing, why="ring")
    assert isinstance(answer, Claimed), answer
    return answer.record


async def test_a_claim_of_a_vacant_room_makes_the_node_its_owner(hall: Hall) -> None:
    record = await claimed(hall)

    assert (record.room, record.owner, record.incarnation, record.why) == (MATHS, N1, I1, "ring")
    assert (record.members, record.peak, record.moves) == (0, 0, 0)
    assert record.epoch >= 1
    assert await hall.owners.room_record(MATHS) == record
    assert await hall.owners.room_record(ART) is None


async def test_one_of_many_claims_at_once_wins_and_the_others_learn_who(hall: Hall) -> None:
    answers = await asyncio.gather(
        *(hall.owners.claim(MATHS, node=[N1, N2][i % 2], incarnation=I1, replacing=None, why="ring") for i in range(20))
    )

    winners = [answer.record for answer in answers if isinstance(answer, Claimed)]
    assert len(winners) == 1
    assert all(isinstance(a, Claimed) or a == Outrun(winners[0]) for a in answers)


async def test_epochs_grow_across_rooms_and_removals(hall: Hall) -> None:
    first = await claimed(hall)
    other = await claimed(hall, ART, N2)
    assert await hall.owners.release(MATHS, node=N1, incarnation=I1, epoch=first.epoch)
    again = await claimed(hall)

    assert first.epoch < other.epoch < again.epoch


async def test_a_node_without_a_lease_is_unfit(hall: Hall) -> None:
    assert await hall.owners.claim(MATHS, node=N3, incarnation=I1, replacing=None, why="ring") == Unfit()
    assert await hall.owners.claim(MATHS, node=N1, incarnation=I2, replacing=None, why="ring") == Unfit()
    assert await hall.owners.room_record(MATHS) is None


async def test_an_owner_whose_lease_stands_is_not_replaced(hall: Hall) -> None:
    record = await claimed(hall)

    answer = await hall.owners.claim(MATHS, node=N2, incarnation=I1, replacing=record, why="ring")

    assert answer == Outrun(record)
    assert await hall.owners.room_record(MATHS) == record


async def test_a_dead_owner_is_replaced_with_the_next_epoch_and_its_room_keeps_its_peak(hall: Hall) -> None:
    record = await claimed(hall)
    renewed = await hall.leases.renew(lease_of("node-1"), expire=LONG, members={MATHS: 77})
    assert renewed is not None
    assert await hall.leases.declare_dead(N1, I1, why="refused")

    heir = await claimed(hall, node=N2, replacing=record)

    assert heir.epoch > record.epoch
    assert (heir.owner, heir.members, heir.peak, heir.moves) == (N2, 0, 77, 1)


async def test_a_new_incarnation_of_the_owner_may_replace_the_former(hall: Hall) -> None:
    record = await claimed(hall)
    await hall.leases.acquire(lease_of("node-1", "i2"), expire=LONG)

    answer = await hall.owners.claim(MATHS, node=N1, incarnation=I2, replacing=record, why="ring")

    assert isinstance(answer, Claimed)
    assert (answer.record.owner, answer.record.incarnation) == (N1, I2)


async def test_a_claim_on_an_outdated_belief_changes_nothing(hall: Hall) -> None:
    record = await claimed(hall)
    await hall.leases.release(N1, I1)
    heir = await claimed(hall, node=N2, replacing=record)
    older = msgspec.structs.replace(heir, epoch=Epoch(heir.epoch - 1))

    for belief in (record, older, None):
        answer = await hall.owners.claim(MATHS, node=N2, incarnation=I1, replacing=belief, why="ring")
        assert answer == Outrun(heir)
    assert await hall.owners.room_record(MATHS) == heir


async def test_believing_in_an_owner_of_a_vacant_room_is_outrun(hall: Hall) -> None:
    record = await claimed(hall)
    await hall.owners.release(MATHS, node=N1, incarnation=I1, epoch=record.epoch)

    assert await hall.owners.claim(MATHS, node=N2, incarnation=I1, replacing=record, why="ring") == Outrun(None)


async def test_an_owner_that_is_behind_the_store_gets_an_epoch_above_it(hall: Hall) -> None:
    record = await claimed(hall)

    answer = await hall.owners.renew_claim(MATHS, node=N1, incarnation=I1, epoch=record.epoch, floor=Epoch(5_000))

    assert isinstance(answer, Claimed)
    assert answer.record.epoch == 5_001
    assert answer.record.version > record.version
    assert (await claimed(hall, ART, N2)).epoch == 5_002


async def test_only_the_owner_itself_renews_its_claim(hall: Hall) -> None:
    record = await claimed(hall)
    floor = Epoch(record.epoch + 10)

    for node, incarnation, epoch in ((N2, I1, record.epoch), (N1, I2, record.epoch), (N1, I1, Epoch(record.epoch + 1))):
        answer = await hall.owners.renew_claim(MATHS, node=node, incarnation=incarnation, epoch=epoch, floor=floor)
        assert answer == Outrun(record)
    assert await hall.owners.renew_claim(ART, node=N1, incarnation=I1, epoch=Epoch(1), floor=floor) == Outrun(None)


async def test_epochs_beyond_the_reach_of_a_float_of_fourteen_digits_stay_whole(hall: Hall) -> None:
    record = await claimed(hall)
    high = Epoch(2**53 - 10)

    answer = await hall.owners.renew_claim(MATHS, node=N1, incarnation=I1, epoch=record.epoch, floor=high)

    assert isinstance(answer, Claimed)
    assert answer.record.epoch == high + 1
    assert await hall.owners.room_record(MATHS) == answer.record
    assert await hall.owners.release(MATHS, node=N1, incarnation=I1, epoch=answer.record.epoch)


async def test_owners_write_their_records_again_after_a_wipe(hall: Hall) -> None:
    record = msgspec.structs.replace(await claimed(hall), epoch=Epoch(40), members=5, peak=9, moves=2)
    hall.wipe()

    answers = await hall.owners.assert_owned([record])

    assert len(answers) == 1
    assert isinstance(answers[0], Claimed)
    written = answers[0].record
    assert msgspec.structs.replace(written, version=record.version) == record
    assert await hall.owners.room_record(MATHS) == written
    assert (await hall.owners.snapshot()).rooms == [written]
    await hall.leases.acquire(lease_of("node-2"), expire=LONG)
    assert (await claimed(hall, ART, N2)).epoch == 41


async def test_an_assertion_yields_to_a_record_of_the_same_or_a_higher_epoch(hall: Hall) -> None:
    record = await claimed(hall)
    same_epoch = msgspec.structs.replace(record, owner=N2)
    lower = msgspec.structs.replace(record, owner=N2, epoch=Epoch(record.epoch - 1))
    higher = msgspec.structs.replace(record, owner=N2, epoch=Epoch(record.epoch + 1))

    assert await hall.owners.assert_owned([record, same_epoch, lower]) == [
        Claimed(record),
        Outrun(record),
        Outrun(record),
    ]
    (answer,) = await hall.owners.assert_owned([higher])
    assert isinstance(answer, Claimed)
    assert answer.record.owner == N2
    assert await hall.owners.assert_owned([]) == []


async def test_a_release_removes_exactly_the_record_that_is_meant(hall: Hall) -> None:
    record = await claimed(hall)
    epoch = record.epoch

    assert not await hall.owners.release(MATHS, node=N2, incarnation=I1, epoch=epoch)
    assert not await hall.owners.release(MATHS, node=N1, incarnation=I2, epoch=epoch)
    assert not await hall.owners.release(MATHS, node=N1, incarnation=I1, epoch=Epoch(epoch + 1))
    assert await hall.owners.room_record(MATHS) == record
    assert await hall.owners.release(MATHS, node=N1, incarnation=I1, epoch=epoch)
    assert not await hall.owners.release(MATHS, node=N1, incarnation=I1, epoch=epoch)
    assert await hall.owners.room_record(MATHS) is None


async def test_a_snapshot_has_every_record_and_the_number_of_the_last_change(hall: Hall) -> None:
    empty = await hall.owners.snapshot()
    records = [await claimed(hall, RoomId(f"room-{i}")) for i in range(1_100)]
    await hall.owners.release(records[0].room, node=N1, incarnation=I1, epoch=records[0].epoch)

    full = await hall.owners.snapshot()

    assert list(empty.rooms) == []
    assert sorted(full.rooms, key=lambda r: r.version) == records[1:]
    assert full.generation == empty.generation
    assert full.number == records[-1].version + 1


async def test_a_wiped_hall_is_another_generation(hall: Hall) -> None:
    before = await hall.owners.snapshot()
    hall.wipe()
    after = await hall.owners.snapshot()

    assert before.generation != after.generation
    assert (after.number, list(after.rooms)) == (0, [])


async def test_every_change_is_told_in_order_and_without_a_gap(hall: Hall) -> None:
    start = await hall.owners.snapshot()
    async with hall.listening() as heard:
        record = await claimed(hall)
        await hall.leases.release(N1, I1)
        heir = await claimed(hall, node=N2, replacing=record)
        raised = await hall.owners.renew_claim(MATHS, node=N2, incarnation=I1, epoch=heir.epoch, floor=Epoch(90))
        assert isinstance(raised, Claimed)
        await hall.owners.release(MATHS, node=N2, incarnation=I1, epoch=raised.record.epoch)
        (asserted,) = await hall.owners.assert_owned([raised.record])
        assert isinstance(asserted, Claimed)
        lease = lease_of("node-3")
        await hall.leases.acquire(lease, expire=LONG)
        await hall.leases.declare_dead(N3, I1, why='refused "twice"')

        generation, n = start.generation, start.number
        assert [await heard.next() for _ in range(8)] == [
            RoomChanged(generation, n + 1, record, replaced=False),
            NodeGone(generation, n + 2, N1, I1, "released"),
            RoomChanged(generation, n + 3, heir, replaced=True),
            RoomChanged(generation, n + 4, raised.record, replaced=False),
            RoomGone(generation, n + 5, MATHS),
            RoomChanged(generation, n + 6, asserted.record, replaced=False),
            NodeChanged(generation, n + 7, lease),
            NodeGone(generation, n + 8, N3, I1, 'refused "twice"'),
        ]
    assert [record.version, heir.version, raised.record.version] == [n + 1, n + 3, n + 4]


async def test_what_is_refused_is_not_told(hall: Hall) -> None:
    record = await claimed(hall)
    async with hall.listening() as heard:
        await hall.owners.claim(MATHS, node=N2, incarnation=I1, replacing=record, why="ring")
        await hall.owners.claim(ART, node=N3, incarnation=I1, replacing=None, why="ring")
        await hall.owners.release(MATHS, node=N2, incarnation=I1, epoch=record.epoch)
        await hall.leases.release(N1, I2)
        marker = await claimed(hall, ART)

        assert await heard.next() == RoomChanged((await hall.owners.snapshot()).generation, marker.version, marker)
    assert marker.version == record.version + 1


async def test_member_counts_are_told_for_own_rooms_alone(hall: Hall) -> None:
    await claimed(hall)
    await claimed(hall, ART, N2)
    async with hall.listening() as heard:
        for members in ({MATHS: 3, ART: 99, RoomId("nowhere"): 1}, {ART: 98}, {}, {MATHS: 2}):
            await hall.leases.renew(lease_of("node-1"), expire=LONG, members=members)

        assert await heard.next() == MembersCounted(N1, {MATHS: 3})
        assert await heard.next() == MembersCounted(N1, {MATHS: 2})
    record = await hall.owners.room_record(MATHS)
    assert record is not None
    assert (record.members, record.peak) == (2, 3)
    other = await hall.owners.room_record(ART)
    assert other is not None
    assert other.members == 0


async def test_a_listener_that_loses_its_server_is_told_so_and_goes_on(hall: Hall) -> None:
    async with hall.listening() as heard:
        if hall.server is not None:
            hall.server.kill()
            hall.server.start()
        hall.wipe()
        assert await heard.next() == Interrupted()
        await hall.leases.acquire(lease_of("node-1"), expire=LONG)
        record = await claimed(hall)

        assert isinstance(await heard.next_numbered(), NodeChanged)
        told = await heard.next_numbered()
    assert isinstance(told, RoomChanged)
    assert told.record == record


async def test_a_notice_of_an_unknown_kind_is_left_out(hall: Hall) -> None:
    if hall.server is None or not isinstance(hall.owners, RedisRoomOwners):
        pytest.skip("the hall in memory has no wire")
    async with hall.listening() as heard:
        async with hall.owners._hall.asked() as redis:
            await redis.publish("{hall}:notices", '{"type":"from_the_future","number":1}')
        record = await claimed(hall)
        told = await heard.next()
    assert isinstance(told, RoomChanged)
    assert told.record == record
