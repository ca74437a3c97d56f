"""In a real JupyterLab, with the outside network cut: a heatmap, `explore`, the theme, and each lab."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.browser.jupyterlab import Notebook, Server, serving, write_notebook

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
LABS = sorted(path.name for path in (ROOT / "labs").glob("*.ipynb"))
ARRAYS = """
import numpy as np
import llmwidgets as lw

def causal(length, layers=3, heads=4):
    scores = np.random.default_rng(length).normal(size=(layers, heads, length, length))
    scores[..., np.triu(np.ones((length, length), bool), 1)] = -np.inf
    weights = np.exp(scores)
    return weights / weights.sum(axis=-1, keepdims=True)

heatmap = lw.AttentionHeatmap.from_arrays(causal(20), [f" t{i}" for i in range(20)])
heatmap
"""
EXPLORE = """
from llmwidgets.widgets.attention_source import given_attention

calls = []

def attend(length):
    calls.append(length)
    if length == 13:
        raise ValueError("length=13 is not allowed; allowed is any other")
    return given_attention(causal(length), [f" t{i}" for i in range(length)])

explorer = lw.explore(attend, view=lw.AttentionHeatmap, length=(5, 40), layer=(0, 2), head=(0, 3))
explorer
"""
ENGINE = """
import llmwidgets as lw

engine = lw.load()
explorer = lw.explore(engine.attend, prompt="Alice was beginning", layer=(0, 3), head=(0, 3))
explorer
"""
PIXELS = "canvas => canvas.toDataURL()"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("notebooks")
    write_notebook(folder / "heatmap.ipynb", ARRAYS)
    write_notebook(folder / "twice.ipynb", ARRAYS, "heatmap")
    write_notebook(folder / "explore.ipynb", ARRAYS, EXPLORE)
    write_notebook(folder / "engine.ipynb", ENGINE)
    for lab in LABS:
        shutil.copy(ROOT / "labs" / lab, folder / lab)
    with serving(folder, tmp_path_factory.mktemp("home")) as server:
        yield server


@pytest.fixture
def open_notebook(chromium: Browser, server: Server) -> Iterator[Callable[[str], Notebook]]:
    opened: list[Notebook] = []

    def open_(name: str) -> Notebook:
        opened.append(Notebook(chromium, server.address(name)))
        return opened[-1]

    yield open_
    for notebook in opened:
        notebook.close()
    assert not [error for notebook in opened for error in notebook.errors]
    assert not [url for notebook in opened for url in notebook.refused]


def test_a_heatmap_paints_answers_keys_and_follows_the_theme(
    open_notebook: Callable[[str], Notebook],
) -> None:
    notebook = open_notebook("heatmap.ipynb")
    page = notebook.page
    notebook.run_all()
    assert notebook.cell_errors() == []
    title = page.locator(".lw-title small")
    page.wait_for_function(
        "document.querySelector('.lw-title small')?.textContent.includes('layer 0, head 0')"
    )

    page.locator(".lw-map").press("]")
    page.wait_for_function("document.querySelector('.lw-title small').textContent.includes('head 1')")
    page.locator(".lw-map").press("ArrowUp")
    page.locator(".lw-map").press("Enter")
    page.wait_for_function("document.querySelector('.lw-sentence').textContent.startsWith('1 pinned')")
    assert notebook.ask("print(heatmap.head, heatmap.pinned_tokens)") == "1 [19]"
    notebook.ask("heatmap.layer = 2")
    page.wait_for_function(
        "document.querySelector('.lw-title small').textContent.includes('layer 2, head 1')"
    )
    assert "layer 2" in title.inner_text()

    canvas = page.locator(".lw-map canvas").first
    light = canvas.evaluate(PIXELS)
    notebook.command("apputils:change-theme", {"theme": "JupyterLab Dark"})
    page.wait_for_function(
        "light => document.querySelector('.lw-map canvas').toDataURL() !== light", arg=light
    )
    notebook.command("apputils:change-theme", {"theme": "JupyterLab Light"})
    page.wait_for_function(
        "light => document.querySelector('.lw-map canvas').toDataURL() === light", arg=light
    )


def test_a_heatmap_displayed_twice_shows_one_state(open_notebook: Callable[[str], Notebook]) -> None:
    notebook = open_notebook("twice.ipynb")
    page = notebook.page
    notebook.run_all()
    assert notebook.cell_errors() == []
    everywhere = """text => { const titles = [...document.querySelectorAll('.lw-title small')];
      return titles.length === 2 && titles.every(title => title.textContent.includes(text)); }"""
    page.wait_for_function(everywhere, arg="head 0")
    page.locator(".lw-map").first.press("]")
    page.wait_for_function(everywhere, arg="head 1")


def test_knobs_reach_the_kernel_and_back(open_notebook: Callable[[str], Notebook]) -> None:
    notebook = open_notebook("explore.ipynb")
    page = notebook.page
    notebook.run_all()
    assert notebook.cell_errors() == []
    second = page.locator(".jp-Cell").nth(1)
    second.scroll_into_view_if_needed()
    slider = second.locator(".widget-slider", has_text="layer").locator(".noUi-handle")
    slider.focus()
    slider.press("ArrowRight")
    shown = "text => [...document.querySelectorAll('.lw-title small')].at(-1).textContent.includes(text)"
    page.wait_for_function(shown, arg="layer 2")  # the slider began in the middle, at 1
    assert notebook.ask("print(explorer.widget.layer, explorer.knobs['layer'].value, len(calls))") == "2 2 1"

    second.locator(".lw-map").press("{")  # the figure moves the knob, and the function is not called
    page.wait_for_function(shown, arg="layer 1")
    assert notebook.ask("print(explorer.knobs['layer'].value, len(calls))") == "1 1"

    knob = second.locator(".widget-slider", has_text="length").locator(".noUi-handle")
    before = notebook.ask("print(explorer.knobs['length'].value)")
    knob.focus()
    knob.press("ArrowRight")
    page.wait_for_timeout(300)
    notebook.ask("explorer._runner.wait()")
    assert (
        notebook.ask("print(explorer.knobs['length'].value, explorer.widget.layer)") == f"{int(before) + 1} 1"
    )
    assert notebook.ask("print(len(explorer.widget._facts['tokens']))") == str(int(before) + 1)


def test_a_refused_setting_is_one_red_line_and_the_picture_stays(
    open_notebook: Callable[[str], Notebook],
) -> None:
    notebook = open_notebook("explore.ipynb")
    page = notebook.page
    notebook.run_all()
    second = page.locator(".jp-Cell").nth(1)
    canvas = second.locator(".lw-map canvas").first
    page.wait_for_function("[...document.querySelectorAll('.lw-title small')].at(-1).textContent !== ''")
    good, height = canvas.evaluate(PIXELS), second.locator(".lw-map").bounding_box()
    notebook.ask("explorer.knobs['length'].value = 13; explorer._runner.wait()")
    page.wait_for_selector(".lw-status[data-state=error]")
    assert second.locator(".lw-status span").inner_text() == "length=13 is not allowed; allowed is any other"
    assert canvas.evaluate(PIXELS) == good
    assert second.locator(".lw-map").bounding_box()["height"] == height["height"]
    notebook.ask("explorer.knobs['length'].value = 20; explorer._runner.wait()")
    page.wait_for_selector(".lw-status[data-state=idle]")


def test_a_slider_moved_while_a_cell_runs_is_not_lost(open_notebook: Callable[[str], Notebook]) -> None:
    notebook = open_notebook("explore.ipynb")
    page = notebook.page
    notebook.run_all()
    shown = "text => [...document.querySelectorAll('.lw-title small')].at(-1)?.textContent.includes(text)"
    page.wait_for_function(shown, arg="layer 1")
    page.evaluate("""() => { window.busy = jupyterapp.shell.currentWidget.sessionContext.session.kernel
      .requestExecute({code: 'import time; time.sleep(4)'}).done.then(() => { window.free = true }) }""")
    slider = (
        page.locator(".jp-Cell").nth(1).locator(".widget-slider", has_text="layer").locator(".noUi-handle")
    )
    slider.focus()
    slider.press("ArrowRight")
    page.wait_for_function(shown, arg="layer 2")
    page.wait_for_function("window.free")
    assert notebook.ask("print(explorer.widget.layer, explorer.status.state)") == "2 idle"


def test_the_bundled_model_answers_a_new_prompt(open_notebook: Callable[[str], Notebook]) -> None:
    notebook = open_notebook("engine.ipynb")
    page = notebook.page
    notebook.run_all()
    assert notebook.cell_errors() == []
    page.wait_for_function("document.querySelector('.lw-title small')?.textContent.includes('layer')")
    before = notebook.ask("print(explorer.record.token_ids.tolist())")
    prompt = page.locator(".widget-text input")
    prompt.fill("The Queen turned crimson with fury")
    prompt.press("Enter")
    page.wait_for_function("document.querySelector('.lw-strip').textContent.includes('crimson')")
    assert notebook.ask("explorer._runner.wait(); print(explorer.record.token_ids.tolist())") != before
    assert notebook.ask("print(explorer.widget.record is explorer.record)") == "True"


# What the figure beside the first slider says of itself: its title and its sentence.
SAYS = """() => {
  const cell = [...document.querySelectorAll('.jp-Cell')].find(cell => cell.querySelector('.widget-slider'));
  const said = [...(cell?.querySelectorAll('.lw-title small, .lw-sentence') ?? [])];
  return said.map(element => element.textContent).join(' ').trim();
}"""
HELD = """
import gc
from llmwidgets.lab.explore import Explorer
found = [one for one in gc.get_objects() if isinstance(one, Explorer)]
print([(name, k.value) for x in found for name, k in x.knobs.items() if isinstance(k.value, (int, float))])
"""


@pytest.mark.parametrize("lab", LABS)
def test_a_lab_runs_and_its_first_slider_changes_the_picture(
    open_notebook: Callable[[str], Notebook], lab: str
) -> None:
    notebook = open_notebook(lab)
    page = notebook.page
    notebook.run_all()
    assert notebook.cell_errors() == []
    page.wait_for_function(f"({SAYS})() !== ''")
    before, held = page.evaluate(SAYS), notebook.ask(HELD)
    handle = page.locator(".widget-slider .noUi-handle").first
    handle.scroll_into_view_if_needed()
    handle.focus()
    handle.press("ArrowRight")
    page.wait_for_function(f"before => ({SAYS})() !== before", arg=before)
    assert notebook.ask(HELD) != held
