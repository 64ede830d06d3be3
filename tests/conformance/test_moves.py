"""What RoomOwners promises of moves, over memory, Valkey and Redis 7.0 alike."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import msgspec
import pytest

from director.contract.ids import Epoch, Incarnation, NodeName, RoomId
from director.contract.ownership import (
    Asked,
    Claimed,
    NodeGone,
    Outrun,
    PastMove,
    RoomChanged,
    RoomRecord,
    Unfit,
)
from director.ownership_redis import RedisRoomOwners
from director.past_memory import DAY, PastMoves
from director.redis_client import past_key
from tests.support.halls import ART, KINDS, MATHS, Hall, hall_on, lease_of, server_of
from tests.support.valkey_server import ValkeyServer

N1, N2, N3, N4 = NodeName("node-1"), NodeName("node-2"), NodeName("node-3"), NodeName("node-4")
I1, I2 = Incarnation("i1"), Incarnation("i2")
LONG = 60.0


@pytest.fixture(scope="module", params=KINDS)
def server(request: pytest.FixtureRequest) -> Iterator[ValkeyServer | None]:
    with server_of(request.param) as server:
        yield server


@pytest.fixture
async def hall(server: ValkeyServer | None) -> AsyncIterator[Hall]:
    async with hall_on(server) as hall:
        for node in (N1, N2, N3):
            await hall.leases.acquire(lease_of(node), expire=LONG)
        yield hall


async def claimed(
    hall: Hall, room: RoomId = MATHS, node: NodeName = N1, replacing: RoomRecord | None = None
) -> RoomRecord:
    answer = await hall.owners.claim(room, node=node, incarnation=I1, replacing=replacing, why="ring")
    assert isinstance(answer, Claimed), answer
    return answer.record


async def asked(hall: Hall, record: RoomRecord, to: NodeName = N2, why: str = "balance") -> RoomRecord:
    answer = await hall.owners.ask_move(record, to=to, incarnation=I1, why=why)
    assert isinstance(answer, Asked), answer
    return answer.record


async def warmed(hall: Hall) -> RoomRecord:
    """A room of node-1 that node-2 is ready to take over."""
    answer = await hall.owners.note_warm(await asked(hall, await claimed(hall)))
    assert isinstance(answer, Asked), answer
    return answer.record


async def handed_over(hall: Hall, record: RoomRecord) -> RoomRecord:
    answer = await hall.owners.hand_over(record)
    assert isinstance(answer, Claimed), answer
    return answer.record


async def unchanged(hall: Hall, record: RoomRecord) -> bool:
    return await hall.owners.room_record(record.room) == record


def without_target(record: RoomRecord, version: int) -> RoomRecord:
    return msgspec.structs.replace(
        record, target=None, target_incarnation=None, target_why="", is_warm=False, version=version
    )


async def test_a_room_that_is_asked_to_move_keeps_its_owner_and_epoch(hall: Hall) -> None:
    record = await claimed(hall)

    aimed = await asked(hall, record)

    assert aimed == msgspec.structs.replace(
        record, target=N2, target_incarnation=I1, target_why="balance", version=aimed.version
    )
    assert aimed.version > record.version
    assert await unchanged(hall, aimed)
    assert (await hall.owners.snapshot()).rooms == [aimed]


async def test_asking_for_the_same_move_again_changes_nothing_and_another_is_outrun(hall: Hall) -> None:
    record = await claimed(hall)
    aimed = await asked(hall, record)

    assert await hall.owners.ask_move(record, to=N2, incarnation=I1, why="again") == Asked(aimed)
    assert await hall.owners.ask_move(record, to=N3, incarnation=I1, why="balance") == Outrun(aimed)
    assert await unchanged(hall, aimed)


async def test_of_many_that_ask_at_once_one_is_heard(hall: Hall) -> None:
    record = await claimed(hall)

    answers = await asyncio.gather(
        *(hall.owners.ask_move(record, to=[N2, N3][i % 2], incarnation=I1, why="balance") for i in range(20))
    )

    standing = await hall.owners.room_record(MATHS)
    assert standing is not None
    assert [isinstance(answer, Asked) for answer in answers] == [[N2, N3][i % 2] == standing.target for i in range(20)]
    assert all(answer in (Asked(standing), Outrun(standing)) for answer in answers)


async def test_no_room_is_asked_to_move_to_a_node_without_a_lease_nor_to_its_own(hall: Hall) -> None:
    record = await claimed(hall)

    assert await hall.owners.ask_move(record, to=N4, incarnation=I1, why="balance") == Unfit()
    assert await hall.owners.ask_move(record, to=N2, incarnation=I2, why="balance") == Unfit()
    assert await hall.owners.ask_move(record, to=N1, incarnation=I1, why="balance") == Unfit()
    assert await unchanged(hall, record)


async def test_a_move_asked_on_an_outdated_belief_is_outrun(hall: Hall) -> None:
    record = await claimed(hall)
    nobody_s = msgspec.structs.replace(record, room=ART)

    for belief in (
        msgspec.structs.replace(record, owner=N3),
        msgspec.structs.replace(record, incarnation=I2),
        msgspec.structs.replace(record, epoch=Epoch(record.epoch + 1)),
    ):
        assert await hall.owners.ask_move(belief, to=N2, incarnation=I1, why="balance") == Outrun(record)
    assert await hall.owners.ask_move(nobody_s, to=N2, incarnation=I1, why="balance") == Outrun(None)
    assert await unchanged(hall, record)


async def test_a_target_that_is_ready_says_so_once(hall: Hall) -> None:
    aimed = await asked(hall, await claimed(hall))

    answer = await hall.owners.note_warm(aimed)

    assert isinstance(answer, Asked)
    assert answer.record == msgspec.structs.replace(aimed, is_warm=True, version=answer.record.version)
    assert answer.record.version > aimed.version
    assert await hall.owners.note_warm(aimed) == answer
    assert await unchanged(hall, answer.record)


async def test_nobody_is_ready_for_a_room_that_is_not_to_move_to_him(hall: Hall) -> None:
    record = await claimed(hall)
    aimed = await asked(hall, record)
    elsewhere = msgspec.structs.replace(aimed, target=N3)
    younger = msgspec.structs.replace(aimed, target_incarnation=I2)
    other_epoch = msgspec.structs.replace(aimed, epoch=Epoch(aimed.epoch + 1))

    for belief in (record, elsewhere, younger, other_epoch):
        assert await hall.owners.note_warm(belief) == Outrun(aimed)
        assert await hall.owners.hand_over(belief) == Outrun(aimed)
    assert await hall.owners.note_warm(msgspec.structs.replace(aimed, room=ART)) == Outrun(None)
    assert await hall.owners.hand_over(msgspec.structs.replace(aimed, room=ART)) == Outrun(None)
    assert await unchanged(hall, aimed)


async def test_a_room_without_a_target_is_neither_warm_nor_handed_over(hall: Hall) -> None:
    record = await claimed(hall)

    assert await hall.owners.note_warm(record) == Outrun(record)
    assert await hall.owners.hand_over(record) == Outrun(record)
    assert await unchanged(hall, record)


async def test_a_cancelled_move_leaves_no_trace_but_a_version(hall: Hall) -> None:
    record = await claimed(hall)
    warm = await hall.owners.note_warm(await asked(hall, record))
    assert isinstance(warm, Asked)

    answer = await hall.owners.cancel_move(warm.record)

    assert isinstance(answer, Asked)
    assert answer.record == without_target(record, answer.record.version)
    assert answer.record.version > warm.record.version
    assert await hall.owners.cancel_move(warm.record) == answer
    assert await hall.owners.hand_over(warm.record) == Outrun(answer.record)
    again = await asked(hall, answer.record, N3)
    assert not again.is_warm


async def test_only_the_move_that_is_meant_is_cancelled(hall: Hall) -> None:
    record = await claimed(hall)
    aimed = await asked(hall, record)

    for belief in (record, msgspec.structs.replace(aimed, target=N3), msgspec.structs.replace(aimed, owner=N3)):
        assert await hall.owners.cancel_move(belief) == Outrun(aimed)
    assert await hall.owners.cancel_move(msgspec.structs.replace(aimed, room=ART)) == Outrun(None)
    assert await unchanged(hall, aimed)


async def test_the_target_owns_a_room_from_its_hand_over_on_with_the_next_epoch(hall: Hall) -> None:
    warm = await warmed(hall)
    await hall.leases.renew(lease_of(N1), expire=LONG, members={MATHS: 77})

    heir = await handed_over(hall, warm)

    assert heir.epoch > warm.epoch
    assert heir.version > warm.version
    assert (heir.owner, heir.incarnation, heir.why) == (N2, I1, "balance")
    assert (heir.members, heir.peak, heir.moves) == (0, 77, 1)
    assert (heir.target, heir.target_incarnation, heir.target_why, heir.is_warm) == (None, None, "", False)
    assert await unchanged(hall, heir)


async def test_what_was_handed_over_is_handed_over_once(hall: Hall) -> None:
    warm = await warmed(hall)

    answers = await asyncio.gather(*(hall.owners.hand_over(warm) for _ in range(10)))

    winners = [answer.record for answer in answers if isinstance(answer, Claimed)]
    assert len(winners) == 1
    assert [answer for answer in answers if not isinstance(answer, Claimed)] == [Outrun(winners[0])] * 9
    assert await hall.owners.cancel_move(warm) == Outrun(winners[0])
    assert await hall.owners.note_warm(warm) == Outrun(winners[0])
    assert await unchanged(hall, winners[0])


async def test_of_a_hand_over_and_a_cancellation_at_once_one_happens(hall: Hall) -> None:
    for _ in range(10):
        warm = await warmed(hall)

        given, cancelled = await asyncio.gather(hall.owners.hand_over(warm), hall.owners.cancel_move(warm))

        standing = await hall.owners.room_record(MATHS)
        assert standing is not None
        assert isinstance(given, Claimed) is not isinstance(cancelled, Asked)
        assert Outrun(standing) in (given, cancelled)
        assert standing.owner == (N2 if isinstance(given, Claimed) else N1)
        assert standing.target is None
        assert await hall.owners.release(
            MATHS, node=standing.owner, incarnation=standing.incarnation, epoch=standing.epoch
        )


async def test_a_room_whose_target_has_lost_its_lease_stays_without_a_target(hall: Hall) -> None:
    warm = await warmed(hall)
    await hall.lapse(N2)

    assert await hall.owners.hand_over(warm) == Unfit()

    standing = await hall.owners.room_record(MATHS)
    assert standing is not None
    assert standing == without_target(warm, standing.version)
    assert standing.version > warm.version


async def test_a_target_that_died_and_came_back_is_another(hall: Hall) -> None:
    warm = await warmed(hall)
    await hall.leases.acquire(lease_of(N2, "i2"), expire=LONG)

    assert await hall.owners.hand_over(warm) == Unfit()


async def test_the_former_owner_takes_a_room_back_with_the_next_epoch(hall: Hall) -> None:
    heir = await handed_over(hall, await warmed(hall))

    answer = await hall.owners.take_back(heir, node=N1, incarnation=I1)

    assert isinstance(answer, Claimed)
    back = answer.record
    assert (back.owner, back.incarnation, back.why, back.moves) == (N1, I1, "taken_back", 2)
    assert back.epoch > heir.epoch
    assert await unchanged(hall, back)
    assert await hall.owners.take_back(heir, node=N1, incarnation=I1) == Outrun(back)


async def test_a_room_is_not_taken_back_by_one_without_a_lease_nor_on_an_outdated_belief(hall: Hall) -> None:
    warm = await warmed(hall)
    heir = await handed_over(hall, warm)

    assert await hall.owners.take_back(warm, node=N1, incarnation=I1) == Outrun(heir)
    assert await hall.owners.take_back(heir, node=N1, incarnation=I2) == Outrun(heir)
    await hall.leases.declare_dead(N1, I1, why="refused")
    assert await hall.owners.take_back(heir, node=N1, incarnation=I1) == Outrun(heir)
    assert await hall.owners.take_back(msgspec.structs.replace(heir, room=ART), node=N3, incarnation=I1) == Outrun(None)
    assert await unchanged(hall, heir)


async def test_what_the_heir_does_meanwhile_outruns_the_taking_back(hall: Hall) -> None:
    heir = await handed_over(hall, await warmed(hall))
    higher = await hall.owners.renew_claim(MATHS, node=N2, incarnation=I1, epoch=heir.epoch, floor=Epoch(900))
    assert isinstance(higher, Claimed)

    assert await hall.owners.take_back(heir, node=N1, incarnation=I1) == Outrun(higher.record)


async def test_the_death_of_the_owner_ends_a_move(hall: Hall) -> None:
    warm = await warmed(hall)
    await hall.leases.declare_dead(N1, I1, why="refused")

    heir = await claimed(hall, node=N3, replacing=warm)

    assert (heir.owner, heir.target, heir.is_warm) == (N3, None, False)
    assert await hall.owners.hand_over(warm) == Outrun(heir)
    assert await hall.owners.note_warm(warm) == Outrun(heir)
    assert await hall.owners.cancel_move(warm) == Outrun(heir)
    assert await unchanged(hall, heir)


async def test_of_a_late_hand_over_by_the_dead_and_a_claim_one_happens(hall: Hall) -> None:
    for _ in range(10):
        record = await claimed(hall, node=N3)
        warm = await hall.owners.note_warm(await asked(hall, record))
        assert isinstance(warm, Asked)
        await hall.leases.declare_dead(N3, I1, why="refused")

        given, taken = await asyncio.gather(
            hall.owners.hand_over(warm.record),
            hall.owners.claim(MATHS, node=N1, incarnation=I1, replacing=warm.record, why="ring"),
        )

        standing = await hall.owners.room_record(MATHS)
        assert standing is not None
        assert {type(given), type(taken)} == {Claimed, Outrun}
        assert Claimed(standing) in (given, taken)
        assert standing.epoch > record.epoch
        hall.wipe()
        for node in (N1, N2, N3):
            await hall.leases.acquire(lease_of(node), expire=LONG)


async def test_an_heir_that_died_before_it_opened_is_replaced(hall: Hall) -> None:
    heir = await handed_over(hall, await warmed(hall))
    await hall.leases.declare_dead(N2, I1, why="refused")

    taken, back = await asyncio.gather(
        hall.owners.claim(MATHS, node=N3, incarnation=I1, replacing=heir, why="ring"),
        hall.owners.take_back(heir, node=N1, incarnation=I1),
    )

    standing = await hall.owners.room_record(MATHS)
    assert {type(taken), type(back)} == {Claimed, Outrun}
    assert standing is not None
    assert Claimed(standing) in (taken, back)
    assert standing.epoch > heir.epoch


async def test_an_owner_that_is_behind_the_store_is_to_be_asked_anew(hall: Hall) -> None:
    """The move was asked of the former epoch: nobody would carry it out, and nobody could call it off."""
    aimed = await asked(hall, await claimed(hall))

    raised = await hall.owners.renew_claim(MATHS, node=N1, incarnation=I1, epoch=aimed.epoch, floor=Epoch(500))

    assert isinstance(raised, Claimed)
    assert (raised.record.epoch, raised.record.target, raised.record.is_warm) == (501, None, False)
    assert await hall.owners.note_warm(aimed) == Outrun(raised.record)


async def test_a_redis_that_forgot_forgets_the_moves_that_were_asked_for(hall: Hall) -> None:
    warm = await warmed(hall)
    hall.wipe()
    for node in (N1, N2):
        await hall.leases.acquire(lease_of(node), expire=LONG)

    assert await hall.owners.hand_over(warm) == Outrun(None)
    (asserted,) = await hall.owners.assert_owned([warm])

    assert isinstance(asserted, Claimed)
    assert asserted.record == without_target(warm, asserted.record.version)
    assert await unchanged(hall, asserted.record)
    assert await hall.owners.hand_over(warm) == Outrun(asserted.record)
    assert await hall.owners.past_moves(MATHS) == []


async def test_an_assertion_over_a_lower_epoch_forgets_its_target(hall: Hall) -> None:
    aimed = await asked(hall, await claimed(hall))

    (same,) = await hall.owners.assert_owned([without_target(aimed, 0)])
    (higher,) = await hall.owners.assert_owned([msgspec.structs.replace(aimed, owner=N3, epoch=Epoch(90))])

    assert same == Claimed(aimed)
    assert isinstance(higher, Claimed)
    assert (higher.record.owner, higher.record.target, higher.record.is_warm) == (N3, None, False)
    assert await unchanged(hall, higher.record)


async def test_moves_go_on_in_a_new_generation_that_remembers_them(hall: Hall) -> None:
    warm = await warmed(hall)
    await hall.restart()

    heir = await handed_over(hall, warm)

    assert heir.owner == N2
    assert heir.epoch > warm.epoch


async def test_a_release_takes_the_target_with_it(hall: Hall) -> None:
    aimed = await asked(hall, await claimed(hall))
    assert await hall.owners.release(MATHS, node=N1, incarnation=I1, epoch=aimed.epoch)

    assert await hall.owners.hand_over(aimed) == Outrun(None)
    assert (await claimed(hall)).target is None


async def test_every_step_of_a_move_is_told_in_order(hall: Hall) -> None:
    record = await claimed(hall)
    generation, n = (await hall.owners.snapshot()).generation, record.version
    async with hall.listening() as heard:
        aimed = await asked(hall, record, why='to "node-2"')
        warm = await hall.owners.note_warm(aimed)
        assert isinstance(warm, Asked)
        cancelled = await hall.owners.cancel_move(warm.record)
        assert isinstance(cancelled, Asked)
        aimed_again = await asked(hall, cancelled.record, N3)
        heir = await handed_over(hall, aimed_again)
        back = await hall.owners.take_back(heir, node=N1, incarnation=I1)
        assert isinstance(back, Claimed)
        last = await asked(hall, back.record)
        await hall.leases.declare_dead(N2, I1, why="refused")
        await hall.owners.hand_over(last)

        assert [await heard.next() for _ in range(9)] == [
            RoomChanged(generation, n + 1, aimed),
            RoomChanged(generation, n + 2, warm.record),
            RoomChanged(generation, n + 3, cancelled.record),
            RoomChanged(generation, n + 4, aimed_again),
            RoomChanged(generation, n + 5, heir, replaced=True),
            RoomChanged(generation, n + 6, back.record, replaced=True),
            RoomChanged(generation, n + 7, last),
            NodeGone(generation, n + 8, N2, I1, "refused"),
            RoomChanged(generation, n + 9, without_target(last, n + 9)),
        ]
    assert [r.version for r in (aimed, warm.record, cancelled.record, heir, back.record)] == [
        n + 1,
        n + 2,
        n + 3,
        n + 5,
        n + 6,
    ]


async def test_what_is_refused_or_repeated_is_not_told(hall: Hall) -> None:
    warm = await warmed(hall)
    async with hall.listening() as heard:
        await hall.owners.ask_move(warm, to=N2, incarnation=I1, why="again")
        await hall.owners.ask_move(warm, to=N3, incarnation=I1, why="other")
        await hall.owners.note_warm(warm)
        await hall.owners.cancel_move(msgspec.structs.replace(warm, target=N3))
        await hall.owners.hand_over(msgspec.structs.replace(warm, epoch=Epoch(99)))
        await hall.owners.take_back(msgspec.structs.replace(warm, owner=N3), node=N1, incarnation=I1)
        marker = await claimed(hall, ART)

        assert await heard.next() == RoomChanged((await hall.owners.snapshot()).generation, marker.version, marker)
    assert marker.version == warm.version + 1


async def test_changes_of_owner_are_remembered_the_newest_first(hall: Hall) -> None:
    warm = await warmed(hall)
    heir = await handed_over(hall, warm)
    back = await hall.owners.take_back(heir, node=N1, incarnation=I1)
    assert isinstance(back, Claimed)
    await hall.leases.release(N1, I1)
    last = await claimed(hall, node=N3, replacing=back.record)

    past = await hall.owners.past_moves(MATHS)

    assert [msgspec.structs.replace(move, at_ms=0) for move in past] == [
        PastMove(0, N1, N3, last.epoch, "ring"),
        PastMove(0, N2, N1, back.record.epoch, "taken_back"),
        PastMove(0, N1, N2, heir.epoch, "balance"),
        PastMove(0, None, N1, warm.epoch, "ring"),
    ]
    assert sorted((move.at_ms for move in past), reverse=True) == [move.at_ms for move in past]
    assert past[0].at_ms > 1_600_000_000_000
    assert await hall.owners.past_moves(ART) == []


async def test_the_past_outlives_a_room_s_record(hall: Hall) -> None:
    first = await claimed(hall)
    await hall.owners.release(MATHS, node=N1, incarnation=I1, epoch=first.epoch)
    second = await claimed(hall, node=N2)

    past = await hall.owners.past_moves(MATHS)

    assert [(move.source, move.target, move.epoch) for move in past] == [
        (None, N2, second.epoch),
        (None, N1, first.epoch),
    ]


async def test_no_more_than_twenty_changes_of_owner_are_remembered(hall: Hall) -> None:
    record = await claimed(hall)
    epochs = [record.epoch]
    for _ in range(24):
        to = N2 if record.owner == N1 else N1
        record = await handed_over(hall, await asked(hall, record, to))
        epochs.append(record.epoch)

    assert [move.epoch for move in await hall.owners.past_moves(MATHS)] == epochs[:-21:-1]


async def test_the_past_expires_a_day_after_the_last_change(hall: Hall) -> None:
    await claimed(hall)
    if isinstance(hall.owners, RedisRoomOwners):
        async with hall.owners._hall.asked() as redis:
            assert DAY - 60 < await redis.pttl(past_key(MATHS)) / 1000 <= DAY
        return
    past = PastMoves()
    move = PastMove(1, None, N1, Epoch(1), "ring")
    past.add(MATHS, move, now=0.0)
    past.add(ART, move, now=1.0)
    past.add(MATHS, move, now=2.0)
    assert [past.of(room, now=DAY + 1.5) for room in (MATHS, ART)] == [[move, move], []]
    assert past.of(MATHS, now=DAY + 2.5) == []
