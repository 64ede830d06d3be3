"""The operations page in a real Chromium: against a running fleet, and against made-up ones of any size."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from director.contract.errors import ErrorCode, Refusal
from director.contract.lease import NodeState
from director.contract.operations import OperationKind, OperationState
from tests.browser.conftest import WAIT_MS
from tests.support.fleet import Fleet, running_fleet
from tests.support.stub_operations import TOKEN, StubOperations, stub_operations

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

Operate = Callable[..., Page]
TAP_PX = 44
MAX_UPDATE_MS = 300  # of script for 50 nodes and 5,000 rooms; some 20 ms on a quiet machine
PHONE = {"viewport": {"width": 360, "height": 640}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A fleet of three nodes for this module alone: its nodes are drained."""
    with running_fleet(nodes=3, data=tmp_path_factory.mktemp("operations") / "data") as fleet:
        yield fleet


@pytest.fixture
def operate(browser: Browser) -> Iterator[Operate]:
    """`operate(url, token, **context)`: the page, live; without a token it stays at the door.

    At the end no page may have thrown, or have been refused something by the page's content policy."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def open_page(url: str, token: str | None = TOKEN, *, locale: str = "en-GB", **context: Any) -> Page:
        contexts.append(browser.new_context(locale=locale, **context))
        page = contexts[-1].new_page()
        page.set_default_timeout(WAIT_MS)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: complaints.append(said.text) if "Content Security" in said.text else None)
        page.goto(f"{url}/operations")
        if token is not None:
            sign_in(page, token)
            is_live(page)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def sign_in(page: Page, token: str) -> None:
    page.fill("#door-token", token)
    page.press("#door-token", "Enter")


def is_live(page: Page) -> None:
    expect(page.locator('#status[data-state="live"]')).to_be_visible()


def is_at_the_door(page: Page) -> None:
    expect(page.locator("#door-token")).to_be_visible()
    expect(page.locator("#hall")).to_be_hidden()


def token_of(fleet: Fleet) -> str:
    return (fleet.data / "admin.token").read_text().strip()


def owner_of(fleet: Fleet, room: str) -> str:
    """The room's owner; it is opened if nobody has it."""
    query = {"room": room, "user": "x", "name": "x", "role": "student"}
    return str(httpx.get(f"{fleet.director_url}/route", params=query, timeout=20).json()["node"])


def show_room(page: Page, room: str) -> None:
    page.fill("#find-room", room)
    page.press("#find-room", "Enter")
    expect(page.locator("#detail-title")).to_have_text(room)


def show_node(page: Page, node: str) -> None:
    page.locator(f'.node-head[data-node="{node}"]').click()
    expect(page.locator("#detail-title")).to_have_text(node)


def fact(page: Page, term: str) -> Any:
    return page.locator("#detail .facts > div", has=page.locator("dt", has_text=term)).locator("dd")


def next_picture(page: Page) -> float:
    """Wait for the next picture; how long its scripts took, in ms."""
    script = """() => new Promise((resolve) => {
        new PerformanceObserver((seen, observer) => {
            observer.disconnect();
            resolve(seen.getEntriesByName("fleet")[0].duration);
        }).observe({ type: "measure" });
    })"""
    return float(page.evaluate(script))


# -- a running fleet -------------------------------------------------------------------------------


def test_only_the_token_opens_the_page_and_signing_out_closes_it(operate: Operate, real: Fleet) -> None:
    page = operate(real.director_url, None)
    is_at_the_door(page)
    sign_in(page, "not-the-token")
    expect(page.locator("#door-said")).to_have_text("This is not the admin token.")
    is_at_the_door(page)
    sign_in(page, token_of(real))
    is_live(page)
    assert page.evaluate("document.cookie") == "", "the session is nothing that a script can read"
    assert {(cookie["httpOnly"], cookie["sameSite"]) for cookie in page.context.cookies()} == {(True, "Strict")}

    page.reload()
    is_live(page)
    page.get_by_role("button", name="Sign out").click()
    is_at_the_door(page)
    page.reload()
    is_at_the_door(page)


def test_a_running_fleet_is_shown_as_it_is(operate: Operate, real: Fleet) -> None:
    owner = owner_of(real, "shown-1")
    page = operate(real.director_url, token_of(real))
    expect(page.locator(".node-name")).to_have_text(["node-1", "node-2", "node-3"])
    expect(page.locator("#totals")).to_contain_text("3 nodes")
    expect(page.locator("#ring .ring-node")).to_have_count(3)
    show_room(page, "shown-1")
    expect(fact(page, "Owner")).to_contain_text(owner)
    expect(fact(page, "Owner")).to_contain_text("serving, lease")
    expect(page.locator("#detail .past")).to_contain_text(f"opened on {owner}")
    owner_of(real, "shown-2")
    expect(page.locator("#notes")).to_contain_text("shown-2 opened on")


def test_a_room_is_moved_once_its_plan_was_shown_and_confirmed(operate: Operate, real: Fleet) -> None:
    source = owner_of(real, "moved-1")
    target = next(node for node in ("node-1", "node-2", "node-3") if node != source)
    page = operate(real.director_url, token_of(real))
    show_room(page, "moved-1")
    page.select_option("#room-to", target)
    page.get_by_role("button", name="Move…").click()
    expect(page.locator("#plan-title")).to_have_text(f"Move moved-1 to {target}")
    expect(page.locator("#plan-lead")).to_contain_text("1 room with 0 people would move")
    expect(page.locator("#plan-body tbody tr")).to_contain_text(f"{source} → {target}")
    page.locator("#plan-cancel").click()
    expect(page.locator("#plan")).to_be_hidden()
    assert owner_of(real, "moved-1") == source

    page.get_by_role("button", name="Move…").click()
    page.get_by_role("button", name="Move the room").click()
    expect(page.locator("#plan")).to_be_hidden()
    expect(page.locator("#operations")).to_contain_text("Move of moved-1")
    expect(page.locator("#operations .operation", has_text="moved-1")).to_have_attribute("data-state", "done")
    expect(fact(page, "Owner")).to_contain_text(target)
    expect(page.locator("#notes")).to_contain_text(f"moved-1 moved from {source} to {target}")
    assert owner_of(real, "moved-1") == target


def test_a_node_is_drained_once_its_plan_was_shown_and_the_drain_is_taken_back(operate: Operate, real: Fleet) -> None:
    rooms = [f"drained-{number}" for number in range(6)]
    node = owner_of(real, rooms[0])
    for room in rooms[1:]:
        owner_of(real, room)
    page = operate(real.director_url, token_of(real))
    show_node(page, node)
    page.get_by_role("button", name="Drain…").click()
    expect(page.locator("#plan-body")).to_contain_text("drained-0")
    page.fill('#plan input[name="members_per_second"]', "100")
    expect(page.locator("#plan-run")).to_be_enabled()
    page.get_by_role("button", name="Start the drain").click()
    expect(page.locator(".node", has_text=node)).to_have_attribute("data-standing", "draining")
    operation = page.locator("#operations .operation", has_text=f"Drain of {node}")
    expect(operation).to_have_attribute("data-state", "done")
    expect(page.locator(".node", has_text=node).locator(".node-facts span")).to_have_text(["Load 0", "0 rooms"])
    assert owner_of(real, rooms[0]) != node

    # the order ends a little after the drain
    expect(page.locator(".node", has_text=node)).to_have_attribute("data-standing", "cordoned", timeout=30_000)
    page.get_by_role("button", name="Uncordon").click()
    expect(page.locator(".node", has_text=node)).to_have_attribute("data-standing", "serving")
    page.get_by_role("button", name="Cordon").click()
    expect(page.locator(".node", has_text=node)).to_have_attribute("data-standing", "cordoned")
    page.get_by_role("button", name="Uncordon").click()
    expect(page.locator(".node", has_text=node)).to_have_attribute("data-standing", "serving")


def test_a_room_is_pinned_and_unpinned(operate: Operate, real: Fleet) -> None:
    owner_of(real, "pinned-1")
    page = operate(real.director_url, token_of(real))
    show_room(page, "pinned-1")
    page.select_option("#room-to", "node-2")
    page.get_by_role("button", name="Pin", exact=True).click()
    expect(fact(page, "Pinned to")).to_have_text("node-2")
    page.get_by_role("button", name="Unpin").click()
    expect(fact(page, "Pinned to")).to_have_count(0)


def test_a_director_that_is_gone_is_told_and_missed_until_it_is_back(operate: Operate, real: Fleet) -> None:
    page = operate(real.director_url, token_of(real))
    former = real.kill("director")
    expect(page.locator("#lost")).to_contain_text("so this is the fleet as it was at")
    expect(page.locator("#status")).to_have_text("Stream lost")
    real.wait_until_restarted("director", former=former)
    is_live(page)
    expect(page.locator("#lost")).to_be_hidden()
    expect(page.locator(".node-name")).to_have_count(3)


# -- made-up fleets --------------------------------------------------------------------------------


@pytest.fixture
def stub() -> Iterator[StubOperations]:
    with stub_operations(nodes=4, rooms=40) as made_up:
        yield made_up


def test_fifty_nodes_and_five_thousand_rooms_are_drawn_each_second_without_a_hitch(operate: Operate) -> None:
    with stub_operations(nodes=50, rooms=5_000) as stub:
        stub.lapsed.add(stub.names[16])
        page = operate(stub.url, viewport={"width": 1280, "height": 800})
        expect(page.locator(".node")).to_have_count(50)
        expect(page.locator("#totals")).to_contain_text("5,000 rooms · 50 nodes")
        expect(page.locator("#concerns")).to_contain_text("node-17: its lease has lapsed")
        expect(page.locator("#ring .rim path")).to_have_count(50)
        spans = sorted(next_picture(page) for _ in range(5))
        assert spans[2] < MAX_UPDATE_MS, spans
        show_node(page, "node-23")
        assert page.locator("#detail .room-list li").count() == 41
        largest = max(stub.rooms, key=lambda room: int(stub.rooms[room][2]))
        show_room(page, largest)
        expect(fact(page, "Owner")).to_contain_text(stub.rooms[largest][0])


def test_a_room_is_explained_when_its_area_is_clicked_and_named_when_it_is_pointed_at(
    operate: Operate, stub: StubOperations
) -> None:
    page = operate(stub.url)
    room, (node, _, _) = max(stub.rooms.items(), key=lambda item: int(item[1][2]))
    vessel = page.locator(f'canvas[data-vessel="{node}"]')
    height = vessel.evaluate("canvas => canvas.clientHeight")
    vessel.hover(position={"x": 12, "y": height - 8})  # the largest one lies at the lower left
    expect(page.locator("#tip strong")).to_have_text(room)
    vessel.click(position={"x": 12, "y": height - 8})
    expect(page.locator("#detail-title")).to_have_text(room)
    expect(page.locator("#ring .room-place")).to_have_count(1)


def test_a_stream_that_breaks_is_told_at_once_and_comes_back_by_itself(operate: Operate, stub: StubOperations) -> None:
    page = operate(stub.url)
    stub.cut()
    expect(page.locator("#lost")).to_be_visible(timeout=8_000)  # sooner than a stream that is merely silent
    expect(page.get_by_role("button", name="Try now")).to_be_visible()
    stub.rooms.pop(next(iter(stub.rooms)))
    stub.mend()
    is_live(page)
    expect(page.locator("#totals")).to_contain_text("39 rooms")
    expect(page.locator("#lost")).to_be_hidden()


def test_a_stream_that_falls_silent_is_told_as_well(operate: Operate, stub: StubOperations) -> None:
    """A director that froze, or a network that swallows everything, breaks no connection."""
    page = operate(stub.url)
    page.clock.install()
    page.reload()
    is_live(page)
    stub.is_mute = True
    for _ in range(20):
        page.clock.fast_forward(13_000)
        if page.locator("#lost").is_visible():
            break
        next_picture(page)  # one that was under way
    expect(page.locator("#lost")).to_be_visible()
    stub.is_mute = False
    page.get_by_role("button", name="Try now").click()
    is_live(page)


def test_a_session_that_is_over_leads_to_the_door(operate: Operate, stub: StubOperations) -> None:
    page = operate(stub.url)
    page.context.clear_cookies()
    stub.cut()
    expect(page.locator("#lost")).to_be_visible()
    stub.mend()
    is_at_the_door(page)
    expect(page.locator("#door-said")).to_have_text("The session is over. Please sign in again.")


def test_who_could_not_be_signed_out_stays_in_and_is_told_so(operate: Operate, stub: StubOperations) -> None:
    page = operate(stub.url)
    button, said = page.get_by_role("button", name="Sign out"), page.locator("#still-in")
    page.route(
        "**/admin/session", lambda route: route.abort() if route.request.method == "DELETE" else route.continue_()
    )
    button.click()
    expect(said).to_contain_text("You are still signed in: the director cannot be reached.")
    page.locator("#language").select_option("ko")
    expect(said).to_contain_text("아직 로그인되어 있습니다")
    expect(page.locator("#hall")).to_be_visible()
    page.unroute("**/admin/session")
    page.locator("#sign-out").click()
    is_at_the_door(page)
    page.reload()
    is_at_the_door(page)


def test_an_operation_shows_how_far_it_is_and_is_cancelled(operate: Operate, stub: StubOperations) -> None:
    """The press on the button outlasts several pictures: what is pressed must not be replaced meanwhile."""
    page = operate(stub.url)
    rooms = [room for room, facts in stub.rooms.items() if facts[0] == "node-2"][:5]
    operation = stub.run_operation(OperationKind.DRAIN, "node-2", stub.plan(rooms, why="draining"))
    stub.states[stub.names[1]] = NodeState.DRAINING
    stub.progress(operation.id, done=2, moving=1)
    stub.begin_move(rooms[2], "node-1", why="draining", is_warm=True)
    shown = page.locator("#operations .operation")
    expect(shown).to_contain_text("2 of 5 rooms")
    expect(page.locator("#moving")).to_contain_text(f"{rooms[2]} → node-1")
    expect(page.locator("#ring .chords path")).to_have_count(1)
    shown.locator("summary").click()
    expect(shown.locator("details li")).to_have_count(5)
    expect(shown.locator("details")).to_contain_text("moved in 180 ms")

    shown.get_by_role("button", name="Cancel").hover()
    page.mouse.down()
    stub.progress(operation.id, done=3, moving=1)
    next_picture(page)
    next_picture(page)
    page.mouse.up()
    expect(shown).to_have_attribute("data-state", "cancelled")
    assert ("DELETE", f"/admin/operations/{operation.id}", None) in stub.asked


def test_a_rebalancing_runs_exactly_what_its_plan_said_and_a_plan_that_no_longer_fits_is_made_anew(
    operate: Operate, stub: StubOperations
) -> None:
    page = operate(stub.url)
    page.get_by_role("button", name="Rebalance…").click()
    expect(page.locator("#plan-body tbody tr")).to_have_count(10)
    planned = page.locator("#plan-body tbody th").all_inner_texts()
    stub.refuse_next = Refusal(ErrorCode.BAD_REQUEST, "a room has moved; ask for another plan")
    page.get_by_role("button", name="Start these moves").click()
    expect(page.locator("#plan-said")).to_contain_text("a room has moved; ask for another plan")
    page.get_by_role("button", name="Start these moves").click()
    expect(page.locator("#plan")).to_be_hidden()
    bodies = [body for method, path, body in stub.asked if path == "/admin/rebalance"]
    assert [body["plan"] for body in bodies] == [True, False, True, False]
    assert [move["room"] for move in bodies[-1]["moves"]] == planned
    assert bodies[-1]["bound"] == 1.25


def test_everything_can_be_done_by_keyboard_alone(operate: Operate, stub: StubOperations) -> None:
    page = operate(stub.url)
    page.locator('.node-head[data-node="node-2"]').focus()
    page.keyboard.press("Enter")
    expect(page.locator("#detail-title")).to_be_focused()
    while page.evaluate("document.activeElement.dataset.nodeAct") != "drain":
        page.keyboard.press("Tab")
    next_picture(page)
    assert page.evaluate("document.activeElement.dataset.nodeAct") == "drain", "a picture leaves the focus where it is"
    page.keyboard.press("Enter")
    expect(page.locator("#plan-run")).to_be_enabled()
    page.keyboard.press("Escape")
    expect(page.locator("#plan")).to_be_hidden()
    expect(page.locator("#detail")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#detail")).to_be_hidden()
    expect(page.locator('.node-head[data-node="node-2"]')).to_be_focused()
    page.keyboard.press("/")
    expect(page.locator("#find-room")).to_be_focused()
    assert [path for _, path, body in stub.asked if not body["plan"]] == [], "nothing was started"


def test_on_a_phone_nothing_is_cut_off_or_too_small_to_touch(operate: Operate, stub: StubOperations) -> None:
    page = operate(stub.url, **PHONE)
    page.locator("#more").tap()
    expect(page.locator("#ring")).to_be_visible()
    small = page.evaluate(
        """(least) => [...document.querySelectorAll("#hall button:not(.name-link), #hall input, #hall select")]
            .filter((element) => element.checkVisibility() && element.getBoundingClientRect().height < least)
            .map((element) => element.outerHTML)""",
        TAP_PX,
    )
    assert small == []
    page.locator("#more").tap()
    expect(page.locator("#ring")).to_be_hidden()
    page.locator('.node-head[data-node="node-3"]').tap()
    expect(page.get_by_role("button", name="Drain…")).to_be_in_viewport()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.get_by_role("button", name="Drain…").tap()
    expect(page.get_by_role("button", name="Start the drain")).to_be_in_viewport()


def test_a_korean_reader_is_spoken_to_in_korean(operate: Operate, stub: StubOperations) -> None:
    stub.states[stub.names[0]] = NodeState.CORDONED
    page = operate(stub.url, locale="ko-KR")
    expect(page.locator("h1:visible")).to_have_text("운영")
    expect(page.locator(".node-state").first).to_have_text("배정 중지")
    page.select_option("#language", "en")
    expect(page.locator("h1:visible")).to_have_text("Operations")
    expect(page.locator(".node-state").first).to_have_text("cordoned")
    page.reload()
    expect(page.locator("h1:visible")).to_have_text("Operations")


def test_names_are_never_anything_but_text(operate: Operate, stub: StubOperations) -> None:
    """What directors and nodes tell of themselves is not ours to trust."""
    mark = "<img src=x onerror=alert(1)>"
    page = operate(stub.url)
    stub.note("node_gone", node=mark, why=mark)
    operation = stub.run_operation(OperationKind.MOVE, mark, stub.plan([], why=mark))
    stub.progress(operation.id, done=0, state=OperationState.FAILED)
    expect(page.locator("#notes")).to_contain_text(f"{mark} is gone: {mark}")
    expect(page.locator("#operations h3")).to_contain_text(mark)
    assert page.locator("#notes img, #operations img").count() == 0


def test_the_page_may_ask_nobody_but_its_director(stub: StubOperations) -> None:
    policy = httpx.get(f"{stub.url}/operations").headers["content-security-policy"]
    assert "connect-src 'self';" in policy
    assert "script-src 'self';" in policy
    web = Path(__file__).parents[2] / "director" / "web"
    for file in [web / "operations.html", web / "operations.css", *(web / "operations").glob("*.js")]:
        text = file.read_text().replace("http://www.w3.org/2000/svg", "")
        assert "http:" not in text, file.name
        assert "https:" not in text, file.name
