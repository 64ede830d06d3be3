"""The classroom page in a real Chromium: reading far back, by keyboard, on a phone, in Korean."""

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Sit
from tests.browser.seat import is_live, is_sent, line, say, texts
from tests.support.fleet import Fleet

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

TAP_PX = 44
PHONE = {"viewport": {"width": 360, "height": 640}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}


# -- reading ---------------------------------------------------------------------------------------


def test_scrolling_up_stands_still_and_earlier_messages_can_be_loaded(sit: Sit, fleet: Fleet) -> None:
    room = "long"
    han = sit(fleet.director_url, room, "Han", role="lecturer")
    # through the page's own modules: typing 150 lines would only take longer
    han.evaluate(
        """async (room) => {
            const [{ HallClient }, { io }] = await Promise.all(
                ["/web/hall-client.js", "/web/vendor/socket.io.esm.min.js"].map((file) => import(file)));
            const identity = { user: "script", name: "Script", role: "lecturer" };
            const client = new HallClient({ io, room, identity });
            client.start();
            await Promise.all(Array.from({ length: 150 }, (_, i) => client.send(`line ${i + 1}.`).done));
            client.close();
        }""",
        room,
    )
    ada = sit(fleet.director_url, room, "Ada")
    expect(line(ada, "line 150.")).to_be_in_viewport()
    expect(ada.locator("#lines > li")).to_have_count(100)

    ada.locator("#scroller").evaluate("element => element.scrollTo(0, 0)")
    expect(ada.get_by_role("button", name="Go to the latest")).to_be_visible()
    top = line(ada, "line 51.")
    ada.get_by_role("button", name="Load earlier messages").click()
    expect(line(ada, "line 1.")).to_have_count(1)
    expect(top).to_be_in_viewport()
    expect(ada.get_by_role("button", name="Load earlier messages")).to_be_hidden()
    assert texts(ada) == [f"line {number}." for number in range(1, 151)]

    say(han, "are you there?")
    ada.get_by_role("button", name="1 new message").click()
    expect(line(ada, "are you there?")).to_be_in_viewport()
    expect(ada.locator("#unread")).to_be_hidden()


def test_the_page_keeps_a_bounded_number_of_lines(browser: Browser, fleet: Fleet) -> None:
    """600 entries at once: the newest 500 are kept, and those before are in the history."""
    page = browser.new_page()
    page.goto(fleet.director_url)
    kept = page.evaluate(
        """async () => {
            const { Transcript } = await import("/web/transcript.js");
            const transcript = new Transcript();
            const by = { id: "a", name: "A", role: "student" };
            const entry = { at: 1, kind: "message", cid: "c", by };
            const entries = Array.from({ length: 600 }, (_, i) => ({ ...entry, seq: i + 1 }));
            transcript.reset(entries);
            return [transcript.lines.length, transcript.lines[0].seq, transcript.earlierThan];
        }"""
    )
    page.close()
    assert kept == [500, 101, 101]


# -- ways of using it ------------------------------------------------------------------------------


def focused(page: Page) -> str:
    return str(page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()"))


def test_everything_can_be_done_by_keyboard_alone(browser: Browser, fleet: Fleet) -> None:
    page = browser.new_page(locale="en-GB")
    page.goto(f"{fleet.director_url}/")
    expect(page.locator("#door-name")).to_be_focused()
    page.keyboard.type("Ada Byron")
    page.keyboard.press("Tab")
    page.keyboard.type("keys")
    page.keyboard.press("Enter")
    is_live(page)
    expect(page.locator("#text")).to_be_focused()
    page.keyboard.type("one")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("and a half")
    page.keyboard.press("Enter")
    is_sent(page, "one")
    assert texts(page) == ["one\nand a half"]

    page.keyboard.press("Shift+Tab")
    expect(page.locator("#scroller")).to_be_focused()
    page.keyboard.press("ArrowUp")
    expect(line(page, "one")).to_be_focused()
    page.keyboard.press("Tab")
    assert focused(page) == "Reply"
    page.keyboard.press("Enter")
    expect(page.locator("#text")).to_be_focused()
    expect(page.locator("#reply-text")).to_contain_text("Replying to Ada Byron: one and a half")
    page.keyboard.press("Escape")
    expect(page.locator("#reply")).to_be_hidden()
    page.keyboard.press("Tab")
    assert focused(page) == "ask"
    page.keyboard.press("Space")
    expect(page.locator("#text")).to_be_focused()
    page.keyboard.type("why?")
    page.keyboard.press("Enter")
    expect(line(page, "why?")).to_have_attribute("data-kind", "question")

    page.reload()
    is_live(page)
    page.evaluate("document.body.tabIndex = -1; document.body.focus()")  # where a page begins that nobody has touched
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#text")).to_be_focused()
    page.close()


def test_enter_that_ends_a_korean_syllable_does_not_send(sit: Sit, fleet: Fleet) -> None:
    ada = sit(fleet.director_url, "syllables", "Ada")
    ada.fill("#text", "안녕")
    press = "(init) => text.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', bubbles: true, ...init }))"
    ada.evaluate(press, {"isComposing": True})
    ada.evaluate(press, {"keyCode": 229})
    expect(ada.locator("#text")).to_have_value("안녕")
    ada.evaluate(press, {"keyCode": 13})
    is_sent(ada, "안녕")
    assert texts(ada) == ["안녕"]


def test_a_phone_shows_everything_in_reach_of_a_thumb(sit: Sit, fleet: Fleet) -> None:
    han = sit(fleet.director_url, "phone", "Han", role="lecturer", **PHONE)
    say(han, "a" * 300)
    is_sent(han, "a" * 300)
    assert han.evaluate("document.documentElement.scrollWidth <= innerWidth")
    expect(han.locator("#composer")).to_be_in_viewport(ratio=1)
    expect(han.locator("#drawer")).to_be_hidden()
    han.get_by_role("button", name="Questions and settings").tap()
    expect(han.locator("#controls")).to_be_visible()
    sizes = han.evaluate(
        """() => [...document.querySelectorAll("button, select, textarea, .segments label")]
            .filter((element) => element.offsetParent !== null)
            .map((element) => [element.id || element.textContent.trim(), element.getBoundingClientRect()])
            .map(([name, { width, height }]) => [name, Math.round(Math.min(width, height))])"""
    )
    assert len(sizes) > 8
    assert [(name, size) for name, size in sizes if size < TAP_PX] == []
    han.get_by_role("button", name="Questions and settings").tap()
    line(han, "aaa").tap()
    han.get_by_role("button", name="Reply").tap()
    expect(han.locator("#text")).to_be_focused()


def test_a_korean_reader_gets_korean_and_may_change_it(sit: Sit, fleet: Fleet) -> None:
    ada = sit(fleet.director_url, "korean", "김솔", locale="ko-KR")
    expect(ada.locator("html")).to_have_attribute("lang", "ko")
    expect(ada.get_by_role("button", name="보내기")).to_be_visible()
    expect(ada.locator("#status-text")).to_have_text("실시간")
    expect(ada.locator("#members")).to_have_text("1명 참여 중")
    say(ada, "안녕하세요")
    is_sent(ada, "안녕하세요")
    expect(line(ada, "안녕하세요")).to_contain_text("나")
    ada.select_option("#language", "en")
    expect(ada.locator("html")).to_have_attribute("lang", "en")
    expect(ada.locator("#members")).to_have_text("1 person here")
    expect(line(ada, "안녕하세요")).to_contain_text("you")
    ada.reload()
    expect(ada.locator("#status-text")).to_have_text("Live")


def test_all_that_the_page_marks_for_translation_has_words(browser: Browser, fleet: Fleet) -> None:
    page = browser.new_page()
    page.goto(fleet.director_url)
    missing = page.evaluate(
        """async () => {
            const { en } = await import("/web/i18n/en.js");
            const marks = ["data-i18n", "data-i18n-label", "data-i18n-placeholder"];
            const marked = marks.flatMap((mark) =>
                [...document.querySelectorAll(`[${mark}]`)].map((element) => element.getAttribute(mark)));
            return marked.length > 30 ? marked.filter((key) => !(key in en)) : ["hardly anything is marked"];
        }"""
    )
    page.close()
    assert missing == []
