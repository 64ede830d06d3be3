"""The classroom page in a real Chromium against a running fleet: talking in it."""

from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Sit
from tests.browser.seat import is_live, is_sent, line, say, texts
from tests.support.fleet import Fleet, running_fleet

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


# -- a conversation --------------------------------------------------------------------------------


def test_two_pages_talk_and_every_mark_goes_to_sent(sit: Sit, fleet: Fleet) -> None:
    ada, han = (
        sit(fleet.director_url, "talk", "Ada Byron"),
        sit(fleet.director_url, "talk", "Han Jiwon", role="lecturer"),
    )
    say(ada, "is this on?")
    expect(line(han, "is this on?")).to_be_visible()
    han.hover("#lines > li")
    han.get_by_role("button", name="Reply").click()
    say(han, "loud and clear")
    expect(line(ada, "loud and clear")).to_contain_text("In reply to Ada Byron: is this on?")
    expect(line(ada, "loud and clear")).to_contain_text("Lecturer")
    is_sent(ada, "is this on?")
    is_sent(han, "loud and clear")
    assert texts(ada) == texts(han) == ["is this on?", "loud and clear"]


def test_a_page_that_reloads_misses_nothing(sit: Sit, fleet: Fleet) -> None:
    ada, bob = sit(fleet.director_url, "reload", "Ada"), sit(fleet.director_url, "reload", "Bob")
    for number in range(3):
        say(ada, f"before {number}")
    expect(line(bob, "before 2")).to_be_visible()
    bob.reload(wait_until="commit")
    for number in range(3):
        say(ada, f"meanwhile {number}")
    expect(line(bob, "meanwhile 2")).to_be_visible()
    say(bob, "back again")
    expect(line(ada, "back again")).to_be_visible()
    whole = [*(f"before {n}" for n in range(3)), *(f"meanwhile {n}" for n in range(3)), "back again"]
    assert texts(bob) == texts(ada) == whole


def test_a_reload_in_the_middle_of_a_send_neither_loses_nor_doubles_it(sit: Sit, fleet: Fleet) -> None:
    """First a page that is reloaded before it could send, then one that was reloaded before it heard of its success."""
    room, kept = "reload-send", "JSON.stringify({ ...sessionStorage })"
    ada, bob = sit(fleet.director_url, room, "Ada"), sit(fleet.director_url, room, "Bob")
    ada.route("**/route?*", lambda route: route.abort())
    ada.reload()
    say(ada, "said and gone")
    expect(ada.locator("#outgoing")).to_contain_text("Sending")
    before = ada.evaluate(kept)
    ada.unroute("**/route?*")
    ada.reload()
    is_sent(ada, "said and gone")

    ada.evaluate("(kept) => Object.assign(sessionStorage, JSON.parse(kept))", before)
    ada.reload()
    is_sent(ada, "said and gone")
    say(ada, "still here")
    expect(line(bob, "still here")).to_be_visible()
    assert texts(bob) == texts(ada) == ["said and gone", "still here"]


def test_pages_of_a_killed_node_come_back_and_miss_nothing(sit: Sit, tmp_path: Path) -> None:
    """What was said while the node was down is sent by itself, once, and the order is one for both."""
    with running_fleet(nodes=2, data=tmp_path / "data") as fleet:
        ada, bob = sit(fleet.director_url, "killed", "Ada"), sit(fleet.director_url, "killed", "Bob")
        say(ada, "before")
        expect(line(bob, "before")).to_be_visible()
        query = {"room": "killed", "user": "x", "name": "x", "role": "student"}
        owner = httpx.get(f"{fleet.director_url}/route", params=query).json()["node"]
        fleet.kill(owner)
        expect(ada.locator('#status:not([data-state="live"])')).to_be_visible()
        say(ada, "ada in the dark")
        say(bob, "bob in the dark")
        is_live(ada)
        is_live(bob)
        for page in (ada, bob):
            expect(line(page, "ada in the dark")).to_be_visible()
            expect(line(page, "bob in the dark")).to_be_visible()
        say(bob, "after")
        expect(line(ada, "after")).to_be_visible()
        is_sent(ada, "ada in the dark")
        assert texts(ada) == texts(bob)
        assert sorted(texts(ada)) == ["ada in the dark", "after", "before", "bob in the dark"]


def test_text_is_never_anything_but_text(sit: Sit, fleet: Fleet) -> None:
    ada = sit(fleet.director_url, "markup", "<b>Ada</b>")
    mark = "<img src=x onerror=alert(1)> <script>alert(2)</script> &amp;"
    say(ada, mark)
    is_sent(ada, mark)
    assert texts(ada) == [mark]
    expect(ada.locator("#lines .name")).to_have_text("<b>Ada</b>")
    assert ada.locator("#lines img, #lines script, #lines b").count() == 0


# -- staff -----------------------------------------------------------------------------------------


def test_staff_put_up_a_notice_and_decide_who_writes(sit: Sit, fleet: Fleet) -> None:
    ada, han = (
        sit(fleet.director_url, "staff", "Ada"),
        sit(fleet.director_url, "staff", "Han", role="lecturer"),
    )
    expect(ada.locator("#controls")).to_be_hidden()
    han.fill("#notice-input", "Exam on Friday")
    han.get_by_role("button", name="Put up").click()
    expect(ada.locator("#notice-text")).to_have_text("Exam on Friday")
    han.get_by_role("button", name="Take down").click()
    expect(ada.locator("#notice")).to_be_hidden()

    han.get_by_role("radio", name="Staff").check()
    expect(ada.locator("#mode")).to_have_text("Only staff may write")
    expect(ada.locator("#send")).to_be_disabled()
    expect(ada.locator("#hint")).to_have_text("Only staff may write")
    say(han, "listen, please")
    expect(line(ada, "listen, please")).to_be_visible()
    han.get_by_role("radio", name="Everyone").check()
    expect(ada.locator("#send")).to_be_enabled()

    han.select_option("#slow", "10000")
    expect(ada.locator("#mode")).to_have_text("Everyone may write, once every 10 s")
    say(ada, "slowly")
    is_sent(ada, "slowly")
    expect(ada.locator("#hint")).to_contain_text("You can write again in")
    expect(ada.locator("#send")).to_be_disabled()


def test_a_deleted_message_is_shown_as_deleted_to_all(sit: Sit, fleet: Fleet) -> None:
    """Authors delete their own, staff all; a student is not offered to delete another's."""
    ada, bob = sit(fleet.director_url, "delete", "Ada"), sit(fleet.director_url, "delete", "Bob")
    han = sit(fleet.director_url, "delete", "Han", role="assistant")
    say(ada, "first")
    say(ada, "second")
    line(bob, "second").hover()
    expect(bob.get_by_role("button", name="Reply")).to_be_visible()
    expect(bob.get_by_role("button", name="Delete")).to_have_count(0)
    for page, text in ((ada, "first"), (han, "second")):
        line(page, text).hover()
        page.get_by_role("button", name="Delete").click()
        page.get_by_role("button", name="Delete for everyone?").click()
    expect(line(ada, "This message was deleted.").first).to_be_focused()
    for page in (ada, bob, han):
        expect(page.locator("#lines li[data-deleted]")).to_have_count(2)
        assert texts(page) == ["This message was deleted."] * 2
    bob.reload()
    expect(bob.locator("#lines li[data-deleted]")).to_have_count(2)
    assert "first" not in bob.content()


def test_questions_are_marked_and_gathered(sit: Sit, fleet: Fleet) -> None:
    ada, han = (
        sit(fleet.director_url, "questions", "Ada"),
        sit(fleet.director_url, "questions", "Han", role="lecturer"),
    )
    ada.get_by_role("button", name="Question").click()
    say(ada, "why is it closed?")
    say(ada, "never mind the noise")
    expect(line(han, "why is it closed?")).to_have_attribute("data-kind", "question")
    expect(line(han, "never mind")).to_have_attribute("data-kind", "message")
    gathered = han.locator("#questions .question")
    expect(gathered).to_have_count(1)
    gathered.click()
    expect(line(han, "why is it closed?")).to_be_focused()
