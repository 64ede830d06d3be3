"""director/admin: what operators can see, order and start over HTTP, and how it is refused."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import structlog
from starlette.types import Message

from director.contract.ids import NodeName, RoomId
from director.contract.lease import NodeState
from director.contract.operations import Operation, OperationState
from director.contract.orders import Cordon, Drain
from director.orders_memory import MemoryOrders
from tests.support.admin_site import AdminSite, admin_desk
from tests.support.moving_nodes import UNIX_AT_ZERO, SimulatedDirector, SimulatedFleet, until
from tests.support.virtual_time import VirtualTimeLoop, in_virtual_time

A, B, C = NodeName("a"), NodeName("b"), NodeName("c")


def now_ms() -> int:
    return int((UNIX_AT_ZERO + asyncio.get_running_loop().time()) * 1000)


async def heard(director: SimulatedDirector, orders: int) -> None:
    await until(lambda: len(director.view.orders.orders) == orders, within=2)


@in_virtual_time
async def test_nodes_are_listed_with_all_that_is_known_of_them() -> None:
    async with SimulatedFleet("b", "a") as fleet:
        await fleet.nodes["a"].open("math", members=300)
        await fleet.nodes["a"].open("art", members=5)
        site = AdminSite(await fleet.director())
        answer = await site.ask("GET", "/admin/nodes")
        one, two = answer["nodes"]
        assert 5_000 < one.pop("lapses_in_ms") <= 6_000
        assert one == {
            "node": "a",
            "incarnation": "i1",
            "url": "http://127.0.0.1:1",
            "path": "/socket.io/",
            "probe_url": "http://127.0.0.1:1",
            "state": "serving",
            "order": None,
            "members": 305,
            "rooms": 2,
            "load": 330,
            "limit": 206,
            "capacity": 1.0,
            "store_ok": True,
            "joins_per_second": 1000.0,
            "has_lapsed": False,
        }
        assert (two["node"], two["rooms"], two["load"]) == ("b", 0, 0)
        await fleet.nodes["b"].stop()
        await asyncio.sleep(7)
        lapsed = (await site.ask("GET", "/admin/nodes"))["nodes"]
        assert [(node["node"], node["has_lapsed"], node["lapses_in_ms"] > 0) for node in lapsed] == [("a", False, True)]


@in_virtual_time
async def test_a_node_that_lapsed_and_is_not_declared_dead_is_listed_as_such() -> None:
    async with SimulatedFleet("a", "b", "c", "d") as fleet:
        await fleet.nodes["c"].open("math", members=40)
        director = await fleet.director()
        site = AdminSite(director)
        for node in ("b", "c"):
            await fleet.nodes[node].stop()
        await asyncio.sleep(9)
        lapsed = [node for node in (await site.ask("GET", "/admin/nodes"))["nodes"] if node["has_lapsed"]]
        assert len(lapsed) == 1, "one was declared dead, the other is held back"
        (node,) = lapsed
        assert (node["limit"], node["lapses_in_ms"]) == (None, 0)


@in_virtual_time
async def test_rooms_are_listed_page_by_page_by_node_and_by_prefix() -> None:
    async with SimulatedFleet("a", "b") as fleet:
        for i in range(7):
            await fleet.nodes["a"].open(f"math-{i}", members=i)
        await fleet.nodes["b"].open("art")
        site = AdminSite(await fleet.director())
        everything = await site.ask("GET", "/admin/rooms")
        assert [room["room"] for room in everything["rooms"]] == ["art", *(f"math-{i}" for i in range(7))]
        assert everything["more"] is False
        page = await site.ask("GET", "/admin/rooms?prefix=math-&limit=3&after=math-1")
        assert ([room["room"] for room in page["rooms"]], page["more"]) == (["math-2", "math-3", "math-4"], True)
        of_b = await site.ask("GET", "/admin/rooms?node=b")
        (art,) = of_b["rooms"]
        assert art == {
            "room": "art",
            "owner": "b",
            "incarnation": "i1",
            "owner_lives": True,
            "epoch": 8,
            "why": "ring",
            "members": 0,
            "peak": 0,
            "moves": 0,
            "load": 30,
            "target": None,
            "pinned": None,
            "reserved": 0,
        }
        assert (await site.ask("GET", "/admin/rooms?node=nobody"))["rooms"] == []
        for nothing in ("node=", "limit=", "prefix=", "after=", "node=&prefix=&after=&limit="):
            assert await site.ask("GET", f"/admin/rooms?{nothing}") == everything
        for limit in ("-1", "x", "1001", "1" * 40):
            assert "limit must be a whole number" in await site.refused("GET", f"/admin/rooms?limit={limit}")


@in_virtual_time
async def test_a_room_is_explained() -> None:
    async with SimulatedFleet("a", "b") as fleet:
        await fleet.nodes["a"].open("math", members=300)
        director = await fleet.director()
        site = AdminSite(director)
        told = await site.ask("GET", "/admin/rooms/math")
        assert 0 < told.pop("lease_left_ms") <= 6_000
        ring = told.pop("ring")
        assert sorted(ring) == ["a", "b"]
        (first,) = told.pop("past")
        assert first["source"] is None
        assert told == {
            "ok": True,
            "room": "math",
            "owner": "a",
            "incarnation": "i1",
            "owner_state": "serving",
            "owner_lives": True,
            "epoch": 1,
            "why": "ring",
            "members": 300,
            "peak": 300,
            "load": 300,
            "moves": 0,
            "target": None,
            "target_why": None,
            "is_warm": False,
            "pinned": None,
            "reserved": 0,
            "would_go_to": {"node": ring[0], "why": "ring"},
        }
        unknown = await site.ask("GET", "/admin/rooms/never-seen")
        assert (unknown["owner"], unknown["epoch"], unknown["past"], unknown["load"]) == (None, None, [], 30)
        assert unknown["would_go_to"]["node"] == "b", "by bounded load"
        assert "room must be" in await site.refused("GET", "/admin/rooms/a%20b")
        fleet.hall.is_silent = True
        assert (await site.ask("GET", "/admin/rooms/math"))["past"] is None, "the rest is known without Redis"
        fleet.hall.is_silent = False


@in_virtual_time
async def test_a_cordoned_node_is_given_nothing_until_it_is_uncordoned() -> None:
    async with SimulatedFleet("a", "b") as fleet:
        await fleet.nodes["a"].open("math")
        director = await fleet.director()
        site = AdminSite(director)
        assert await site.ask("POST", "/admin/nodes/b/cordon") == {"ok": True, "node": "b", "state": "cordoned"}
        await heard(director, 1)
        for i in range(10):
            assert (await director.router.place(RoomId(f"r{i}"))).record.owner == "a"
        nodes = {node["node"]: node for node in (await site.ask("GET", "/admin/nodes"))["nodes"]}
        assert (nodes["b"]["state"], nodes["b"]["order"], nodes["b"]["limit"]) == ("cordoned", "cordoned", None)
        assert "b is cordoned" in await site.refused("POST", "/admin/rooms/math/move", {"to": "b"})
        assert await site.ask("POST", "/admin/nodes/b/uncordon") == {"ok": True, "node": "b", "state": "serving"}
        await heard(director, 0)
        assert director.view.state_of(B) is NodeState.SERVING


@in_virtual_time
async def test_a_node_that_is_gone_can_be_uncordoned_and_one_that_never_was_is_named_with_those_that_are() -> None:
    async with SimulatedFleet("a", "b") as fleet:
        director = await fleet.director()
        site = AdminSite(director)
        await site.ask("POST", "/admin/nodes/b/cordon")
        await heard(director, 1)
        await fleet.nodes["b"].release()
        await until(lambda: director.view.node_of(B) is None)
        assert (await site.ask("POST", "/admin/nodes/b/uncordon"))["state"] == "serving"
        await heard(director, 0)
        for path in ("/admin/nodes/b/cordon", "/admin/nodes/x/drain", "/admin/nodes/no%20node/uncordon"):
            assert "there are a" in await site.refused("POST", path)


@in_virtual_time
async def test_a_drain_is_shown_then_run_then_left_cordoned_until_it_is_taken_back() -> None:
    async with SimulatedFleet("a", "b", "c") as fleet:
        for i in range(6):
            await fleet.nodes["a"].open(f"r{i}", members=10)
        director = await fleet.director()
        site = AdminSite(director)
        plan = (await site.ask("POST", "/admin/nodes/a/drain", {"plan": True}))["plan"]
        assert len(plan["moves"]) == 6
        assert {move["why"] for move in plan["moves"]} == {"draining"}
        assert plan["members"] == 60
        assert fleet.hall.orders == {}, "a plan orders nothing"

        name = (await site.ask("POST", "/admin/nodes/a/drain"))["operation"]
        at_once = await site.ask("GET", f"/admin/operations/{name}")
        assert at_once["operation"]["state"] == "running"
        assert "already" in await site.refused("POST", "/admin/nodes/a/drain", {"plan": False}, status=503)
        ended = await fleet.ended(name)
        assert ended.state is OperationState.DONE
        assert fleet.rooms_of("a") == set()
        operations = await site.ask("GET", "/admin/operations")
        assert [operation["id"] for operation in operations["operations"]] == [name]
        nodes = {node["node"]: node["state"] for node in (await site.ask("GET", "/admin/nodes"))["nodes"]}
        assert nodes == {"a": "draining", "b": "serving", "c": "serving"}
        assert (await site.ask("POST", "/admin/nodes/a/cordon"))["state"] == "draining"
        assert (await site.ask("DELETE", "/admin/nodes/a/drain"))["state"] == "serving"
        assert fleet.hall.orders == {}


@in_virtual_time
async def test_a_node_whose_drain_is_long_over_is_cordoned_and_can_be_drained_again_or_taken_back() -> None:
    async with SimulatedFleet("a", "b") as fleet:
        await fleet.nodes["a"].open("math", members=10)
        site = AdminSite(await fleet.director())
        for take_back in (("POST", "/admin/nodes/a/uncordon"), ("DELETE", "/admin/nodes/a/drain")):
            for _ in range(2):
                name = (await site.ask("POST", "/admin/nodes/a/drain"))["operation"]
                await fleet.ended(name)
                await asyncio.sleep(15)
                nodes = {node["node"]: node for node in (await site.ask("GET", "/admin/nodes"))["nodes"]}
                assert (nodes["a"]["state"], nodes["a"]["order"]) == ("cordoned", "cordoned")
            assert (await site.ask(*take_back))["state"] == "serving"
            assert fleet.hall.orders == {}


@in_virtual_time
async def test_a_node_is_taken_back_also_while_its_drain_ends() -> None:
    drain = Drain(A, "drain-1")

    class WhileItEnds(MemoryOrders):
        async def withdraw(self, key: str) -> bool:
            stood = await super().withdraw(key)
            await self.replace(drain, Cordon(A))  # as the steward does just then
            return stood

    async with SimulatedFleet("a", "b") as fleet:
        director = await fleet.director()
        desk = replace(admin_desk(director), orders=WhileItEnds(fleet.hall))
        fleet.hall.orders[drain.key] = drain
        await AdminSite(director, desk=desk).ask("POST", "/admin/nodes/a/uncordon")
        assert fleet.hall.orders == {}


@in_virtual_time
async def test_a_drain_that_is_taken_back_stops_after_the_moves_under_way() -> None:
    async with SimulatedFleet("a", "b") as fleet:
        for i in range(40):
            await fleet.nodes["a"].open(f"r{i}", members=50)
        one, other = await fleet.director(), await fleet.director("director-2")
        terms = {"rooms_at_a_time": 2, "members_per_second": 200, "within_s": 60}
        name = (await AdminSite(one).ask("POST", "/admin/nodes/a/drain", terms))["operation"]
        await until(lambda: len(fleet.rooms_of("b")) >= 4)
        assert (await AdminSite(other).ask("DELETE", "/admin/nodes/a/drain"))["state"] == "serving"
        ended = await fleet.ended(name, within=5)
        assert ended.state is OperationState.CANCELLED
        assert len(fleet.rooms_of("a")) > 20


@in_virtual_time
async def test_a_drain_of_a_silent_node_is_refused() -> None:
    async with SimulatedFleet("a", "b", "c", "d") as fleet:
        await fleet.director()
        for node in ("b", "c"):
            await fleet.nodes[node].stop()
        await asyncio.sleep(9)
        site = AdminSite(fleet.directors[0])
        (lapsed,) = [node["node"] for node in (await site.ask("GET", "/admin/nodes"))["nodes"] if node["has_lapsed"]]
        assert "holds no lease" in await site.refused("POST", f"/admin/nodes/{lapsed}/drain")
        assert (await site.ask("POST", f"/admin/nodes/{lapsed}/drain", {"plan": True}))["plan"]["moves"] == []


@in_virtual_time
async def test_a_room_is_moved() -> None:
    async with SimulatedFleet("a", "b") as fleet:
        await fleet.nodes["a"].open("math", members=300)
        director = await fleet.director()
        site = AdminSite(director)
        plan = (await site.ask("POST", "/admin/rooms/math/move", {"to": "b", "plan": True}))["plan"]
        assert plan["moves"] == [
            {
                "room": "math",
                "source": "a",
                "target": "b",
                "why": "ordered",
                "members": 300,
                "seconds": 0.8,
                "state": "planned",
                "took_ms": None,
                "problem": None,
            }
        ]
        assert fleet.hall.operations == {}
        name = (await site.ask("POST", "/admin/rooms/math/move", {"to": "b"}))["operation"]
        ended = await fleet.ended(name)
        assert ended.state is OperationState.DONE
        told = await site.ask("GET", "/admin/rooms/math")
        assert (told["owner"], told["why"], told["moves"]) == ("b", "ordered", 1)
        assert [(move["source"], move["target"]) for move in told["past"]] == [("a", "b"), (None, "a")]
        assert "on b already" in await site.refused("POST", "/admin/rooms/math/move", {"to": "b"})
        assert "there is no node 'x'" in await site.refused("POST", "/admin/rooms/math/move", {"to": "x"})
        assert "nobody owns" in await site.refused("POST", "/admin/rooms/art/move", {"to": "b"})


@in_virtual_time
async def test_a_room_that_moves_already_or_whose_owner_is_silent_is_not_moved() -> None:
    async with SimulatedFleet("a", "b", "c", "d") as fleet:
        await fleet.nodes["a"].open("math")
        await fleet.nodes["b"].open("art")
        fleet.nodes["c"].manner.never_warms = True
        director = await fleet.director()
        site = AdminSite(director)
        await site.ask("POST", "/admin/rooms/math/move", {"to": "c"})
        await until(lambda: fleet.hall.rooms[RoomId("math")].target == "c")
        await asyncio.sleep(0.1)
        assert "being moved to c" in await site.refused("POST", "/admin/rooms/math/move", {"to": "d"}, status=503)
        for node in ("a", "b"):
            await fleet.nodes[node].stop()
        await asyncio.sleep(9)
        silent = "art" if director.view.node_of(A) is None and fleet.owner_of("art") == "b" else "math"
        assert "silent" in await site.refused("POST", f"/admin/rooms/{silent}/move", {"to": "d"}, status=503)


@in_virtual_time
async def test_a_pin_says_where_a_room_belongs_and_a_rebalancing_brings_it_there() -> None:
    async with SimulatedFleet("a", "b") as fleet:
        await fleet.nodes["a"].open("math", members=10)
        director = await fleet.director()
        site = AdminSite(director)
        pinned = await site.ask("PUT", "/admin/rooms/math/pin", {"node": "b"})
        assert pinned == {"ok": True, "room": "math", "node": "b", "owner": "a"}
        await site.ask("PUT", "/admin/rooms/unborn/pin", {"node": "b"})
        await heard(director, 2)
        told = await site.ask("GET", "/admin/rooms/math")
        assert (told["owner"], told["pinned"], told["would_go_to"]) == ("a", "b", {"node": "b", "why": "pinned"})
        assert (await site.ask("GET", "/admin/rooms?node=a"))["rooms"][0]["pinned"] == "b"
        plan = (await site.ask("POST", "/admin/rebalance", {"plan": True}))["plan"]
        assert [(move["room"], move["target"], move["why"]) for move in plan["moves"]] == [("math", "b", "pinned")]
        await fleet.ended((await site.ask("POST", "/admin/rebalance", {"plan": False}))["operation"])
        assert fleet.owner_of("math") == "b"
        assert (await director.router.place(RoomId("unborn"))).record.why == "pinned"
        unpinned = await site.ask("DELETE", "/admin/rooms/math/pin")
        assert unpinned == {"ok": True, "room": "math", "node": None, "owner": "b"}
        await heard(director, 1)
        assert "there is no node" in await site.refused("PUT", "/admin/rooms/math/pin", {"node": "x"})


@in_virtual_time
async def test_a_node_s_capacity_says_how_much_it_is_given() -> None:
    async with SimulatedFleet("a", "b") as fleet:
        await fleet.nodes["a"].open("math", members=300)
        director = await fleet.director()
        site = AdminSite(director)
        assert (await site.ask("PUT", "/admin/nodes/a/capacity", {"share": 3}))["share"] == 3.0
        await heard(director, 1)
        nodes = {node["node"]: node for node in (await site.ask("GET", "/admin/nodes"))["nodes"]}
        assert (nodes["a"]["capacity"], nodes["a"]["limit"], nodes["b"]["limit"]) == (3.0, 281, 93)
        await site.ask("PUT", "/admin/nodes/a/capacity", {"share": 1.0})
        await heard(director, 0)
        for share in (0, -1, "x", None):
            await site.refused("PUT", "/admin/nodes/a/capacity", {"share": share})


@in_virtual_time
async def test_a_rebalancing_is_shown_and_run_exactly_as_shown() -> None:
    async with SimulatedFleet("a", "b", "c") as fleet:
        for i in range(12):
            await fleet.nodes["a"].open(f"room-{i}", members=100 + i)
        director = await fleet.director()
        site = AdminSite(director)
        plan = (await site.ask("POST", "/admin/rebalance", {"plan": True, "bound": 1.2}))["plan"]
        moves = [{key: move[key] for key in ("room", "source", "target")} for move in plan["moves"]]
        assert len(moves) >= 7
        assert [(node["node"], node["is_hot"]) for node in plan["nodes"]] == [("a", False), ("b", False), ("c", False)]
        await fleet.nodes["b"].open("late", members=900)
        await until(lambda: director.view.record_of(RoomId("late")) is not None)

        shown = await site.ask("POST", "/admin/rebalance", {"plan": True, "moves": moves})
        assert [move["room"] for move in shown["plan"]["moves"]] == [move["room"] for move in moves]
        started = await site.ask("POST", "/admin/rebalance", {"plan": False, "moves": moves})
        ended = await fleet.ended(started["operation"])
        assert (ended.state, ended.moved) == (OperationState.DONE, len(moves))
        assert {(record.room, record.owner) for record in fleet.hall.rooms.values() if record.moves} == {
            (move["room"], move["target"]) for move in moves
        }
        again = await site.refused("POST", "/admin/rebalance", {"plan": False, "moves": moves})
        assert "ask for another plan" in again


@in_virtual_time
async def test_moves_that_no_longer_fit_are_refused_before_one_is_asked_for() -> None:
    async with SimulatedFleet("a", "b", "c") as fleet:
        for room in ("r1", "r2"):
            await fleet.nodes["a"].open(room)
        director = await fleet.director()
        site = AdminSite(director)
        good = {"room": "r1", "source": "a", "target": "b"}
        for bad, what, status in (
            ({"room": "r2", "source": "b", "target": "c"}, "r2 is on a", 400),
            ({"room": "r3", "source": "a", "target": "c"}, "r3 is closed", 400),
            ({"room": "r2", "source": "a", "target": "x"}, "x can be given no rooms", 400),
            ({"room": "r2", "source": "a", "target": "a"}, "r2 is on a already", 400),
            (good, "moved once", 400),
        ):
            body = {"plan": False, "moves": [good, bad]}
            assert what in await site.refused("POST", "/admin/rebalance", body, status=status)
        assert fleet.hall.operations == {}
        assert fleet.rooms_of("a") == {"r1", "r2"}
        fleet.nodes["c"].manner.never_warms = True
        await site.ask("POST", "/admin/rooms/r1/move", {"to": "c"})
        await until(lambda: any(record.target == "c" for record in director.view.records()))
        body = {"plan": False, "moves": [good]}
        assert "being moved to c" in await site.refused("POST", "/admin/rebalance", body, status=503)


@in_virtual_time
async def test_lectures_are_announced_listed_and_taken_back() -> None:
    async with SimulatedFleet("a", "b") as fleet:
        director = await fleet.director()
        site = AdminSite(director)
        soon, later = now_ms() + 60_000, now_ms() + 7_200_000
        await site.ask("PUT", "/admin/rooms/art/reservations", {"members": 50, "at_ms": later, "minutes": 45})
        first = await site.ask("PUT", "/admin/rooms/math/reservations", {"members": 3000, "at_ms": soon, "minutes": 90})
        assert first["reservations"] == [
            {
                "room": "math",
                "members": 3000,
                "at_ms": soon,
                "minutes": 90,
                "ends_at_ms": soon + 90 * 60_000,
                "counts": True,
                "owner": None,
            }
        ]
        await site.ask("PUT", "/admin/rooms/math/reservations", {"members": 200, "at_ms": later, "minutes": 90})
        listed = (await site.ask("GET", "/admin/reservations"))["reservations"]
        assert [(entry["room"], entry["counts"]) for entry in listed] == [
            ("math", True),
            ("art", False),
            ("math", False),
        ]
        await until(lambda: RoomId("math") in fleet.hall.rooms, within=5)
        told = await site.ask("GET", "/admin/rooms/math")
        assert (told["reserved"], told["load"], told["members"]) == (3000, 3000, 0)
        left = await site.ask("DELETE", f"/admin/rooms/math/reservations?at_ms={later}")
        assert [entry["at_ms"] for entry in left["reservations"]] == [soon]
        assert (await site.ask("DELETE", "/admin/rooms/math/reservations"))["reservations"] == []
        assert "nothing is reserved" in await site.refused("DELETE", "/admin/rooms/math/reservations")
        assert "at_ms" in await site.refused("DELETE", "/admin/rooms/math/reservations?at_ms=x")
        good = {"members": 10, "at_ms": soon, "minutes": 10}
        for wrong in ({"members": 0}, {"minutes": 0}, {"minutes": 10**6}, {"at_ms": soon - 10**7}, {"at_ms": 10**15}):
            await site.refused("PUT", "/admin/rooms/math/reservations", {**good, **wrong})


@in_virtual_time
async def test_an_operation_is_cancelled_and_one_that_is_over_or_unknown_is_not() -> None:
    async with SimulatedFleet("a", "b") as fleet:
        for i in range(6):
            await fleet.nodes["a"].open(f"r{i}", members=400)
        one, other = await fleet.director(), await fleet.director("director-2")
        site, elsewhere = AdminSite(one), AdminSite(other)
        moves = [{"room": f"r{i}", "source": "a", "target": "b"} for i in range(6)]
        name = (await site.ask("POST", "/admin/rebalance", {"plan": False, "moves": moves}))["operation"]
        assert "is rebalancing" in await elsewhere.refused("POST", "/admin/rebalance", {"plan": False}, status=503)
        await until(lambda: len(fleet.rooms_of("b")) >= 1)
        assert (await elsewhere.ask("DELETE", f"/admin/operations/{name}"))["operation"] == name
        ended = await fleet.ended(name)
        assert ended.state is OperationState.CANCELLED
        assert "is over already: it is cancelled" in await site.refused("DELETE", f"/admin/operations/{name}")
        for method in ("GET", "DELETE"):
            assert "there is no operation 'x'" in await site.refused(method, "/admin/operations/x")


@in_virtual_time
async def test_an_operation_s_shape_is_that_of_the_contract() -> None:
    async with SimulatedFleet("a", "b") as fleet:
        await fleet.nodes["a"].open("math", members=300)
        site = AdminSite(await fleet.director())
        name = (await site.ask("POST", "/admin/rooms/math/move", {"to": "b"}))["operation"]
        ended = await fleet.ended(name)
        told = (await site.ask("GET", f"/admin/operations/{name}"))["operation"]
        assert list(told) == list(Operation.__struct_fields__)
        assert (told["kind"], told["subject"], told["state"]) == ("move", "math", "done")
        assert told["plan"]["moves"][0]["took_ms"] == ended.plan.moves[0].took_ms


@in_virtual_time
async def test_bodies_that_cannot_be_are_refused_with_what_is_wrong() -> None:
    async with SimulatedFleet("a", "b") as fleet:
        await fleet.nodes["a"].open("math")
        site = AdminSite(await fleet.director())
        for method, path, body, what in (
            ("POST", "/admin/nodes/a/drain", {"rooms_at_a_time": 0}, "rooms_at_a_time"),
            ("POST", "/admin/nodes/a/drain", {"within_s": -1}, "within_s"),
            ("POST", "/admin/nodes/a/drain", {"within": 5}, "within"),
            ("POST", "/admin/nodes/a/drain", [], "object"),
            ("POST", "/admin/rebalance", {}, "plan"),
            ("POST", "/admin/rebalance", {"plan": True, "bound": 1.0}, "bound"),
            ("POST", "/admin/rooms/math/move", {}, "to"),
            ("PUT", "/admin/rooms/math/reservations", {"members": "many"}, "members"),
        ):
            assert what in await site.refused(method, path, body)
        response = await site.http.post("/admin/rebalance", content=b"{" * 10)
        assert response.status_code == 400
        response = await site.http.post("/admin/rooms/math/move", content=b'{"to": "\xff"}')
        assert (response.status_code, response.json()["error"]["code"]) == (400, "BAD_REQUEST")
        response = await site.http.post("/admin/rebalance", content=b" " * (3 * 1024 * 1024))
        assert (response.status_code, response.json()["error"]["code"]) == (413, "TOO_LARGE")


@in_virtual_time
async def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    async with SimulatedFleet("a") as fleet:
        site = AdminSite(await fleet.director())

        async def endless() -> AsyncIterator[bytes]:
            while True:
                yield b" "
                await asyncio.sleep(1)

        for path in ("/admin/session", "/admin/rebalance"):
            response = await site.http.post(path, content=endless())
            assert response.status_code == 400
            assert "did not come within 10 s" in response.json()["error"]["message"]


@in_virtual_time
async def test_a_client_that_breaks_off_is_no_fault_of_ours() -> None:
    async with SimulatedFleet("a") as fleet:
        site = AdminSite(await fleet.director())
        said: list[Message] = []

        async def leave() -> Message:
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            said.append(message)

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/admin/session",
            "query_string": b"",
            "headers": [],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 8000),
            "scheme": "http",
        }
        await site.app(scope, leave, send)
        assert [message["status"] for message in said if "status" in message] == [400]


@in_virtual_time
async def test_those_who_are_no_operators_yet_can_send_little() -> None:
    async with SimulatedFleet("a") as fleet:
        director = await fleet.director()
        page, nobody = AdminSite(director, token=""), AdminSite(director, token="", known="")
        body = b'{"token": "' + b"x" * 5_000 + b'"}'
        response = await page.http.post("/admin/session", content=body)
        assert (response.status_code, response.json()["error"]["code"]) == (413, "TOO_LARGE")
        assert (await nobody.http.post("/admin/session", content=body)).status_code == 403, "it is not even read"
        with structlog.testing.capture_logs() as logs:
            assert (await page.http.post("/admin/session", json={"token": "a guess"})).status_code == 401
        assert [(line["event"], line["log_level"]) for line in logs] == [("sign_in_refused", "warning")]
        assert "a guess" not in str(logs)


@in_virtual_time
async def test_what_operators_order_is_logged() -> None:
    async with SimulatedFleet("a", "b") as fleet:
        await fleet.nodes["a"].open("math", members=10)
        site = AdminSite(await fleet.director())
        at_ms = now_ms() + 7_200_000
        told = {"members": 50, "at_ms": at_ms, "minutes": 45}
        orders: list[tuple[str, str, object, str, dict[str, object]]] = [
            ("PUT", "/admin/nodes/a/capacity", {"share": 2}, "node_capacity_set", {"node": "a", "share": 2.0}),
            ("POST", "/admin/nodes/b/cordon", None, "node_cordoned", {"node": "b"}),
            ("POST", "/admin/nodes/b/uncordon", None, "node_uncordoned", {"node": "b", "drain": None}),
            ("PUT", "/admin/rooms/art/pin", {"node": "a"}, "room_pinned", {"room": "art", "node": "a"}),
            ("DELETE", "/admin/rooms/art/pin", None, "room_unpinned", {"room": "art", "stood": True}),
            ("PUT", "/admin/rooms/art/reservations", told, "room_reserved", {"room": "art", **told}),
            ("DELETE", "/admin/rooms/art/reservations", None, "reservation_withdrawn", {"room": "art", "at_ms": at_ms}),
            ("POST", "/admin/rooms/math/move", {"to": "b"}, "move_ordered", {"room": "math", "target": "b"}),
            ("POST", "/admin/rebalance", {"plan": False}, "rebalance_ordered", {"chosen": False}),
            ("POST", "/admin/nodes/a/drain", None, "drain_ordered", {"node": "a", "within": 300.0}),
        ]
        for method, path, body, event, fields in orders:
            with structlog.testing.capture_logs() as logs:
                answer = await site.ask(method, path, body)
            (line,) = (line for line in logs if line["event"] == event)
            assert line.items() >= fields.items()
            assert line.get("operation") == answer.get("operation")


@in_virtual_time
async def test_where_redis_does_not_answer_operators_are_asked_to_come_again() -> None:
    async with SimulatedFleet("a", "b") as fleet:
        await fleet.nodes["a"].open("math")
        site = AdminSite(await fleet.director())
        fleet.hall.is_silent = True
        for method, path, body in (
            ("POST", "/admin/nodes/a/cordon", None),
            ("POST", "/admin/nodes/a/drain", None),
            ("PUT", "/admin/rooms/math/pin", {"node": "b"}),
            ("POST", "/admin/rooms/math/move", {"to": "b"}),
            ("GET", "/admin/operations", None),
            ("GET", "/admin/reservations", None),
            ("POST", "/admin/failover/resume", None),
        ):
            assert "Redis does not answer" in await site.refused(method, path, body, status=503)
        assert len((await site.ask("GET", "/admin/nodes"))["nodes"]) == 2, "what is known is told"
        fleet.hall.is_silent = False
        assert fleet.rooms_of("a") == {"math"}


@in_virtual_time
async def test_before_redis_has_answered_the_fleet_is_not_known() -> None:
    async with SimulatedFleet("a") as fleet:
        director = SimulatedDirector(fleet.hall)
        site = AdminSite(director)
        for path in ("/admin/nodes", "/admin/rooms/math", "/admin/events"):
            assert "does not know the fleet yet" in await site.refused("GET", path, status=503)
        assert (await site.ask("POST", "/admin/failover/resume"))["waiting"] == 0
        signing_in = {"token": "the-operators-token"}
        assert "Redis' time" in await site.refused("POST", "/admin/session", signing_in, status=503)


# -- who is asking


@in_virtual_time
async def test_nothing_is_told_or_done_for_those_who_are_no_operators() -> None:
    async with SimulatedFleet("a") as fleet:
        await fleet.nodes["a"].open("math")
        director = await fleet.director()
        site = AdminSite(director)
        asked = 0
        for route in site.routes():
            for method in (route.methods or set()) - {"HEAD"}:
                path = route.path.replace("{node}", "a").replace("{room}", "math").replace("{operation}", "x")
                if path == "/admin/session":
                    continue
                asked += 1
                for headers in ({}, {"Authorization": "Bearer wrong"}, {"Cookie": "hall_admin=99999999999999.0"}):
                    bare = httpx.AsyncClient(transport=site.http._transport, base_url="http://127.0.0.1:8000")
                    response = await bare.request(method, path, headers=headers)
                    assert response.status_code == 401, (method, path)
                    assert response.json()["error"]["code"] == "UNAUTHENTICATED"
        assert asked >= 20
        assert fleet.hall.orders == {}
        nobody = AdminSite(director, known="")
        assert "HALL_ADMIN_TOKEN" in await nobody.refused("GET", "/admin/nodes", status=403)
        assert "HALL_ADMIN_TOKEN" in await nobody.refused("POST", "/admin/session", {"token": ""}, status=403)


@in_virtual_time
async def test_a_page_signs_in_once_and_its_cookie_is_for_it_alone() -> None:
    async with SimulatedFleet("a") as fleet:
        director = await fleet.director()
        page = AdminSite(director, token="")
        assert (await page.ask("GET", "/admin/session"))["expires_in_ms"] == 0
        await page.refused("POST", "/admin/session", {"token": "wrong"}, status=401)
        signed_in = await page.http.post("/admin/session", json={"token": "the-operators-token"})
        assert signed_in.json() == {"ok": True, "expires_in_ms": 12 * 3600 * 1000}
        cookies = signed_in.headers.get_list("set-cookie")
        assert sorted(cookie.split("Path=")[1].split(";")[0] for cookie in cookies) == ["/admin", "/operations"]
        for cookie in cookies:
            assert "HttpOnly" in cookie
            assert "SameSite=strict" in cookie
            assert "the-operators-token" not in cookie
            assert "Secure" not in cookie, "in a demo there is no TLS"
        assert len((await page.ask("GET", "/admin/nodes"))["nodes"]) == 1
        assert (await page.ask("GET", "/admin/session"))["expires_in_ms"] > 0
        other = AdminSite(await fleet.director("director-2"), token="")
        other.http.cookies = page.http.cookies
        assert (await other.ask("GET", "/admin/nodes"))["nodes"], "every director knows the session"
        foreign = AdminSite(director, token="", known="another-token")
        foreign.http.cookies = page.http.cookies
        await foreign.refused("GET", "/admin/nodes", status=401)
        assert (await page.ask("DELETE", "/admin/session"))["expires_in_ms"] == 0
        await page.refused("GET", "/admin/nodes", status=401)


@in_virtual_time
async def test_a_session_ends_after_twelve_hours() -> None:
    async with SimulatedFleet("a") as fleet:
        page = AdminSite(await fleet.director(), token="")
        signed_in = await page.http.post("/admin/session", json={"token": "the-operators-token"})
        cookie = signed_in.cookies.get("hall_admin", path="/admin") or ""
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        loop.jump(12 * 3600 + 1)
        page.http.cookies.clear()
        response = await page.http.get("/admin/nodes", headers={"Cookie": f"hall_admin={cookie}"})
        assert response.status_code == 401
        assert "over" in response.json()["error"]["message"]


@in_virtual_time
async def test_a_tampered_session_is_none() -> None:
    async with SimulatedFleet("a") as fleet:
        page = AdminSite(await fleet.director(), token="")
        signed_in = await page.http.post("/admin/session", json={"token": "the-operators-token"})
        expires_at, signature = (signed_in.cookies.get("hall_admin", path="/admin") or "").split(".")
        page.http.cookies.clear()
        for cookie in (
            f"{int(expires_at) + 1}.{signature}",
            f"{expires_at}.{signature[:-1]}",
            f"{expires_at}.",
            f".{signature}",
            "x",
            "9" * 400,
            f"{'9' * 15}.{signature}",
        ):
            response = await page.http.get("/admin/nodes", headers={"Cookie": f"hall_admin={cookie}"})
            assert response.status_code == 401


@in_virtual_time
async def test_what_a_foreign_page_sends_with_the_operator_s_cookie_is_refused() -> None:
    """Pages on another port of the same host are of the same site, so SameSite lets their requests carry it."""
    async with SimulatedFleet("a") as fleet:
        director = await fleet.director()
        page = AdminSite(director, token="")
        await page.http.post("/admin/session", json={"token": "the-operators-token"})
        path = "/admin/nodes/a/cordon"
        for headers in (
            {"Origin": "http://127.0.0.1:9999"},
            {"Origin": "https://lms.example"},  # may ask /route, and no more
            {"Origin": "null"},
            {"Sec-Fetch-Site": "same-site"},
            {"Sec-Fetch-Site": "cross-site"},
            {},
        ):
            response = await page.http.post(path, headers=headers)
            assert response.status_code == 403, headers
        for headers in ({"Origin": "https://lms.example"}, {"Sec-Fetch-Site": "cross-site"}):
            assert (await page.http.get("/admin/nodes", headers=headers)).status_code == 403
        assert fleet.hall.orders == {}
        for headers in ({"Origin": "http://127.0.0.1:8000"}, {"Sec-Fetch-Site": "same-origin"}):
            assert (await page.http.post(path, headers=headers)).status_code == 200
        for headers in ({}, {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}):
            assert (await page.http.get("/admin/nodes", headers=headers)).status_code == 200
        token = AdminSite(director)
        assert (await token.http.post(path, headers={"Sec-Fetch-Site": "cross-site"})).status_code == 200


@in_virtual_time
async def test_behind_tls_the_cookie_is_sent_over_tls_only() -> None:
    async with SimulatedFleet("a") as fleet:
        page = AdminSite(await fleet.director(), token="", own="https://chat.example")
        signed_in = await page.http.post("/admin/session", json={"token": "the-operators-token"})
        assert all("Secure" in cookie for cookie in signed_in.headers.get_list("set-cookie"))


# -- the stream


class Wire:
    """An ASGI client that reads a stream as it comes, and leaves when it is told to."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.has_ended = False
        self._left = asyncio.Event()
        self._asked = False

    def leave(self) -> None:
        self._left.set()

    async def receive(self) -> dict[str, object]:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, object]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]  # type: ignore[assignment]
            self.headers = {k.decode(): v.decode() for k, v in message["headers"]}  # type: ignore[attr-defined]
        else:
            self.body += message.get("body", b"")  # type: ignore[operator]
            self.has_ended = not message.get("more_body", False)

    def ask(self, site: AdminSite, **extra: object) -> asyncio.Task[None]:
        scope = {
            "type": "http",
            "method": "GET",
            "path": "/admin/events",
            "query_string": b"",
            "headers": [(b"authorization", b"Bearer the-operators-token")],
            "client": ("127.0.0.1", 5),
            **extra,
        }
        return asyncio.ensure_future(site.app(scope, self.receive, self.send))  # type: ignore[arg-type]


@in_virtual_time
async def test_events_are_a_stream_that_ends_when_its_reader_leaves_or_the_director_stops() -> None:
    async with SimulatedFleet("a") as fleet:
        director = await fleet.director()
        site = AdminSite(director)
        leaving, staying = Wire(), Wire()
        tasks = [leaving.ask(site), staying.ask(site)]
        await asyncio.sleep(0.5)
        assert leaving.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert leaving.headers["x-accel-buffering"] == "no"
        picture = leaving.body.split(b"event: fleet\ndata: ")[1].split(b"\n\n")[0]
        assert json.loads(picture)["nodes"][0]["node"] == "a"
        assert director.events.readers == 2
        leaving.leave()
        await tasks[0]
        assert (director.events.readers, leaving.has_ended) == (1, False)
        await director.events.close()
        await tasks[1]
        assert staying.has_ended


@in_virtual_time
async def test_a_reader_that_does_not_read_is_cut_off() -> None:
    async with SimulatedFleet("a") as fleet:
        director = await fleet.director()
        site = AdminSite(director)
        wire = Wire()
        stuck = asyncio.Event()
        send = wire.send

        async def send_until_the_body(message: dict[str, object]) -> None:
            if message["type"] == "http.response.body":
                await stuck.wait()
            await send(message)

        wire.send = send_until_the_body  # type: ignore[method-assign]
        task = wire.ask(site, extensions={"hall.cut": wire.leave})
        await asyncio.sleep(11)
        assert task.done()
        await task
        assert director.events.readers == 0
        assert wire._left.is_set()


@in_virtual_time
async def test_there_is_a_bound_to_how_many_read() -> None:
    async with SimulatedFleet("a") as fleet:
        site = AdminSite(await fleet.director())
        wires = [Wire() for _ in range(33)]
        tasks = [wire.ask(site) for wire in wires]
        await asyncio.sleep(0.5)
        assert sorted(wire.status for wire in wires) == [200] * 32 + [503]
        for wire in wires:
            wire.leave()
        await asyncio.gather(*tasks)
