"""`KVCacheGrid` while its record is replaced: a run that goes on, and a record of another kind."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page

import llmwidgets as lw
from llmwidgets.engine import Engine
from llmwidgets.scheduling.serving_run import ServingRun
from llmwidgets.widgets.page import _plain
from tests.browser.conftest import two_frames
from tests.browser.kv_cache_page import CELLS, MODULE, PIXELS, POOL, chat, label, sentence

pytestmark = pytest.mark.browser

# A model as Jupyter's, to which the test hands one state after the other.
MOUNT = (
    "async states => {"
    + MODULE
    + """
  const listeners = {};
  const model = {
    state: unpack(states[0]),
    get: name => model.state[name],
    set: (name, value) => {
      if (model.state[name] === value) return;
      model.state[name] = value;
      for (const listener of [...(listeners[`change:${name}`] ?? [])]) listener();
    },
    on: (name, listener) => (listeners[name] ??= new Set()).add(listener),
    off: (name, listener) => listeners[name]?.delete(listener),
    save_changes: () => {},
    send: () => {},
  };
  window.model = model;
  window.show = index => {
    for (const [name, value] of Object.entries(unpack(states[index]))) model.set(name, value);
  };
  document.querySelector('main').replaceChildren();
  window.mount = () => {
    const el = document.createElement('div');
    document.querySelector('main').append(el);
    return module.default.render({ model, el });
  };
  window.end = mount();
}"""
)


def state_of(widget: lw.KVCacheGrid) -> dict[str, Any]:
    return json.loads(json.dumps(_plain(widget.wire_state())))


def test_a_live_run_grows_in_place(open_page: Callable[..., Page]) -> None:
    requests = lw.workload("chat", 12, vocab_size=1000, rate=0)
    run = ServingRun(requests, chat().config)
    widget, states = None, []
    while (output := run.begin_step()) is not None:
        run.end_step(dict.fromkeys(output.to_sample, 7))
        if len(run.log) in (5, 12, 40):
            record = run.snapshot()
            if widget is None:
                widget = lw.KVCacheGrid(record, selected_request="r1", selected_block=3)
            else:
                widget.record = record
            states.append(state_of(widget))
    whole = run.serving()
    widget.record = whole
    states.append(state_of(widget))
    page = open_page(widget.to_html())
    page.evaluate(MOUNT, states)
    two_frames(page)
    height = page.locator(".lw").evaluate("root => root.offsetHeight")
    page.evaluate("window.canvas = document.querySelector('.lw-kv-scroll canvas')")
    page.evaluate("document.querySelectorAll('.lw-kv-scroll')[1].focus()")
    page.keyboard.press("ArrowDown")  # the cursor is on the first running request
    for index, steps in enumerate((5, 12, 40, len(run.log))):
        page.evaluate("index => show(index)", index)
        two_frames(page)
        step = whole.busiest_step if steps == len(run.log) else steps - 1  # the end, until the run has ended
        assert page.locator(".lw-player-label").inner_text() == f"step {step} of 0–{steps - 1}"
        assert page.locator(".lw").evaluate("root => root.offsetHeight") == height
        assert page.evaluate("window.canvas === document.querySelector('.lw-kv-scroll canvas')")
        assert page.evaluate("document.activeElement === document.querySelectorAll('.lw-kv-scroll')[1]")
        assert page.evaluate("[model.get('selected_request'), model.get('selected_block')]") == ["r1", 3]
        assert sentence(page).startswith("r0: " if "r0" in whole.steps[step].running else "Block 3:")


def test_another_kind_of_record_takes_the_place(open_page: Callable[..., Page], engine: Engine) -> None:
    widget = lw.KVCacheGrid(chat())
    states = [state_of(widget)]
    widget.record = engine.generate("It was", max_tokens=6)
    states.append(state_of(widget))
    page = open_page(widget.to_html())
    page.evaluate(MOUNT, states)
    two_frames(page)
    assert "blocks in use" in sentence(page)
    page.evaluate("show(1)")
    two_frames(page)
    assert sentence(page).startswith("12 tokens × 2 layers")
    assert page.locator(".lw").count() == 1
    page.evaluate("end()")


def test_the_legend_has_the_units_of_the_record_that_is_drawn(open_page: Callable[..., Page]) -> None:
    widget = lw.KVCacheGrid(chat())
    states = [state_of(widget)]
    widget.record = chat(block_size=4, num_gpu_blocks=90)
    page = open_page(widget.to_html())
    page.evaluate(MOUNT, [*states, state_of(widget)])
    two_frames(page)
    assert "1 block = 8 token slots" in page.locator(".lw-legend").inner_text()
    page.evaluate("show(1)")
    two_frames(page)
    assert "1 block = 4 token slots" in page.locator(".lw-legend").inner_text()
    assert page.locator(".lw-title").inner_text().startswith("KV cache89 blocks of 4 tokens")


def test_what_came_while_the_tab_was_hidden_is_there_when_it_is_shown(open_page: Callable[..., Page]) -> None:
    serving = chat()
    widget = lw.KVCacheGrid(serving)
    states = [state_of(widget)]
    widget.step = 3
    page = open_page(widget.to_html())
    page.evaluate(MOUNT, [*states, state_of(widget)])
    two_frames(page)
    cells = page.locator(CELLS)
    before = cells.evaluate(PIXELS)
    page.evaluate("document.querySelector('main').style.display = 'none'")
    two_frames(page)
    page.evaluate("show(1)")
    two_frames(page)
    page.evaluate("document.querySelector('main').style.display = 'block'")
    two_frames(page)
    two_frames(page)
    assert cells.evaluate(PIXELS) != before
    page.evaluate("show(0)")
    two_frames(page)
    assert cells.evaluate(PIXELS) == before


def test_displayed_twice_both_views_follow(open_page: Callable[..., Page]) -> None:
    widget = lw.KVCacheGrid(chat(), step=4)
    page = open_page(widget.to_html())
    page.evaluate(MOUNT, [state_of(widget)])
    page.evaluate("void (window.other = mount())")  # a function would be called
    two_frames(page)
    page.locator(POOL).press("]")
    two_frames(page)
    labels = page.locator(".lw-player-label").all_inner_texts()
    assert labels[0] == labels[1]
    assert labels[0].startswith("step 5 ")
    page.evaluate("other()")  # the first goes on without the second
    page.locator(POOL).press("]")
    assert label(page).startswith("step 6 ")
