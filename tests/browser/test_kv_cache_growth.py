"""`KVCacheGrid` of a generation in Chromium: the cache grows by a token a step, layer by layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from PIL import Image
from playwright.sync_api import Page

import llmwidgets as lw
from llmwidgets.engine import Engine
from tests.browser.kv_cache_page import (
    HOSTILE,
    PIXELS,
    colours,
    press,
    saved,
    scrub,
    sentence,
    texts_of,
)

pytestmark = pytest.mark.browser


def test_a_generation_grows_by_a_token_a_step(open_page: Callable[..., Page], engine: Engine) -> None:
    generation = engine.generate("It was", max_tokens=6)
    page = open_page(lw.KVCacheGrid(generation).to_html())
    cells = page.locator(".lw-kv-map canvas").first
    seen = set()
    for step, made in enumerate(generation.steps):
        scrub(page, step)
        keys = made.kv_tokens * sum(generation.kv_shape.key_bytes)
        assert sentence(page).startswith(
            f"{made.kv_tokens} tokens × 2 layers: {keys:,} bytes of keys + "
            f"{made.kv_bytes - keys:,} of values = {made.kv_bytes:,} bytes"
        )
        seen.add(cells.evaluate(PIXELS))
    assert len(seen) == 6
    assert "4 query heads read 2 KV heads, 2 each" in page.locator(".lw-kv-heads").inner_text()
    groups = [group.split() for group in page.locator(".lw-kv-group").all_inner_texts()]
    assert groups == [["q0", "q1", "KV", "0"], ["q2", "q3", "KV", "1"]]
    done, fresh = generation.token_forwards, sum(7 + i for i in range(6))
    assert f"{done} so far, {fresh} without a cache." in sentence(page)


def test_cells_of_a_generation_by_keyboard(open_page: Callable[..., Page], engine: Engine) -> None:
    page = open_page(lw.KVCacheGrid(engine.generate("It was", max_tokens=6), step=2).to_html())
    where = ".lw-kv-map"
    assert press(page, "ArrowRight", where).startswith("Token 8")
    size = "2 KV heads × 16 numbers × 4 bytes = 128 bytes of keys, 128 of values"
    assert sentence(page).endswith(f"layer 0: {size}; computed in this step.")
    assert press(page, "ArrowRight", where).endswith("just chosen, so not computed yet.")
    assert press(page, "ArrowRight", where).endswith("not there yet: step 3 chooses it.")
    assert "layer 1" in press(page, "ArrowDown", where)
    page.locator(where).press("Shift+ArrowLeft")
    assert sentence(page).endswith("kept since step 0.")
    assert press(page, "Escape", where).startswith("9 tokens × 2 layers")
    press(page, "]", where)
    assert page.locator(".lw-player-label").inner_text() == "step 3 of 0–5"


def test_without_a_cache_nothing_is_kept_and_it_says_so(
    open_page: Callable[..., Page], engine: Engine
) -> None:
    generation = engine.generate("It was", max_tokens=6, use_cache=False)
    page = open_page(lw.KVCacheGrid(generation).to_html())
    assert sentence(page) == (
        "use_cache=False: no key or value is kept. This step computed 12 tokens; "
        f"{generation.token_forwards} so far, where a cache would have needed 12."
    )
    assert "nothing kept" in page.locator(".lw-title").inner_text()


@pytest.mark.parametrize("width", [320, 700, 1600])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_generation_fits_its_container(
    open_page: Callable[..., Page], engine: Engine, width: int, theme: str
) -> None:
    page = open_page(
        lw.KVCacheGrid(engine.generate("It was", max_tokens=6)).to_html(), width=width, color_scheme=theme
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert colours(page, ".lw-kv-map canvas >> nth=0") > 4
    height = page.locator(".lw").evaluate("root => root.offsetHeight")
    press(page, "[", ".lw-kv-map")
    press(page, "ArrowLeft", ".lw-kv-map")
    assert page.locator(".lw").evaluate("root => root.offsetHeight") == height


def test_hostile_tokens_of_a_generation_are_shown_as_text(
    open_page: Callable[..., Page], engine: Engine
) -> None:
    generation = replace(engine.generate("It was", max_tokens=6), tokens=tuple(HOSTILE))
    page = open_page(lw.KVCacheGrid(generation).to_html())
    assert page.evaluate("window.struck") is None
    assert page.locator("img").count() == 0
    assert HOSTILE[0] in page.locator(".lw-kv-said").inner_text()
    press(page, "ArrowRight", ".lw-kv-map")
    for _ in HOSTILE:
        assert len(press(page, "ArrowLeft", ".lw-kv-map")) < 200


def test_a_generation_downloads_with_its_words_as_text(
    open_page: Callable[..., Page], engine: Engine
) -> None:
    page = open_page(lw.KVCacheGrid(engine.generate("It was", max_tokens=6)).to_html())
    svg, png = saved(page)
    texts = texts_of(svg)
    assert texts[0] == "KV cache of one request, step 5"
    assert any("4 query heads read 2 KV heads" in text for text in texts)
    with Image.open(png) as image:
        assert len(image.convert("RGB").getcolors(1 << 24)) > 4
