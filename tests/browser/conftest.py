"""A Chromium for the session, and pages that fail the test when they err or ask the network for anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.chromium import collect_errors, launch


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        try:
            browser = launch(playwright)
        except FileNotFoundError as error:
            pytest.fail(str(error))
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium: Browser, tmp_path: Path) -> Iterator[Callable[..., Page]]:
    """Open the text of a page from a file; options go to Playwright's `new_context`."""
    contexts, errors, requests = [], [], []

    def open_(html: str, *, width: int = 900, **options: Any) -> Page:
        context = chromium.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        errors.append(collect_errors(page))
        page.on("request", lambda request: requests.append(request.url))
        page.on("dialog", lambda dialog: (errors[-1].append(f"dialog: {dialog.message}"), dialog.dismiss()))
        path = tmp_path / f"page{len(contexts)}.html"
        path.write_text(html, encoding="utf-8")
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-painted=true]")
        two_frames(page)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert not [error for one in errors for error in one]
    assert not [url for url in requests if not url.startswith(("file:", "blob:", "data:"))]


def until(page: Page, expression: str) -> None:
    """Wait until `expression` is true; Playwright's own way needs an `eval` that exported pages forbid."""
    for _ in range(200):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(25)
    pytest.fail(f"never came true: {expression}")


def two_frames(page: Page) -> None:
    """Wait until what was asked for is painted."""
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
