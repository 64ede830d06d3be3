"""director/contract/ids: what names a room, a node, a person."""

import pytest

from director.contract.ids import (
    Role,
    new_incarnation,
    node_name_of,
    printable_of,
    room_id_of,
    user_id_of,
)


@pytest.mark.parametrize("text", ["a", "math-101", "A.b_c:d~e-9", "x" * 128])
def test_a_room_name_is_taken_as_it_is(text: str) -> None:
    assert room_id_of(text) == text


@pytest.mark.parametrize("text", ["", "x" * 129, "a/b", "a b", "raum-ä", "a\n", "a%20", "{hall}", None, 7, ["a"]])
def test_what_is_no_room_name_is_none(text: object) -> None:
    assert room_id_of(text) is None


def test_a_node_is_named_like_a_host() -> None:
    assert node_name_of("node-1") == "node-1"
    assert node_name_of("n" * 63) == "n" * 63
    for text in ("", "-node", ".n", "n" * 64, "node_1", "node 1", "node-1\n", None, 3):
        assert node_name_of(text) is None


def test_a_user_is_printable_text_in_normal_form() -> None:
    assert user_id_of("  ann ") == "ann"
    assert user_id_of("ju\u0308rgen") == "jürgen"
    assert user_id_of("지민") == "지민"
    for text in ("", "   ", "a\nb", "a\u202eb", "x" * 129, "x" * 100_000, None, 12):
        assert user_id_of(text) is None


def test_length_is_counted_after_normalising() -> None:
    assert printable_of("u\u0308" * 4, max_length=4) == "ü" * 4
    assert printable_of("ab", max_length=1) is None


def test_staff_are_those_who_do_not_only_study() -> None:
    assert [role.is_staff for role in (Role.STUDENT, Role.ASSISTANT, Role.LECTURER)] == [False, True, True]


def test_an_incarnation_has_sixty_four_bits_of_the_given_chance() -> None:
    assert new_incarnation(lambda count: bytes(range(count))) == "0001020304050607"
