"""Where Chromium is, and a page that may talk to nobody but its own host."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, Playwright, Route

ARGUMENTS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
MISSING = "Chromium is missing. Debian: apt-get install chromium; elsewhere: playwright install chromium"


def launch(playwright: Playwright) -> Browser:
    """Start the system's Chromium, else Playwright's own; raise `FileNotFoundError` if there is none."""
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None) or playwright.chromium.executable_path
    if not Path(path).exists():
        raise FileNotFoundError(MISSING)
    return playwright.chromium.launch(executable_path=path, args=ARGUMENTS)


def only_local(context: BrowserContext) -> list[str]:
    """Cut the context off from every host but this one; return the list that refused requests go to."""
    refused: list[str] = []

    def guard(route: Route) -> None:
        url = urlsplit(route.request.url)
        if url.scheme in ("file", "blob", "data") or url.hostname in ("127.0.0.1", "localhost"):
            route.continue_()
        else:
            refused.append(route.request.url)
            route.abort()

    context.route("**/*", guard)
    return refused


def collect_errors(page, ignore: Callable[[str], bool] = lambda _text: False) -> list[str]:
    """Return the list that the page's console errors and uncaught exceptions go to."""
    errors: list[str] = []

    def on_console(message) -> None:
        text = f"{message.text} ({message.location.get('url', '')})"
        if message.type == "error" and not ignore(text):
            errors.append(text)

    page.on("console", on_console)
    page.on("pageerror", lambda error: errors.append(str(error)))
    return errors
