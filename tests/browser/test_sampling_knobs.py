"""`explore(engine.generate, ...)` in JupyterLab: bars follow a knob at once, picks reach the engine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.jupyterlab import Notebook, serving, write_notebook

pytestmark = pytest.mark.browser

# The engine waits before each run until the test lets it go, so what moves before that was foreseen.
CELL = """
import threading
import llmwidgets as lw

engine = lw.load()
gate = threading.Event()
gate.set()

def generate(prompt, temperature, seed, output_prefix=()):
    gate.wait(60)
    return engine.generate(
        prompt, max_tokens=8, temperature=temperature, seed=seed, output_prefix=output_prefix, ignore_eos=True
    )

explorer = lw.explore(generate, prompt="It was a dark", temperature=(0.0, 2.0, 0.1), seed=(0, 20))
explorer
"""
LENGTHS = "[...document.querySelectorAll('.lw-nt-bar u')].map(bar => bar.style.width).join()"
MARK = "document.querySelector('.lw-nt-draw em').dataset.label"
SENTENCE = "document.querySelector('.lw-sentence').textContent"


@pytest.fixture
def notebook(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Notebook]:
    folder = tmp_path_factory.mktemp("notebooks")
    write_notebook(folder / "sampling.ipynb", CELL)
    with serving(folder, tmp_path_factory.mktemp("home")) as server:
        opened = Notebook(chromium, server.address("sampling.ipynb"))
        opened.run_all()
        yield opened
        opened.close()
        assert not opened.errors


def press(page: Page, knob: str, key: str) -> None:
    handle = page.locator(".widget-slider", has_text=knob).locator(".noUi-handle")
    handle.focus()
    handle.press(key)


def test_bars_follow_at_once_and_picks_go_back(notebook: Notebook) -> None:
    page = notebook.page
    assert notebook.cell_errors() == []
    page.wait_for_selector(".lw-nt-bar")
    page.wait_for_function(f"{LENGTHS} !== ''")

    notebook.ask("gate.clear()")
    for knob, shown in (("temperature", LENGTHS), ("seed", MARK)):
        before = page.evaluate(shown)
        press(page, knob, "ArrowRight")
        page.wait_for_function(f"before => {shown} !== before", arg=before)
    assert "with these settings" in page.evaluate(SENTENCE)
    assert notebook.ask("print(explorer.widget.record.sampling_params.temperature)") == "1.0"
    foreseen = page.evaluate(LENGTHS)
    notebook.ask("gate.set(); explorer.wait()")
    page.wait_for_function(f"!{SENTENCE}.includes('with these settings')")
    assert page.evaluate(LENGTHS) == foreseen  # the first step has the same logits: what was foreseen is so
    assert notebook.ask("print(explorer.record.sampling_params.temperature)") == "1.1"

    page.locator(".lw-nt-text b").nth(2).click()
    page.wait_for_function(f"{SENTENCE}.startsWith('Step 3 of 8')")
    page.locator(".lw-nt-bars button").nth(4).click()
    page.wait_for_function("document.querySelectorAll('.lw-nt-forced').length === 3")
    page.mouse.move(2, 2)  # else the sentence is about the candidate under the pointer
    page.wait_for_function(f"{SENTENCE}.includes('picked by hand')")
    page.wait_for_selector(".lw-status[data-state=idle]", state="attached")
    kept = "print(len(explorer.widget.output_prefix), explorer.record.num_forced)"
    assert notebook.ask(kept) == "3 3"
    page.get_by_role("button", name="undo pick").click()
    page.wait_for_function(f"!{SENTENCE}.includes('picked by hand')")
    assert notebook.ask("explorer.wait(); print(explorer.record.num_forced)") == "0"
