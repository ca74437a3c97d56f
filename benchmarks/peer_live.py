"""The heatmap in a running JupyterLab, where the kernel brings each head when it is asked for."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Browser

from benchmarks.peer_browser import IN_PAGE, Seen, close, ended_after, inputs, take_steps
from benchmarks.peer_pages import Page
from benchmarks.peer_table import Row
from tests.browser.jupyterlab import Notebook, Server, write_notebook

VIEW = "AttentionHeatmap"
LIVE = "AttentionHeatmap in JupyterLab"
OPENING = 120  # seconds that JupyterLab may take to show the notebook
LOAD = """import time, llmwidgets as lw
record, _ = lw.load_record({path!r}), lw.AttentionHeatmap
print(len(record.layers) * len(record.heads))"""
CELL = "figure = lw.AttentionHeatmap(record)\nfigure"
CPU = "print(time.process_time())"
SENT = """import json; from ipywidgets.widgets.widget import _remove_buffers
state, _, buffers = _remove_buffers(figure.get_state())
print(len(json.dumps(state)) + sum(len(one) for one in buffers))"""
RUN = """async view => {
  const start = performance.now();
  void jupyterapp.commands.execute('notebook:run-all-cells');
  await bench.painted(view);
  return performance.now() - start;
}"""
NODES = "document.querySelector('.lw').getElementsByTagName('*').length"


def run_and_measure(
    browser: Browser, server: Server, folder: Path, record: Path, length: int, cap: float
) -> Row:
    """Run a cell that draws the record, from Run to the picture; then switch heads and hover as in a page.

    Args:
        browser: where the notebook is opened.
        server: a running JupyterLab over `folder`.
        folder: where the notebook is written.
        record: a saved attention record.
        length: its tokens.
        cap: seconds that each step may take.

    Returns:
        The row; its bytes are what the kernel sent, its CPU seconds what the kernel used.
    """
    notebook = folder / f"live{length}.ipynb"
    write_notebook(notebook, CELL)
    with ended_after(OPENING):
        opened = Notebook(browser, server.address(notebook.name))
    seen = Seen()
    told: dict[str, float] = {}

    def load() -> None:
        told["heads"] = float(opened.ask(LOAD.format(path=str(record))))
        opened.page.evaluate(IN_PAGE)
        told["before"] = float(opened.ask(CPU))

    def paint() -> None:
        seen.paint = opened.page.evaluate(RUN, VIEW)

    def count() -> None:
        told["after"] = float(opened.ask(CPU))
        told["bytes"] = float(opened.ask(SENT))
        seen.num_nodes = opened.page.evaluate(NODES)

    steps = {"load": load, "paint": paint, "count": count}
    take_steps(seen, steps | inputs(opened.page, VIEW, seen, switches=True, cap=cap), cap)
    seen.num_outside = len(opened.refused)
    close(opened.context)
    page = Page()
    if "bytes" in told:
        page = Page(int(told["bytes"]), told["after"] - told["before"], int(told["heads"]))
    return Row(length, LIVE, cap, page, seen, note=seen.error)
