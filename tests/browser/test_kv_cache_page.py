"""What every widget owes its page, for `KVCacheGrid`: scrubbing, sizes, themes, hostile text, downloads."""

from __future__ import annotations

from collections.abc import Callable
from xml.etree import ElementTree

import pytest
from PIL import Image
from playwright.sync_api import Page

import llmwidgets as lw
from llmwidgets.records.serving import Serving
from llmwidgets.widgets.page import write_page
from tests.browser.conftest import two_frames, until
from tests.browser.kv_cache_page import (
    CELLS,
    HOSTILE,
    PIXELS,
    POOL,
    TABLES,
    chat,
    colours,
    label,
    press,
    rag,
    saved,
    scrub,
    sentence,
    texts_of,
)  # fmt: skip

pytestmark = pytest.mark.browser


def test_scrubbing_by_slider_by_brackets_and_by_playing(open_page: Callable[..., Page]) -> None:
    serving = chat()
    last = len(serving.log) - 1
    page = open_page(lw.KVCacheGrid(serving, step=10).to_html())
    slider = page.locator(".lw-player input")
    cells = page.locator(CELLS)
    press(page, "]")
    assert label(page) == f"step 11 of 0–{last}"
    press(page, "[", TABLES)
    assert label(page) == f"step 10 of 0–{last}"
    before = cells.evaluate(PIXELS)
    slider.press("End")
    assert label(page) == f"step {last} of 0–{last}"
    assert cells.evaluate(PIXELS) != before
    assert slider.get_attribute("aria-valuetext") == f"step {last} of 0–{last}"
    slider.press("Home")
    slider.press("ArrowRight")
    assert label(page) == f"step 1 of 0–{last}"
    scrub(page, 10)
    assert label(page) == f"step 10 of 0–{last}"
    assert cells.evaluate(PIXELS) == before  # the same way back
    button = page.locator(".lw-player-button")
    button.click()
    until(page, "!document.querySelector('.lw-player-label').textContent.startsWith('step 10 ')")
    assert button.get_attribute("aria-label") == "Pause"
    button.click()
    stopped = label(page)
    page.wait_for_timeout(300)
    assert label(page) == stopped
    slider.press("End")
    slider.press("[")
    assert label(page) == f"step {last - 1} of 0–{last}"
    button.click()
    until(page, "document.querySelector('.lw-player-button').getAttribute('aria-label') === 'Play the steps'")
    assert label(page) == f"step {last} of 0–{last}"  # at the end it stops by itself


@pytest.mark.parametrize("width", [320, 700, 1600])
@pytest.mark.parametrize("make", [chat, rag], ids=["chat", "rag"])
def test_it_fits_its_container(
    open_page: Callable[..., Page], make: Callable[[], Serving], width: int
) -> None:
    page = open_page(lw.KVCacheGrid(make()).to_html(), width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    pool, tables = page.locator(POOL).bounding_box(), page.locator(TABLES).bounding_box()
    for box in (pool, tables):
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
    beside = tables["y"] < pool["y"] + pool["height"]
    assert beside == (width >= 700)
    assert colours(page) > 10


@pytest.mark.parametrize("width", [320, 700, 1200])
@pytest.mark.parametrize("cache", ["paged", "contiguous_pow2"])
def test_the_height_does_not_jump(open_page: Callable[..., Page], cache: str, width: int) -> None:
    serving = chat(cache=cache, num_gpu_blocks=80)
    page = open_page(lw.KVCacheGrid(serving, step=0).to_html(), width=width)
    heights = set()
    for step in range(0, len(serving.log), len(serving.log) // 12):
        scrub(page, step)
        heights.add(page.locator(".lw").evaluate("root => root.offsetHeight"))
        press(page, "ArrowRight")
        heights.add(page.locator(".lw").evaluate("root => root.offsetHeight"))
        press(page, "Escape")
    assert len(heights) == 1


def test_long_tables_scroll_in_their_own_area(open_page: Callable[..., Page]) -> None:
    serving = lw.simulate(
        [lw.Request(list(range(400)), 4, "long")],
        block_size=4,
        num_gpu_blocks=128,
        max_num_batched_tokens=512,
    )
    page = open_page(lw.KVCacheGrid(serving).to_html(), width=700)
    tables = page.locator(TABLES)
    assert tables.evaluate("area => area.scrollWidth > 3 * area.clientWidth")
    press(page, "ArrowDown", TABLES)
    for _ in range(60):
        tables.press("ArrowRight")
    assert sentence(page).startswith("Block 60:")
    assert tables.evaluate("area => area.scrollLeft") > 500
    assert page.evaluate("document.documentElement.scrollWidth") <= 700


def test_a_change_of_theme_and_of_width_repaints(open_page: Callable[..., Page]) -> None:
    page = open_page(lw.KVCacheGrid(chat()).to_html(), width=1200, color_scheme="light")
    cells = page.locator(CELLS)
    light = cells.evaluate(PIXELS)
    page.emulate_media(color_scheme="dark")
    two_frames(page)
    assert cells.evaluate(PIXELS) != light
    page.set_viewport_size({"width": 330, "height": 900})
    two_frames(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 330
    assert colours(page) > 10


def test_it_paints_when_a_hidden_tab_is_shown(open_page: Callable[..., Page]) -> None:
    html = lw.KVCacheGrid(chat()).to_html()
    hidden = html.replace(
        '<main id="llmwidgets-widgets"', '<main style="display: none" id="llmwidgets-widgets"'
    )
    assert hidden != html
    page = open_page(hidden)
    page.evaluate("document.querySelector('main').style.display = 'block'")
    until(page, "document.querySelector('.lw-kv-scroll canvas').width > 200")
    two_frames(page)
    assert colours(page) > 12


def test_two_on_a_page_do_not_disturb_each_other(open_page: Callable[..., Page]) -> None:
    page = open_page(write_page([lw.KVCacheGrid(chat(), step=4), lw.KVCacheGrid(rag(), step=8)]))
    page.locator(".lw-kv-scroll").nth(0).press("]")
    page.locator(".lw-kv-scroll").nth(0).press("ArrowRight")
    two_frames(page)
    labels = page.locator(".lw-player-label").all_inner_texts()
    assert labels[0].startswith("step 5 ")
    assert labels[1].startswith("step 8 ")
    sentences = page.locator(".lw-sentence").all_inner_texts()
    assert sentences[0].startswith("Block 1:")
    assert "of 79 blocks in use" in sentences[1]


def test_hostile_ids_and_token_texts_are_shown_as_text(open_page: Callable[..., Page]) -> None:
    requests = [lw.Request([i, 1, 2, 3, 4], 4, name) for i, name in enumerate(HOSTILE)]
    serving = lw.simulate(requests, block_size=4, num_gpu_blocks=40)
    texts = dict(enumerate(HOSTILE))
    page = open_page(lw.KVCacheGrid(serving, step=0, token_texts=texts, selected_block=1).to_html())
    assert page.evaluate("window.struck") is None
    assert page.locator("img").count() == 0
    assert "held by <img·src=x·onerror=" in sentence(page)
    shown = page.locator(".lw-kv-tokens").inner_text()
    assert "<img·src=x·oner…" in shown
    assert "</script><scrip…" in shown
    assert "‹202e›evil" in shown
    for _ in HOSTILE:
        assert len(press(page, "ArrowDown", TABLES)) < 150
    assert page.evaluate("document.documentElement.scrollWidth") <= 900
    page.locator(".lw-save summary").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="SVG", exact=True).click()
    ElementTree.parse(download.value.path())


def test_it_downloads_as_svg_and_png(open_page: Callable[..., Page]) -> None:
    serving = chat()
    page = open_page(lw.KVCacheGrid(serving).to_html())
    svg, png = saved(page)
    texts = texts_of(svg)
    assert texts[0] == f"KV cache, step {serving.busiest_step}"
    now = serving.steps[serving.busiest_step]
    assert set(now.running) <= {*texts}
    assert {str(block) for block in range(1, 48)} <= {*texts}  # ids are text, not pixels
    assert any(text.startswith("token slots: used") for text in texts)
    assert len(list(svg.iter("{http://www.w3.org/2000/svg}image"))) == 1
    with Image.open(png) as image:
        assert image.width == 2 * round(float(svg.get("width", "0")))
        assert len(image.convert("RGB").getcolors(1 << 24)) > 20


def test_ten_thousand_blocks_are_a_few_nodes(open_page: Callable[..., Page]) -> None:
    serving = lw.simulate(
        lw.workload("chat", 200, vocab_size=1000, rate=0, scale=3),
        num_gpu_blocks=10_001,
        max_num_seqs=200,
        max_num_batched_tokens=8192,
    )
    widget = lw.KVCacheGrid(serving, step=20)
    page = open_page(widget.to_html(), width=1200)
    assert page.locator(".lw").evaluate("root => root.getElementsByTagName('*').length") <= 150
    assert colours(page) > 12
    assert "of 10,000 blocks in use" in sentence(page)
    before = page.locator(CELLS).evaluate(PIXELS)
    press(page, "]")
    assert page.locator(CELLS).evaluate(PIXELS) != before
    press(page, "End")
    assert sentence(page) == "Block 10000: free."
    page.set_viewport_size({"width": 320, "height": 900})
    two_frames(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    assert page.locator(POOL).evaluate("area => area.scrollHeight > area.clientHeight")
    press(page, "Home")
    press(page, "End")
    assert page.locator(POOL).evaluate("area => area.scrollTop") > 50
