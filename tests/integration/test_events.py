"""What members ask of a room, against real processes: protocol sections 4 to 6."""

import asyncio
import json
import socket
from typing import Any

import pytest

from tests.support.fleet import Fleet
from tests.support.raw_client import RawClient, fresh_cid, fresh_room, is_closed, member


def message(text: str = "hello", **fields: Any) -> dict[str, Any]:
    return {"cid": fresh_cid(), "text": text, **fields}


def code_of(ack: dict[str, Any]) -> str | None:
    return None if ack["ok"] else ack["error"]["code"]


async def shown(client: RawClient, *, to: int) -> list[dict[str, Any]]:
    """Entries from frames, which must be contiguous, until number `to` has come."""
    entries: list[dict[str, Any]] = []
    while not entries or entries[-1]["seq"] < to:
        frame = await client.until("frame")
        assert [entry["seq"] for entry in frame["entries"]] == list(range(frame["from"], frame["to"] + 1))
        assert not entries or frame["from"] == entries[-1]["seq"] + 1
        entries += frame["entries"]
    return entries


# what everybody may


async def test_a_message_is_acked_with_its_place_and_shown_to_all(fleet: Fleet) -> None:
    room = fresh_room()
    async with member(fleet, room, user="ann") as (ann, _), member(fleet, room, user="ben") as (ben, joined):
        asked = message("안녕 👋", kind="question")
        ack = await ann.ask("send", asked)
        assert (ack["ok"], ack["seq"], ack["epoch"], ack["dup"]) == (True, 1, joined["pos"]["epoch"], False)
        for client in (ann, ben):
            frame = await client.until("frame")
            assert (frame["log"], frame["epoch"], frame["from"], frame["to"]) == (
                joined["pos"]["log"],
                ack["epoch"],
                1,
                1,
            )
            assert frame["entries"] == [
                {
                    "seq": 1,
                    "at": ack["at"],
                    "kind": "question",
                    "cid": asked["cid"],
                    "by": {"id": "ann", "name": "Ann", "role": "student"},
                    "text": "안녕 👋",
                }
            ]


async def test_all_see_one_order_without_a_hole_however_many_talk(fleet: Fleet) -> None:
    room = fresh_room()
    async with member(fleet, room, user="ann") as (ann, _), member(fleet, room, user="ben") as (ben, _):
        acks = await asyncio.gather(
            ann.ask_all("send", [message(f"a{i}") for i in range(8)]),
            ben.ask_all("send", [message(f"b{i}") for i in range(8)]),
        )
        assert sorted(ack["seq"] for own in acks for ack in own) == list(range(1, 17))
        assert [ack["seq"] for ack in acks[0]] == sorted(ack["seq"] for ack in acks[0]), "one's own order is kept"
        seen = [await shown(client, to=16) for client in (ann, ben)]
        assert seen[0] == seen[1]


async def test_a_retry_is_harmless_also_on_another_connection_and_in_flight(fleet: Fleet) -> None:
    room = fresh_room()
    async with member(fleet, room, user="ann") as (one, _), member(fleet, room, user="ann") as (two, _):
        asked = message()
        first, second = await asyncio.gather(one.ask("send", asked), two.ask("send", asked))
        third = await two.ask("send", asked)
        assert {(ack["seq"], ack["at"]) for ack in (first, second, third)} == {(1, first["at"])}
        assert sorted((first["dup"], second["dup"])) == [False, True]
        assert third["dup"] is True
        assert (await one.ask("history", {}))["entries"][-1]["seq"] == 1


async def test_a_cid_used_for_something_else_is_a_mistake_of_the_client(fleet: Fleet) -> None:
    async with member(fleet, fresh_room(), role="lecturer") as (lee, _):
        cid = fresh_cid()
        assert (await lee.ask("send", {"cid": cid, "text": "one"}))["ok"]
        assert code_of(await lee.ask("send", {"cid": cid, "text": "two"})) == "BAD_REQUEST"
        assert code_of(await lee.ask("notice", {"cid": cid, "text": "one"})) == "BAD_REQUEST"


async def test_another_author_may_use_the_same_cid(fleet: Fleet) -> None:
    room = fresh_room()
    asked = message()
    async with member(fleet, room, user="ann") as (ann, _), member(fleet, room, user="ben") as (ben, _):
        assert [(await client.ask("send", asked))["seq"] for client in (ann, ben)] == [1, 2]


async def test_history_pages_both_ways_and_says_whether_there_is_more(fleet: Fleet) -> None:
    async with member(fleet, fresh_room()) as (ann, _):
        await ann.ask_all("send", [message(str(i)) for i in range(1, 7)])
        pages = {
            (("limit", 2),): ([5, 6], True),
            (("before", 3), ("limit", 2)): ([1, 2], False),
            (("before", 6), ("limit", 2)): ([4, 5], True),
            (("after", 1), ("limit", 2)): ([2, 3], True),
            (("after", 4), ("limit", 2)): ([5, 6], False),
            (("after", 6), ("limit", 2)): ([], False),
            (("before", 1), ("limit", 2)): ([], False),
        }
        for asked, (seqs, more) in pages.items():
            page = await ann.ask("history", dict(asked))
            assert ([entry["seq"] for entry in page["entries"]], page["more"]) == (seqs, more), asked


async def test_a_deleted_text_is_gone_live_on_resume_and_in_history(fleet: Fleet) -> None:
    room = fresh_room()
    async with member(fleet, room, user="ann") as (ann, joined):
        await ann.ask("send", message("a secret"))
        ack = await ann.ask("delete", {"cid": fresh_cid(), "target": 1})
        assert (ack["ok"], ack["seq"]) == (True, 2)
        live = await shown(ann, to=2)
        assert (live[1]["kind"], live[1]["target"]) == ("delete", 1)
        history = (await ann.ask("history", {}))["entries"]
        async with member(fleet, room, user="ben", since=joined["pos"]) as (_, back):
            for entries in (history, back["entries"]):
                assert [entry["seq"] for entry in entries] == [1, 2]
                assert entries[0]["deleted"] is True
                assert "text" not in entries[0]


async def test_a_student_deletes_own_messages_and_staff_deletes_any(fleet: Fleet) -> None:
    room = fresh_room()
    async with (
        member(fleet, room, user="ann") as (ann, _),
        member(fleet, room, user="ben") as (ben, _),
        member(fleet, room, user="lee", role="assistant") as (lee, _),
    ):
        await ann.ask("send", message())
        assert code_of(await ben.ask("delete", {"cid": fresh_cid(), "target": 1})) == "FORBIDDEN"
        assert code_of(await ben.ask("delete", {"cid": fresh_cid(), "target": 99})) == "BAD_REQUEST"
        asked = {"cid": fresh_cid(), "target": 1}
        ack = await lee.ask("delete", asked)
        assert (ack["ok"], ack["seq"]) == (True, 2)
        again = await lee.ask("delete", asked)
        assert (again["seq"], again["dup"]) == (2, True)


async def test_a_reply_points_at_a_message_of_the_room(fleet: Fleet) -> None:
    async with member(fleet, fresh_room()) as (ann, _):
        await ann.ask("send", message())
        assert (await ann.ask("send", message(reply_to=1)))["seq"] == 2
        assert (await shown(ann, to=2))[1]["reply_to"] == 1
        assert code_of(await ann.ask("send", message(reply_to=77))) == "BAD_REQUEST"


async def test_reactions_and_the_number_of_members_come_as_ambient_news(fleet: Fleet) -> None:
    room = fresh_room()
    async with member(fleet, room, user="ann") as (ann, _), member(fleet, room, user="ben") as (ben, _):
        assert (await ann.ask("react", {"emoji": "👏"}))["ok"]
        assert code_of(await ann.ask("react", {"emoji": "🧨"})) == "BAD_REQUEST"
        news = await ben.until("ambient")
        while not news["reactions"]:
            news = await ben.until("ambient")
        assert (news["members"], news["reactions"]) == (2, {"👏": 1})


# what staff may


async def test_only_staff_puts_up_notices_changes_the_mode_and_lists_members(fleet: Fleet) -> None:
    room = fresh_room()
    async with (
        member(fleet, room, user="ann") as (ann, _),
        member(fleet, room, user="lee", role="lecturer") as (lee, _),
    ):
        for event, body in (
            ("notice", {"cid": fresh_cid(), "text": "Exam on Friday"}),
            ("mode", {"cid": fresh_cid(), "mode": "staff", "slow_ms": 0}),
            ("members", {}),
        ):
            assert code_of(await ann.ask(event, body)) == "FORBIDDEN"
            assert (await lee.ask(event, body))["ok"]
        page = await lee.ask("members", {"limit": 1})
        assert ([person["id"] for person in page["members"]], page["more"]) == (["ann"], True)
        page = await lee.ask("members", {"after": "ann", "limit": 1})
        assert ([person["id"] for person in page["members"]], page["more"]) == (["lee"], False)
        async with member(fleet, room, user="cy") as (_, joined):
            assert joined["snapshot"]["mode"] == "staff"
            assert joined["snapshot"]["notice"] == "Exam on Friday"
        assert (await lee.ask("notice", {"cid": fresh_cid(), "text": None}))["ok"]
        assert (await shown(ann, to=3))[2]["text"] is None


async def test_a_closed_room_is_read_and_not_written_but_a_retry_gets_its_first_result(fleet: Fleet) -> None:
    room = fresh_room()
    async with (
        member(fleet, room, user="ann") as (ann, _),
        member(fleet, room, user="lee", role="lecturer") as (lee, _),
    ):
        before = message()
        assert (await ann.ask("send", before))["seq"] == 1
        assert (await lee.ask("mode", {"cid": fresh_cid(), "mode": "closed", "slow_ms": 0}))["ok"]
        for client in (ann, lee):
            refused = await client.ask("send", message())
            assert (code_of(refused), refused["error"]["action"]) == ("MODE_CLOSED", "stay")
        retried = await ann.ask("send", before)
        assert (retried["seq"], retried["dup"]) == (1, True)
        assert (await ann.ask("history", {}))["ok"]


async def test_slow_mode_says_how_long_to_wait(fleet: Fleet) -> None:
    room = fresh_room()
    async with (
        member(fleet, room, user="ann") as (ann, _),
        member(fleet, room, user="lee", role="lecturer") as (lee, _),
    ):
        assert (await lee.ask("mode", {"cid": fresh_cid(), "mode": "open", "slow_ms": 60_000}))["ok"]
        first = message()
        assert (await ann.ask("send", first))["ok"]
        refused = (await ann.ask("send", message()))["error"]
        assert (refused["code"], refused["action"]) == ("SLOW_MODE", "retry")
        assert 50_000 < refused["retry_after_ms"] <= 60_000
        assert (await ann.ask("send", first))["dup"] is True


# what nobody may


@pytest.mark.parametrize(
    ("event", "body", "code"),
    [
        ("send", {"text": "no cid"}, "BAD_REQUEST"),
        ("send", {"cid": "", "text": "x"}, "BAD_REQUEST"),
        ("send", {"cid": "c" * 65, "text": "x"}, "BAD_REQUEST"),
        ("send", {"cid": 7, "text": "x"}, "BAD_REQUEST"),
        ("send", {"cid": "c", "text": ""}, "BAD_REQUEST"),
        ("send", {"cid": "c", "text": "x" * 2_001}, "BAD_REQUEST"),
        ("send", {"cid": "c", "text": "half \ud83d a pair"}, "BAD_REQUEST"),
        ("send", {"cid": "c", "text": "a \x00 in it"}, "BAD_REQUEST"),
        ("send", {"cid": "c", "text": ["x"]}, "BAD_REQUEST"),
        ("send", {"cid": "c", "text": "x", "kind": "delete"}, "BAD_REQUEST"),
        ("send", {"cid": "c", "text": "x", "reply_to": 0}, "BAD_REQUEST"),
        ("send", {"cid": "c", "text": "x", "reply_to": 2**63}, "BAD_REQUEST"),
        ("send", "hello", "BAD_REQUEST"),
        ("send", None, "BAD_REQUEST"),
        ("history", {"before": 5, "after": 5}, "BAD_REQUEST"),
        ("history", {"limit": 201}, "BAD_REQUEST"),
        ("history", {"limit": 0}, "BAD_REQUEST"),
        ("delete", {"cid": "c", "target": "1"}, "BAD_REQUEST"),
        ("mode", {"cid": "c", "mode": "party"}, "BAD_REQUEST"),
        ("connect", {}, "UNSUPPORTED"),
        ("disconnect", {}, "UNSUPPORTED"),
        ("*", {}, "UNSUPPORTED"),
        ("__class__", {}, "UNSUPPORTED"),
        ("join", {"room": "r"}, "UNSUPPORTED"),
        ("send", {"cid": "c", "text": "x", "extra": "y" * 17_000}, "TOO_LARGE"),
    ],
)
async def test_what_is_wrong_gets_its_error_and_costs_nothing(fleet: Fleet, event: str, body: Any, code: str) -> None:
    async with member(fleet, fresh_room(), role="lecturer") as (lee, _):
        ack = await lee.ask(event, body)
        assert set(ack["error"]) == {"code", "message", "action", "temporary", "retry_after_ms"}
        assert (code_of(ack), ack["error"]["action"]) == (code, "fix")
        assert (await lee.ask("send", message()))["seq"] == 1, "nothing was added and the connection lives"


@pytest.mark.parametrize("data", ['["send"]', '["send",{},{}]', "[]", "[5]", '{"send":1}', '"send"', "[[1]]"])
async def test_an_event_of_another_shape_is_answered(fleet: Fleet, data: str) -> None:
    async with member(fleet, fresh_room()) as (ann, _):
        assert code_of(await ann.ask_raw(data)) == "BAD_REQUEST"
        assert (await ann.ask("send", message()))["seq"] == 1


async def test_text_is_counted_in_code_points_after_nfc(fleet: Fleet) -> None:
    async with member(fleet, fresh_room()) as (ann, _):
        decomposed = "e\u0301" * 2_000
        assert (await ann.ask("send", message(decomposed)))["ok"]
        assert (await shown(ann, to=1))[0]["text"] == "é" * 2_000
        emoji = json.dumps(["send", message("👋" * 2_000)], ensure_ascii=False)
        assert (await ann.ask_raw(emoji))["ok"], "8,000 bytes, but 2,000 code points"


async def test_a_binary_event_is_refused_and_swallows_nothing(fleet: Fleet) -> None:
    async with member(fleet, fresh_room()) as (ann, _):
        refused = await ann.ask_raw('["send",{"cid":"c","text":{"_placeholder":true,"num":0}}]', kind="51-")
        assert code_of(refused) == "BAD_REQUEST"
        assert (await ann.ask("send", message()))["seq"] == 1, "sent where an attachment was announced"
        await ann.say(b"attachment")
        unknown = await ann.ask_raw('["dance",{"_placeholder":true,"num":0}]', kind="51-")
        assert code_of(unknown) == "UNSUPPORTED"
        assert (await ann.ask("send", message()))["seq"] == 2


@pytest.mark.parametrize(
    "packet", ["4", "49", "42", "42[", '42"x', "4abc", "6", "9", "4" + "2" * 200, "42" + "[" * 9_000]
)
async def test_what_cannot_be_decoded_is_ignored(fleet: Fleet, packet: str) -> None:
    async with member(fleet, fresh_room()) as (ann, _):
        await ann.say(packet)
        assert (await ann.ask("send", message()))["seq"] == 1


async def test_a_packet_above_the_announced_payload_ends_the_connection(fleet: Fleet) -> None:
    async with member(fleet, fresh_room()) as (ann, _):
        await ann.say("42" + json.dumps(["send", message("x" * 70_000)]))
        assert await is_closed(ann)


async def test_more_than_eight_unanswered_events_are_too_many(fleet: Fleet) -> None:
    async with member(fleet, fresh_room()) as (ann, _):
        acks = await ann.ask_all("send", [message() for _ in range(40)])
        codes = {code_of(ack) for ack in acks}
        assert codes == {None, "BUSY"}
        assert sum(ack["ok"] for ack in acks) >= 8


async def test_a_flood_of_questions_is_limited_and_says_when_to_go_on(fleet: Fleet) -> None:
    async with member(fleet, fresh_room()) as (ann, _):
        refused = None
        for _ in range(300):
            ack = await ann.ask("react", {"emoji": "👍"})
            if not ack["ok"]:
                refused = ack["error"]
                break
        assert refused is not None
        assert (refused["code"], refused["action"]) == ("RATE_LIMITED", "retry")
        assert refused["retry_after_ms"] > 0


async def test_a_member_that_stops_reading_costs_the_others_nothing(fleet: Fleet) -> None:
    room = fresh_room()
    async with (
        member(fleet, room, user="slow") as (slow, joined),
        member(fleet, room, user="lee", role="lecturer") as (
            lee,
            _,
        ),
    ):
        raw = slow.socket.transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        slow.socket.transport.pause_reading()
        for _ in range(40):
            acks = await lee.ask_all("send", [message("x" * 1_900) for _ in range(8)])
            assert all(ack["ok"] for ack in acks)
        assert (await shown(lee, to=320))[-1]["seq"] == 320
        slow.socket.transport.resume_reading()
        position = joined["pos"]["seq"]
        while position < 320:
            name, body = await slow.packet()
            if name == "bye":
                assert body["code"] == "SLOW", "it fell behind what the room holds, and is told so"
                break
            if name in ("frame", "gap"):
                assert body["from"] == position + 1
                position = body["to"]
                assert len(body["entries"]) == body["to"] - body["from"] + 1, "all of it is staff's"
