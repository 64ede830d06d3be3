"""What the browser tests share: a Chromium, Node, and pages that sit in a classroom."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

HERE = Path(__file__).parent
WAIT_MS = 20_000

Sit = Callable[..., Page]


@pytest.fixture(autouse=True)
def _patience() -> Iterator[None]:
    """Looking waits as long as a busy machine needs."""
    expect.set_options(timeout=WAIT_MS)
    yield
    expect.set_options(timeout=5_000)


@pytest.fixture(scope="session")
def node() -> str:
    """Node's path; a test that needs it is skipped where it is missing."""
    path = shutil.which("node")
    if path is None:
        pytest.skip("Node is not installed (Debian: apt-get install nodejs npm)")
    return path


@pytest.fixture(scope="session")
def stock_client(node: str) -> str:
    """Node, with the stock socket.io-client beside the tests."""
    if not (HERE / "node_modules" / "socket.io-client").is_dir():
        pytest.skip("socket.io-client is not installed (npm ci --prefix tests/browser)")
    return node


@pytest.fixture(scope="module")  # Playwright keeps an event loop running: it must end before other tests begin
def browser() -> Iterator[Browser]:
    """The system's Chromium; a test that needs it is skipped where it is missing."""
    path = next(
        (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
    )
    if path is None:
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium)")
    quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"]
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=[*quiet, *sandbox])
        yield chromium
        chromium.close()


@pytest.fixture
def sit(browser: Browser) -> Iterator[Sit]:
    """`sit(director_url, room, "Ada Byron", role="student", **context)`: a page, its own profile, live in the room.

    At the end no page may have thrown, or have been refused something by the page's content policy.
    """
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def sit_down(
        director: str, room: str, name: str, *, role: str = "student", locale: str = "en-GB", **context: object
    ) -> Page:
        contexts.append(browser.new_context(locale=locale, **context))  # type: ignore[arg-type]
        page = contexts[-1].new_page()
        page.set_default_timeout(WAIT_MS)
        page.on("pageerror", lambda error: complaints.append(f"{name}: {error}"))
        page.on("console", lambda said: complaints.append(said.text) if "Content Security" in said.text else None)
        user = name.lower().replace(" ", "-")
        page.goto(f"{director}/?{urlencode({'room': room, 'user': user, 'name': name, 'role': role})}")
        page.wait_for_selector('#status[data-state="live"]')
        return page

    yield sit_down
    for context in contexts:
        context.close()
    assert complaints == []
