"""`RotaryDial` as an exported page in Chromium: painted, dragged, by keyboard, narrow and wide."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page

from llmwidgets.records.position_loss import PositionLoss
from llmwidgets.records.rope import Rope
from llmwidgets.widgets.page import write_page
from llmwidgets.widgets.rotary_dial import RotaryDial
from tests.browser.conftest import two_frames, until
from tests.browser.jupyterlab import Notebook, serving, write_notebook
from tests.records.test_rotation import rotation

pytestmark = pytest.mark.browser

PAIRS = 32
OWN = (1 / 10_000 ** (np.arange(PAIRS) / PAIRS)).astype(np.float32)
WORDS = tuple(f" word{i}" for i in range(12))


def rope(scaling: str, factor: float) -> Rope:
    parameters: dict[str, str | int | float] = {"rope_type": scaling, "factor": factor}
    return Rope(scaling, parameters, np.array([4097]), OWN[None] / np.float32(factor), 1.0)


def dial(tokens: tuple[str, ...] = WORDS, **traits: Any) -> RotaryDial:
    vectors = np.random.default_rng(0).standard_normal
    buckets = np.arange(0, 4097, 256)
    rise = np.log([np.linspace(20, 22, 16) * np.r_[np.ones(4), np.full(12, 10)], np.full(16, 30.0)])
    record = rotation(
        tokens=tokens,
        token_ids=np.arange(len(tokens)),
        queries=tuple(vectors((2, len(tokens), 2 * PAIRS)).astype(np.float32) for _ in range(2)),
        keys=tuple(vectors((2, len(tokens), 2 * PAIRS)).astype(np.float32) for _ in range(2)),
        trained_length=1024,
        max_distance=4096,
        ropes=(rope("none", 1), rope("linear", 4)),
        loss=PositionLoss(("none", "linear"), buckets, np.full(16, 256), rise.astype(np.float32), 1),
    )
    return RotaryDial(record, **({"key_token": 4} | traits))


def sentence(page: Page) -> str:
    two_frames(page)
    return page.locator(".lw-sentence").first.inner_text()


def press(page: Page, *keys: str) -> str:
    for key in keys:
        page.locator(".lw-rd-plot").first.press(key)
    return sentence(page)


def large(page: Page) -> str:
    """Return the words of the large dial."""
    return "; ".join(page.locator(".lw-rd-plot g >> nth=0").locator("text").all_text_contents())


def hands(page: Page, pair: int) -> list[str]:
    """Return the sector between the hands of a small dial, and where the query's hand ends."""
    marks = page.locator(".lw-rd-plot g >> nth=1").first.locator("> *")
    per_dial = marks.count() // PAIRS
    sector = marks.nth(per_dial * pair + 1).get_attribute("d") or ""
    tip = marks.nth(per_dial * pair + 7)
    return [sector, f"{tip.get_attribute('cx')} {tip.get_attribute('cy')}"]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_paints_with_sentence_legend_badge_and_help(open_page: Callable[..., Page], theme: str) -> None:
    widget = dial()
    page = open_page(widget.to_html(), color_scheme=theme)
    score = widget.record.scores(0, 1, 11, 4, [7])[0]  # type: ignore[union-attr]
    assert (
        sentence(page)
        .replace("−", "-")
        .startswith(
            f"Query of “·word11” (11) at position 11, key of “·word4” (4) at 4: 7 apart, score {score:.2f}."
        )
    )
    assert "no score moved by more than" in sentence(page)
    assert page.locator(".lw-sentence").get_attribute("aria-live") == "polite"
    assert "never seen in training" in page.locator(".lw-legend").inner_text()
    assert page.locator(".lw-badge").inner_text() == "MEASURED"
    page.locator(".lw-help summary").click()
    assert "positions one turn takes" in page.locator(".lw-help").inner_text()
    texts = page.locator(".lw-rd-plot text").all_text_contents()
    assert {"6.3", "47k", "pair 11 of 32", "one turn: 112 positions"} <= set(texts)
    assert {"none", "linear", "trained: 1,024", "Perplexity by position (log scale)"} <= set(texts)
    fill = page.locator(".lw-rd-plot text").first.evaluate("text => getComputedStyle(text).fill")
    bright = sum(map(int, re.findall(r"\d+", fill)[:3])) > 3 * 128
    assert bright == (theme == "dark")


def test_moving_both_turns_every_hand_and_no_angle_between_them(open_page: Callable[..., Page]) -> None:
    page = open_page(dial(position=100, distance=40).to_html())
    score = re.search(r"score (−?\d+\.\d\d)", sentence(page))
    assert score
    before, words = hands(page, 3), large(page)
    said = press(page, "Shift+ArrowUp")
    assert "at position 110, key of “·word4” (4) at 70: 40 apart" in said
    assert f"score {score[1]}." in said
    after = hands(page, 3)
    assert after[1] != before[1]
    assert large(page) == words, "angle and share stay"
    said = press(page, "ArrowRight")
    assert "41 apart" in said
    assert f"score {score[1]}." not in said


def test_the_keyboard_reaches_everything(open_page: Callable[..., Page]) -> None:
    page = open_page(dial().to_html())
    assert "40 apart" not in press(page, "ArrowLeft")
    assert "at position 11, key of “·word4” (4) at 5: 6 apart" in sentence(page)
    press(page, "Enter")
    assert "pair 12 of 32" in (press(page, ".") and large(page))
    assert "pair 11 of 32" in (press(page, ",") and large(page))
    assert "key of “·word5” (5) at 5: 6 apart" in press(page, "k")
    assert "Query of “·word10” (10) at position 10" in press(page, "Q")
    press(page, "]")
    assert "layer 0, head 3" in page.locator(".lw-title small").inner_text()
    press(page, "}")
    assert "layer 2, head 3" in page.locator(".lw-title small").inner_text()
    press(page, *["Shift+ArrowRight"] * 3)
    assert "at position 35, key of “·word5” (5) at 0: 35 apart" in sentence(page)
    assert "at position 10, key of “·word5” (5) at 5: 5 apart" in press(page, "Escape")


def test_sliders_move_by_single_positions_from_the_keyboard(open_page: Callable[..., Page]) -> None:
    page = open_page(dial().to_html())
    page.get_by_label("distance").press("ArrowRight")
    assert "8 apart" in sentence(page)
    page.get_by_label("query at").press("ArrowRight")
    assert "at position 12, key of “·word4” (4) at 4: 8 apart" in sentence(page)
    page.get_by_label("distance").fill("1000")
    assert "4,096 apart" in sentence(page)
    assert page.locator("output").all_inner_texts() == ["4,096", "4,096"]


def test_what_training_never_reached_is_marked_and_said(open_page: Callable[..., Page]) -> None:
    page = open_page(dial(distance=3000, position=3000).to_html())
    reach, between = 1023 * OWN, 3000 * OWN % (2 * np.pi)
    beyond = int(((reach < 2 * np.pi) & (between > reach)).sum())
    assert f"{beyond} of 32 pairs stand at an angle that training never reached" in sentence(page)
    page.get_by_role("radio", name="linear").click()
    assert "3,000 apart" in sentence(page)
    assert "past the trained 1,024, yet no angle between hands is new" in sentence(page)
    assert "linear × 4" in page.locator(".lw-title small").inner_text()


def test_the_pointer_reads_dials_and_drags_the_curve(open_page: Callable[..., Page]) -> None:
    widget = dial()
    page = open_page(widget.to_html(), width=1000)
    circle = page.locator(".lw-rd-plot g >> nth=1").locator("circle").first.bounding_box()
    assert circle
    page.mouse.move(circle["x"] + 20, circle["y"] + 20)
    assert sentence(page).startswith("Pair 1 of 32: one turn takes 6.3 positions, so 7 apart is 41° between")
    page.mouse.down()
    page.mouse.up()
    assert "pair 1 of 32" in large(page)
    curve = page.locator(".lw-rd-plot g >> nth=2").locator("polyline").last.bounding_box()
    assert curve
    page.mouse.move(curve["x"] + curve["width"] / 2, curve["y"] + 30)
    page.mouse.down()
    page.mouse.move(curve["x"] + curve["width"] * 0.75, curve["y"] + 30, steps=4)
    page.mouse.up()
    page.mouse.move(2, 2)
    apart = int(re.search(r"([\d,]+) apart", sentence(page))[1].replace(",", ""))  # type: ignore[index]
    assert apart == pytest.approx(np.expm1(0.75 * np.log1p(4096)), rel=0.02)
    lines = page.locator(".lw-rd-plot g >> nth=3").locator("polyline").first.bounding_box()
    assert lines
    page.mouse.move(lines["x"] + 5, lines["y"] + 30)
    assert sentence(page) == "Positions 0 to 255: perplexity 20.00 with none, 30.00 with linear."


def test_tokens_are_chosen_in_the_text(open_page: Callable[..., Page]) -> None:
    page = open_page(dial().to_html())
    page.locator(".lw-rd-text b").nth(2).click()
    assert "key of “·word2” (2) at 2: 9 apart" in sentence(page)
    page.locator(".lw-rd-text b").nth(7).click(modifiers=["Shift"])
    assert "Query of “·word7” (7) at position 7, key of “·word2” (2)" in sentence(page)


def test_shift_both_plays_and_stops(open_page: Callable[..., Page]) -> None:
    page = open_page(dial().to_html())
    button = page.get_by_role("button", name="shift both")
    button.click()
    until(page, "document.querySelector('output').textContent.replace(',', '') > 40")
    page.get_by_role("button", name="stop").click()
    assert "7 apart" in sentence(page)
    before = page.locator("output").all_inner_texts()
    page.wait_for_timeout(120)
    assert page.locator("output").all_inner_texts() == before
    assert before[1] == "7"


@pytest.mark.parametrize("width", [320, 500, 760, 1600])
def test_it_fits_its_container(open_page: Callable[..., Page], width: int) -> None:
    page = open_page(dial(frequency=3).to_html(), width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    outside = """() => {
      const svg = document.querySelector('.lw-rd-plot svg').getBoundingClientRect();
      return [...document.querySelectorAll('.lw-rd-plot text')].filter(text => {
        const box = text.getBoundingClientRect();
        const across = box.left < svg.left - 1 || box.right > svg.right + 1;
        return text.textContent && (across || box.bottom > svg.bottom + 1);
      }).map(text => text.textContent);
    }"""
    assert page.evaluate(outside) == []


def test_two_on_a_page_and_a_hidden_tab(open_page: Callable[..., Page]) -> None:
    html = write_page([dial(), dial(distance=5)])
    page = open_page(html.replace("<main id=", "<main style='display: none' id="))
    page.evaluate("document.querySelector('main').style.display = 'block'")
    until(page, "[...document.querySelectorAll('.lw-rd-plot svg')].every(svg => svg.clientHeight > 300)")
    two_frames(page)
    press(page, "ArrowRight")
    said = page.locator(".lw-sentence").all_inner_texts()
    assert "8 apart" in said[0]
    assert "5 apart" in said[1]


def test_hostile_tokens_are_shown_as_text(open_page: Callable[..., Page]) -> None:
    hostile = ("<img src=x onerror=alert(1)>", "</script><b>", "\u202eevil", "👩‍👩‍👧", "x" * 10_000)
    page = open_page(dial(hostile, key_token=0).to_html())
    assert page.locator(".lw-figure img").count() == 0
    shown = page.locator(".lw-rd-text").inner_text()
    assert "<img src=x onerror=alert(1)>" in shown
    assert "‹202e›evil" in shown
    assert "“<img·src=x·oner…”" in press(page, "ArrowRight")
    assert page.evaluate("document.documentElement.scrollWidth") <= 900


def test_frequencies_alone_need_no_tokens(open_page: Callable[..., Page]) -> None:
    widget = RotaryDial.from_arrays(OWN, scores=np.cos(np.arange(600) / 50))
    page = open_page(widget.to_html())
    assert sentence(page).startswith("Query at position 128, key at 64: 64 apart, score 0.29.")
    assert page.locator(".lw-badge").inner_text() == "GIVEN"
    assert not page.locator(".lw-rd-text").is_visible()
    bare = open_page(RotaryDial.from_arrays(OWN).to_html())
    assert "Score" not in (bare.locator(".lw-rd-plot").text_content() or "")


def test_it_downloads_as_svg_and_png(open_page: Callable[..., Page]) -> None:
    page = open_page(dial().to_html())
    saved = {}
    for kind in ("SVG", "PNG"):
        page.locator(".lw-save summary").click()
        with page.expect_download() as download:
            page.get_by_role("button", name=kind, exact=True).click()
        saved[kind] = Path(download.value.path())
        page.keyboard.press("Escape")
    svg = ElementTree.parse(saved["SVG"]).getroot()
    texts = ["".join(text.itertext()) for text in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert texts[0] == (
        "Rotary dial: layer 0, head 1 · frequencies as trained · query at 11, key 7 before it"
    )
    assert {"6.3", "47k", "linear", "positions from key to query (log scale)"} <= set(texts)
    assert not list(svg.iter("{http://www.w3.org/2000/svg}image"))
    with Image.open(saved["PNG"]) as image:
        assert len(image.convert("RGB").getcolors(1 << 24)) > 50


def test_a_dragged_frame_is_cheap(open_page: Callable[..., Page]) -> None:
    page = open_page(dial().to_html())
    spent = page.evaluate(
        """async () => {
      const slider = document.querySelector('.lw-rd-slider input');
      const svg = document.querySelector('.lw-rd-plot svg');
      const times = [];
      for (let i = 0; i < 60; i++) {
        slider.value = 5 * i;
        slider.dispatchEvent(new Event('input'));
        const start = performance.now();
        await new Promise(done => requestAnimationFrame(done));
        times.push(performance.now() - start);
      }
      return times.sort((a, b) => a - b)[30];
    }"""
    )
    assert spent < 33, "the median frame, for this machine may be busy"


def test_what_is_moved_reaches_the_kernel_and_back(chromium: Browser, tmp_path: Path) -> None:
    folder = tmp_path / "notebooks"
    folder.mkdir()
    dial().record.save(folder / "rotation.lw")  # type: ignore[union-attr]
    code = "import llmwidgets as lw\ndial = lw.RotaryDial(lw.load_record('rotation.lw'), key_token=4)\ndial"
    write_notebook(folder / "dial.ipynb", code)
    with serving(folder, tmp_path / "home") as server:
        notebook = Notebook(chromium, server.address("dial.ipynb"))
        try:
            notebook.run_all()
            assert notebook.cell_errors() == []
            page = notebook.page
            page.wait_for_selector(".lw-rd-plot svg text")
            page.locator(".lw-rd-plot").press("Shift+ArrowRight")
            page.locator(".lw-rd-plot").press("Enter")
            for _ in range(40):  # messages of the page may still be on their way
                if notebook.ask("print(dial.position, dial.distance, dial.frequency)") == "17 17 10":
                    break
                page.wait_for_timeout(50)
            else:
                pytest.fail("the kernel never heard of it")
            notebook.ask("dial.layer, dial.head, dial.scaling = 2, 3, 'linear'")
            score = float(notebook.ask("print(dial.record.scores(2, 3, 11, 4, [17], 'linear')[0])"))
            page.wait_for_function(
                "text => document.querySelector('.lw-sentence').textContent.replace('−', '-').includes(text)",
                arg=f"17 apart, score {score:.2f}.",
            )
            assert "layer 2, head 3 · linear × 4" in page.locator(".lw-title small").inner_text()
            assert notebook.errors == []
        finally:
            notebook.close()
