"""When the members of a room that has moved go to its new node."""

from director.contract.ids import Role, UserId
from persistence.contract.messages import Author
from shard_node.core.slots import HEAD_START, MAX_SPREAD, slots_of


def person(name: str, role: Role = Role.STUDENT) -> tuple[str, Author]:
    return name, Author(UserId(name), name, role)


def test_they_go_one_after_the_other_at_the_new_node_s_pace() -> None:
    slots = slots_of([person(name) for name in "abc"], waiting=(), joins_per_second=100.0)
    assert [(slot.who, slot.after) for slot in slots] == [("a", 0.0), ("b", 0.01), ("c", 0.02)]


def test_those_whose_words_wait_and_staff_go_first_and_the_others_keep_their_order() -> None:
    people = [person("a"), person("b"), person("lee", Role.LECTURER), person("c"), person("kim", Role.ASSISTANT)]
    slots = slots_of(people, waiting={UserId("c"), UserId("gone")}, joins_per_second=100.0)
    assert [slot.who for slot in slots] == ["lee", "c", "kim", "a", "b"]
    assert [slot.after for slot in slots] == [0.0, 0.01, 0.02, HEAD_START, HEAD_START + 0.01]


def test_a_long_vanguard_is_followed_at_once() -> None:
    people = [person(str(number)) for number in range(50)]
    slots = slots_of(people, waiting={UserId(str(n)) for n in range(40)}, joins_per_second=100.0)
    assert [round(slot.after, 3) for slot in slots[38:42]] == [0.38, 0.39, 0.4, 0.41]


def test_the_last_of_very_many_does_not_wait_for_ever() -> None:
    people = [person("lee", Role.LECTURER), *(person(str(n)) for n in range(10_000))]
    slots = slots_of(people, waiting=(), joins_per_second=200.0)
    assert MAX_SPREAD - 0.1 < slots[-1].after <= MAX_SPREAD
    assert abs(slots[5_000].after - MAX_SPREAD / 2) < HEAD_START


def test_a_node_that_claims_to_admit_nobody_is_not_waited_for() -> None:
    slots = slots_of([person("a"), person("b")], waiting=(), joins_per_second=0.0)
    assert [slot.after for slot in slots] == [0.0, 1.0]


def test_an_empty_room_has_no_slots() -> None:
    assert slots_of([], waiting=(), joins_per_second=100.0) == ()
