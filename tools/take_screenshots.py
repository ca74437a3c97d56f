"""Takes the README's pictures of each widget, light and dark, from records of the bundled model.

    python -m tools.take_screenshots [attention_heatmap next_token ...]

Needs Chromium and the `test` extra. Writes docs/images/<widget>-<theme>.png.
"""

from __future__ import annotations

import argparse
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


def served(engine: lw.Engine) -> lw.Serving:
    """Serve questions about shared documents in a pool that is tight."""
    requests = lw.workload("rag", 10, seed=2, scale=0.5)
    knobs = {"block_size": 8, "num_gpu_blocks": 72, "max_num_seqs": 6, "max_num_batched_tokens": 48}
    return engine.serve(requests, ignore_eos=True, **knobs)


def batch_timeline(engine: lw.Engine) -> tuple[str, Callable[[Page], None]]:
    """Return the page of a run at its busiest step."""
    return lw.BatchTimeline(served(engine)).to_html(), lambda _page: None


def kv_cache_grid(engine: lw.Engine) -> tuple[str, Callable[[Page], None]]:
    """Return the page of the same run with a shared block read out."""
    return lw.KVCacheGrid(served(engine), selected_block=2).to_html(), lambda _page: None


def rotary_dial(engine: lw.Engine) -> tuple[str, Callable[[Page], None]]:
    """Return the page of one head's frequencies."""
    return lw.RotaryDial(engine.rotate(PROMPT)).to_html(), lambda _page: None


def roofline(engine: lw.Engine) -> tuple[str, Callable[[Page], None]]:
    """Return the page of this machine's ceilings and the model's points below them."""
    return lw.Roofline(engine.roofline()).to_html(), lambda _page: None


WIDGETS = {
    make.__name__: make
    for make in (attention_heatmap, next_token, rotary_dial, roofline, batch_timeline, kv_cache_grid)
}


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
    """Take every picture, or those named on the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("widgets", nargs="*", choices=[*WIDGETS, []], help="names (default: all)")
    chosen = parser.parse_args().widgets or list(WIDGETS)
    IMAGES.mkdir(parents=True, exist_ok=True)
    engine = lw.load()
    with sync_playwright() as playwright:
        browser = launch(playwright)
        for name in chosen:
            html, prepare = WIDGETS[name](engine)
            for theme in ("light", "dark"):
                path = IMAGES / f"{name}-{theme}.png"
                take(browser, html, prepare, theme, path)
                print(f"{path.relative_to(Path.cwd())}: {path.stat().st_size / 1000:.0f} kB")
        browser.close()


if __name__ == "__main__":
    main()
