"""`NextToken` as an exported page in Chromium: painted, by keyboard, narrow and wide, hostile text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from playwright.sync_api import Page

import llmwidgets as lw
from tests.browser.conftest import two_frames

pytestmark = pytest.mark.browser

WORDS = [f" word{i}" for i in range(60)]


def next_token(tokens: list[str] | None = None, **traits: Any) -> lw.NextToken:
    logits = np.random.default_rng(0).normal(0, 3, (12, 60))
    return lw.NextToken.from_arrays(logits, tokens or WORDS, prompt=["It", " was"], **traits)


def sentence(page: Page) -> str:
    two_frames(page)
    return page.locator(".lw-sentence").inner_text()


def press(page: Page, key: str) -> str:
    page.get_by_role("application").press(key)
    return sentence(page)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_bars_sentence_and_legend(open_page: Callable[..., Page], theme: str) -> None:
    widget = next_token(step=3)
    page = open_page(widget.to_html(), color_scheme=theme)
    best = widget._steps["probabilities"][3, 0, 0]
    assert f"Step 4 of 12: “·{widget._steps['texts'][3][0].strip()}”" in sentence(page)
    rows = page.locator(".lw-bars button")
    assert rows.count() == 14
    assert f"{best:.3f}" in rows.first.inner_text()
    assert "share of 1" in page.locator(".lw-legend").inner_text()


def test_the_keyboard_scrubs_and_reads_candidates(open_page: Callable[..., Page]) -> None:
    widget = next_token()
    page = open_page(widget.to_html())
    assert press(page, "ArrowRight").startswith("Step 2 of 12")
    assert press(page, "End").startswith("Step 12 of 12")
    assert press(page, "ArrowRight").startswith("Step 12 of 12")
    press(page, "ArrowDown")
    second = widget._steps["texts"][11][1].strip()
    assert press(page, "ArrowDown").startswith(f"“·{second}”: the model gives it")
    assert press(page, "Escape").startswith("Step 12 of 12")


def test_a_click_on_the_text_goes_to_its_step(open_page: Callable[..., Page]) -> None:
    page = open_page(next_token().to_html())
    page.locator(".lw-text b").nth(6).click()
    assert sentence(page).startswith("Step 7 of 12")


@pytest.mark.parametrize("width", [320, 700, 1600])
def test_it_fits_its_container(open_page: Callable[..., Page], width: int) -> None:
    page = open_page(next_token().to_html(), width=width)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.locator(".lw-bar").first.bounding_box()["width"] > 40


def test_hostile_tokens_are_shown_as_text(open_page: Callable[..., Page]) -> None:
    hostile = ["<img src=x onerror=alert(1)>", "</script><b>", "\u202eevil", "👩‍👩‍👧", "x" * 10_000]
    logits = np.zeros((1, 60))
    logits[:, :5] = 5  # the hostile ones are the most probable
    page = open_page(lw.NextToken.from_arrays(logits, [*hostile, *WORDS[5:]], prompt=hostile).to_html())
    assert page.locator(".lw-figure img").count() == 0
    shown = page.locator(".lw-bars").inner_text()
    assert "<img·src=x·oner…" in shown
    assert "‹202e›evil" in shown
    assert "xxxxxxxxxxxxxxx…" in shown
    assert "👩‍👩‍👧" in shown


def test_the_svg_has_its_text_as_vectors(open_page: Callable[..., Page]) -> None:
    page = open_page(next_token().to_html())
    page.locator(".lw-save summary").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="SVG").click()
    svg = ElementTree.parse(download.value.path()).getroot()
    assert len(svg.findall("{http://www.w3.org/2000/svg}text")) > 14
