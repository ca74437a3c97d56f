"""Takes the README's pictures of each widget, light and dark, from records of the bundled model.

    python -m tools.take_screenshots

Needs Chromium and the `test` extra. Writes docs/images/<widget>-<theme>.png.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

import llmwidgets as lw
from tests.browser.chromium import launch
from tests.browser.conftest import two_frames

IMAGES = Path(__file__).parent.parent / "docs/images"
PROMPT = "Alice was beginning to get very tired of sitting by her sister on the bank"


def attention_heatmap(engine: lw.Engine) -> tuple[str, Callable[[Page], None]]:
    """Return the page, and what to do in it before the picture is taken."""
    heatmap = lw.AttentionHeatmap(engine.attend(PROMPT), layer=2, head=1)

    def prepare(page: Page) -> None:
        for key in ["ArrowUp"] * 5 + ["ArrowRight"] * 11:  # the row of " her", the column of " by"
            page.locator(".lw-map").press(key)
        page.locator(".lw-map").evaluate("map => map.blur()")

    return heatmap.to_html(), prepare


def next_token(engine: lw.Engine) -> tuple[str, Callable[[Page], None]]:
    """Return the page of one sampled generation at its fourth token."""
    generation = engine.generate("It was a dark", max_tokens=12, temperature=0.8, top_p=0.95, seed=1)
    return lw.NextToken(generation, step=3).to_html(), lambda _page: None


WIDGETS = {"attention_heatmap": attention_heatmap, "next_token": next_token}


def take(browser: Browser, html: str, prepare: Callable[[Page], None], theme: str, path: Path) -> None:
    """Write one picture of one page."""
    context = browser.new_context(
        viewport={"width": 1000, "height": 900}, color_scheme=theme, device_scale_factor=1.5
    )
    page = context.new_page()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "page.html"
        file.write_text(html, encoding="utf-8")
        page.goto(file.as_uri())
        page.wait_for_selector("html[data-painted=true]")
    two_frames(page)
    prepare(page)
    two_frames(page)
    shot = page.locator(".lw").first.screenshot()
    context.close()
    with Image.open(io.BytesIO(shot)) as image:  # 256 colours are a third of the bytes and look the same
        image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


def main() -> None:
    """Take every picture."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    engine = lw.load()
    with sync_playwright() as playwright:
        browser = launch(playwright)
        for name, make in WIDGETS.items():
            html, prepare = make(engine)
            for theme in ("light", "dark"):
                path = IMAGES / f"{name}-{theme}.png"
                take(browser, html, prepare, theme, path)
                print(f"{path.relative_to(Path.cwd())}: {path.stat().st_size / 1000:.0f} kB")
        browser.close()


if __name__ == "__main__":
    main()
