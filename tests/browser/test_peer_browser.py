"""What `benchmarks.peers` does in Chromium: our page answers every input, and a page that blocks is ended."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from benchmarks.peer_browser import MOVES, open_and_measure
from benchmarks.peer_pages import make_page
from tests.test_benchmarks import TOKENS, causal

pytestmark = pytest.mark.browser
VIEW = "AttentionHeatmap"


def test_our_page_paints_and_answers_every_input(chromium: Browser, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    heads = make_page(VIEW, causal(layers=3), TOKENS, path).heads
    assert heads == 24  # more than there are switches: none is to a head that was shown before
    seen = open_and_measure(chromium, VIEW, path, heads, {}, cap=60)
    assert (seen.stopped, seen.error, seen.num_outside) == ("", "", 0)
    assert seen.paint
    assert len(seen.switch) == len(seen.hover) == MOVES
    assert seen.num_nodes
    assert 16 < seen.num_nodes <= 2 * 16 + 100
    assert seen.heap_bytes
    assert seen.heap_bytes > 100_000


def test_a_page_that_asks_for_a_script_elsewhere_gets_it_from_disk_only(
    chromium: Browser, tmp_path: Path
) -> None:
    script = tmp_path / "script.js"
    script.write_text("const line = document.createElement('small'); line.textContent = 'layer 0';"
                      "document.getElementById('title').append(line);")  # fmt: skip
    path = tmp_path / "page.html"
    path.write_text(
        "<div id=title class=lw-title></div><script src=https://example.org/a.js></script>"
        "<script src=https://example.org/b.js></script>"
    )
    seen = open_and_measure(chromium, VIEW, path, 1, {"https://example.org/a.js": str(script)}, cap=30)
    assert seen.paint
    assert seen.num_outside == 2
    assert seen.error.startswith("hover: ")  # there is no map to point at


def test_a_page_that_blocks_is_ended_and_the_run_goes_on(chromium: Browser, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("<p>before</p><script>for (;;);</script>")
    seen = open_and_measure(chromium, VIEW, path, 64, {}, cap=3)
    assert (seen.stopped, seen.paint, seen.switch) == ("paint", None, [])
    page = chromium.new_page()
    assert page.evaluate("1 + 1") == 2
    page.close()
