"""What the browser tests of `KVCacheGrid` share: records, and ways to read and drive a page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from playwright.sync_api import Page

import llmwidgets as lw
from llmwidgets.records.kv_shape import KVShape
from llmwidgets.records.serving import Serving
from tests.browser.conftest import two_frames

COLOURS = """canvas => {
  const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  return new Set(new Uint32Array(data.buffer)).size;
}"""
PIXELS = "canvas => canvas.toDataURL()"
POOL = ".lw-kv-scroll >> nth=0"
TABLES = ".lw-kv-scroll >> nth=1"
CELLS = f"{POOL} >> canvas >> nth=0"
SHAPE = KVShape((8,) * 8, (4,) * 8, (64,) * 8, (64,) * 8, 4)  # 16,384 bytes a token

# Beginning of a script: the page's own module, loaded again, and a function that unpacks what travelled.
# The page's policy forbids eval but allows modules from blobs.
MODULE = """
  const page = JSON.parse(document.getElementById('llmwidgets-page').textContent);
  const source = new Blob([page.modules.kv_cache_grid], { type: 'text/javascript' });
  const module = await import(URL.createObjectURL(source));
  const bytes = text => new DataView(Uint8Array.from(atob(text), c => c.charCodeAt(0)).buffer);
  const unpack = value => {
    if (typeof value !== 'object' || value === null) return value;
    if (Array.isArray(value)) return value.map(unpack);
    if ('$bytes' in value) return bytes(value.$bytes);
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, unpack(item)]));
  };
"""

HOSTILE = [
    "<img src=x onerror=window.struck=1>",
    "</script><script>window.struck=2</script>",
    "\u202eevil",
    "👩‍👩‍👧‍👦",
    "\x00\x07",
    "long" * 2500,
]


def chat(count: int = 12, **knobs: Any) -> Serving:
    """Return a run under pressure: preemptions, evictions, a shared prefix."""
    knobs = {"block_size": 8, "num_gpu_blocks": 48, "max_num_seqs": 8} | knobs
    return lw.simulate(lw.workload("chat", count, vocab_size=1000, rate=0), **knobs)


def rag() -> Serving:
    """Return a run with much sharing, as if a model had made it."""
    serving = lw.simulate(lw.workload("rag", 12, vocab_size=1000), block_size=16, num_gpu_blocks=80)
    return replace(serving, model="some-model", kv_shape=SHAPE)


def sentence(page: Page) -> str:
    """Return what the figure says once it is painted."""
    two_frames(page)
    return page.locator(".lw-sentence").first.inner_text()


def label(page: Page) -> str:
    """Return what the player says once it is painted."""
    two_frames(page)
    return page.locator(".lw-player-label").first.inner_text()


def press(page: Page, key: str, where: str = POOL) -> str:
    """Press a key in the pool, or elsewhere, and return the sentence."""
    page.locator(where).press(key)
    return sentence(page)


def colours(page: Page, selector: str = CELLS) -> int:
    """Return how many colours a canvas has."""
    return page.locator(selector).evaluate(COLOURS)


def scrub(page: Page, step: int) -> None:
    """Drag the slider to a step."""
    drag = "(slider, step) => { slider.value = step; slider.dispatchEvent(new Event('input')); }"
    page.locator(".lw-player input").evaluate(drag, step)
    two_frames(page)


def saved(page: Page) -> tuple[ElementTree.Element, Path]:
    """Download the figure; return the SVG and the path of the PNG."""
    paths = {}
    for kind in ("SVG", "PNG"):
        page.locator(".lw-save summary").click()
        with page.expect_download() as download:
            page.get_by_role("button", name=kind, exact=True).click()
        assert download.value.suggested_filename == f"kv-cache.{kind.lower()}"
        paths[kind] = Path(download.value.path())
        page.keyboard.press("Escape")
    return ElementTree.parse(paths["SVG"]).getroot(), paths["PNG"]


def texts_of(svg: ElementTree.Element) -> list[str]:
    """Return the texts of a drawing, in order."""
    return ["".join(text.itertext()) for text in svg.iter("{http://www.w3.org/2000/svg}text")]
