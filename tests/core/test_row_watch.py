"""A node's look at its rows: an owner to whom nobody writes learns that it was fenced."""

from collections.abc import Mapping, Sequence

from director.contract.ids import Epoch, Incarnation, LogId, RoomId
from persistence.contract.store import RoomState, StoreUnavailable
from persistence.store_memory import MemoryStore
from shard_node.row_watch import LOOK_EVERY, RowWatch
from tests.support.small_node import small_node
from tests.support.virtual_time import in_virtual_time

MATH = RoomId("math")


class AbsentStore(MemoryStore):
    """Does not answer while `is_away`; counts how often it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.is_away = False
        self.looks = 0

    async def row_states(self, rooms: Sequence[RoomId]) -> Mapping[RoomId, RoomState]:
        self.looks += 1
        if self.is_away:
            raise StoreUnavailable("away")
        return await super().row_states(rooms)


@in_virtual_time
async def test_a_room_that_was_fenced_is_dropped_though_nobody_writes_to_it() -> None:
    store = AbsentStore()
    async with small_node(store=store) as node:
        hosted = await node.opened(MATH)
        watch = RowWatch(node.host)
        await watch.step()
        assert node.host.room_of(MATH) is hosted
        await store.open_room(
            MATH, epoch=Epoch(hosted.room.epoch + 1), incarnation=Incarnation("x"), fresh_log=LogId("x")
        )
        await watch.step()
        assert node.host.room_of(MATH) is None


@in_virtual_time
async def test_a_store_that_does_not_answer_takes_no_room_away() -> None:
    store = AbsentStore()
    async with small_node(store=store) as node:
        hosted = await node.opened(MATH)
        watch = RowWatch(node.host)
        for is_away in (True, True, False):
            store.is_away = is_away
            await watch.step()
        assert node.host.room_of(MATH) is hosted


@in_virtual_time
async def test_a_node_without_rooms_asks_nothing() -> None:
    store = AbsentStore()
    async with small_node(store=store) as node:
        await RowWatch(node.host).step()
    assert store.looks == 0
    assert LOOK_EVERY <= 2.0
