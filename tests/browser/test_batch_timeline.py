"""`BatchTimeline` as an exported page in Chromium: true cells, keyboard, zoom, all widths, hostile ids."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from PIL import Image
from playwright.sync_api import Page

import llmwidgets as lw
from llmwidgets.widgets.batch_timeline_source import STATES, timeline_of
from llmwidgets.widgets.page import write_page
from tests.browser.conftest import two_frames, until
from tests.served_runs import KNOBS, served, stepped

pytestmark = pytest.mark.browser

COLOURS = """canvas => {
  const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  return new Set(new Uint32Array(data.buffer)).size;
}"""
PIXEL = """(canvas, [x, y]) => {
  const ratio = devicePixelRatio;
  const [red, green, blue, alpha] = canvas.getContext('2d').getImageData(x * ratio, y * ratio, 1, 1).data;
  return [red, green, blue].map(part => Math.round(255 + ((part - 255) * alpha) / 255)); // on white
}"""
PIXELS = "canvas => canvas.toDataURL()"
CELLS = ".lw-bt-plot canvas >> nth=0"
TOP = 24  # of the first row, where a panel has no title
ROW = 20

ROWS = {
    "a": ["queued", "prefill", "prefill", "decode", "preempted", "prefill", "speculated", "finished"],
    "b": ["prefill", "decode", "decode", "idle", "idle", "padding", "finished", "finished"],
    "c": ["not arrived", "not arrived", "queued", "prefill", "decode", "decode", "decode", "decode"],
}


def given(**traits: Any) -> lw.BatchTimeline:
    tokens = [[0, 9, 3, 1, 0, 13, 4, 0], [5, 1, 1, 0, 0, 0, 0, 0], [0, 0, 0, 6, 1, 1, 1, 1]]
    return lw.BatchTimeline.from_arrays(
        ROWS, tokens=tokens, max_num_batched_tokens=16, max_num_seqs=3, **traits
    )


def timeline(name: str = "preempted", **traits: Any) -> lw.BatchTimeline:
    return lw.BatchTimeline(served(name), **traits)


def colours(page: Page, selector: str = CELLS) -> int:
    return page.locator(selector).evaluate(COLOURS)


def sentence(page: Page) -> str:
    two_frames(page)
    return page.locator(".lw-sentence").first.inner_text()


def title(page: Page) -> str:
    two_frames(page)
    return page.locator(".lw-title small").first.inner_text()


def press(page: Page, key: str) -> str:
    page.locator(".lw-bt-plot").first.press(key)
    return sentence(page)


def place(page: Page, row: int, step: int, steps: int, down: float = 0.5) -> tuple[float, float]:
    """Return where a cell of the first panel lies, as long as nothing is zoomed, in the plot's pixels."""
    width = page.locator(".lw-figure").first.evaluate("figure => figure.clientWidth")
    left = max(62, min(116, int(width * 0.13)))
    return left + (step + 0.5) * (width - left - 14) / steps, TOP + (row + down) * ROW


def hover(page: Page, row: int, step: int, steps: int) -> str:
    x, y = place(page, row, step, steps)
    page.locator(".lw-bt-plot").first.hover(position={"x": x, "y": y})
    return sentence(page)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_paints_with_sentence_legend_badge_and_help(open_page: Callable[..., Page], theme: str) -> None:
    page = open_page(timeline().to_html(), color_scheme=theme)
    assert colours(page) > 60
    assert sentence(page) == "Step 27: 5 of 32 tokens (5 decode); 5 of 6 sequences compute, 7 wait."
    assert page.locator(".lw-sentence").get_attribute("aria-live") == "polite"
    assert title(page) == "12 requests × 223 steps · step 27"
    assert page.locator(".lw-badge").inner_text() == "COUNTED"
    legend = page.locator(".lw-legend").inner_text()
    for what in ("queued", "prefill, tokens", "decode, 1 token", "preempted", "idle slot", "padding", "TTFT"):
        assert what in legend
    for sample in page.locator(".lw-bt-sample").all():
        assert sample.evaluate(COLOURS) >= 2
    page.locator(".lw-help summary").click()
    assert "max_num_batched_tokens" in page.locator(".lw-help").inner_text()


def test_a_change_of_theme_repaints(open_page: Callable[..., Page]) -> None:
    page = open_page(timeline().to_html(), color_scheme="light")
    light = [page.locator(which).evaluate(PIXELS) for which in (CELLS, ".lw-bt-sample >> nth=0")]
    page.emulate_media(color_scheme="dark")
    two_frames(page)
    dark = [page.locator(which).evaluate(PIXELS) for which in (CELLS, ".lw-bt-sample >> nth=0")]
    assert light[0] != dark[0]
    assert light[1] != dark[1]
    background = page.locator(".lw").evaluate("root => getComputedStyle(root).backgroundColor")
    assert sum(map(int, re.findall(r"\d+", background)[:3])) < 3 * 60


WORDS = {
    "not arrived": "has not arrived",
    "queued": "queued for",
    "prefill": "prefill of",
    "decode": "decode, new token",
    "preempted": "preempted",
    "finished": "finished in step",
    "idle": "idle",
}


@pytest.mark.parametrize("name", ["preempted", "in static batches"])
def test_the_sentence_of_a_cell_is_what_the_record_says(open_page: Callable[..., Page], name: str) -> None:
    serving = served(name)
    run, steps = timeline_of(serving), len(serving.log)
    page = open_page(timeline(name).to_html(), width=1500)
    seen = set()
    for row in range(len(run.rows)):
        for step in range(row % 5, steps, 29):
            said, state = hover(page, row, step, steps), STATES[run.states[row, step]]
            assert said.startswith(f"r{row}, step {step}: ")
            assert WORDS[state] in said
            if state == "prefill":
                assert f"prefill of {run.tokens[row, step]} token" in said
            if state in ("prefill", "decode"):
                assert f", {serving.steps[step].computed_after[f'r{row}']} of " in said
            if state == "decode":
                assert f"new token {run.new_tokens[row, : step + 1].sum()}, " in said
            seen.add(state)
    assert len(seen) >= 6


def test_each_state_has_a_shape_of_its_own(open_page: Callable[..., Page]) -> None:
    page = open_page(given().to_html(), color_scheme="light")
    blue = [0x00, 0x72, 0xB2]

    def pixels(row: int, step: int) -> list[list[int]]:
        x, _ = place(page, row, step, 8)
        heights = [place(page, row, step, 8, down)[1] for down in (0.13, 0.22, 0.5)]
        return [page.locator(CELLS).evaluate(PIXEL, [x - 30, y]) for y in heights]

    paper = pixels(0, 7)  # finished: nothing is drawn
    assert paper[0] == paper[1] == paper[2]
    assert pixels(0, 1) == [blue, blue, blue]  # prefill fills the row
    decode = pixels(0, 3)
    assert decode[0] == decode[1] == paper[0]  # decode is a thin bar
    assert decode[2] not in (blue, paper[2])
    speculated = pixels(0, 6)
    assert speculated[0] not in (paper[0], blue)  # rails above and below
    assert speculated[1] == paper[0]
    idle = pixels(1, 3)
    assert idle[2] == idle[1] != idle[0]  # an outline
    first = pixels(2, 2)
    assert first[2] != first[1] == first[0]  # queued is a line


def test_arrows_move_enter_marks_escape_clears(open_page: Callable[..., Page]) -> None:
    page = open_page(timeline().to_html())
    rest = sentence(page)
    assert press(page, "ArrowDown").startswith("r0, step 27: decode")
    assert press(page, "ArrowDown").startswith("r1, step 27: ")
    assert press(page, "Shift+ArrowRight").startswith("r1, step 37: ")
    assert press(page, "ArrowUp").startswith("r0, step 37: ")
    press(page, "Enter")
    assert title(page).endswith("step 37")
    assert press(page, "Home").startswith("r0, step 0: prefill of 32 tokens")
    assert press(page, "ArrowLeft").startswith("r0, step 0: ")
    assert press(page, "End").startswith("r0, step 222: finished in step 43 (length)")
    assert press(page, "Escape").startswith("Step 37: ")
    assert rest.startswith("Step 27: ")


def test_a_click_marks_step_and_request_and_the_axis_scrubs(open_page: Callable[..., Page]) -> None:
    page = open_page(timeline().to_html())
    x, y = place(page, 4, 60, 223)
    page.locator(".lw-bt-plot").click(position={"x": x, "y": y})
    assert title(page).endswith("step 60")
    page.mouse.move(2, 2)
    assert sentence(page).startswith("r4, step 60: waits to be computed again, preempted at step 49")
    box = page.locator(".lw-bt-plot").bounding_box()
    assert box
    for step in (100, 150):
        page.mouse.move(box["x"] + place(page, 0, step, 223)[0], box["y"] + 10)
        page.mouse.down()
    assert title(page).endswith("step 150")
    page.mouse.up()


def test_zoom_and_pan_and_back(open_page: Callable[..., Page]) -> None:
    page = open_page(timeline().to_html())
    whole = page.locator(CELLS).evaluate(PIXELS)
    assert not page.locator(".lw-bt-across").is_visible()
    press(page, "+")
    nearer = page.locator(CELLS).evaluate(PIXELS)
    assert nearer != whole
    assert page.locator(".lw-bt-across").is_visible()
    assert not page.locator(".lw-bt-down").is_visible()  # all rows fit: only steps are enlarged
    press(page, "0")
    assert page.locator(CELLS).evaluate(PIXELS) == whole
    page.get_by_role("button", name="Zoom in").click()
    assert page.locator(CELLS).evaluate(PIXELS) != whole
    page.get_by_role("button", name="Reset the zoom").click()
    two_frames(page)
    assert page.locator(CELLS).evaluate(PIXELS) == whole
    x, y = place(page, 3, 100, 223)
    page.locator(".lw-bt-plot").hover(position={"x": x, "y": y})
    page.keyboard.down("Control")
    page.mouse.wheel(0, -400)
    page.keyboard.up("Control")
    assert sentence(page).startswith("r3, step 100: ")  # the cell under the pointer stays there
    zoomed = page.locator(CELLS).evaluate(PIXELS)
    assert zoomed != whole
    page.mouse.down()
    page.mouse.move(page.viewport_size["width"] / 2, 200, steps=4)
    page.mouse.up()
    two_frames(page)
    assert page.locator(CELLS).evaluate(PIXELS) != zoomed
    assert title(page).endswith("step 27")  # a drag marks nothing
    page.locator(".lw-bt-plot").dblclick(position={"x": x, "y": y})
    two_frames(page)
    assert page.locator(CELLS).evaluate(PIXELS) == whole


def test_the_wheel_alone_scrolls_the_page(open_page: Callable[..., Page]) -> None:
    serving = lw.simulate(lw.workload("chat", 80, vocab_size=1000), **(KNOBS | {"num_gpu_blocks": 200}))
    page = open_page(write_page([lw.BatchTimeline(serving)] * 4))
    page.locator(".lw-bt-plot").first.hover()
    before = page.locator(CELLS).evaluate(PIXELS)
    page.mouse.wheel(0, 300)
    until(page, "window.scrollY > 200")
    assert page.locator(CELLS).evaluate(PIXELS) == before


def test_many_rows_scroll_inside_a_fixed_height(open_page: Callable[..., Page]) -> None:
    serving = lw.simulate(lw.workload("chat", 80, vocab_size=1000), **(KNOBS | {"num_gpu_blocks": 200}))
    page = open_page(lw.BatchTimeline(serving, step=0).to_html())
    assert page.locator(".lw-bt-plot").bounding_box()["height"] < 530
    bar = page.locator(".lw-bt-down")
    assert bar.is_visible()
    press(page, "ArrowDown")
    for _ in range(4):
        said = press(page, "Shift+ArrowDown")
    assert said.startswith("r40, step 0: ")  # the cursor takes the window with it
    box = bar.bounding_box()
    before = page.locator(CELLS).evaluate(PIXELS)
    page.mouse.move(box["x"] + 4, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 4, box["y"] + box["height"] - 4, steps=3)
    page.mouse.up()
    two_frames(page)
    assert page.locator(CELLS).evaluate(PIXELS) != before


@pytest.mark.parametrize("width", [320, 700, 1600])
@pytest.mark.parametrize("two", [False, True], ids=["one", "two"])
def test_it_fits_its_container(open_page: Callable[..., Page], width: int, two: bool) -> None:
    other = {"against": served("in static batches")} if two else {}
    page = open_page(timeline(**other).to_html(), width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert colours(page) > 40
    height = page.locator(".lw").bounding_box()["height"]
    for row, step in ((0, 3), (5, 40), (11, 200)):
        hover(page, row, step, 285 if two else 223)
        assert page.locator(".lw").bounding_box()["height"] == height


def test_it_follows_a_container_that_changes(open_page: Callable[..., Page]) -> None:
    page = open_page(timeline().to_html(), width=1200)
    wide = page.locator(CELLS).bounding_box()["width"]
    page.set_viewport_size({"width": 330, "height": 900})
    two_frames(page)
    assert page.locator(CELLS).bounding_box()["width"] < wide
    assert page.evaluate("document.documentElement.scrollWidth") <= 330


def test_two_runs_stand_above_each_other_with_their_first_difference(open_page: Callable[..., Page]) -> None:
    widget = timeline("in static batches", against=served("preempted"), title="static", step=4)
    page = open_page(widget.to_html())
    said = sentence(page)
    assert said.startswith("Step 4. static: ")
    assert ". second run: " in said
    assert widget._timeline["difference"]["text"] in said
    assert "first difference" in page.locator(".lw-legend").inner_text()
    press(page, "ArrowDown")
    for _ in range(4):
        said = press(page, "ArrowDown")
    assert said.startswith("r4, step 4. static: queued for")
    assert ". second run: prefill of 9 tokens" in said


HOSTILE = [
    "<img src=x onerror=window.struck=1>",
    "</script><script>window.struck=2</script>",
    "\u202eevil\u2067",
    "👩‍👩‍👧‍👦",
    "\x00\x07\x1b[31m",
    "long" * 2500,
    "宽" * 400,
    " ",
    "\ud800",
]


def test_hostile_ids_are_shown_as_text(open_page: Callable[..., Page]) -> None:
    rows = {name: ["queued", "prefill", "decode"] for name in HOSTILE}
    page = open_page(lw.BatchTimeline.from_arrays(rows, title=HOSTILE[0]).to_html(), width=320)
    assert page.locator(".lw-figure img").count() == 0
    for name in HOSTILE:
        said = press(page, "ArrowDown")
        assert len(said) < 200
        if name == HOSTILE[2]:
            assert said.startswith("‹202e›evil‹2067›, step 0: queued")
    press(page, "Enter")
    assert page.evaluate("window.struck") is None
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    assert colours(page) > 20


def test_it_paints_when_a_hidden_tab_is_shown(open_page: Callable[..., Page]) -> None:
    html = timeline().to_html()
    hidden = html.replace(
        '<main id="llmwidgets-widgets"', '<main style="display: none" id="llmwidgets-widgets"'
    )
    assert hidden != html
    page = open_page(hidden)
    page.evaluate("document.querySelector('main').style.display = 'block'")
    until(page, "document.querySelector('.lw-bt-plot canvas').width > 400")
    two_frames(page)
    assert colours(page) > 60


def test_two_on_a_page_do_not_disturb_each_other(open_page: Callable[..., Page]) -> None:
    page = open_page(write_page([timeline(), given(step=2)]))
    plots = page.locator(".lw-bt-plot")
    assert plots.count() == 2
    other = page.locator(".lw-bt-plot canvas >> nth=2").evaluate(PIXELS)
    plots.nth(0).press("+")
    plots.nth(0).press("ArrowDown")
    plots.nth(0).press("Enter")
    two_frames(page)
    titles = page.locator(".lw-title small").all_inner_texts()
    assert titles == ["12 requests × 223 steps · step 27", "3 requests × 8 steps · step 2"]
    assert page.locator(".lw-sentence").nth(1).inner_text().startswith("Step 2: ")
    assert page.locator(".lw-bt-plot canvas >> nth=2").evaluate(PIXELS) == other


@pytest.mark.parametrize("ids", [["a", "b"], HOSTILE[:-1]], ids=["plain", "hostile"])
def test_it_downloads_as_svg_and_png(open_page: Callable[..., Page], ids: list[str]) -> None:
    rows = {name: ["queued", "prefill", "decode"] for name in ids}
    tokens = [[0, 47, 1]] * len(ids)
    page = open_page(lw.BatchTimeline.from_arrays(rows, tokens=tokens, max_num_batched_tokens=64).to_html())
    saved = {}
    for kind in ("SVG", "PNG"):
        page.locator(".lw-save summary").click()
        with page.expect_download() as download:
            page.get_by_role("button", name=kind, exact=True).click()
        assert download.value.suggested_filename == f"batch-timeline.{kind.lower()}"
        saved[kind] = Path(download.value.path())
        page.keyboard.press("Escape")
    svg = ElementTree.parse(saved["SVG"]).getroot()
    texts = ["".join(text.itertext()) for text in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert {"step", "0", "1", "2", "47", "64", "tokens", "sequences"} <= {*texts}
    assert any("prefill (tokens)" in text for text in texts)
    assert len(list(svg.iter("{http://www.w3.org/2000/svg}image"))) == 1
    assert len(list(svg.iter("{http://www.w3.org/2000/svg}line"))) >= 5
    with Image.open(saved["PNG"]) as image:
        assert image.format == "PNG"
        assert image.width == 2 * round(float(svg.get("width", "0")))
        assert len(image.convert("RGB").getcolors(1 << 24)) > 20


def test_a_thousand_requests_are_painted(open_page: Callable[..., Page]) -> None:
    serving = lw.simulate(
        lw.workload("chat", 1000, vocab_size=1000, rate=12, scale=0.62),
        block_size=16,
        num_gpu_blocks=900,
        max_num_seqs=300,
        max_num_batched_tokens=1024,
    )
    page = open_page(lw.BatchTimeline(serving, step=100).to_html())
    there = timeline_of(serving).states[:, 100]
    first = next(row for row in range(1000) if STATES[there[row]] not in ("not arrived", "finished"))
    assert press(page, "ArrowDown").startswith(
        f"r{first}, step 100: "
    )  # what is there at the step is in view
    assert colours(page) > 60
    assert page.locator(".lw").evaluate("root => root.getElementsByTagName('*').length") < 200
    page.get_by_role("button", name="Every request").click()
    two_frames(page)
    assert colours(page) > 200
    assert hover(page, 0, 0, len(serving.log)).startswith("r")


LIVE = """async () => {
  const page = JSON.parse(document.getElementById('llmwidgets-page').textContent);
  const unpack = value => Array.isArray(value) ? value.map(unpack)
    : value && typeof value === 'object' ? ('$bytes' in value
      ? new DataView(Uint8Array.from(atob(value.$bytes), sign => sign.charCodeAt(0)).buffer)
      : Object.fromEntries(Object.entries(value).map(([key, item]) => [key, unpack(item)])))
    : value;
  const listeners = {};
  const state = unpack(page.widgets[0].state);
  const set = (name, value) => {
    state[name] = value;
    for (const call of listeners[`change:${name}`] ?? []) call();
  };
  window.records = page.widgets.map(widget => unpack(widget.state));
  window.model = {
    get: name => state[name], set, save_changes() {}, off() {},
    on: (name, call) => (listeners[name] ??= []).push(call),
  };
  const source = new Blob([page.modules.batch_timeline], { type: 'text/javascript' });
  const module = await import(URL.createObjectURL(source));
  const box = document.createElement('div');
  document.querySelector('main').replaceChildren(box);
  module.default.render({ model: window.model, el: box });
}"""
SHOW = """i => {
  const next = window.records[i];
  window.model.set('step', next.step);
  window.model.set('_timeline', next._timeline);
}"""


def test_a_growing_run_keeps_zoom_selection_and_height(open_page: Callable[..., Page]) -> None:
    records = list(stepped())
    widgets = [lw.BatchTimeline(records[count], step=5) for count in (10, 20, 40, 80)]
    page = open_page(write_page(widgets))
    page.evaluate(LIVE)
    two_frames(page)
    height = page.locator(".lw").bounding_box()["height"]
    press(page, "ArrowDown")
    press(page, "ArrowDown")
    press(page, "Enter")
    press(page, "+")
    marked = page.evaluate("window.model.get('selected_request')")
    assert marked == "1_r0"
    for i, widget in enumerate(widgets[1:], start=1):
        page.evaluate(SHOW, i)
        assert title(page) == f"12 requests in 16 rows × {widget.num_steps} steps · step 5"
        assert page.locator(".lw").bounding_box()["height"] == height
        assert page.evaluate("window.model.get('selected_request')") == marked
        assert page.locator(".lw-bt-across").is_visible()  # still zoomed
        assert sentence(page).startswith("1_r0, step 5: ")
    press(page, "0")
    assert not page.locator(".lw-bt-across").is_visible()
    page.evaluate(SHOW, 0)
    two_frames(page)
    assert not page.locator(".lw-bt-across").is_visible()  # what showed all goes on showing all
