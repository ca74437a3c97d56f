"""`Roofline` as an exported page in Chromium: by keyboard, narrow and wide, no label over another."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any
from xml.etree import ElementTree

import pytest
from playwright.sync_api import Page

import llmwidgets as lw
from llmwidgets.records.device_card import DEVICE_CARDS
from llmwidgets.records.roofline import Ceilings, RooflinePoint
from llmwidgets.widgets.page import write_page
from tests.browser.conftest import two_frames

pytestmark = pytest.mark.browser

# What the bundled model counts; times as one core of a server needed them.
PREFILL = {
    16: (0.024, 612368384, 84477952),
    64: (0.049, 2487222272, 86149120),
    256: (0.156, 10741612544, 92833792),
}
DECODE = {1: 0.0125, 2: 0.0172, 4: 0.0209, 8: 0.0260, 16: 0.0350, 32: 0.0578}
DEVICES = ["", *(card.name for card in DEVICE_CARDS)]
BOXES = """() => [...document.querySelectorAll('.lw-roofline-plot svg')].map(svg => ({
  labels: [...svg.querySelectorAll('text')].map(t => [t.textContent, t.getBoundingClientRect().toJSON()]),
  marks: [...svg.querySelectorAll('rect[stroke-width="1.6"], circle[stroke-width="1.6"]')]
    .map(m => m.getBoundingClientRect().toJSON()),
  frame: svg.getBoundingClientRect().toJSON(),
}))"""


def sweep(slowdown: float = 1.2) -> lw.RooflineSweep:
    """Return a sweep whose decode steps took `slowdown` times as long by the clock as by the processor."""
    points = [
        RooflinePoint("prefill", 1, length, 0, flops, 0, nbytes, 0, 0, seconds, seconds, seconds)
        for length, (seconds, flops, nbytes) in PREFILL.items()
    ]
    points += [
        RooflinePoint(
            "decode", B, B, 128, 44056576 * B, 0, 83920896, 2132992 * B, 0, time, time, slowdown * time
        )
        for B, time in DECODE.items()
    ]
    ceilings = Ceilings("a desk", "float32", 2, 88.5e9, 19.1e9)
    return lw.RooflineSweep("classics", ceilings, tuple(points), 83920896)


def given(labels: list[str], **traits: Any) -> lw.Roofline:
    count = len(labels)
    intensity = [0.3 * 1.7**i for i in range(count)]
    reached = [min(1e11, 2e10 * x) * (0.2 + 0.7 * (i % 3) / 2) for i, x in enumerate(intensity)]
    return lw.Roofline.from_arrays(intensity, reached, 1e11, 2e10, labels=labels, **traits)


def sentence(page: Page) -> str:
    two_frames(page)
    return page.locator(".lw-sentence").first.inner_text()


def press(page: Page, key: str) -> str:
    page.get_by_role("application").first.press(key)
    return sentence(page)


def overlaps(a: dict[str, float], b: dict[str, float]) -> bool:
    return (
        a["left"] < b["right"]
        and b["left"] < a["right"]
        and a["top"] < b["bottom"]
        and b["top"] < a["bottom"]
    )


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_paints_with_sentence_legend_badge_and_help(open_page: Callable[..., Page], theme: str) -> None:
    page = open_page(lw.Roofline(sweep()).to_html(), color_scheme=theme)
    assert sentence(page) == (
        "a desk, 2 threads: 88.5 GFLOP/s and 19.1 GB/s at best, measured. Below 4.63 FLOP/byte, the ridge, "
        "memory is the limit: so for 4 of 9 steps."
    )
    assert page.locator(".lw-sentence").get_attribute("aria-live") == "polite"
    assert page.locator(".lw-badge").inner_text() == "MEASURED"
    assert page.locator(".lw-title small").inner_text() == "classics · float32 · context 128"
    legend = page.locator(".lw-legend").inner_text()
    assert "decode of B sequences" in legend
    assert "roof: FLOP/s at best" in legend
    assert "hollow: the step's bound" in legend
    texts = page.locator(".lw-roofline-plot text").all_text_contents()
    for expected in (
        "operational intensity, FLOP/byte",
        "FLOP/s",
        "88.5 GFLOP/s",
        "19.1 GB/s",
        "ridge 4.63 FLOP/byte",
    ):
        assert expected in texts
    page.locator(".lw-help summary").click()
    assert "Ridge" in page.locator(".lw-help").inner_text()


@pytest.mark.parametrize("width", [320, 760, 1200])
@pytest.mark.parametrize("device", DEVICES)
def test_no_label_lies_over_another_or_over_a_mark(
    open_page: Callable[..., Page], width: int, device: str
) -> None:
    page = open_page(lw.Roofline(sweep(), device=device).to_html(), width=width)
    (drawn,) = page.evaluate(BOXES)
    named = [name for name, _ in drawn["labels"]]
    assert {"T=256", "B=1"} <= set(named)
    assert sum(name.startswith("ridge ") for name in named) == 1
    for (one, a), (other, b) in combinations(drawn["labels"], 2):
        assert not overlaps(a, b), (one, other)
    for name, box in drawn["labels"]:
        assert not any(overlaps(box, mark) for mark in drawn["marks"]), name
        assert box["left"] >= drawn["frame"]["left"], name
        assert box["right"] <= drawn["frame"]["right"], name
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("width", [320, 760, 1200])
def test_crowded_and_long_labels_do_not_overlap_either(open_page: Callable[..., Page], width: int) -> None:
    page = open_page(given([f"kernel number {i} of many" for i in range(24)]).to_html(), width=width)
    (drawn,) = page.evaluate(BOXES)
    assert sum("kernel" in name for name, _ in drawn["labels"]) >= 2
    for (one, a), (other, b) in combinations(drawn["labels"], 2):
        assert not overlaps(a, b), (one, other)


def test_arrows_read_the_steps_enter_pins_escape_clears(open_page: Callable[..., Page]) -> None:
    page = open_page(lw.Roofline(sweep()).to_html())
    rest = sentence(page)
    assert press(page, "ArrowRight").startswith(
        "Prefill of 16 tokens: 612 MFLOP over 84.5 MB is 7.25 FLOP/byte"
    )
    assert press(page, "End").startswith("Decode of 32 sequences, 128 tokens in the cache of each: ")
    step = press(page, "ArrowLeft")
    assert "so arithmetic is the limit. At best 7.97 ms, measured 35 ms" in step
    assert "measured 35 ms: reaches 23% of the bound." in step
    press(page, "Enter")
    rings = page.locator('.lw-roofline-plot circle[r="10"]')
    assert rings.count() == 1
    press(page, "Home")
    assert rings.count() == 2
    assert press(page, "Escape") == rest
    assert rings.count() == 0


def test_times_of_a_busy_machine_are_said_to_be_rough(open_page: Callable[..., Page]) -> None:
    page = open_page(lw.Roofline(sweep(slowdown=3)).to_html())
    assert sentence(page).endswith("Other programs ran beside it, so its times are rough.")
    assert "measured 57.8 ms (173 ms on the clock of a busy machine): reaches" in press(page, "End")


def test_the_pointer_reads_a_step_and_a_click_pins_it(open_page: Callable[..., Page]) -> None:
    page = open_page(lw.Roofline(sweep()).to_html())
    box = page.locator(".lw-roofline-plot circle[r='5']").first.bounding_box()
    assert box
    page.mouse.move(box["x"] + 6, box["y"] + 6)
    assert sentence(page).startswith("Decode of 1 sequence, 128 tokens in its cache: 44.1 MFLOP over 86.1 MB")
    page.mouse.down()
    page.mouse.up()
    page.mouse.move(1, 1)
    assert sentence(page).startswith("Decode of 1 sequence")


def test_another_device_is_modelled_and_says_from_which_document(open_page: Callable[..., Page]) -> None:
    page = open_page(lw.Roofline(sweep()).to_html())
    height = page.locator(".lw").bounding_box()["height"]
    page.get_by_label("Device").select_option("NVIDIA H100 SXM")
    said = sentence(page)
    assert said == (
        "NVIDIA H100 SXM in bfloat16: 989 TFLOP/s and 3.35 TB/s by NVIDIA H100 Tensor Core GPU datasheet "
        "(2026-11); ridge at 295 FLOP/byte. Nothing ran there."
    )
    assert page.locator(".lw-badge").inner_text() == "MODELLED"
    assert page.locator(".lw").bounding_box()["height"] == height
    # The same step in 16 bits: half the bytes, twice the intensity, and a bound of microseconds.
    said = press(page, "End")
    assert "on NVIDIA H100 SXM in bfloat16: 1.41 GFLOP over 76.1 MB is 18.5 FLOP/byte" in said
    assert "At best 22.7 µs; modelled, nothing ran." in said
    page.get_by_label("Device").select_option("")
    assert page.locator(".lw-badge").inner_text() == "MEASURED"


def test_a_step_above_the_roof_is_said_to_be(open_page: Callable[..., Page]) -> None:
    page = open_page(lw.Roofline.from_arrays([0.5], [2e10], 1e11, 2e10, labels=["cached"]).to_html())
    said = press(page, "Home")
    assert "measured 20 GFLOP/s: reaches 200% of the bound" in said
    assert said.endswith(", so part of it never came from memory but from a cache.")
    assert page.locator(".lw-badge").inner_text() == "GIVEN"
    assert not page.locator(".lw-roofline-device").is_visible()


def test_hostile_labels_are_shown_as_text(open_page: Callable[..., Page]) -> None:
    hostile = ["<img src=x onerror=alert(1)>", "</script><b>", "\u202eevil", "x" * 10_000, "", "\ud800"]
    page = open_page(given(hostile[:-1], name="<b>machine</b>").to_html())
    assert page.locator(".lw-figure img, .lw-figure b").count() == 0
    assert "<b>machine</b>: 100 GFLOP/s" in sentence(page)
    for _ in hostile:
        assert len(press(page, "ArrowRight")) < 300
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("width", [320, 1600])
def test_it_fits_its_container(open_page: Callable[..., Page], width: int) -> None:
    page = open_page(lw.Roofline(sweep(), device=DEVICES[3]).to_html(), width=width)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_it_paints_when_a_hidden_tab_is_shown(open_page: Callable[..., Page]) -> None:
    shown, hidden = '<main id="llmwidgets-widgets"', '<main style="display: none" id="llmwidgets-widgets"'
    page = open_page(lw.Roofline(sweep()).to_html().replace(shown, hidden))
    assert page.locator(".lw-roofline-plot text").count() == 0
    page.evaluate("document.querySelector('main').style.display = 'block'")
    two_frames(page)
    two_frames(page)
    assert page.locator(".lw-roofline-plot text").count() > 10


def test_two_on_a_page_do_not_disturb_each_other(open_page: Callable[..., Page]) -> None:
    page = open_page(write_page([lw.Roofline(sweep()), lw.Roofline(sweep(), device="NVIDIA L4")]))
    press(page, "Home")
    said = page.locator(".lw-sentence").all_inner_texts()
    assert said[0].startswith("Prefill of 16 tokens")
    assert said[1].startswith("NVIDIA L4 in bfloat16")
    assert page.locator(".lw-badge").all_inner_texts() == ["MEASURED", "MODELLED"]


def test_it_downloads_as_svg_with_text_and_as_png(open_page: Callable[..., Page]) -> None:
    page = open_page(lw.Roofline(sweep()).to_html())
    for kind in ("SVG", "PNG"):
        page.locator(".lw-save summary").click()
        with page.expect_download() as download:
            page.get_by_role("button", name=kind, exact=True).click()
        assert download.value.suggested_filename == f"roofline.{kind.lower()}"
        if kind == "SVG":
            svg = ElementTree.parse(download.value.path()).getroot()
            texts = ["".join(text.itertext()) for text in svg.iter("{http://www.w3.org/2000/svg}text")]
            assert "Roofline: classics · a desk · float32 · context 128" in texts
            assert "ridge 4.63 FLOP/byte" in texts
        page.keyboard.press("Escape")
