"""A fleet behind one public host: a real nginx with deploy/nginx.conf before a real fleet, and stock clients."""

import asyncio
import json
import random
import shutil
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect

from director.held_port import HeldPort
from director.shared_secret import ADMIN_TOKEN
from loadtest.client import HallClient
from loadtest.contract.history import HistoryEvent, Parted
from loadtest.stay import Transport
from persistence.contract.messages import Entry
from tests.browser.test_stock_client import SCRIPT, assert_one_order, conversation
from tests.support.fleet import Fleet, running_fleet
from tests.support.nginx import FOR_THIS_MACHINE, Nginx, nginx, nginx_binary

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(240)]

NODES = 2
LIVE_WITHIN = 30.0
BACK_WITHIN = 60.0
PINGED_WITHIN = 60.0
EACH = 10
WAYS: dict[str, Sequence[Transport]] = {
    "ws": ("websocket",),
    "polling": ("polling",),
    "upgrade": ("polling", "websocket"),
}


@dataclass(frozen=True, slots=True)
class PublicHall:
    """The fleet as the public sees it: everything at one origin."""

    fleet: Fleet
    proxy: Nginx

    @property
    def director_url(self) -> str:
        return self.proxy.url

    def output(self) -> str:
        return f"{self.proxy.output()}\n{self.fleet.output()}"

    async def routed(self, room: str, **query: str) -> dict[str, Any]:
        """The answer of `/route`."""
        async with httpx.AsyncClient(base_url=self.proxy.url, trust_env=False, timeout=10) as http:
            answer: dict[str, Any] = (await http.get("/route", params={"room": room, **query})).json()
        assert answer["ok"], f"{answer}\n{self.output()}"
        return answer

    def operator(self) -> httpx.AsyncClient:
        """A client with the operators' token."""
        token = (self.fleet.data / ADMIN_TOKEN).read_text().strip()
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.AsyncClient(base_url=self.proxy.url, trust_env=False, timeout=20, headers=headers)


@pytest.fixture(scope="module")
def hall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PublicHall]:
    nginx_binary()
    data = tmp_path_factory.mktemp("public")
    with HeldPort() as held:
        public = {"HALL_PUBLIC_URL": f"http://127.0.0.1:{held.port}", "HALL_ROOM_LINGER": "1"}
        with running_fleet(nodes=NODES, data=data / "fleet", env=public) as fleet:
            ports = [int(url.rpartition(":")[2]) for _, url in sorted(fleet.node_urls.items())]
            folder = data / "nginx"
            with nginx(held, folder, director=fleet.port, nodes=ports, changes=FOR_THIS_MACHINE) as proxy:
                yield PublicHall(fleet, proxy)


@dataclass
class Listener:
    """A member who notes the log as it is shown."""

    client: HallClient = field(init=False)
    log: dict[int, str] = field(default_factory=dict)
    partings: list[str] = field(default_factory=list)

    async def come(self, stack: AsyncExitStack, hall: PublicHall, room: str, way: str) -> None:
        self.client = HallClient(
            hall.director_url,
            room,
            user=way,
            rng=random.Random(way),
            transports=WAYS[way],
            on_entries=self._note,
            recorder=self,
        )
        await stack.enter_async_context(self.client)
        await self.client.live(LIVE_WITHIN)

    def record(self, event: HistoryEvent) -> None:
        """As the recorder of the client: how its connections ended."""
        if isinstance(event, Parted):
            self.partings.append(event.why)

    def _note(self, entries: tuple[Entry, ...]) -> None:
        for entry in entries:
            self.log[entry.seq] = str(entry.text)


async def listeners(stack: AsyncExitStack, hall: PublicHall, room: str) -> list[Listener]:
    """One for each transport, live."""
    members = [Listener() for _ in WAYS]
    await asyncio.gather(*(member.come(stack, hall, room, way) for member, way in zip(members, WAYS, strict=True)))
    return members


async def talk(members: Sequence[Listener], words: str) -> None:
    """All speak at once, and see all of it."""
    said = await asyncio.gather(
        *(
            member.client.send(f"{words} {member.client.user} {number}", timeout=BACK_WITHIN)
            for member in members
            for number in range(EACH)
        )
    )
    head = max(ack.seq for ack in said)
    for member in members:
        assert await member.client.reached(head, LIVE_WITHIN)


def assert_they_see_the_same(members: Sequence[Listener], *, entries: int) -> None:
    for member in members:
        assert sorted(member.log) == list(range(1, entries + 1)), member.client.user
        assert member.log == members[0].log


async def test_the_director_names_the_public_host_and_a_path_for_each_node(hall: PublicHall) -> None:
    named = [await hall.routed(f"named-{number}") for number in range(8)]
    assert {(answer["url"], answer["path"]) for answer in named} == {
        (hall.proxy.url, f"/n/{answer['node']}/socket.io/") for answer in named
    }
    assert {answer["node"] for answer in named} == {"node-1", "node-2"}
    async with httpx.AsyncClient(base_url=hall.proxy.url, trust_env=False) as http:
        there = await http.get("/route", params={"room": "named-0", "redirect": "1"})
        assert (there.status_code, there.headers["location"]) == (307, hall.proxy.url)
        assert "script" in (await http.get("/?room=named-0")).text
        # the page of the public host, and no other, may use director and nodes
        for path in ("/route?room=named-0", f"{named[0]['path']}?EIO=4&transport=polling"):
            own = await http.get(path, headers={"Origin": hall.proxy.url})
            assert (own.status_code, own.headers["access-control-allow-origin"]) == (200, hall.proxy.url)
            assert (await http.get(path, headers={"Origin": "https://evil.example"})).status_code == 403


async def test_stock_python_members_see_one_order_by_all_transports(hall: PublicHall) -> None:
    async with AsyncExitStack() as stack:
        members = await listeners(stack, hall, "by-all-ways")
        await talk(members, "hello")
        assert_they_see_the_same(members, entries=EACH * len(WAYS))
        assert {member.client.times_resumed for member in members} == {0}


@pytest.mark.browser
@pytest.mark.parametrize("mode", ["upgrade", "polling", "websocket"])
def test_stock_javascript_members_see_one_order(hall: PublicHall, mode: str) -> None:
    node = shutil.which("node")
    if node is None or not (SCRIPT.parents[1] / "node_modules" / "socket.io-client").is_dir():
        pytest.skip("Node or the stock socket.io-client is not installed")
    assert_one_order(conversation(node, hall, f"public-{mode}", mode), mode)


async def test_history_is_read_beside_the_node_s_path(hall: PublicHall) -> None:
    async with AsyncExitStack() as stack:
        members = await listeners(stack, hall, "to-be-read")
        await talk(members[:1], "for later")
        there = await hall.routed("to-be-read", user="reader")
        async with httpx.AsyncClient(trust_env=False, timeout=10) as http:
            answer = await http.get(
                f"{there['url']}{there['path'].removesuffix('socket.io/')}rooms/to-be-read/messages",
                headers={"Authorization": f"Bearer {there['ticket']}"},
            )
    assert answer.status_code == 200, answer.text
    assert [entry["seq"] for entry in answer.json()["entries"]] == list(range(1, EACH + 1))


async def test_a_move_is_followed_through_the_proxy(hall: PublicHall) -> None:
    """They are told where to, and nobody is sent away without a word."""
    async with AsyncExitStack() as stack:
        members = await listeners(stack, hall, "to-be-moved")
        await talk(members, "before")
        place = await hall.routed("to-be-moved")
        other = next(node for node in hall.fleet.node_urls if node != place["node"])
        async with hall.operator() as http:
            answer = await http.post("/admin/rooms/to-be-moved/move", json={"to": other})
            assert answer.status_code == 200, answer.text
        await talk(members, "after")
        async with asyncio.timeout(BACK_WITHIN):
            while not all(member.partings and member.client.is_live for member in members):  # noqa: ASYNC110
                await asyncio.sleep(0.05)  # nobody tells
        await talk(members, "there")
        assert_they_see_the_same(members, entries=3 * EACH * len(WAYS))
        assert [member.partings for member in members] == [["moved"]] * len(members)
        assert (await hall.routed("to-be-moved"))["node"] == other


async def test_operators_see_what_happens_as_it_happens(hall: PublicHall) -> None:
    async with hall.operator() as http, http.stream("GET", "/admin/events") as answer:
        lines = answer.aiter_lines()
        async with asyncio.timeout(LIVE_WITHIN):
            while await anext(lines) != "event: fleet":
                pass
            await hall.routed("seen-by-operators")
            while '"room_claimed"' not in (line := await anext(lines)) or "seen-by-operators" not in line:
                pass


async def test_who_says_nothing_is_kept_for_as_long_as_the_node_asks(hall: PublicHall) -> None:
    """Between two pings nothing goes over the wire, and a poll is not answered: longer than anything else waits."""
    place = await hall.routed("to-be-silent")
    address = f"{place['url']}{place['path']}?EIO=4&transport="
    async with AsyncExitStack() as stack, asyncio.timeout(PINGED_WITHIN):
        http = await stack.enter_async_context(httpx.AsyncClient(trust_env=False, timeout=PINGED_WITHIN))
        opened = (await http.get(f"{address}polling")).text
        assert opened.startswith("0"), opened
        polled = asyncio.create_task(http.get(f"{address}polling&sid={json.loads(opened[1:])['sid']}"))
        socket = await stack.enter_async_context(connect(f"{address}websocket".replace("http", "ws", 1)))
        packets = [str(await socket.recv()) for _ in range(2)]
        assert [packet[:1] for packet in packets] == ["0", "2"]
        assert (await polled).text == "2"


async def test_who_was_on_a_killed_node_comes_back_through_the_proxy(hall: PublicHall) -> None:
    async with AsyncExitStack() as stack:
        members = await listeners(stack, hall, "to-be-orphaned")
        await talk(members, "before")
        place = await hall.routed("to-be-orphaned")
        hall.fleet.kill(place["node"])
        await talk(members, "after")
        assert_they_see_the_same(members, entries=2 * EACH * len(WAYS))
        moved = await hall.routed("to-be-orphaned")
    assert moved["epoch"] > place["epoch"]
    assert (moved["url"], moved["path"]) == (hall.proxy.url, f"/n/{moved['node']}/socket.io/")


def test_a_fleet_for_everybody_stays_on_this_machine(tmp_path: Path) -> None:
    elsewhere = {"HALL_PUBLIC_URL": "https://chat.example.org"}
    with (
        pytest.raises(AssertionError, match="everybody may be anybody here"),
        running_fleet(nodes=1, data=tmp_path / "data", env=elsewhere),
    ):
        pass
