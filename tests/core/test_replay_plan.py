"""A replay's plan: the same for the same seed, everything said once in each room, nobody invented but the silent."""

import pytest

from director.contract.ids import RoomId
from loadtest.core.replay_plan import ChatLine, ReplayPlan, plan_replay, rooms_named
from loadtest.generated_chat import generated_chat

LINES = (
    ChatLine(10, "ada", "good morning"),
    ChatLine(10, "bob", "안녕하세요"),
    ChatLine(10, "ada", "   "),
    ChatLine(11, "eve", "x" * 3_000),
    ChatLine(11, "ada", "shall we begin?"),
)
ROOMS = (RoomId("r"), RoomId("r-2"))


def planned(*, speed: float = 60.0, members: int | None = None, drops: float = 0.5, seed: int = 1) -> ReplayPlan:
    return plan_replay(LINES, ROOMS, speed=speed, max_members=members, drop_share=drops, seed=seed)


def test_rooms_are_numbered_from_the_second_on() -> None:
    assert rooms_named("r", 3) == ("r", "r-2", "r-3")


def test_every_room_hears_every_line_once_in_order_from_its_own_user() -> None:
    for room in planned().rooms:
        said = [(room.users[saying.member], saying.text) for saying in room.sayings]
        assert said == [
            ("ada", "good morning"),
            ("bob", "안녕하세요"),
            ("eve", "x" * 2_000),
            ("ada", "shall we begin?"),
        ]


def test_lines_of_one_minute_are_spread_over_it() -> None:
    plan = planned(speed=60)
    assert [saying.after for saying in plan.rooms[0].sayings] == [0.0, 0.5, 1.0, 1.5]
    assert plan.seconds == 1.5


def test_a_faster_replay_takes_less_time() -> None:
    assert planned(speed=120).seconds == 0.75


def test_time_never_falls_even_where_the_chat_is_out_of_order() -> None:
    lines = [ChatLine(minute, "ada", "x") for minute in (0, 0, 2, 1, 2)]
    plan = plan_replay(lines, ROOMS, speed=60, max_members=None, drop_share=0, seed=1)
    times = [saying.after for saying in plan.rooms[0].sayings]
    assert times == sorted(times)


def test_with_fewer_members_several_users_speak_through_one() -> None:
    room = planned(members=2).rooms[0]
    assert room.users == ("ada", "bob")
    assert [saying.member for saying in room.sayings] == [0, 1, 0, 0]


def test_with_more_members_the_rest_is_silent() -> None:
    room = planned(members=5).rooms[0]
    assert room.users == ("ada", "bob", "eve", "silent-1", "silent-2")
    assert {saying.member for saying in room.sayings} == {0, 1, 2}


def test_the_same_seed_gives_the_same_plan_and_another_one_another() -> None:
    assert planned(seed=4) == planned(seed=4)
    assert planned(seed=4).rooms != planned(seed=5).rooms


def test_rooms_lose_their_members_at_different_times() -> None:
    first, second = planned().rooms
    assert first.absences != second.absences


@pytest.mark.parametrize(("share", "count"), [(0.0, 0), (0.01, 1), (0.7, 2), (1.0, 3)])
def test_as_many_members_drop_as_were_asked_for_and_each_once(share: float, count: int) -> None:
    plan = planned(drops=share)
    absences = plan.rooms[0].absences
    assert len({absence.member for absence in absences}) == len(absences) == count
    assert all(0 < absence.after < plan.seconds and absence.seconds > 0 for absence in absences)
    assert list(absences) == sorted(absences, key=lambda absence: absence.after)


def test_a_chat_of_nothing_has_one_silent_member_and_no_length() -> None:
    plan = plan_replay((), ROOMS, speed=60, max_members=None, drop_share=0, seed=1)
    assert plan.seconds == 0
    assert plan.rooms[0].users == ("silent-1",)


def test_a_generated_chat_is_the_same_for_the_same_seed_and_speaks_many_languages() -> None:
    lines = generated_chat(users=20, minutes=30, lines=300, seed=9)
    assert lines == generated_chat(users=20, minutes=30, lines=300, seed=9)
    assert lines != generated_chat(users=20, minutes=30, lines=300, seed=10)
    assert len(lines) == 300
    assert [line.minute for line in lines] == sorted(line.minute for line in lines)
    letters = "".join(line.text for line in lines)
    assert any("가" <= letter <= "힣" for letter in letters)
    assert any(letter >= "\U0001f300" for letter in letters)
    assert all(0 < len(line.text) <= 2_000 and "{" not in line.text for line in lines)
