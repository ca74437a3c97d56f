"""One smoke test in a real marimo: the heatmap through `mo.ui.anywidget`, painted and two-way."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.browser.chromium import only_local

pytestmark = pytest.mark.browser

APP = """
import marimo

app = marimo.App()


@app.cell
def _():
    import marimo as mo
    import numpy as np
    import llmwidgets as lw

    weights = np.tril(np.ones((2, 3, 9, 9)))
    weights /= weights.sum(axis=-1, keepdims=True)
    heatmap = mo.ui.anywidget(lw.AttentionHeatmap.from_arrays(weights, [f" t{i}" for i in range(9)]))
    heatmap
    return (heatmap,)


@app.cell
def _(heatmap):
    import marimo as _mo

    _mo.md(f"kernel: layer {heatmap.value['layer']}, head {heatmap.value['head']}")
    return


if __name__ == "__main__":
    app.run()
"""


@pytest.fixture
def marimo(tmp_path: Path) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (tmp_path / "app.py").write_text(APP)
    command = [
        sys.executable,
        "-m",
        "marimo",
        "run",
        "app.py",
        "--headless",
        "--no-token",
        "--port",
        str(port),
    ]
    log = tmp_path / "marimo.log"
    own = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "MARIMO_SKIP_UPDATE_CHECK": "1"}
    with log.open("w") as out:
        process = subprocess.Popen(
            command, cwd=tmp_path, stdout=out, stderr=subprocess.STDOUT, env=os.environ | own
        )
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5)
                break
            except (urllib.error.URLError, OSError):
                assert process.poll() is None, log.read_text()
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


def test_a_heatmap_paints_in_marimo_and_reaches_the_kernel(chromium: Browser, marimo: str) -> None:
    context = chromium.new_context(viewport={"width": 1000, "height": 900})
    only_local(context)  # marimo's own page may ask for fonts; the widget must paint without
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto(marimo)
    title = page.locator(".lw-title small")  # Playwright's locators reach into marimo's shadow root
    title.get_by_text("layer 0, head 0").wait_for()
    colours = page.locator(".lw-map canvas").first.evaluate(
        """canvas => new Set(new Uint32Array(canvas.getContext('2d')
          .getImageData(0, 0, canvas.width, canvas.height).data.buffer)).size"""
    )
    assert colours > 10
    page.locator(".lw-map").press("}")
    title.get_by_text("layer 1, head 0").wait_for()
    page.get_by_text("kernel: layer 1, head 0").wait_for()
    context.close()
