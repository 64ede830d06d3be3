"""A seat in the classroom: what a reader does at a page, and what a test looks for there. Looking waits."""

from playwright.sync_api import Locator, Page, expect


def say(page: Page, text: str) -> None:
    page.fill("#text", text)
    page.press("#text", "Enter")


def line(page: Page, text: str) -> Locator:
    return page.locator("#lines > li", has=page.locator(".text", has_text=text))


def texts(page: Page) -> list[str]:
    return page.locator("#lines .text").all_inner_texts()


def is_live(page: Page) -> None:
    expect(page.locator('#status[data-state="live"]')).to_be_visible()


def is_sent(page: Page, text: str) -> None:
    expect(line(page, text)).to_have_attribute("data-state", "sent")
    expect(page.locator("#outgoing > li", has_text=text)).to_have_count(0)
