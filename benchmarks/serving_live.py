"""Measures `explore(engine.serve, ...)` in a real JupyterLab: a knob is dragged and let go.

    python -m benchmarks.serving_live

Each move is an input event of the slider. COUNTED is the replay of the last tokens, once the timeline shows
another picture; MEASURED is the first picture of the model's own steps after it.
"""

from __future__ import annotations

import os
from typing import Any

from playwright.sync_api import sync_playwright

from benchmarks.first_light import notebook, quantiles
from tests.browser.chromium import launch

CELL = """import llmwidgets as lw
from ipywidgets import fixed
engine = lw.load()
requests = lw.workload("chat", 32, scale=0.5, rate=0)
explorer = lw.explore(
    engine.serve, requests=fixed(requests), max_num_seqs=(2, 16), num_gpu_blocks=fixed(256),
    ignore_eos=fixed(True),
)
explorer"""
PAINTED = "() => document.querySelector('.lw-title small') !== null"

# moves -> for each the milliseconds to COUNTED with another picture, and from there to MEASURED.
DRAG = """async moves => {
  const frame = () => new Promise(requestAnimationFrame);
  const handle = document.querySelector('.widget-slider .noUi-handle');
  const badge = () => document.querySelector('.lw-badge').textContent;
  const picture = () => document.querySelector('.lw-figure canvas').toDataURL().length
    + document.querySelector('.lw-title small').textContent;
  const out = [];
  for (let i = 0; i < moves; i++) {
    const before = picture();
    const start = performance.now();
    const key = i % 2 ? 'ArrowLeft' : 'ArrowRight';
    handle.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true, cancelable: true}));
    while (!(badge() === 'COUNTED' && picture() !== before)) {
      await frame();
      if (performance.now() - start > 20000) throw new Error('no answer');
    }
    await frame();
    const counted = performance.now();
    while (badge() !== 'MEASURED') {
      await frame();
      if (performance.now() - counted > 60000) throw new Error('no measurement');
    }
    await frame();
    out.push({counted: counted - start, measured: performance.now() - counted});
    const busy = () => document.querySelector('.lw-status').dataset.state === 'busy';
    while (busy()) await new Promise(done => setTimeout(done, 100));
    await new Promise(done => setTimeout(done, 300));
  }
  return out;
}"""


def main() -> None:
    """Measure and print a table."""
    before = os.getloadavg()[0]
    with sync_playwright() as playwright:
        browser = launch(playwright)
        with notebook(browser, CELL, ready=PAINTED) as opened:
            opened.ask("explorer.wait()")
            moves: list[dict[str, Any]] = opened.page.evaluate(DRAG, 12)
            whole = opened.ask("print(round(explorer.record.metrics.duration, 2), repr(explorer.record))")
        browser.close()
    print(f"load average {before:.1f} before, {os.getloadavg()[0]:.1f} after; the last run took {whole}\n")
    print("| what | measured | bound | |\n|---|---|---|---|")
    counted, _ = quantiles([move["counted"] / 1e3 for move in moves])
    slowest = max(move["measured"] for move in moves)
    print(row(f"knob to the replayed picture, 32 requests, {len(moves)} moves, p50", counted, 150))
    print(row("replayed picture to the model's first steps, slowest", slowest, 500))


def row(name: str, milliseconds: float, bound: float) -> str:
    """Return a row of the table."""
    verdict = "holds" if milliseconds <= bound else "MISSED"
    return f"| {name} | {milliseconds:.0f} ms | ≤ {bound} ms | {verdict} |"


if __name__ == "__main__":
    main()
