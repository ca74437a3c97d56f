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
ALL_STAGES = {
    "temperature": 1.5,
    "top_k": 30,
    "top_p": 0.9,
    "min_p": 0.01,
    "repetition_penalty": 1.2,
    "seed": 3,
}


def next_token(tokens: list[str] | None = None, steps: int = 12, **traits: Any) -> lw.NextToken:
    logits = np.random.default_rng(0).normal(0, 3, (steps, 60))
    return lw.NextToken.from_arrays(logits, tokens or WORDS, prompt=["It", " was"], **traits)


def sentence(page: Page) -> str:
    two_frames(page)
    return page.locator(".lw-sentence").inner_text()


def press(page: Page, key: str) -> str:
    page.get_by_role("application").press(key)
    return sentence(page)


def lengths(page: Page) -> list[float]:
    """Return the lengths of the filled bars, in per cent of the axis."""
    two_frames(page)
    bars = page.locator(".lw-nt-bar u").all()
    return [float(bar.evaluate("bar => bar.style.width.replace('%', '')")) for bar in bars]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_bars_sentence_and_legend(open_page: Callable[..., Page], theme: str) -> None:
    widget = next_token(step=3)
    page = open_page(widget.to_html(), color_scheme=theme)
    best = widget._steps["probabilities"][3, 0, 0]
    assert f"Step 4 of 12: “·{widget._steps['texts'][3][0].strip()}”, the most probable" in sentence(page)
    rows = page.locator(".lw-nt-bars button")
    assert rows.count() == 14
    assert f"{best:.3f}" in rows.first.inner_text()
    assert "share of 1" in page.locator(".lw-legend").inner_text()


def test_a_step_under_other_settings(open_page: Callable[..., Page]) -> None:
    widget = next_token(step=3, sampling=ALL_STAGES)
    page = open_page(widget.to_html())
    what_if = widget._what_if
    assert sentence(page).startswith("Step 4 of 12: with these settings ")
    assert f"u = {what_if['uniforms'][0]:.3f}" in sentence(page)
    stages = page.locator(".lw-nt-stages button").all_inner_texts()
    assert [text.split()[0] for text in stages] == what_if["stages"]
    assert [int(text.split()[1]) for text in stages] == what_if["kept"][0]
    shown = what_if["probabilities"][0, -1]
    rows = page.locator(".lw-nt-bars button").all_inner_texts()
    for place, row in enumerate(rows[:13]):  # the last row may be the drawn token's
        assert ("✕" in row) == (shown[place] == 0)
    mark = page.locator(".lw-nt-draw em").bounding_box()
    hit = page.locator(".lw-nt-hit").bounding_box()
    assert hit["x"] - 1 <= mark["x"] <= hit["x"] + hit["width"] + 1  # the number lies in the token's part
    page.locator(".lw-nt-text b").nth(5).click()
    assert sentence(page).startswith("Step 6 of 12: “")  # only the one step was computed


def test_a_stage_is_chosen_by_click_and_by_key(open_page: Callable[..., Page]) -> None:
    page = open_page(next_token(sampling=ALL_STAGES).to_html())
    last = lengths(page)
    page.locator(".lw-nt-stages button").first.click()
    assert lengths(page) != last
    assert page.locator(".lw-nt-cut").count() == 0  # the model itself takes nothing out
    press(page, "]")
    assert page.locator(".lw-nt-stages [aria-pressed=true]").inner_text().startswith("penalties")
    assert page.locator(".lw-nt-top").inner_text().endswith("after stage")


def test_a_logarithmic_axis_makes_small_probabilities_show(open_page: Callable[..., Page]) -> None:
    page = open_page(next_token().to_html())
    linear = lengths(page)
    page.get_by_role("button", name="log scale").click()
    assert all(log > flat for log, flat in zip(lengths(page)[1:], linear[1:], strict=True))
    press(page, "l")
    assert lengths(page) == linear


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


def test_the_pointer_reads_a_candidate_and_lets_go_of_it(open_page: Callable[..., Page]) -> None:
    page = open_page(next_token().to_html())
    page.locator(".lw-nt-bars button").nth(2).hover()
    assert "log-probability" in sentence(page)
    page.mouse.move(2, 2)
    assert sentence(page).startswith("Step 1 of 12")


def test_a_click_on_the_text_goes_to_its_step(open_page: Callable[..., Page]) -> None:
    page = open_page(next_token().to_html())
    page.locator(".lw-nt-text b").nth(6).click()
    assert sentence(page).startswith("Step 7 of 12")


def test_a_drag_over_the_entropies_scrubs_and_the_text_follows(open_page: Callable[..., Page]) -> None:
    page = open_page(next_token(steps=200).to_html())
    box = page.locator(".lw-nt-entropy").bounding_box()
    page.mouse.move(box["x"] + 5, box["y"] + 30)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 1, box["y"] + 30)
    page.mouse.up()
    assert sentence(page).startswith("Step 200 of 200")
    panel, token = page.locator(".lw-nt-text").bounding_box(), page.locator(".lw-nt-now").bounding_box()
    assert panel["y"] <= token["y"] <= panel["y"] + panel["height"]


@pytest.mark.parametrize("width", [320, 700, 1600])
def test_it_fits_its_container(open_page: Callable[..., Page], width: int) -> None:
    page = open_page(next_token(sampling=ALL_STAGES).to_html(), width=width)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.locator(".lw-nt-bar").first.bounding_box()["width"] > 60
    for stage in page.locator(".lw-nt-stages button").all():
        box = stage.bounding_box()
        assert box["x"] + box["width"] <= width


def test_hostile_tokens_are_shown_as_text(open_page: Callable[..., Page]) -> None:
    hostile = ["<img src=x onerror=alert(1)>", "</script><b>", "\u202eevil", "👩‍👩‍👧", "x" * 10_000]
    logits = np.zeros((1, 60))
    logits[:, :5] = 5  # the hostile ones are the most probable
    page = open_page(lw.NextToken.from_arrays(logits, [*hostile, *WORDS[5:]], prompt=hostile).to_html())
    assert page.locator(".lw-figure img").count() == 0
    shown = page.locator(".lw-nt-bars").inner_text()
    assert "<img·src=x·oner…" in shown
    assert "‹202e›evil" in shown
    assert "xxxxxxxxxxxxxxx…" in shown
    assert "👩‍👩‍👧" in shown


def test_the_svg_has_its_text_as_vectors(open_page: Callable[..., Page]) -> None:
    page = open_page(next_token(step=2, sampling=ALL_STAGES).to_html())
    page.locator(".lw-save summary").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="SVG").click()
    svg = ElementTree.parse(download.value.path()).getroot()
    texts = [text.text for text in svg.findall("{http://www.w3.org/2000/svg}text")]
    assert "Next token: step 3 of 12" in texts
    assert any(text.startswith("tokens left: model 60 → penalties 60") for text in texts)
    assert sum(text.startswith("·word") for text in texts) >= 14
