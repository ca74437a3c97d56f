"""`AttentionHeatmap` as an exported page in Chromium: painted, by keyboard, narrow and wide, hostile text."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page

import llmwidgets as lw
from llmwidgets.widgets.page import write_page
from tests.browser.conftest import two_frames, until

pytestmark = pytest.mark.browser

COLOURS = """canvas => {
  const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  return new Set(new Uint32Array(data.buffer)).size;
}"""
PIXELS = "canvas => canvas.toDataURL()"
MAP = ".lw-map canvas >> nth=0"


def heatmap(length: int = 24, tokens: list[str] | None = None, **traits: Any) -> lw.AttentionHeatmap:
    tokens = tokens or [f" word{i}" for i in range(length)]
    scores = np.random.default_rng(0).normal(size=(2, 4, len(tokens), len(tokens)))
    scores[..., np.triu(np.ones(scores.shape[-2:], bool), 1)] = -np.inf
    weights = np.exp(scores)
    weights /= weights.sum(axis=-1, keepdims=True)
    return lw.AttentionHeatmap.from_arrays(weights, tokens, num_kv_heads=2, **traits)


def colours(page: Page, selector: str = MAP) -> int:
    return page.locator(selector).evaluate(COLOURS)


def sentence(page: Page) -> str:
    two_frames(page)
    return page.locator(".lw-sentence").first.inner_text()


def press(page: Page, key: str) -> str:
    page.locator(".lw-map").first.press(key)
    return sentence(page)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_paints_with_sentence_legend_badge_and_help(open_page: Callable[..., Page], theme: str) -> None:
    page = open_page(heatmap().to_html(), color_scheme=theme)
    assert colours(page) > 20
    assert colours(page, ".lw-heads canvas") > 20
    assert re.search(r"Layer 0, head 0 reads KV head 0: strongest weight 0\.\d{3}, from", sentence(page))
    assert page.locator(".lw-sentence").get_attribute("aria-live") == "polite"
    legend = page.locator(".lw-legend").inner_text()
    assert "weight, share of 1" in legend
    assert "masked" in legend
    assert page.locator(".lw-badge").inner_text() == "GIVEN"
    page.locator(".lw-help summary").click()
    assert (
        "Query" in page.locator(".lw-help").inner_text() or "query" in page.locator(".lw-help").inner_text()
    )


def test_a_change_of_theme_repaints(open_page: Callable[..., Page]) -> None:
    page = open_page(heatmap().to_html(), color_scheme="light")
    light = page.locator(MAP).evaluate(PIXELS), page.locator(".lw-heads canvas").evaluate(PIXELS)
    page.emulate_media(color_scheme="dark")
    two_frames(page)
    dark = page.locator(MAP).evaluate(PIXELS), page.locator(".lw-heads canvas").evaluate(PIXELS)
    assert light[0] != dark[0]
    assert light[1] != dark[1]
    background = page.locator(".lw").evaluate("root => getComputedStyle(root).backgroundColor")
    assert sum(map(int, re.findall(r"\d+", background)[:3])) < 3 * 60


def test_arrows_move_enter_pins_escape_clears(open_page: Callable[..., Page]) -> None:
    page = open_page(heatmap().to_html())
    rest = sentence(page)
    first = press(page, "ArrowUp")
    assert first.startswith("From “·word23” (23) to “·word0” (0): weight 0.")
    assert "(22) to" in press(page, "ArrowUp")
    assert "to “·word1” (1)" in press(page, "ArrowRight")
    assert press(page, "Enter").startswith("1 pinned token gives “·word1” (1) 0.")
    press(page, "Shift+ArrowUp")
    assert press(page, "Enter").startswith("2 pinned tokens together give “·word1” (1)")
    assert press(page, "Escape") == rest


def test_keys_change_head_and_layer(open_page: Callable[..., Page]) -> None:
    page = open_page(heatmap().to_html())
    title = page.locator(".lw-title small")
    before = page.locator(MAP).evaluate(PIXELS)
    press(page, "]")
    assert "layer 0, head 1" in title.inner_text()
    press(page, "}")
    assert "layer 1, head 1" in title.inner_text()
    assert page.locator(MAP).evaluate(PIXELS) != before
    page.locator(".lw-heads canvas").press("ArrowRight")
    two_frames(page)
    assert "layer 1, head 2" in title.inner_text()


def test_the_pointer_reads_a_weight_and_a_click_pins(open_page: Callable[..., Page]) -> None:
    page = open_page(heatmap().to_html())
    box = page.locator(MAP).bounding_box()
    assert box
    page.mouse.move(box["x"] + 100, box["y"] + box["height"] - 60)
    assert re.search(r"weight 0\.\d{3}\.", sentence(page))
    page.mouse.down()
    page.mouse.up()
    assert sentence(page).startswith("1 pinned token gives")


@pytest.mark.parametrize("width", [320, 700, 1600])
def test_it_fits_its_container(open_page: Callable[..., Page], width: int) -> None:
    page = open_page(heatmap().to_html(), width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert colours(page) > 20
    right = page.locator(".lw-map").evaluate(
        "map => map.getBoundingClientRect().left + map.firstChild.clientWidth"
    )
    assert right <= width


def test_it_follows_a_container_that_changes(open_page: Callable[..., Page]) -> None:
    page = open_page(heatmap().to_html(), width=1200)
    wide = page.locator(MAP).bounding_box()
    page.set_viewport_size({"width": 330, "height": 900})
    two_frames(page)
    narrow = page.locator(MAP).bounding_box()
    assert wide
    assert narrow
    assert narrow["width"] < wide["width"]
    assert page.evaluate("document.documentElement.scrollWidth") <= 330


HOSTILE = [
    "<img src=x onerror=window.struck=1>",
    "</script><script>window.struck=2</script>",
    "<!-- --!>",
    "\u202eevil\u2067",
    "\u200f",
    "👩‍👩‍👧‍👦",
    "é\u0301\u0301",
    "\x00\x07\x1b[31m",
    "long" * 2500,
    "</title>",
    "",
    "\ud800",
]


def test_hostile_text_is_shown_as_text(open_page: Callable[..., Page]) -> None:
    page = open_page(heatmap(tokens=HOSTILE[:-1]).to_html())
    assert page.evaluate("window.struck") is None
    assert page.locator("img").count() == 0
    strip = page.locator(".lw-strip").inner_text()
    assert "<img src=x onerror=window.struck=1>" in strip
    assert "</script><script>window.struck=2</script>" in strip
    assert "‹202e›evil‹2067›" in strip
    assert "👩‍👩‍👧‍👦" in strip
    assert "long" * 20 not in strip
    for _ in HOSTILE:
        assert len(press(page, "ArrowUp")) < 200
    assert "“<img·src=x·onerror=" in sentence(page)
    assert page.evaluate("window.struck") is None
    assert page.evaluate("document.documentElement.scrollWidth") <= 900
    assert colours(page) > 5


def test_half_a_surrogate_pair_does_not_stop_the_page(open_page: Callable[..., Page]) -> None:
    page = open_page(heatmap(tokens=["a", HOSTILE[-1], "b"]).to_html())
    assert colours(page) > 5


@pytest.mark.parametrize("length", [24, 300, 1000])
def test_nodes_are_at_most_two_a_token_and_a_hundred(open_page: Callable[..., Page], length: int) -> None:
    page = open_page(heatmap(length).to_html())
    assert page.locator(".lw").evaluate("root => root.getElementsByTagName('*').length") <= 2 * length + 100


def test_it_paints_when_a_hidden_tab_is_shown(open_page: Callable[..., Page]) -> None:
    html = heatmap().to_html()
    hidden = html.replace(
        '<main id="llmwidgets-widgets"', '<main style="display: none" id="llmwidgets-widgets"'
    )
    assert hidden != html
    page = open_page(hidden)
    page.evaluate("document.querySelector('main').style.display = 'block'")
    until(page, "document.querySelector('.lw-map canvas').width > 200")
    two_frames(page)
    assert colours(page) > 20


def test_two_on_a_page_do_not_disturb_each_other(open_page: Callable[..., Page]) -> None:
    first, second = heatmap(12), heatmap(30, head=3)
    page = open_page(write_page([first, second]))
    maps = page.locator(".lw-map")
    assert maps.count() == 2
    maps.nth(0).press("]")
    maps.nth(0).press("ArrowUp")
    two_frames(page)
    titles = page.locator(".lw-title small").all_inner_texts()
    assert "head 1" in titles[0]
    assert "head 3" in titles[1]
    assert page.locator(".lw-sentence").nth(1).inner_text().startswith("Layer 0, head 3")
    assert colours(page, ".lw-map canvas >> nth=2") > 20


@pytest.mark.parametrize("tokens", [None, HOSTILE[:-1]], ids=["words", "hostile"])
def test_it_downloads_as_svg_and_png(open_page: Callable[..., Page], tokens: list[str] | None) -> None:
    page = open_page(heatmap(tokens=tokens).to_html())
    saved = {}
    for kind in ("SVG", "PNG"):
        page.locator(".lw-save summary").click()
        with page.expect_download() as download:
            page.get_by_role("button", name=kind, exact=True).click()
        assert download.value.suggested_filename == f"attention.{kind.lower()}"
        saved[kind] = Path(download.value.path())
        page.keyboard.press("Escape")
    svg = ElementTree.parse(saved["SVG"]).getroot()
    assert svg.tag == "{http://www.w3.org/2000/svg}svg"
    texts = ["".join(text.itertext()) for text in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert any("layer 0, head 0" in text.lower() for text in texts)
    assert any("weight, share of 1" in text for text in texts)
    assert len(texts) > 10
    assert len(list(svg.iter("{http://www.w3.org/2000/svg}image"))) == 1
    with Image.open(saved["PNG"]) as image:
        assert image.format == "PNG"
        assert image.width == 2 * round(float(svg.get("width", "0")))
        assert len(image.convert("RGB").getcolors(1 << 24)) > 20


def test_two_thousand_tokens_are_painted_from_tiles(open_page: Callable[..., Page]) -> None:
    weights = np.zeros((2000, 2000), np.float32)
    np.fill_diagonal(weights, 0.5)
    weights[1500, 123] = 1
    figure = lw.AttentionHeatmap.from_arrays(weights, [f"t{i}" for i in range(2000)])
    page = open_page(figure.to_html())
    assert colours(page) > 5
    assert "strongest weight 1.000" in sentence(page)
    nodes = page.locator(".lw").evaluate("root => root.getElementsByTagName('*').length")
    assert nodes <= 2 * 2000 + 100
    assert "in this block of 4 × 4" in press(page, "ArrowUp")
    before = page.locator(MAP).evaluate(PIXELS)
    press(page, "+")
    assert page.locator(MAP).evaluate(PIXELS) != before


def test_one_query_against_many_keys_is_readable(open_page: Callable[..., Page]) -> None:
    figure = lw.AttentionHeatmap.from_arrays(np.full((1, 40), 1 / 40), [f" k{i}" for i in range(40)])
    page = open_page(figure.to_html())
    box = page.locator(MAP).bounding_box()
    assert box
    assert box["height"] > 80
    assert "(39) to" in press(page, "ArrowUp")
    assert not page.locator(".lw-heads").is_visible()
