"""`explore(engine.serve, ...)`: replayed while a knob is dragged, measured; stopped, superseded, refused."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from ipywidgets import fixed

import llmwidgets as lw
from llmwidgets.engine import Engine
from llmwidgets.lab import serve_work
from llmwidgets.lab.explore import Explorer, explore
from llmwidgets.records.serving import Serving
from llmwidgets.widgets.linked import figure_of

UNTIMED = {"cpu_seconds": None, "wall_seconds": None}


def requests(count: int = 8) -> list[lw.Request]:
    draw = random.Random(0)
    return [
        lw.Request([draw.randrange(256) for _ in range(draw.randint(4, 30))], draw.randint(4, 12))
        for _ in range(count)
    ]


def started(engine: Engine, **knobs: Any) -> Explorer:
    knobs = {"max_num_seqs": (1, 8), "num_gpu_blocks": (8, 64, 4)} | knobs
    return explore(engine.serve, requests=fixed(requests()), block_size=fixed(4), **knobs)


class Shown(list[Serving]):
    """The records that reach the first widget, in order, with its badge then."""

    def __init__(self, explorer: Explorer) -> None:
        self.badges: list[str] = []
        show = explorer._show

        def keep(record: Serving) -> None:
            show(record)
            self.append(record)
            self.badges.append(explorer.widgets[0].badge)

        explorer._show = keep  # type: ignore[method-assign]


def test_the_first_picture_comes_with_the_first_step_and_the_record_is_whole(engine: Engine) -> None:
    x = started(engine)
    whole = engine.serve(requests(), block_size=4, max_num_seqs=4, num_gpu_blocks=36)
    assert x.record.outputs == whole.outputs
    assert len(x.record.steps) == len(whole.steps)
    assert x.status.state == "idle"
    assert [type(widget).__name__ for widget in x.widgets] == ["BatchTimeline", "KVCacheGrid"]


def test_a_scheduling_knob_replays_the_last_tokens_before_the_model_runs(engine: Engine) -> None:
    x = started(engine)
    before = x.record
    shown = Shown(x)
    x.update(max_num_seqs=2)
    assert (shown.badges[0], shown.badges[-1]) == ("COUNTED", "MEASURED")
    assert shown[0].outputs == before.outputs == shown[-1].outputs
    assert len(shown[0].steps) == len(shown[-1].steps) != len(before.steps)
    pairs = zip(shown[0].steps, shown[-1].steps, strict=True)
    assert all(counted == replace(measured, **UNTIMED) for counted, measured in pairs)


def test_other_arguments_change_tokens_so_nothing_is_replayed(engine: Engine) -> None:
    x = started(engine, temperature=(0.0, 1.0, 0.5))
    x.wait()
    shown = Shown(x)
    x.update(temperature=1.0)
    assert set(shown.badges) == {"MEASURED"}


def test_while_a_knob_moves_the_model_does_not_run(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    x = started(engine)
    x.wait()
    monkeypatch.setattr(serve_work, "SETTLED_AFTER", 20.0)
    shown = Shown(x)
    for value in (5, 6, 7):
        x.knobs["max_num_seqs"].value = value
        while not shown or shown[-1].config.max_num_seqs != value:
            pass
    assert set(shown.badges) == {"COUNTED"}
    monkeypatch.setattr(serve_work, "SETTLED_AFTER", 0.0)
    x.update(max_num_seqs=8)
    assert shown.badges[-1] == "MEASURED"
    assert x.record.config.max_num_seqs == 8


def test_a_stop_keeps_what_was_measured_and_the_next_turn_runs_again(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve_work, "SHOWN_EVERY", 0.0)
    x = started(engine)
    whole = x.record
    shown = Shown(x)

    def stop_early(change: Any) -> None:
        if change["new"].startswith("Step 3"):
            x.status.stop_requested = True

    x.status.observe(stop_early, "message")
    x.knobs["max_num_seqs"].value = 2
    x.wait()
    assert (x.status.state, x.status.message) == ("idle", "Stopped. Turn a knob to run again.")
    assert not x.status.can_stop
    assert 3 <= len(x.record.steps) < len(whole.steps)
    assert x.record is shown[-1]
    x.status.unobserve(stop_early, "message")
    x.update(max_num_seqs=4)  # the setting before: its picture is gone, so it runs again
    assert x.record.outputs == whole.outputs
    assert len(x.record.steps) == len(whole.steps)


def test_a_refused_knob_keeps_the_picture_and_says_why(engine: Engine) -> None:
    x = started(engine)
    before = x.record
    with pytest.raises(ValueError, match="at most 28, the pool's"):
        x.update(num_gpu_blocks=8)
    assert x.record is before
    assert x.status.state == "error"


def test_the_first_refusal_is_the_caller_s_to_see(engine: Engine) -> None:
    with pytest.raises(ValueError, match="blocksize=4 is not a knob"):
        explore(engine.serve, requests=fixed(requests()), blocksize=fixed(4))


def test_the_command_has_the_same_knobs_and_says_what_it_leaves_out(engine: Engine) -> None:
    x = started(engine, enable_prefix_caching=False, batching=["continuous", "static"])
    assert x.command.command == (
        "vllm serve MODEL --block-size 4 --num-gpu-blocks-override 36 --max-num-seqs 4 "
        "--no-enable-prefix-caching"
    )
    assert x.command.note == ""
    x.update(batching="static", enable_prefix_caching=True)
    assert x.command.command.endswith("--max-num-seqs 4 --enable-prefix-caching")
    assert x.command.note == "batching='static': vLLM always batches continuously and pages."
    assert x.knobs["max_num_seqs"].description == "max_num_seqs (vLLM: 256)"
    assert x.command in x.children


def test_a_partial_is_served_step_by_step_too(engine: Engine) -> None:
    x = explore(partial(engine.serve, requests(), block_size=4), max_num_seqs=(1, 8))
    assert x.record.config.block_size == 4
    shown = Shown(x)
    x.update(max_num_seqs=1)
    assert (shown.badges[0], shown.badges[-1]) == ("COUNTED", "MEASURED")


def test_a_function_without_steps_has_no_command() -> None:
    def simulated(max_num_seqs: int) -> Serving:
        return lw.simulate(requests(), block_size=4, num_gpu_blocks=64, max_num_seqs=max_num_seqs)

    x = explore(simulated, max_num_seqs=(1, 8))
    assert x.command not in x.children
    assert x.widgets[0].badge == "COUNTED"


def test_both_views_of_a_serving_share_step_and_request(engine: Engine) -> None:
    views = figure_of(engine.serve(requests(), block_size=4, num_gpu_blocks=64))
    timeline, grid = views.figures
    timeline.step = 3
    assert grid.step == 3
    grid.selected_request = "r2"
    assert timeline.selected_request == "r2"
    assert timeline.to_text() in views.to_text()
    assert grid.to_text() in views.to_text()
    assert views.to_html().count('"module": ') == 2


def test_a_serving_draws_both_views(engine: Engine) -> None:
    served = engine.serve(requests(2), block_size=4, num_gpu_blocks=64)
    shown = served._repr_mimebundle_()
    data = shown[0] if isinstance(shown, tuple) else shown
    assert "application/vnd.jupyter.widget-view+json" in data
    assert data["text/plain"] == figure_of(served).to_text()
